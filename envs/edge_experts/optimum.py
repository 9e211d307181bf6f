"""Certified selection of experts: the compiled search, the general solvers behind one function, explanations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..core.errors import InvalidInputError
from .constraints import Constraint, Constraints, EnergyModel, make_constraints
from .dmo import Progress, Solution, Status, branch_and_reduce
from .instance import Budgets, Instance
from .monotone import mask_of, members
from .objective import BestOfK, FacilityLocation, value_of_likelihood, value_of_quality
from .search import ROUND_OFF, Problem, Search

Objective = Literal["quality", "likelihood"]


def solve_facility(
    problem: Problem,
    *,
    eps: float = 0.0,
    time_limit: float = math.inf,
    progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Best subset for the facility-location objective under compiled budgets; see `facility` for the bounds.

    Args:
        problem: gains and budgets.
        eps: stop at this gap.
        time_limit: seconds; then the incumbent and its bound are returned, as after an interrupt.
        progress: called after every box.

    Returns:
        The solution; ``eps = 0`` proves it to within rounding (1e-12).

    Raises:
        InvalidInputError: an argument is out of range, or the empty subset is infeasible.
    """
    if not (isinstance(eps, float | int) and 0 <= eps < math.inf):
        raise InvalidInputError.of("eps", "a finite number >= 0", eps)
    if not time_limit > 0:
        raise InvalidInputError.of("time_limit", "a positive number of seconds", time_limit)
    if (problem.limit < 0).any():
        raise InvalidInputError("budgets: even the empty subset exceeds one")
    warm_up()
    started = time.perf_counter()
    search = Search(problem, eps)
    stopped: Status | None = None
    status: Status
    trace: list[tuple[float, float]] = []
    try:
        while not search.done:
            search.advance()
            trace.append((search.bound, search.value))
            seconds = time.perf_counter() - started
            if progress is not None:
                progress(Progress(search.nodes, search.value, search.bound, seconds))
            if seconds >= time_limit and not search.done:
                stopped = "time_limit"
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    value, bound = search.value, search.bound
    if bound - value <= 2 * ROUND_OFF:
        bound, status = value, "optimal"
    else:
        status = "eps" if stopped is None or bound - value <= eps else stopped
    seconds = time.perf_counter() - started
    method = "branch-reduce-and-bound with compiled Lagrangian bounds"
    return Solution(members(search.subset), value, bound, status, search.nodes, 0, seconds, method, tuple(trace))


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Compile the bound (or load it from numba's cache), so that no search pays for it out of its time."""
    Search(Problem(np.ones((2, 1)), np.ones((1, 2)), np.ones(1), np.full(2, 2), np.zeros(2)), 0.0).advance()


@dataclass(frozen=True, eq=False)
class NextExpert:
    """The expert that would help most if the budgets allowed it.

    Attributes:
        index: of the expert.
        gain: in value.
        energy: extra energy per prompt, J.
        delay: extra delay of every category, s.
    """

    index: int
    gain: float
    energy: float
    delay: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Selection:
    """A certified answer to "which experts?".

    Attributes:
        instance: the instance.
        constraints: its budgets.
        solution: subset, value, bound, gap, status.
        binding: names of the budgets that keep the next expert out.
        next_expert: the most useful expert that is not selected, or None where none adds anything.
    """

    instance: Instance
    constraints: Constraints
    solution: Solution
    binding: tuple[str, ...]
    next_expert: NextExpert | None

    def as_json(self) -> dict[str, Any]:
        """Plain values under the keys that ``edgewise select --json`` prints."""
        found, extra = self.solution, self.next_expert
        return {
            "subset": list(found.subset),
            "experts": [self.instance.experts[i].id for i in found.subset],
            "value": found.value,
            "bound": found.bound,
            "gap": found.gap,
            "seconds": found.seconds,
            "status": found.status,
            "binding": list(self.binding),
            "next_expert": None
            if extra is None
            else {"index": extra.index, "gain": extra.gain, "energy": extra.energy, "delay": list(extra.delay)},
        }


def objective_of(instance: Instance, objective: Objective | FacilityLocation, k: int) -> FacilityLocation | BestOfK:
    """The set function that a selection maximises.

    With answer distributions and ``k`` above 1, groups of up to k experts answer together; without them a group is
    worth its best member, so k changes nothing.

    Raises:
        InvalidInputError: unknown objective, or what it needs is missing.
    """
    if isinstance(objective, FacilityLocation):
        if objective.n != instance.n:
            raise InvalidInputError(f"objective: its quality must have {instance.n} columns, one per expert")
        return objective
    if objective == "likelihood":
        return value_of_likelihood(instance)
    if objective != "quality":
        raise InvalidInputError.of("objective", "quality or likelihood", objective)
    return BestOfK(instance, k) if k > 1 and instance.prompts.P is not None else value_of_quality(instance)


def solve(
    instance: Instance,
    budgets: Budgets | None = None,
    *,
    energy_model: EnergyModel = "all",
    objective: Objective | FacilityLocation = "quality",
    eps: float = 0.0,
    time_limit: float = math.inf,
    progress: Callable[[Progress], None] | None = None,
) -> Selection:
    """The best experts under budgets, with a certificate.

    Args:
        instance: experts and prompts.
        budgets: default the instance's own.
        energy_model: ``"all"``: every selected expert runs on every prompt; ``"topk"``: the k costliest ones.
        objective: ``"quality"``, ``"likelihood"`` (of the right answer, nats above 1e-6), or a value of your own, such
            as one of the qualities that a gate predicts for other prompts.
        eps: stop at this gap.
        time_limit: seconds; then the incumbent and its bound are returned, as after an interrupt.
        progress: called after every node.

    Returns:
        The selection; a value never comes without its bound.

    Raises:
        InvalidInputError: budgets or options do not fit.
    """
    constraints = make_constraints(instance, budgets, energy_model)
    function = objective_of(instance, objective, constraints.budgets.k)
    if constraints.problem is not None and isinstance(function, FacilityLocation):
        problem = constraints.problem(function.gains())
        solution = solve_facility(problem, eps=eps, time_limit=time_limit, progress=progress)
    else:
        solution = branch_and_reduce(
            function,
            constraints.rows,
            instance.n,
            eps=eps,
            time_limit=time_limit,
            progress=progress,
            check=False,  # increasing by construction: see the classes of `objective` and `constraints`
        )
    return Selection(instance, constraints, solution, *_explain(instance, constraints, function, solution))


def _explain(
    instance: Instance, constraints: Constraints, function: FacilityLocation | BestOfK, solution: Solution
) -> tuple[tuple[str, ...], NextExpert | None]:
    """Which budgets keep further experts out, and which of these experts would help most."""
    subset = mask_of(solution.subset)
    value = function(subset)
    gains = {i: function(subset | 1 << i) - value for i in range(instance.n) if not subset >> i & 1}
    useful = {i: gain for i, gain in gains.items() if gain > ROUND_OFF}
    if not useful:
        return (), None
    best = max(useful, key=lambda i: (useful[i], -i))
    larger = subset | 1 << best
    broken = tuple(row.name for row in constraints.rows if not row.holds(larger))
    delays = range(len(instance.categories))
    extra = NextExpert(
        best,
        useful[best],
        constraints.energy_use(larger) - constraints.energy_use(subset),
        tuple(constraints.delay_use(larger, c) - constraints.delay_use(subset, c) for c in delays),
    )
    return broken, extra


def rows_of(selection: Selection) -> tuple[tuple[Constraint, float], ...]:
    """Every budget with what the selection uses of it."""
    subset = mask_of(selection.solution.subset)
    return tuple((row, row.use(subset)) for row in selection.constraints.rows)
