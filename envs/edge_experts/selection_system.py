"""Selecting experts one by one, or all at once, as a `System`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .constraints import Constraint, Constraints, EnergyModel, make_constraints
from .drawn_budgets import BudgetRange
from .expert_features import expert_features
from .instance import Budgets, FloatArray, Instance
from .monotone import mask_of, members
from .objective import value_of_quality
from .optimum import Selection, solve
from .search import Problem
from .systems import Batch, System, binary, check_arrays, check_horizon, discrete

_NO_LIMIT = -1.0  # of a budget, in states
REFUSED = 1.0
"""Cost of adding an expert that is selected already or does not fit."""

_ROWS = (
    ("", "cost"),
    ("", "duration"),
    ("", "time"),
    ("cost_terms", "quality"),
    ("cost_terms", "refused"),
    ("", "value"),
)
_STATE = (
    ("seed", np.uint64),
    ("episode", np.int64),
    ("subset", np.uint64),
    ("time", np.float64),
    ("value", np.float64),
)


@dataclass
class _Lane:
    """One episode."""

    subset: int = 0
    value: float = 0.0
    time: float = 0.0
    seed: int = 0
    episode: int = -1
    budgets: Budgets = field(default_factory=Budgets)
    constraints: Constraints | None = None
    problem: Problem | None = None
    rows: list[Constraint | None] = field(default_factory=list)
    fits: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    experts: FloatArray = field(default_factory=lambda: np.zeros(0))


class SelectionSystem(System):
    """Lanes in which a subset of experts is built, or given at once.

    Args:
        instance: experts and prompts.
        lanes: number of lanes.
        budgets: the same in every episode, or None to draw them from `ranges`.
        ranges: where budgets are drawn.
        energy_model: ``"all"`` or ``"topk"``.
        reveal_gain: show what every expert would add.
        once: an action is a whole subset and ends the episode.
        report_optimum: put the certified optimum of every episode into its numbers.
        horizon: decisions after which an episode is cut off.

    Raises:
        InvalidInputError: an argument is out of range.
    """

    def __init__(
        self,
        instance: Instance,
        lanes: int,
        *,
        budgets: Budgets | None,
        ranges: BudgetRange,
        energy_model: EnergyModel,
        reveal_gain: bool,
        once: bool,
        report_optimum: bool,
        horizon: float,
    ) -> None:
        ranges.check(len(instance.categories))
        self.instance, self.lanes, self.once, self.reveal_gain = instance, lanes, once, reveal_gain
        self.energy_model: EnergyModel = energy_model
        self._fixed, self.budget_range = budgets, ranges
        self._given: Budgets | None = None
        self._report = report_optimum
        self.horizon = check_horizon(horizon, "decisions")
        self.rows = (*_ROWS, ("", "f_opt")) if report_optimum else _ROWS  # type: ignore[misc]
        make_constraints(instance, budgets, energy_model)  # says what does not fit
        self._value = value_of_quality(instance)
        self._gain = self._value.gains()
        self._lanes = [_Lane() for _ in range(lanes)]
        self._seeded = False
        self._shown_rows = ["energy", *(f"delay of {name}" for name in instance.categories)]
        self._shown_rows += [f"memory of {device}" for device in self._memory()]
        self._optima: dict[Budgets | tuple[Any, ...], Selection] = {}
        n, categories = instance.n, len(instance.categories)
        sizes = {"experts": n * (2 * categories + 4), "selected": n, "slack": 1 + categories + len(self._memory())}
        if reveal_gain:
            sizes["gain"] = n
        self.layout, start = {}, 0
        for name, size in sizes.items():
            self.layout[name] = slice(start, start + size)
            start += size
        self.width, self.n_mask = start, 2 * n if once else n + 1

    def _memory(self) -> dict[str, float]:
        return self._usual().MEM

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

    def budgets(self, lane: int = 0) -> Budgets:
        """Budgets of a lane's current episode; before the first those of seed 0."""
        one = self._lanes[lane]
        return self._following(one) if one.constraints is None else one.budgets

    def reset(self, mask: NDArray[np.bool_], results: Batch | None = None) -> Batch:
        """See `System.reset`."""
        batch = results or self._batch()
        for i in np.flatnonzero(mask).tolist():
            lane = self._lanes[i]
            lane.episode += 1
            self._begin(lane, self._given)
            self._show(batch, i, lane)
        self._given = None
        return batch

    def give_budgets(self, given: Budgets | dict[str, Any] | None) -> None:
        """Set the budgets of the episodes that the next `reset` begins, instead of those that they would have.

        Args:
            given: budgets, or a dict of fields; None: nothing is given.

        Raises:
            InvalidInputError: a field is unknown or out of range, or another than `E_max` and `tau` differs: those are
                part of the observation's layout.
        """
        base = self._usual()
        if isinstance(given, dict):
            given = base.changed(**given)
        if not (given is None or isinstance(given, Budgets)):
            raise InvalidInputError.of("budgets", "Budgets or a dict of its fields", given)
        if given is not None and given.changed(E_max=base.E_max, tau=base.tau) != base:
            raise InvalidInputError("budgets: only E_max and tau may be given to a reset")
        if given is not None:
            make_constraints(self.instance, given, self.energy_model)  # says what does not fit
        self._given = given

    def _usual(self) -> Budgets:
        return self.instance.budgets if self._fixed is None else self._fixed

    def _following(self, lane: _Lane) -> Budgets:
        """The budgets that follow from a lane's seed and episode."""
        if self._fixed is not None:
            return self._fixed
        return self.budget_range.draw(self.instance.budgets, lane.seed, max(lane.episode, 0))

    def _begin(self, lane: _Lane, budgets: Budgets | None = None) -> None:
        """Start a lane's episode, under the given budgets or those that follow from seed and episode."""
        lane.subset, lane.value, lane.time = 0, 0.0, 0.0
        before = lane.budgets
        lane.budgets = self._following(lane) if budgets is None else budgets
        if lane.constraints is None or lane.budgets != before:
            lane.constraints = make_constraints(self.instance, lane.budgets, self.energy_model)
            lane.experts = expert_features(self.instance, lane.constraints).ravel()
            rows = {row.name: row for row in lane.constraints.rows}
            lane.rows = [rows.get(name) for name in self._shown_rows]
            compiled = lane.constraints.problem
            lane.problem = None if compiled is None or self.energy_model == "topk" else compiled(self._gain)

    def step(self, actions: NDArray[np.int64], skip: NDArray[np.bool_]) -> Batch:
        """See `System.step`."""
        batch = self._batch()
        for i in np.flatnonzero(~skip).tolist():
            lane, action = self._lanes[i], actions[i]
            quality, refused, over = self._select(lane, action) if self.once else self._add(lane, int(action[0]))
            lane.time += 1.0
            self._show(batch, i, lane)
            batch.out[:6, i] = (-quality + refused, 1.0, lane.time, -quality, refused, lane.value)
            over = over or not (self.once or batch.mask[i, :-1].any())
            batch.terminated[i], batch.truncated[i] = over, not over and lane.time >= self.horizon
        return batch

    def _add(self, lane: _Lane, action: int) -> tuple[float, float, bool]:
        """(quality gained, refusal, over) of adding one expert or stopping."""
        if action == self.instance.n:
            return 0.0, 0.0, True
        if not lane.fits[action]:
            return 0.0, REFUSED, False
        lane.subset |= 1 << action
        before, lane.value = lane.value, self._worth(lane.subset)
        return lane.value - before, 0.0, False

    def _select(self, lane: _Lane, chosen: NDArray[np.int64]) -> tuple[float, float, bool]:
        """(quality, normalised violation, over) of a whole subset."""
        assert lane.constraints is not None
        lane.subset = mask_of(np.flatnonzero(chosen).tolist())
        excess = violation(lane.constraints, lane.subset)
        if excess > 0.0:
            lane.subset = 0
            return 0.0, excess, True
        lane.value = self._worth(lane.subset)
        return lane.value, 0.0, True

    def _worth(self, subset: int) -> float:
        return float(self._gain[list(members(subset))].max(axis=0).sum()) if subset else 0.0

    def _fits(self, lane: _Lane) -> NDArray[np.bool_]:
        """Experts that may be added."""
        assert lane.constraints is not None
        found = np.zeros(self.instance.n, bool)
        if lane.problem is None:
            for i in range(self.instance.n):
                found[i] = not lane.subset >> i & 1 and lane.constraints.feasible(lane.subset | 1 << i)
            return found
        problem, chosen = lane.problem, list(members(lane.subset))
        cap = min((int(problem.cap[i]) for i in chosen), default=self.instance.n)
        found[:] = np.minimum(problem.cap, cap) > len(chosen)
        for load, limit in zip(problem.load, problem.limit, strict=True):
            found &= load[chosen].sum() + load <= limit
        found[chosen] = False
        return found

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        return Batch.make(self.lanes, self.width, len(self.rows), self.n_mask)

    def _slack(self, lane: _Lane) -> list[float]:
        """Unused share of energy, of every category's delay, of every limited memory; 1 where there is no budget."""
        return [
            1.0 if row is None else 1.0 - row.use(lane.subset) / row.limit if row.limit > 0 else 0.0
            for row in lane.rows
        ]

    def _show(self, batch: Batch, i: int, lane: _Lane) -> None:
        """Observation, mask and value of a lane."""
        obs, layout, n = batch.obs[i], self.layout, self.instance.n
        obs[layout["experts"]] = lane.experts
        for j in members(lane.subset):
            obs[layout["selected"].start + j] = 1.0
        obs[layout["slack"]] = self._slack(lane)
        if self.reveal_gain:
            best = self._gain[list(members(lane.subset))].max(axis=0) if lane.subset else 0.0
            obs[layout["gain"]] = np.maximum(self._gain - best, 0.0).sum(axis=1)
        if self.once:
            batch.mask[i] = True  # for each expert: out or in
        else:
            lane.fits = self._fits(lane)
            batch.mask[i, :n] = lane.fits
            batch.mask[i, n] = True
        batch.out[2, i], batch.out[5, i] = lane.time, lane.value
        if self._report:
            batch.out[6, i] = self.optimum(i).solution.value

    def pending(self) -> Batch:
        """See `System.pending`."""
        batch = self._batch()
        for i, lane in enumerate(self._lanes):
            if lane.constraints is not None:
                self._show(batch, i, lane)
        return batch

    def optimum(self, lane: int = 0) -> Selection:
        """The certified best subset under a lane's budgets; remembered for the last few hundred budgets."""
        budgets = self.budgets(lane)
        key = (budgets.E_max, budgets.tau)
        if key not in self._optima:
            if len(self._optima) >= 512:
                self._optima.clear()
            self._optima[key] = solve(self.instance, budgets, energy_model=self.energy_model, objective=self._value)
        return self._optima[key]

    def parse(self, actions: Any, lanes: int | None) -> NDArray[np.int64]:
        """See `System.parse`."""
        n = self.instance.n
        return binary(actions, n, lanes) if self.once else discrete(actions, n + 1, lanes)

    # --- state --------------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """See `System.get_state`; a budget of -1 is no limit."""
        state = {name: np.array([getattr(lane, name) for lane in self._lanes], kind) for name, kind in _STATE}
        nothing = (_NO_LIMIT,) * len(self.instance.categories)
        budgets = [lane.budgets for lane in self._lanes]
        state["energy"] = np.array([_NO_LIMIT if b.E_max is None else b.E_max for b in budgets])
        state["tau"] = np.array([nothing if b.tau is None else b.tau for b in budgets])
        return state

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """See `System.set_state`."""
        check_arrays(self.get_state(), state)
        if (state["subset"] >> np.uint64(self.instance.n)).any() or (state["episode"] < 0).any():
            raise InvalidInputError("state: a subset holds unknown experts, or no episode has begun")
        held = [self._stored(*pair) for pair in zip(state["energy"].tolist(), state["tau"].tolist(), strict=True)]
        for i, (lane, budgets) in enumerate(zip(self._lanes, held, strict=True)):
            lane.seed, lane.episode = int(state["seed"][i]), int(state["episode"][i])
            self._begin(lane, budgets)
            lane.subset, lane.time = int(state["subset"][i]), float(state["time"][i])
            lane.value = self._worth(lane.subset)
            lane.fits = self._fits(lane)
        self._seeded = True

    def _stored(self, energy: float, tau: list[float]) -> Budgets:
        """Budgets from a state.

        Raises:
            InvalidInputError: a number is out of range.
        """
        delay = None if all(limit == _NO_LIMIT for limit in tau) else tuple(tau)
        return self._usual().changed(E_max=None if energy == _NO_LIMIT else energy, tau=delay)


def violation(constraints: Constraints, subset: int) -> float:
    """How far a subset exceeds its budgets: the sum of relative excesses, 0 where it is feasible.

    A budget of 0 that is exceeded counts 1.
    """
    total = 0.0
    for row in constraints.rows:
        if not row.holds(subset):
            total += row.use(subset) / row.limit - 1.0 if row.limit > 0 else 1.0
    return total
