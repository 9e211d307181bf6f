"""The PPO with a recurrent critic that chooses waits, one per device."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from ..config import RecurrentD3QNPPOConfig
from .history import Events, History, own_events
from .memory import GRUWeights, advance, scan
from .records import Closed, Floats, Lanes, Pricing, Records, wait_dtype
from .stacked import Parameters, Stack, column, gru, gru_shapes, linear, linear_shapes

_ACTOR = ("hidden.0", "hidden.1", "law")
_LOG_RATIO_LIMIT = 20.0  # actions scored under other states (a defect) may be arbitrarily unlikely
_LEAST_VARIANCE = 1e-6


class Losses(NamedTuple):
    """Means over the devices of an update's last epoch."""

    actor: float
    critic: float
    entropy: float


class _Batch(NamedTuple):
    """Closed records of D devices, padded to the longest."""

    records: Records  # (D, n), in order of lane and time
    lanes: Lanes  # (D, n)
    mask: NDArray[np.bool_]  # (D, n)


class RecurrentCriticPPO:
    """Per device: a memoryless Gaussian actor, and a critic with a recurrent state.

    The actor's sample u is executed as the wait Z_max (clip(u, -1, 1) + 1) / 2. The critic's state is handed from
    device to device along the global sequence of waiting decisions of a lane, and each device applies its own recurrent
    weights to it: so the asynchronous history reaches every critic. Values are of the state before the decision.

    Args:
        config: hyper-parameters and defects.
        lanes: number of lanes L.
        devices: number of devices M.
        features: width of what the networks see.
        generator: draws the first parameters.

    *Source*: Jin et al., arXiv 2409.16832; Schulman et al., arXiv 1707.06347.
    """

    def __init__(
        self, config: RecurrentD3QNPPOConfig, lanes: int, devices: int, features: int, generator: torch.Generator
    ) -> None:
        self._config, self._defects = config, frozenset(config.defects)
        self._price = Pricing(
            2.0 if "doubled_area" in self._defects else 1.0, "cumulative_absolute_cost" in self._defects
        )
        small, width, size = config.actor_hidden, config.critic_hidden, config.memory
        actor = {
            **linear_shapes("hidden.0", features, small),
            **linear_shapes("hidden.1", small, small),
            **linear_shapes("law", small, 2),
        }
        critic = {
            **linear_shapes("hidden.0", features, width),
            **linear_shapes("hidden.1", width + size, width),
            **linear_shapes("value", width, 1),
            **gru_shapes("memory", features + 1, size),
        }
        limit, orthogonal = config.max_grad_norm, ("hidden.0.weight", "hidden.1.weight")
        self.actor = Stack(devices, actor, config.actor_learning_rate, generator, max_norm=limit)
        self.critic = Stack(devices, critic, config.critic_learning_rate, generator, orthogonal, limit)
        self.scale = config.wait_scale
        share = -(-config.wait_batch // lanes)
        self._store = np.zeros((lanes, devices, 4 * share + 16), wait_dtype(features, size))
        self._counts = np.zeros((lanes, devices), np.int64)
        self.history = History(lanes, devices, features + 1, size, config.wait_batch)
        self._handed = np.zeros((lanes, size), np.float32)  # states at the last update of whichever device

    # --- acting -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def mean(self, devices: Lanes, features: Floats) -> Floats:
        """Mean actions (n,) of some devices (n,) on their features (n, F)."""
        parameters = self.actor.at(torch.from_numpy(devices), *_ACTOR)
        return self._law(parameters, torch.from_numpy(features).unsqueeze(1))[0].squeeze(1).numpy()

    @torch.no_grad()
    def act(
        self, lanes: Lanes, devices: Lanes, features: Floats, random: np.random.Generator
    ) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Draw actions and hand on the critic's state.

        Args:
            lanes: which, shape (n,).
            devices: who decides there, shape (n,).
            features: shape (n, F).
            random: draws the actions.

        Returns:
            Actions in [-1, 1], shape (n,), and the fields of their records.
        """
        index = torch.from_numpy(devices)
        law = self._law(self.actor.at(index, *_ACTOR), torch.from_numpy(features).unsqueeze(1))
        mean, variance = (part.numpy()[:, 0] for part in law)
        noise = random.standard_normal(len(lanes), np.float32)
        sample = mean + np.sqrt(variance) * noise
        log_prob = -0.5 * (noise * noise + np.log(2.0 * np.float32(math.pi) * variance))
        action = np.minimum(np.maximum(sample, -1.0), 1.0)
        scored = action if "clamped_actions_scored" in self._defects else sample
        history = self.history
        fields = {
            "action": scored,
            "log_prob": log_prob,
            "memory": history.states[lanes],
            "position": history.counts[lanes],
        }
        inputs = np.concatenate([features, action[:, None]], axis=1)
        weights = gru(self.critic.at(index, "memory"), "memory")
        history.append(lanes, devices, inputs, advance(inputs, fields["memory"], weights))
        return action, fields

    def end_episode(self, lanes: Lanes) -> None:
        """The next waiting decisions of some lanes belong to new episodes."""
        self.history.forget(lanes)

    # --- records ------------------------------------------------------------------------------------------------------

    def add(self, closed: Closed) -> None:
        """Take closed records."""
        if not len(closed.lanes):
            return
        at = (closed.lanes, closed.devices)
        closed.records["next_memory"] = self.history.states[closed.lanes]
        self._store[(*at, self._counts[at])] = closed.records
        self._counts[at] += 1

    def due(self, closed: Closed) -> list[slice]:
        """Devices to be trained now, after `add`: single ones, or all together."""
        if not len(closed.devices):
            return []
        full = self._counts[closed.lanes, closed.devices] == self._store.shape[2]
        if self._config.updates == "together":
            due = full.any() or self._counts.sum() >= self._config.wait_batch * self._counts.shape[1]
            return [slice(0, self._counts.shape[1])] if due else []
        full |= self._counts[:, closed.devices].sum(0) >= self._config.wait_batch
        return [slice(device, device + 1) for device in dict.fromkeys(closed.devices[full].tolist())]

    def _batch(self, rows: slice) -> _Batch:
        """The closed records of some devices, taken from the store."""
        used = np.arange(self._store.shape[2]) < self._counts[:, rows, None]
        lengths = used.sum((0, 2))
        shape = (len(lengths), int(lengths.max()))
        records, lanes = np.zeros(shape, self._store.dtype), np.zeros(shape, np.int64)
        for device in range(shape[0]):
            lane, place = np.nonzero(used[:, device])
            records[device, : len(lane)] = self._store[:, rows][lane, device, place]
            lanes[device, : len(lane)] = lane
        self._counts[:, rows] = 0
        return _Batch(records, lanes, np.arange(shape[1]) < lengths[:, None])

    # --- learning -----------------------------------------------------------------------------------------------------

    def train(self, rows: slice, ratio: NDArray[np.float64]) -> Losses:
        """Train some devices on their closed records, and forget these.

        Args:
            rows: which; at least one of them has a record.
            ratio: of every device, shape (M,).
        """
        batch = self._batch(rows)
        cost = self._price(batch.records, ratio[rows])
        if not self.scale:
            self.scale = float(np.abs(cost[batch.mask]).mean()) or 1.0
        events = self._events(batch)
        with torch.no_grad():
            leaf = self.critic.theta[rows]
            parameters, x = self.critic.views(leaf), column(batch.records, "x")
            if "mixed_memory" in self._defects:
                value = self._value(parameters, x, column(batch.records, "memory"))
            else:
                value = self._values(rows, leaf, batch, events)
            next_x, next_memory = (column(batch.records, name) for name in ("next_x", "next_memory"))
            following = self._value(parameters, next_x, next_memory)
        reward = (-cost / self.scale).astype(np.float32)
        target, advantage = self._targets(batch, reward, value.numpy(), following.numpy())
        self._handed[...] = self.history.states
        active: NDArray[np.bool_] = np.any(batch.mask, axis=1)
        for _ in range(self._config.epochs):
            losses = self._epoch(rows, batch, events, torch.from_numpy(target), torch.from_numpy(advantage), active)
        return losses

    def _events(self, batch: _Batch) -> Events:
        if "mixed_memory" not in self._defects:
            return self.history.events(batch.lanes, batch.records["position"], batch.mask)
        action = batch.records["action"].clip(-1.0, 1.0)
        inputs = np.concatenate([batch.records["x"], action[..., None]], axis=-1)
        return own_events(inputs, batch.records, batch.lanes, self._handed, batch.mask)

    def _targets(self, batch: _Batch, reward: Floats, value: Floats, following: Floats) -> tuple[Floats, Floats]:
        """Targets of the critic and advantages, each (D, n), from values before and after every decision."""
        mask, decay = batch.mask, self._config.discount
        linked = np.zeros_like(mask)  # to the row after it: the same device's next decision
        linked[:, :-1] = (batch.lanes[:, 1:] == batch.lanes[:, :-1]) & mask[:, 1:] & ~batch.records["first"][:, 1:]
        if "batch_returns" in self._defects:
            returns = _discounted_sum(reward, decay * linked)
            target = _standardised(returns, mask)
            return target, (target - value) * mask
        error = reward + decay * following - value
        advantage = _discounted_sum(error, decay * self._config.gae_lambda * linked)
        return (advantage + value) * mask, _standardised(advantage, mask)

    def _epoch(
        self, rows: slice, batch: _Batch, events: Events, target: Tensor, advantage: Tensor, active: NDArray[np.bool_]
    ) -> Losses:
        """One full-batch step of actor and critic."""
        config, mask = self._config, torch.from_numpy(batch.mask)
        count = mask.sum(1).clamp(min=1)
        leaf, critic_leaf = self.actor.leaf(rows), self.critic.leaf(rows)
        mean, variance = self._law(self.actor.views(leaf), column(batch.records, "x"))
        ratio = self._importance(batch, mean, variance)
        if "crossed_log_probs" in self._defects:
            advantage, pairs = advantage.unsqueeze(2), mask.unsqueeze(2) & mask.unsqueeze(1)
        else:
            pairs = mask
        clipped = ratio.clamp(1.0 - config.clip_range, 1.0 + config.clip_range)
        gain = torch.where(pairs, torch.minimum(ratio * advantage, clipped * advantage), 0.0)
        actor_loss = -gain.flatten(1).sum(1) / pairs.flatten(1).sum(1).clamp(min=1)
        entropy = (0.5 * torch.log(2.0 * math.pi * math.e * variance) * mask).sum(1) / count
        error = (self._values(rows, critic_leaf, batch, events) - target) * mask
        critic_loss = (error * error).sum(1) / count
        total = actor_loss + config.vf_coef * critic_loss - config.ent_coef * entropy
        total.sum().backward()
        moving = None if active.all() else torch.from_numpy(active)
        self.actor.step(rows, leaf, moving)
        self.critic.step(rows, critic_leaf, moving)
        share = 1.0 / int(active.sum())
        return Losses(*(share * float(part.detach().sum()) for part in (actor_loss, critic_loss, entropy)))

    def _importance(self, batch: _Batch, mean: Tensor, variance: Tensor) -> Tensor:
        """Probability ratios (D, n); with every action scored under every state, (D, action, state)."""
        action, old = column(batch.records, "action"), column(batch.records, "log_prob")
        if "crossed_log_probs" in self._defects:
            new = _log_prob(action.unsqueeze(2), mean.unsqueeze(1), variance.unsqueeze(1))
            return (new - old.unsqueeze(2)).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp()
        return (_log_prob(action, mean, variance) - old).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp()

    # --- networks -----------------------------------------------------------------------------------------------------

    def _law(self, parameters: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (D, n) of the actions on features (D, n, F)."""
        latent = linear(parameters, "hidden.1", linear(parameters, "hidden.0", x).tanh()).tanh()
        mean, variance = linear(parameters, "law", latent).unbind(-1)
        return mean.tanh(), softplus(variance) + _LEAST_VARIANCE

    def _values(self, rows: slice, leaf: Tensor, batch: _Batch, events: Events) -> Tensor:
        """Values (D, n) of the rows of a batch, with the critic's states recomputed along the events."""
        parameters = self.critic.views(leaf)
        weights = gru(parameters, "memory")
        if "mixed_memory" not in self._defects:
            weights = self._everyone(rows, weights)
        before, _ = scan(events.inputs, events.which, events.starts, events.initial, weights)
        stored = torch.from_numpy(events.stored).unsqueeze(-1)
        memory = torch.where(stored, column(batch.records, "memory"), before[torch.from_numpy(events.place)])
        return self._value(parameters, column(batch.records, "x"), memory)

    def _everyone(self, rows: slice, weights: GRUWeights) -> GRUWeights:
        """Recurrent units of all devices, those of `rows` replaced."""
        if rows.stop - rows.start == len(self.critic.theta):
            return weights
        others = gru(self.critic.at(slice(None), "memory"), "memory")
        pairs = zip(others, weights, strict=True)
        return GRUWeights(*(torch.cat([old[: rows.start], new, old[rows.stop :]]) for old, new in pairs))

    @staticmethod
    def _value(parameters: Parameters, x: Tensor, memory: Tensor) -> Tensor:
        latent = torch.cat([linear(parameters, "hidden.0", x).tanh(), memory], dim=-1)
        return linear(parameters, "value", linear(parameters, "hidden.1", latent).tanh()).squeeze(-1)

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[Parameters, dict[str, NDArray[Any]]]:
        """Live tensors and arrays that later training depends on, beside `scale`."""
        nets = {"actor": self.actor, "critic": self.critic}
        tensors = {f"{net}.{name}": value for net, stack in nets.items() for name, value in stack.state().items()}
        arrays = {f"history.{name}": value for name, value in self.history.state().items()}
        return tensors, {**arrays, "store": self._store, "counts": self._counts, "handed": self._handed}


def _log_prob(action: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log-density of a normal law."""
    return -0.5 * ((action - mean) ** 2 / variance + torch.log(2.0 * math.pi * variance))


def _discounted_sum(values: Floats, decay: Floats) -> Floats:
    """Backward sums along the rows: s_k = value_k + decay_k s_{k+1}."""
    sums = np.zeros_like(values)
    after = np.zeros(len(values), values.dtype)
    for k in range(values.shape[1] - 1, -1, -1):
        after = values[:, k] + decay[:, k] * after
        sums[:, k] = after
    return sums


def _standardised(values: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Every device's values with mean 0 and standard deviation 1 over the rows that count; 0 elsewhere."""
    count = mask.sum(1, keepdims=True)
    mean = (values * mask).sum(1, keepdims=True) / np.maximum(count, 1)
    spread = np.sqrt(((values - mean) ** 2 * mask).sum(1, keepdims=True) / np.maximum(count - 1, 1))
    standardised: Floats = ((values - mean) / (spread + 1e-7) * mask).astype(np.float32)
    return standardised
