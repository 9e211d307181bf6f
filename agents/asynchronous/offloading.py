"""The recurrent dueling double DQN that chooses servers, one per device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from ..config import RecurrentD3QNPPOConfig
from .memory import scan
from .records import Closed, Floats, Lanes, Pricing, Records, server_dtype
from .stacked import Parameters, Stack, column, gru, gru_shapes, linear, linear_shapes


class _Batch(NamedTuple):
    """Sequences of D devices."""

    records: Records  # (D, B, S)
    initial: Floats  # (D, B, H) state of the value head before each
    weight: Floats  # (D, B) 0 where a device has fewer sequences


class RecurrentD3QN:
    """Per device: Q(s, h, a) = V(s, h) + A(s, a) - mean A(s, .), with a recurrent state h in the value head only.

    So the best server depends on what the device sees now, and its past only on how good that is. The state reads the
    device's own offloading decisions.

    Args:
        config: hyper-parameters and defects.
        lanes: number of lanes L.
        devices: number of devices M.
        features: width of what the networks see.
        n_choices: number of servers, local included.
        generator: draws the first parameters.

    *Source*: Jin et al., arXiv 2409.16832; Wang et al., ICML 2016 (dueling); van Hasselt et al., AAAI 2016 (double);
    Kapturowski et al., ICLR 2019 (replayed sequences with stored states).
    """

    def __init__(
        self,
        config: RecurrentD3QNPPOConfig,
        lanes: int,
        devices: int,
        features: int,
        n_choices: int,
        generator: torch.Generator,
    ) -> None:
        self._config, self._defects = config, frozenset(config.defects)
        self.n_choices, self._features = n_choices, features
        self._one_hot = config.observations == "full"
        self._price = Pricing(
            2.0 if "doubled_area" in self._defects else 1.0, "cumulative_absolute_cost" in self._defects
        )
        width, size = config.server_hidden, config.memory
        shapes = {
            **linear_shapes("trunk.0", features, width),
            **linear_shapes("trunk.1", width, width),
            **linear_shapes("advantage", width, n_choices),
            **linear_shapes("value.0", width + size, width),
            **linear_shapes("value.1", width, 1),
            **gru_shapes("memory", features + (n_choices if self._one_hot else 1), size),
        }
        self.online = Stack(devices, shapes, config.server_learning_rate, generator, max_norm=config.max_grad_norm)
        self.target = self.online.theta.clone()
        self.updates = np.zeros(devices, np.int64)
        self.scale = config.server_scale
        length, capacity = config.sequence, config.replay
        self._partial = np.zeros((lanes, devices, length), server_dtype(features))
        self._filled = np.zeros((lanes, devices), np.int64)
        self._carried = np.zeros((lanes, devices, size), np.float32)  # state before each partial sequence
        self._replay = np.zeros((devices, capacity, length), server_dtype(features))
        self._initial = np.zeros((devices, capacity, size), np.float32)
        self._pushed = np.zeros(devices, np.int64)
        self._used = np.zeros(devices, np.int64)  # how many of those had been trained on when each was used once

    # --- acting -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def greedy(self, devices: Lanes, features: Floats) -> NDArray[np.int64]:
        """Best servers (n,) of some devices (n,) on their features (n, F)."""
        parameters = self.online.at(torch.from_numpy(devices), "trunk.0", "trunk.1", "advantage")
        latent = self._trunk(parameters, torch.from_numpy(features).unsqueeze(1))
        return linear(parameters, "advantage", latent).squeeze(1).argmax(-1).numpy()

    def act(self, devices: Lanes, features: Floats, epsilon: float, random: np.random.Generator) -> NDArray[np.int64]:
        """Servers (n,), each uniformly random with probability `epsilon`."""
        best = self.greedy(devices, features)
        if epsilon <= 0.0:
            return best
        explores = random.random(len(best)) < epsilon
        return np.where(explores, random.integers(self.n_choices, size=len(best)), best)

    # --- sequences ----------------------------------------------------------------------------------------------------

    def add(self, closed: Closed) -> Lanes:
        """Take closed records.

        Returns:
            The devices that have a new sequence.
        """
        if not len(closed.lanes):
            return closed.devices
        at = (closed.lanes, closed.devices)
        self._partial[(*at, self._filled[at])] = closed.records
        self._filled[at] += 1
        full = self._filled[at] == self._partial.shape[2]
        lanes: Lanes = closed.lanes[full]
        devices: Lanes = closed.devices[full]
        if len(lanes):
            self._push(lanes, devices)
        return devices

    def _push(self, lanes: Lanes, devices: Lanes) -> None:
        """Move full sequences to the replay; the state after each is that before the next."""
        records, initial = self._partial[lanes, devices], self._carried[lanes, devices].copy()
        with torch.no_grad():
            weights = gru(self.online.at(slice(None), "memory"), "memory")
            _, after = scan(*self._events(records, initial, devices), weights)
        self._carried[lanes, devices] = after.view(len(lanes), -1, initial.shape[1])[:, -1].numpy()
        self._filled[lanes, devices] = 0
        for device, record, state in zip(devices.tolist(), records, initial, strict=True):
            slot = self._pushed[device] % self._replay.shape[1]
            self._replay[device, slot], self._initial[device, slot] = record, state
            self._pushed[device] += 1

    def _events(
        self, records: Records, initial: Floats, devices: Lanes
    ) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_], Floats]:
        """The first arguments of `scan` for sequences (n, S) that begin with the states (n, H)."""
        server = records["server"]
        chosen = np.eye(self.n_choices, dtype=np.float32)[server] if self._one_hot else server[..., None]
        inputs = np.concatenate([records["x"], chosen.astype(np.float32)], axis=-1)
        starts, states = records["first"].copy(), np.zeros((*records.shape, initial.shape[-1]), np.float32)
        states[:, 0] = np.where(starts[:, :1], 0.0, initial)
        starts[:, 0] = True
        which = np.repeat(devices, records.shape[1])
        return inputs.reshape(-1, inputs.shape[-1]), which, starts.ravel(), states.reshape(-1, initial.shape[-1])

    def _latest(self, rows: slice) -> list[_Batch]:
        """Every sequence that has not been used, in batches."""
        devices = np.arange(len(self._pushed))[rows]
        fresh = np.minimum(self._pushed - self._used, self._replay.shape[1])[rows]
        size = self._config.server_batch
        batches = []
        for begin in range(0, int(fresh.max()), size):
            which = begin + np.arange(min(size, int(fresh.max()) - begin))
            weight = which < fresh[:, None]
            slots = (self._pushed[rows, None] - fresh[:, None] + np.where(weight, which, 0)) % self._replay.shape[1]
            batches.append(self._pick(devices, slots, weight))
        self._used[rows] = self._pushed[rows]
        return batches

    def _sample(self, rows: slice, random: np.random.Generator) -> _Batch:
        """Sequences drawn with replacement."""
        devices = np.arange(len(self._pushed))[rows]
        known = np.minimum(self._pushed[rows, None], self._replay.shape[1])
        slots = random.integers(np.maximum(known, 1), size=(len(devices), self._config.server_batch))
        return self._pick(devices, slots, np.broadcast_to(known > 0, slots.shape))

    def _pick(self, devices: Lanes, slots: NDArray[np.int64], weight: NDArray[np.bool_]) -> _Batch:
        at = (devices[:, None], slots)
        return _Batch(self._replay[at], self._initial[at], weight.astype(np.float32))

    # --- learning -----------------------------------------------------------------------------------------------------

    def train(self, rows: slice, ratio: NDArray[np.float64], steps: int, random: np.random.Generator) -> float | None:
        """Train some devices.

        Args:
            rows: which.
            ratio: of every device, shape (M,).
            steps: gradient steps on replayed sequences; without replay, each new sequence is used once.
            random: draws the sequences.

        Returns:
            The mean loss; None if there was nothing to train on.
        """
        if "no_replay" in self._defects:
            batches = self._latest(rows)
        else:
            batches = [self._sample(rows, random) for _ in range(steps)]
        losses = [self._step(rows, batch, ratio[rows]) for batch in batches if batch.weight.any()]
        return float(np.mean(losses)) if losses else None

    def _step(self, rows: slice, batch: _Batch, ratio: NDArray[np.float64]) -> float:
        cost = self._price(batch.records, ratio)
        if not self.scale:
            self.scale = float(np.abs(cost[batch.weight > 0.0]).mean()) or 1.0
        devices, weight = len(cost), torch.from_numpy(np.repeat(batch.weight, cost.shape[2], axis=1))
        reward = torch.from_numpy((-cost / self.scale).astype(np.float32)).view(devices, -1)
        leaf = self.online.leaf(rows)
        q, target = self._errors(rows, leaf, batch, reward)
        loss = smooth_l1_loss(q, target, reduction="none") * weight
        loss = loss.sum(1) / weight.sum(1).clamp(min=1.0)
        loss.sum().backward()
        active = batch.weight.any(1)
        self.online.step(rows, leaf, None if active.all() else torch.from_numpy(active))
        self.updates[rows] += active
        copied = np.flatnonzero(active & (self.updates[rows] % self._config.target_every == 0))
        renewed = np.arange(len(self.updates))[rows][copied]
        self.target[renewed] = self.online.theta[renewed]
        return float(loss.detach().sum()) / int(active.sum())

    def _errors(self, rows: slice, leaf: Tensor, batch: _Batch, reward: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the decisions taken, and their targets, each (D, B * S)."""
        records = batch.records
        devices = len(records)
        x, next_x = (column(records, name).view(devices, -1, self._features) for name in ("x", "next_x"))
        server = column(records, "server").view(devices, -1, 1)
        flat = records.reshape(-1, records.shape[2])
        local = np.repeat(np.arange(devices), records.shape[1])
        events = self._events(flat, batch.initial.reshape(-1, batch.initial.shape[-1]), local)
        parameters = self.online.views(leaf)
        before, after = scan(*events, gru(parameters, "memory"))
        if "untrained_memory" in self._defects:
            before = before.detach()
        q = self._q(parameters, x, before.view(devices, x.shape[1], -1)).gather(-1, server).squeeze(-1)
        if "no_bootstrap" in self._defects:
            return q, reward
        with torch.no_grad():
            old = self.online.views(self.target[rows])
            _, old_after = scan(*events, gru(old, "memory"))
            following = self._q(old, next_x, old_after.view(devices, x.shape[1], -1))
            if "single_q" in self._defects:
                value = following.amax(-1)
            else:
                chosen = self._q(parameters, next_x, after.view(devices, x.shape[1], -1)).argmax(-1, keepdim=True)
                value = following.gather(-1, chosen).squeeze(-1)
        return q, reward + self._config.discount * value

    @staticmethod
    def _trunk(parameters: Parameters, x: Tensor) -> Tensor:
        return linear(parameters, "trunk.1", linear(parameters, "trunk.0", x).relu()).relu()

    def _q(self, parameters: Parameters, x: Tensor, memory: Tensor) -> Tensor:
        """Values (D, n, n_choices) of features (D, n, F) and states (D, n, H)."""
        latent = self._trunk(parameters, x)
        advantage = linear(parameters, "advantage", latent)
        value = linear(parameters, "value.0", torch.cat([latent, memory], dim=-1)).relu()
        return linear(parameters, "value.1", value) + advantage - advantage.mean(-1, keepdim=True)

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[Parameters, dict[str, NDArray[Any]]]:
        """Live tensors and arrays that later training depends on, beside `scale`."""
        tensors = {f"online.{name}": value for name, value in self.online.state().items()}
        names = ("updates", "partial", "filled", "carried", "replay", "initial", "pushed", "used")
        arrays = {name: getattr(self, name if name == "updates" else f"_{name}") for name in names}
        return {**tensors, "target": self.target}, arrays
