"""From episodes of asynchronous decision makers to priced training batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from ...envs.aoi_offload.state import DELAY, JOINT, KIND, UPDATE
from ...envs.core.errors import InvalidInputError
from ..fractional.transitions import Transitions, advantages, cycle_rates, eligibility_traces, transitions
from ..networks.asynchronous import EventCritic, HybridActor, Window
from ..networks.event_table import table_features, table_width
from ..networks.features import N_KINDS
from .events import Episode, Events, events_of
from .module import CARRIER, CONTEXT, DEVICE, ELAPSED, ROWS, AsyncFractionalModule
from .pricing import CriticScale, Pricing, pooled

Floats = NDArray[np.float64]
_CHUNK = 65536  # rows of a critic's forward pass without gradient


class _Priced(NamedTuple):
    """What the learner needs of R transitions: advantages of the reward, and targets (R, 2) of cost and duration."""

    advantage: Floats
    targets: Floats


class SemiMarkovAdvantages(ConnectorV2):
    """Learner connector: regroups events by device, prices them with the ratios, and computes semi-Markov advantages.

    The whole learner pipeline in one piece. A decision of a device is trained on in the chunk in which its *outcome*,
    the device's next decision, falls, exactly once, also if the decision itself lies in the lookback; a decision
    without outcome is masked. Where all devices share one cost (team objective), ``chain="system"`` makes the next
    decision of *any* device the outcome: the noise of what the others do in a device's own interval is gone.

    Reward is -(cost - ratio * duration) with the deciding device's ratio, from raw cost and duration in the infos.
    Values are differential for the average criterion (default), or discounted by ``exp(-duration / horizon)`` or per
    decision. Advantages are standardised per kind of decision.

    Works on the episodes of `EventStreamEnvRunner` and of RLlib's own single- and multi-agent env runners.

    Args:
        pricing: ratios, scales and the linear critic; it is updated by every call.
        segment: length of the segments into which windows are cut for training, in events.
        **kwargs: of `ConnectorV2`.
    """

    def __init__(self, pricing: Pricing, segment: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pricing, self.segment = pricing, segment

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Episode],
        explore: bool | None = None,
        shared_data: dict[Any, Any] | None = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """A batch of windows for every module that decides in the episodes."""
        modules: dict[str, AsyncFractionalModule] = {name: module.unwrapped() for name, module in rl_module.items()}
        any_module = next(iter(modules.values()))
        events = events_of(episodes, any_module.n_edges, any_module.n_devices)
        self._measure(events, metrics)
        device, system = _chains(events, any_module.n_devices)
        follow = system if self.pricing.settings.chain == "system" else device
        for number, name in enumerate(events.modules):
            found = _trainable(events, transitions(follow), number)
            batch[name] = self._batch(events, device, found, modules[name], self.pricing.critics[name])
            if shared_data is not None:  # rows of the batch are whole segments
                shared_data[f"_zero_padded_for_mid={name}"] = True
        return batch

    def _measure(self, events: Events, metrics: Any) -> None:
        """Sums of raw cost and duration per device, for the outer loop."""
        devices, size = events.device[events.counted], self.pricing.n_devices
        cost = np.bincount(devices, events.cost[events.counted], size) + events.extra_cost
        duration = np.bincount(devices, events.duration[events.counted], size) + events.extra_duration
        self.pricing.observe(cost, duration)
        if metrics is not None:
            metrics.log_value("measured_ratio", float(cost.sum() / duration.sum()), window=1)
            metrics.log_value("ratio", float(self.pricing.ratio.mean()), window=1)

    def _batch(
        self,
        events: Events,
        chain: NDArray[np.int64],
        found: Transitions,
        module: AsyncFractionalModule,
        critic: CriticScale,
    ) -> dict[str, Any]:
        shape, place = events.device.shape, module.actor.log_scale.device
        columns = events.observation, np.maximum(events.device, 0), events.carrier, events.elapsed
        window = Window(*(torch.from_numpy(column).to(place) for column in columns))
        fresh = not critic.calibrated
        _calibrate(window, found, module, critic)
        cost, duration = self._outcomes(events, chain, found)
        known = np.isfinite(cost)
        found, cost, duration = found.select(known), cost[known], duration[known]
        alive = ~events.terminal.ravel()[found.end]
        kind = events.observation[..., KIND].ravel()[found.start].astype(np.int64)
        device = events.device.ravel()[found.start]
        context = window.elapsed.new_zeros(*shape, 0)
        if module.critic is not None:
            context = module.critic.contexts(window)
            values = _network_values(module.critic, critic, window, context, found, alive)
        else:
            values = self._linear_values(module, critic, events, found, alive, cost, duration)
        priced = self._price(found, cost, duration, device, *values)
        # Statistics of the first batch change what the actor computes: its log-probabilities are stale, so it rests.
        advantage = np.zeros_like(priced.advantage) if fresh else _standardise(priced.advantage, kind)
        targets = priced.targets if module.critic is None else _normalised(priced.targets, module.critic, critic)
        critic.calibrated = True
        marked = _spread(np.ones(len(found.start)), found, shape) > 0
        result = {
            Columns.OBS: window.observation,
            DEVICE: window.device,
            CARRIER: window.action,
            ELAPSED: window.elapsed,
            CONTEXT: context,
            ROWS: marked.to(place),
            Columns.ACTION_LOGP: torch.from_numpy(events.logp).to(place),
            Postprocessing.ADVANTAGES: _spread(advantage, found, shape).to(place),
            Postprocessing.VALUE_TARGETS: _spread(targets, found, shape).to(place),
        }
        return _segments(result, self.segment)

    def _outcomes(self, events: Events, chain: NDArray[np.int64], found: Transitions) -> tuple[Floats, Floats]:
        """Cost and duration of transitions, as the learner prices them (NaN: not known)."""
        settings = self.pricing.settings
        cost, duration = events.cost.ravel()[found.end], events.duration.ravel()[found.end]
        if settings.chain == "system":  # what the whole system accrues between two events of whichever devices
            total, time = events.total_cost.ravel(), events.time.ravel()
            cost, duration = total[found.end] - total[found.start], time[found.end] - time[found.start]
            if not np.isfinite(cost).all():
                raise InvalidInputError("chain: system needs the sums of costs that only EventStreamEnvRunner tells")
        if not settings.fractional:
            completion = (np.isin(events.observation[..., KIND], (UPDATE, JOINT)) & events.pending).ravel()
            delay = events.observation[..., DELAY].ravel().astype(np.float64)
            sums = events.cost.ravel(), events.duration.ravel()
            cost = cycle_rates(chain, completion, delay, *sums, settings.trapezoid)[found.end]
        return _pulled_in(cost, settings.winsorise), duration

    def _linear_values(
        self,
        module: AsyncFractionalModule,
        critic: CriticScale,
        events: Events,
        found: Transitions,
        alive: NDArray[np.bool_],
        cost: Floats,
        duration: Floats,
    ) -> tuple[Floats, Floats]:
        """Values (R, 2) of cost and duration at both ends of the transitions, by least squares on the same batch."""
        assert critic.lstd is not None
        features, leverage = _table(module, critic, events) if module.table else _own(module, events)
        before, after = features[found.start], features[found.end] * alive[:, None]
        settings, traces = self.pricing.settings, None
        discount = settings.discount(duration)
        if settings.critic_lam > 0.0:
            traces = eligibility_traces(before, settings.critic_lam * discount, found.last)
        shrink = None if settings.average else discount
        critic.lstd.update(before, after, cost, duration, leverage[found.start], shrink, traces, pool=pooled)
        return before @ critic.lstd.solution, after @ critic.lstd.solution

    def _price(
        self,
        found: Transitions,
        cost: Floats,
        duration: Floats,
        device: NDArray[np.int64],
        before: Floats,
        after: Floats,
    ) -> _Priced:
        pricing, settings = self.pricing, self.pricing.settings
        discount = settings.discount(duration)
        carry = pricing.lam * discount
        deltas = np.stack([cost, duration], axis=1) + discount[:, None] * after - before
        ratio = pricing.ratio[device] if settings.chain == "device" else pricing.ratio.mean()
        ratio = ratio * settings.fractional
        reward = _pulled_in(-(deltas[:, 0] - ratio * deltas[:, 1]), settings.winsorise)
        targets = np.empty_like(deltas)
        group, groups = (device, pricing.n_devices) if settings.per_device_gain else (np.zeros_like(device), 1)
        if settings.average:
            reward = reward - _mean_by(reward, group, groups)
        for column in range(2):
            delta = _pulled_in(deltas[:, column], settings.winsorise)
            if settings.average:
                delta = delta - _mean_by(delta, group, groups)
            targets[:, column] = advantages(delta, carry, found.last) + before[:, column]
            if settings.average:  # relative values have a free constant; this fixes it
                targets[:, column] -= _mean_by(targets[:, column], group, groups)
        return _Priced(advantages(reward, carry, found.last), targets)


def _normalised(targets: Floats, network: EventCritic, critic: CriticScale) -> Floats:
    """Targets in the units of the critic's output, whose scale follows theirs without changing its predictions."""
    centre, spread = _moments(targets)
    keep = 1.0 - 1.0 / critic.memory if critic.calibrated else 0.0
    old_centre, old_scale = critic.centre, critic.scale
    critic.centre = keep * old_centre + (1.0 - keep) * centre
    critic.scale = np.maximum(keep * old_scale + (1.0 - keep) * spread, 1e-9)
    head = network.head
    with torch.no_grad():
        factor = torch.from_numpy(old_scale / critic.scale).to(head.weight)
        shift = torch.from_numpy((old_centre - critic.centre) / critic.scale).to(head.weight)
        head.weight.mul_(factor[:, None])
        head.bias.mul_(factor).add_(shift)
    return (targets - critic.centre) / critic.scale


def _calibrate(window: Window, found: Transitions, module: AsyncFractionalModule, critic: CriticScale) -> None:
    """Statistics of the observation: those of the first batch, then those of about the last `critic.memory` ones."""
    seen = window.observation.flatten(0, 1)[torch.from_numpy(np.union1d(found.start, found.end))]
    features = module.actor.features
    values = features.values(seen)
    sums = torch.stack([values.sum(0), (values**2).sum(0), torch.ones_like(values).sum(0)])
    mean, square, count = torch.from_numpy(pooled(sums.cpu().numpy())).to(sums)
    if not count.any():  # one of several modules may have decided nothing
        return
    mean, square = mean / count, square / count
    if not critic.calibrated:
        features.mean.copy_(mean)
        features.var.copy_((square - mean**2).clamp(min=0.0))
        if module.critic is not None:
            module.critic.features.fit(seen)
        return
    keep = 1.0 - 1.0 / critic.memory
    square = keep * (features.var + features.mean**2) + (1.0 - keep) * square
    mean = keep * features.mean + (1.0 - keep) * mean
    var = (square - mean**2).clamp(min=0.0)
    for actor in (module.actor, None if module.average is None else module.average.module):
        if isinstance(actor, HybridActor):
            actor.rescale(mean, var)


def _chains(events: Events, n_devices: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The (system, device) and the system of every event, negative for padding, each shape (B T,)."""
    system = np.broadcast_to(np.arange(len(events.device))[:, None], events.device.shape)
    real = events.device >= 0
    return np.where(real, system * n_devices + events.device, -1).ravel(), np.where(real, system, -1).ravel()


def _own(module: AsyncFractionalModule, events: Events) -> tuple[Floats, Floats]:
    """Linear features (B T, width) of the own observation, and how much each event counts (B T,)."""
    flat = torch.from_numpy(events.observation).flatten(0, 1).to(module.actor.log_scale.device)
    features, leverage = module.actor.features.linear(flat)
    return features.cpu().numpy(), leverage.cpu().numpy()


def _table(module: AsyncFractionalModule, critic: CriticScale, events: Events) -> tuple[Floats, Floats]:
    """Features (B T, width) of the event table, and how much each event counts (B T,)."""
    wait = 0.5 * (events.carrier[..., 0].astype(np.float64) + 1.0)
    server = events.carrier[..., 1:].argmax(-1)
    seen = events.observation, events.device, events.time, server, wait
    features = table_features(events.table, *seen, module.longest).reshape(-1, table_width(module.n_edges))
    if not critic.calibrated:
        critic.fit(features[(events.counted & (events.device >= 0)).ravel()])
    return critic.standardised(features), np.ones(len(features))


def _trainable(events: Events, found: Transitions, module: int) -> Transitions:
    """Transitions of a module's decisions whose outcome falls into the chunk."""
    outcome = events.counted & events.pending
    decision = events.acted & (events.module == module)
    return found.select(outcome.ravel()[found.end] & decision.ravel()[found.start])


def _network_values(
    network: EventCritic,
    critic: CriticScale,
    window: Window,
    context: torch.Tensor,
    found: Transitions,
    alive: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Values (R, 2) of cost and duration at both ends of the transitions."""
    needed = np.union1d(found.start, found.end)
    columns, contexts = Window(*(column.flatten(0, 1) for column in window)), context.flatten(0, 1)
    values = np.zeros((len(contexts), 2))
    with torch.no_grad():
        for some in np.array_split(needed, -(-len(needed) // _CHUNK) or 1):
            index = torch.from_numpy(some)
            part = network.values(Window(*(column[index] for column in columns)), contexts[index])
            values[some] = part.double().cpu().numpy()
    values = critic.centre + critic.scale * values
    return values[found.start], values[found.end] * alive[:, None]


def _segments(columns: dict[str, torch.Tensor], length: int) -> dict[str, Any]:
    """Columns (B, T, ...) as segments (S, length, ...), those without a marked row left out, and ``seq_lens``.

    RLlib's minibatches are whole rows of a batch, their size is counted in ``seq_lens``: here the decisions of a
    segment that are trained on.
    """
    events = columns[ROWS].shape[1] - 1  # nothing follows a window's last event, so it is never trained on
    length = min(length, events)
    number = -(-events // length)
    marked = _cut(columns[ROWS], number, length)
    kept = marked.any(1)
    result: dict[str, Any] = {name: _cut(column, number, length)[kept] for name, column in columns.items()}
    result[Columns.SEQ_LENS] = marked[kept].sum(1).numpy()
    return result


def _cut(column: torch.Tensor, number: int, length: int) -> torch.Tensor:
    column = column[:, : number * length]
    missing = number * length - column.shape[1]
    if missing:
        column = torch.cat([column, column.new_zeros(len(column), missing, *column.shape[2:])], dim=1)
    return column.reshape(len(column) * number, length, *column.shape[2:])


def _spread(values: Floats, found: Transitions, shape: tuple[int, int]) -> torch.Tensor:
    """Values (R, ...) of transitions at the events of their decisions, zeros elsewhere, float32 (B, T, ...)."""
    flat = np.zeros((shape[0] * shape[1], *values.shape[1:]), np.float32)
    flat[found.start] = values
    return torch.from_numpy(flat.reshape(*shape, *values.shape[1:]))


def _pulled_in(values: Floats, share: float) -> Floats:
    """Values (R,) with the extreme share on either side pulled in to its quantile."""
    if share == 0.0 or not np.isfinite(values).any():
        return values
    low, high = np.nanquantile(values, [share, 1.0 - share])
    return np.clip(values, low, high)


def _mean_by(values: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    """Mean over each value's group, over all learners, shape (R,)."""
    counts = np.bincount(group, minlength=groups).astype(np.float64)
    sums = pooled(np.stack([np.bincount(group, values, groups), counts]))
    means: Floats = sums[0] / np.maximum(sums[1], 1.0)
    return means[group]


def _standardise(values: Floats, kind: NDArray[np.int64]) -> Floats:
    """Zero mean and unit deviation within each kind of decision: their scales have nothing in common."""
    centred = values - _mean_by(values, kind, N_KINDS)
    return centred / (np.sqrt(_mean_by(centred**2, kind, N_KINDS)) + 1e-8)


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each column (R, 2), over all learners."""
    sums = pooled(np.concatenate([values.sum(0), (values**2).sum(0), [len(values)]]))
    mean = sums[:2] / sums[4]
    return mean, np.sqrt(np.maximum(sums[2:4] / sums[4] - mean**2, 0.0))
