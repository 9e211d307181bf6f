"""Both time scales: which experts are loaded for an epoch, and who answers each of its prompts, as a `System`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.rng import stream_key, uniform
from ..core.streams import BUDGET_STREAM, PROMPT_STREAM
from .constraints import Constraints, EnergyModel, make_constraints
from .costs import means
from .expert_features import expert_features
from .instance import Budgets, Instance
from .monotone import mask_of, members
from .objective import value_of_quality
from .optimum import Selection, solve
from .route_system import prompt_parts
from .selection_system import violation
from .systems import (
    Batch,
    System,
    binary,
    check_arrays,
    check_horizon,
    check_number,
)

DRIFTS = ("sinusoid", "walk", "none")
ROUTINGS = ("gate", "agent")
SELECTING = -1
"""In place of a prompt's number: the epoch's selection is due."""
LOADING_GB_S = 2.0
"""Memory that a device loads per second (our choice)."""
LOADING_WATTS = 20.0
"""Power above idle while a model is loaded (our choice)."""

_ROWS = (
    ("", "cost"),
    ("", "duration"),
    ("", "time"),
    ("cost_terms", "quality"),
    ("cost_terms", "loading"),
    ("cost_terms", "violation"),
    ("", "quality"),
    ("", "loading_J"),
    ("", "loading_s"),
    ("", "energy_budget"),
)
_STATE = (("seed", np.uint64), ("episode", np.int64), ("loaded", np.uint64), ("epoch", np.int64), ("prompt", np.int64))


@dataclass
class _Lane:
    """One episode."""

    seed: int = 0
    episode: int = -1
    loaded: int = 0
    epoch: int = 0
    prompt: int = SELECTING
    budgets: Budgets = field(default_factory=Budgets)
    constraints: Constraints | None = None


class TwoLevelSystem(System):
    """Lanes in which a subset is loaded at every epoch under drifting budgets.

    Args:
        instance: experts and prompts; its gate scores route, without them the mean quality of a prompt's category.
            Where the agent routes, it is only shown them.
        lanes: number of lanes.
        budgets: around which budgets drift.
        epoch_prompts: prompts per epoch B.
        drift: ``"sinusoid"``, ``"walk"`` or ``"none"``, of the energy budget.
        amplitude: largest drift, on a logarithmic scale.
        period: epochs of a sinusoid's period.
        loading_price: price of the loading energy of one epoch, per mean request's energy of its prompts.
        energy_model: ``"all"`` or ``"topk"``.
        routing: ``"gate"``, or ``"agent"``: a decision for each prompt follows that for the epoch.
        horizon: epochs of an episode.

    Raises:
        InvalidInputError: an argument is out of range.
    """

    rows = _ROWS

    def __init__(
        self,
        instance: Instance,
        lanes: int,
        *,
        budgets: Budgets,
        epoch_prompts: int,
        drift: str,
        amplitude: float,
        period: float,
        loading_price: float,
        energy_model: EnergyModel,
        routing: str,
        horizon: float,
    ) -> None:
        if routing not in ROUTINGS:
            raise InvalidInputError.of("routing", f"one of {', '.join(ROUTINGS)}", routing)
        if drift not in DRIFTS:
            raise InvalidInputError.of("drift", f"one of {', '.join(DRIFTS)}", drift)
        if budgets.E_max is None:
            raise InvalidInputError("budgets: the energy budget E_max is what drifts; give one")
        if isinstance(epoch_prompts, bool) or not isinstance(epoch_prompts, int) or not 1 <= epoch_prompts <= 10**6:
            raise InvalidInputError.of("epoch_prompts", "an integer in [1, 1000000]", epoch_prompts)
        self.instance, self.lanes, self.drift = instance, lanes, drift
        self.base, self.epoch_prompts = budgets, epoch_prompts
        self.amplitude = check_number("amplitude", amplitude, 0.0, 10.0)
        self.period = check_number("period", period, 0.0, open_low=True)
        self.loading_price = check_number("loading_price", loading_price, 0.0)
        self.energy_model: EnergyModel = energy_model
        self.agent_routes = routing == "agent"
        self.horizon = check_horizon(horizon, "epochs")
        self._energy, _, quality = means(instance)
        make_constraints(instance, budgets, energy_model)  # says what does not fit
        self._cumulative = np.cumsum(instance.prompts.weight)
        scores = instance.prompts.scores
        self._scores = quality[instance.prompts.category] if scores is None else scores
        self._lanes = [_Lane() for _ in range(lanes)]
        self._seeded = False
        self._optima: dict[float, Selection] = {}
        n, categories = instance.n, len(instance.categories)
        sizes = {"experts": n * (2 * categories + 4), "loaded": n, "budget": 1, "steps_left": 1}
        if self.agent_routes:
            self._head, parts = prompt_parts(instance)
            sizes |= {"selecting": 1} | parts
        self.layout, start = {}, 0
        for name, size in sizes.items():
            self.layout[name] = slice(start, start + size)
            start += size
        self.width, self.n_mask = start, 2 * n + (n if self.agent_routes else 0)

    # --- drift --------------------------------------------------------------------------------------------------------

    def _level(self, lane: _Lane) -> float:
        """Logarithm of the current energy budget over the base: a pure function of seed, episode and epoch."""
        key = np.uint64(stream_key(np.uint64(lane.seed), max(lane.episode, 0), BUDGET_STREAM, 0))
        if self.drift == "none":
            return 0.0
        if self.drift == "sinusoid":
            phase = float(uniform(key, 0))
            return self.amplitude * math.sin(2.0 * math.pi * (lane.epoch / self.period + phase))
        level = self.amplitude * (2.0 * float(uniform(key, 0)) - 1.0)
        for epoch in range(1, lane.epoch + 1):  # a walk that is reflected at the amplitude
            level += 0.5 * self.amplitude * (2.0 * float(uniform(key, epoch)) - 1.0)
            level = max(min(level, 2.0 * self.amplitude - level), -2.0 * self.amplitude - level)
        return level

    def _drifted(self, lane: _Lane) -> Budgets:
        """The budgets that follow from a lane's seed, episode and epoch."""
        assert self.base.E_max is not None
        return self.base.model_copy(update={"E_max": self.base.E_max * math.exp(self._level(lane))})

    def _set_budgets(self, lane: _Lane) -> None:
        lane.budgets = self._drifted(lane)
        lane.constraints = make_constraints(self.instance, lane.budgets, self.energy_model)

    # --- episodes -----------------------------------------------------------------------------------------------------

    def seed(self, seeds: NDArray[np.uint64]) -> None:
        """See `System.seed`."""
        for lane, seed in zip(self._lanes, seeds.tolist(), strict=True):
            lane.seed, lane.episode = seed, -1
        self._seeded = True

    @property
    def seeded(self) -> bool:
        """See `System.seeded`."""
        return self._seeded

    def reset(self, mask: NDArray[np.bool_], results: Batch | None = None) -> Batch:
        """See `System.reset`."""
        batch = results or self._batch()
        for i in np.flatnonzero(mask).tolist():
            lane = self._lanes[i]
            lane.episode, lane.loaded, lane.epoch, lane.prompt = lane.episode + 1, 0, 0, SELECTING
            self._set_budgets(lane)
            self._show(batch, i, lane)
        return batch

    def step(self, actions: NDArray[np.int64], skip: NDArray[np.bool_]) -> Batch:
        """See `System.step`."""
        batch, n = self._batch(), self.instance.n
        for i in np.flatnonzero(~skip).tolist():
            lane, action = self._lanes[i], actions[i]
            budget = float(lane.budgets.E_max or 0.0)
            if lane.prompt == SELECTING:
                quality, loading, excess, joules, seconds = self._select(lane, action[:n])
                worth = quality
            else:
                quality, (loading, excess, joules, seconds) = self._answered(lane, int(action[n])), (0.0,) * 4
                worth = quality / self.epoch_prompts
            self._advance(lane)
            self._show(batch, i, lane)
            cost, duration = (loading - worth) + excess, 1.0 / self._decisions
            batch.out[:, i] = (
                *(cost, duration, self._time(lane), -worth, loading, excess),
                *(quality, joules, seconds, budget),
            )
            batch.truncated[i] = self._time(lane) >= self.horizon
        return batch

    @property
    def _decisions(self) -> int:
        """Decisions of an epoch, which share its time equally."""
        return 1 + self.epoch_prompts if self.agent_routes else 1

    def _time(self, lane: _Lane) -> float:
        """Epochs since the episode began."""
        return lane.epoch + (lane.prompt - SELECTING) / self._decisions

    def _advance(self, lane: _Lane) -> None:
        """Go on to the epoch's next prompt, or to the next epoch."""
        if self.agent_routes and lane.prompt + 1 < self.epoch_prompts:
            lane.prompt += 1
        else:
            lane.epoch, lane.prompt = lane.epoch + 1, SELECTING
            self._set_budgets(lane)

    def _select(self, lane: _Lane, chosen: NDArray[np.int64]) -> tuple[float, float, float, float, float]:
        """Load a subset, and let the gate answer: (mean quality, price of loading, excess, joules, seconds)."""
        assert lane.constraints is not None
        wanted = mask_of(np.flatnonzero(chosen).tolist())
        excess = violation(lane.constraints, wanted)
        wanted = 0 if excess > 0.0 else wanted
        joules, seconds = self._loading(wanted & ~lane.loaded)
        loading = self.loading_price * joules / (self.epoch_prompts * max(float(np.median(self._energy)), 1e-12))
        lane.loaded = wanted
        return 0.0 if self.agent_routes else self._routed(lane), loading, excess, joules, seconds

    def _loading(self, fresh: int) -> tuple[float, float]:
        """(joules, seconds of the slowest device) of loading experts; models on one device load one after another."""
        joules, busy = 0.0, dict.fromkeys(self.instance.devices, 0.0)
        for i in members(fresh):
            expert = self.instance.experts[i]
            seconds = expert.mem_GB / LOADING_GB_S
            joules += (expert.P_idle + LOADING_WATTS) * seconds
            busy[expert.device] += seconds
        return joules, max(busy.values())

    def _rows_of(self, lane: _Lane, numbers: Iterable[int]) -> NDArray[np.int64]:
        """Rows of the prompts with these numbers in the lane's epoch."""
        key = np.uint64(stream_key(np.uint64(lane.seed), lane.episode, PROMPT_STREAM, 0))
        draws = [float(uniform(key, lane.epoch * self.epoch_prompts + j)) for j in numbers]
        return np.minimum(np.searchsorted(self._cumulative, draws), len(self._cumulative) - 1)

    def _routed(self, lane: _Lane) -> float:
        """Mean expected quality when the gate sends the epoch's prompts to its favourites among the loaded."""
        if not lane.loaded:
            return 0.0
        rows = self._rows_of(lane, range(self.epoch_prompts))
        return float(self.instance.prompts.Q[rows, self.favourites(rows, members(lane.loaded))].mean())

    def favourites(self, rows: NDArray[np.int64], loaded: Iterable[int]) -> NDArray[np.int64]:
        """Which of some loaded experts the gate sends prompts to, (rows,)."""
        chosen = np.array(list(loaded))
        found: NDArray[np.int64] = chosen[self._scores[np.ix_(rows, chosen)].argmax(axis=1)]
        return found

    def _answered(self, lane: _Lane, expert: int) -> float:
        """Expected quality of the pending prompt's answer; 0 from an expert that is not loaded."""
        if not lane.loaded >> expert & 1:
            return 0.0
        return float(self.instance.prompts.Q[self._rows_of(lane, [lane.prompt])[0], expert])

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        return Batch.make(self.lanes, self.width, len(_ROWS), self.n_mask)

    def _show(self, batch: Batch, i: int, lane: _Lane) -> None:
        obs, layout = batch.obs[i], self.layout
        obs[layout["experts"]] = expert_features(self.instance, self.constraints_of(i)).ravel()
        for j in members(lane.loaded):
            obs[layout["loaded"].start + j] = 1.0
        obs[layout["budget"]] = self._level(lane)
        obs[layout["steps_left"]] = max(1.0 - self._time(lane) / self.horizon, 0.0)
        if self.agent_routes:
            obs[layout["selecting"]] = lane.prompt == SELECTING
            if lane.prompt != SELECTING:
                obs[layout["phi"].start :] = self._head[self._rows_of(lane, [lane.prompt])[0]]
        batch.mask[i] = self._mask(lane)
        batch.out[2, i], batch.out[9, i] = self._time(lane), lane.budgets.E_max or 0.0

    def _mask(self, lane: _Lane) -> NDArray[np.bool_]:
        """Out and in of every expert, then experts for the prompt; what is not decided now has one allowed value."""
        n, mask = self.instance.n, np.ones(self.n_mask, bool)
        if self.agent_routes:
            loaded = np.array([lane.loaded >> j & 1 for j in range(n)], bool)
            if lane.prompt == SELECTING:
                mask[2 * n + 1 :] = False
            else:
                mask[: 2 * n] = np.stack([~loaded, loaded], axis=1).ravel()
                mask[2 * n :] = loaded if lane.loaded else True
        return mask

    def pending(self) -> Batch:
        """See `System.pending`."""
        batch = self._batch()
        for i, lane in enumerate(self._lanes):
            if lane.constraints is not None:
                self._show(batch, i, lane)
        return batch

    def budgets_of(self, lane: int) -> Budgets:
        """Budgets of a lane's current epoch; before the first reset those of seed 0."""
        one = self._lanes[lane]
        return self._drifted(one) if one.constraints is None else one.budgets

    def constraints_of(self, lane: int) -> Constraints:
        """What a selection must keep in a lane's current epoch."""
        found = self._lanes[lane].constraints
        assert found is not None
        return found

    def prompts_of(self, lane: int) -> NDArray[np.int64]:
        """Rows of the prompts of a lane's current epoch."""
        return self._rows_of(self._lanes[lane], range(self.epoch_prompts))

    def loaded(self, lane: int) -> tuple[int, ...]:
        """Experts that run in a lane."""
        return tuple(members(self._lanes[lane].loaded))

    def selection(self, lane: int = 0) -> Selection:
        """The certified best subset under a lane's current budgets."""
        return self._solved(float(self.budgets_of(lane).E_max or 0.0))

    def most_lenient(self) -> Selection:
        """The certified best subset under the most lenient budgets of the drift: no epoch allows a better one."""
        return self._at_end(1.0)

    def strictest(self) -> Selection:
        """The certified best subset under the strictest budgets of the drift: no epoch refuses it."""
        return self._at_end(-1.0)

    def _at_end(self, side: float) -> Selection:
        level = 0.0 if self.drift == "none" else side * self.amplitude
        return self._solved(float(self.base.E_max or 0.0) * math.exp(level))

    def _solved(self, energy: float) -> Selection:
        if energy not in self._optima:
            if len(self._optima) >= 512:
                self._optima.clear()
            budgets = self.base.model_copy(update={"E_max": energy})
            self._optima[energy] = solve(
                self.instance, budgets, energy_model=self.energy_model, objective=value_of_quality(self.instance)
            )
        return self._optima[energy]

    def parse(self, actions: Any, lanes: int | None) -> NDArray[np.int64]:
        """See `System.parse`."""
        n = self.instance.n
        if not self.agent_routes:
            return binary(actions, n, lanes)
        shape = (n + 1,) if lanes is None else (lanes, n + 1)
        array = np.asarray(actions)
        limits = np.array([2] * n + [n])
        if array.shape != shape or array.dtype.kind not in "iu" or not ((array >= 0) & (array < limits)).all():
            what = f"an integer array of shape {shape}: {n} times 0 or 1, then an expert in [0, {n - 1}]"
            raise InvalidInputError.of("action", what, actions)
        return array.reshape(-1, n + 1).astype(np.int64)

    # --- state --------------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """See `System.get_state`; budgets and prompts follow from seed, episode and epoch."""
        return {name: np.array([getattr(lane, name) for lane in self._lanes], kind) for name, kind in _STATE}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """See `System.set_state`."""
        check_arrays(self.get_state(), state)
        limit = min(self.horizon, 1e9)
        if (state["loaded"] >> np.uint64(self.instance.n)).any() or (state["episode"] < 0).any():
            raise InvalidInputError("state: unknown experts are loaded, or no episode has begun")
        if (state["epoch"] < 0).any() or (state["epoch"] > math.ceil(limit)).any():
            raise InvalidInputError("state: the epoch must lie within the horizon")
        last = self.epoch_prompts - 1 if self.agent_routes else SELECTING
        if (state["prompt"] < SELECTING).any() or (state["prompt"] > last).any():
            raise InvalidInputError(f"state: the prompt's number must lie in [{SELECTING}, {last}]")
        for i, lane in enumerate(self._lanes):
            for name, _ in _STATE:
                setattr(lane, name, int(state[name][i]))
            self._set_budgets(lane)
        self._seeded = True
