"""Both time scales: which experts are loaded for an epoch, and a gate that routes its prompts, as a `System`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.rng import stream_key, uniform
from .constraints import Constraints, EnergyModel, make_constraints
from .costs import means
from .instance import Budgets, FloatArray, Instance
from .monotone import mask_of, members
from .optimum import Selection, solve
from .selection_system import share, violation
from .systems import (
    BUDGET_STREAM,
    PROMPT_STREAM,
    Batch,
    System,
    binary,
    check_arrays,
    check_horizon,
    check_number,
)

DRIFTS = ("sinusoid", "walk", "none")
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
_STATE = (("seed", np.uint64), ("episode", np.int64), ("loaded", np.uint64), ("epoch", np.int64))


@dataclass
class _Lane:
    """One episode."""

    seed: int = 0
    episode: int = -1
    loaded: int = 0
    epoch: int = 0
    budgets: Budgets = field(default_factory=Budgets)
    constraints: Constraints | None = None


class TwoLevelSystem(System):
    """Lanes in which a subset is loaded at every epoch under drifting budgets.

    Args:
        instance: experts and prompts; its gate scores route, without them the mean quality of a prompt's category.
        lanes: number of lanes.
        budgets: around which budgets drift.
        epoch_prompts: prompts per epoch B.
        drift: ``"sinusoid"``, ``"walk"`` or ``"none"``, of the energy budget.
        amplitude: largest drift, on a logarithmic scale.
        period: epochs of a sinusoid's period.
        loading_price: price of the loading energy of one epoch, per mean request's energy of its prompts.
        energy_model: ``"all"`` or ``"topk"``.
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
        horizon: float,
    ) -> None:
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
        self.horizon = check_horizon(horizon, "epochs")
        self._energy, self._delay, self._category_quality = means(instance)
        make_constraints(instance, budgets, energy_model)  # says what does not fit
        self._cumulative = np.cumsum(instance.prompts.weight)
        scores = instance.prompts.scores
        self._scores = self._category_quality[instance.prompts.category] if scores is None else scores
        self._lanes = [_Lane() for _ in range(lanes)]
        self._seeded = False
        self._optima: dict[float, Selection] = {}
        n, categories = instance.n, len(instance.categories)
        sizes = {"experts": n * (2 * categories + 3), "loaded": n, "budget": 1, "steps_left": 1}
        self.layout, start = {}, 0
        for name, size in sizes.items():
            self.layout[name] = slice(start, start + size)
            start += size
        self.width, self.n_mask = start, 2 * n

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

    def _set_budgets(self, lane: _Lane) -> None:
        assert self.base.E_max is not None
        lane.budgets = self.base.model_copy(update={"E_max": self.base.E_max * math.exp(self._level(lane))})
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
            lane.episode, lane.loaded, lane.epoch = lane.episode + 1, 0, 0
            self._set_budgets(lane)
            self._show(batch, i, lane)
        return batch

    def step(self, actions: NDArray[np.int64], skip: NDArray[np.bool_]) -> Batch:
        """See `System.step`."""
        batch = self._batch()
        for i in np.flatnonzero(~skip).tolist():
            lane = self._lanes[i]
            assert lane.constraints is not None
            wanted = mask_of(np.flatnonzero(actions[i]).tolist())
            excess = violation(lane.constraints, wanted)
            wanted = 0 if excess > 0.0 else wanted
            joules, seconds = self._loading(wanted & ~lane.loaded)
            quality = self._routed(lane, wanted)
            loading = self.loading_price * joules / (self.epoch_prompts * max(float(np.median(self._energy)), 1e-12))
            budget = float(lane.budgets.E_max or 0.0)
            lane.loaded, lane.epoch = wanted, lane.epoch + 1
            self._set_budgets(lane)
            self._show(batch, i, lane)
            cost = (loading - quality) + excess
            batch.out[:, i] = (
                *(cost, 1.0, lane.epoch, -quality, loading, excess),
                *(quality, joules, seconds, budget),
            )
            batch.truncated[i] = lane.epoch >= self.horizon
        return batch

    def _loading(self, fresh: int) -> tuple[float, float]:
        """(joules, seconds of the slowest device) of loading experts; models on one device load one after another."""
        joules, busy = 0.0, dict.fromkeys(self.instance.devices, 0.0)
        for i in members(fresh):
            expert = self.instance.experts[i]
            seconds = expert.mem_GB / LOADING_GB_S
            joules += (expert.P_idle + LOADING_WATTS) * seconds
            busy[expert.device] += seconds
        return joules, max(busy.values())

    def _routed(self, lane: _Lane, subset: int) -> float:
        """Mean expected quality when the gate sends the epoch's prompts to its favourites in a subset."""
        if not subset:
            return 0.0
        key = np.uint64(stream_key(np.uint64(lane.seed), lane.episode, PROMPT_STREAM, 0))
        first = lane.epoch * self.epoch_prompts
        draws = [float(uniform(key, first + j)) for j in range(self.epoch_prompts)]
        rows = np.minimum(np.searchsorted(self._cumulative, draws), len(self._cumulative) - 1)
        chosen = np.array(members(subset))
        favourite = chosen[self._scores[np.ix_(rows, chosen)].argmax(axis=1)]
        return float(self.instance.prompts.Q[rows, favourite].mean())

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        return Batch.make(self.lanes, self.width, len(_ROWS), self.n_mask)

    def _features(self, lane: _Lane) -> FloatArray:
        """Per expert: quality and delay share of every category, energy share, memory, size."""
        categories, budgets = len(self.instance.categories), lane.budgets
        table = np.zeros((self.instance.n, 2 * categories + 3))
        table[:, :categories] = self._category_quality.T
        if budgets.tau is not None:
            alone = budgets.t_gate + self._delay + budgets.t_agg
            table[:, categories : 2 * categories] = share(alone.T, np.array(budgets.tau))
        table[:, 2 * categories] = share(self._energy, np.array(budgets.E_max))
        for i, expert in enumerate(self.instance.experts):
            table[i, 2 * categories + 1 :] = expert.mem_GB, expert.params_B
        return table.ravel()

    def _show(self, batch: Batch, i: int, lane: _Lane) -> None:
        obs, layout = batch.obs[i], self.layout
        obs[layout["experts"]] = self._features(lane)
        for j in members(lane.loaded):
            obs[layout["loaded"].start + j] = 1.0
        obs[layout["budget"]] = self._level(lane)
        obs[layout["steps_left"]] = max(1.0 - lane.epoch / self.horizon, 0.0)
        batch.mask[i] = True
        batch.out[2, i], batch.out[9, i] = lane.epoch, lane.budgets.E_max or 0.0

    def pending(self) -> Batch:
        """See `System.pending`."""
        batch = self._batch()
        for i, lane in enumerate(self._lanes):
            if lane.constraints is not None:
                self._show(batch, i, lane)
        return batch

    def budgets_of(self, lane: int) -> Budgets:
        """Budgets of a lane's current epoch."""
        return self._lanes[lane].budgets

    def selection(self, lane: int = 0) -> Selection:
        """The certified best subset under a lane's current budgets."""
        return self._solved(float(self._lanes[lane].budgets.E_max or 0.0))

    def most_lenient(self) -> Selection:
        """The certified best subset under the most lenient budgets of the drift: no epoch allows a better one."""
        top = 0.0 if self.drift == "none" else self.amplitude
        return self._solved(float(self.base.E_max or 0.0) * math.exp(top))

    def _solved(self, energy: float) -> Selection:
        if energy not in self._optima:
            if len(self._optima) >= 512:
                self._optima.clear()
            budgets = self.base.model_copy(update={"E_max": energy})
            self._optima[energy] = solve(self.instance, budgets, energy_model=self.energy_model)
        return self._optima[energy]

    def parse(self, actions: Any, lanes: int | None) -> NDArray[np.int64]:
        """See `System.parse`."""
        return binary(actions, self.instance.n, lanes)

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
        for i, lane in enumerate(self._lanes):
            for name, _ in _STATE:
                setattr(lane, name, int(state[name][i]))
            self._set_budgets(lane)
        self._seeded = True
