"""Discrete monotonic optimisation with any increasing oracle: polyblocks, and branch-reduce-and-bound.

Maximise an increasing f over the subsets that keep increasing budgets. (Tuy, SIAM J. Optim. 11(2), 2000; Tuy, Minoux,
Hoai-Phuong, SIAM J. Optim. 17(1), 2006; used for expert selection in arXiv 2501.09410.) The facility-location objective
has a compiled solver of its own, in `search`.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import InvalidInputError
from .constraints import Constraint
from .monotone import SetFunction, assert_monotone, members

Status = Literal["optimal", "eps", "time_limit", "interrupted"]
ROUND_OFF = 1e-12
"""A gap up to this is rounding and counts as optimal."""


@dataclass(frozen=True)
class Progress:
    """State of a running search: boxes or vertices processed, incumbent, bound, seconds."""

    nodes: int
    value: float
    bound: float
    seconds: float


@dataclass(frozen=True)
class Solution:
    """The best subset found, with its certificate.

    Attributes:
        subset: sorted indices; feasible.
        value: of that subset.
        bound: no feasible subset is worth more.
        status: ``optimal`` (gap 0), ``eps`` (gap within the tolerance), ``time_limit`` or ``interrupted``.
        nodes: boxes or vertices processed.
        evaluations: of f, repeats not counted (compiled: 0).
        seconds: time spent.
        method: in words.
        trace: (bound, value) after every node.
    """

    subset: tuple[int, ...]
    value: float
    bound: float
    status: Status
    nodes: int
    evaluations: int
    seconds: float
    method: str
    trace: tuple[tuple[float, float], ...] = field(default=(), repr=False)

    @property
    def gap(self) -> float:
        """``bound - value``, >= 0."""
        return max(self.bound - self.value, 0.0)


@dataclass
class _Run:
    """What both algorithms share: oracles with a memory, the incumbent, the clock."""

    f: SetFunction
    constraints: Sequence[Constraint]
    n: int
    eps: float
    time_limit: float
    progress: Callable[[Progress], None] | None
    started: float = field(default_factory=time.perf_counter)
    nodes: int = 0
    value: float = -math.inf
    subset: int = 0
    known: dict[int, float] = field(default_factory=dict)
    trace: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not (isinstance(self.eps, float | int) and 0 <= self.eps < math.inf):
            raise InvalidInputError.of("eps", "a finite number >= 0", self.eps)
        if not self.time_limit > 0:
            raise InvalidInputError.of("time_limit", "a positive number of seconds", self.time_limit)
        for constraint in self.constraints:
            if not constraint.holds(0):
                raise InvalidInputError(f"{constraint.name}: even the empty subset exceeds the budget")

    def worth(self, subset: int) -> float:
        if subset not in self.known:
            self.known[subset] = self.f(subset)
        return self.known[subset]

    def feasible(self, subset: int) -> bool:
        return all(constraint.holds(subset) for constraint in self.constraints)

    def offer(self, subset: int) -> None:
        if self.worth(subset) > self.value:
            self.value, self.subset = self.worth(subset), subset

    def completed(self, subset: int, within: int) -> int:
        """A maximal feasible subset between two sets, experts added in index order."""
        for i in members(within & ~subset):
            if self.feasible(subset | 1 << i):
                subset |= 1 << i
        return subset

    def cover(self, subset: int, keep: int = 0) -> int:
        """A minimal infeasible subset of an infeasible set that holds ``keep``: no feasible set contains it."""
        for i in members(subset & ~keep):
            if not self.feasible(subset & ~(1 << i)):
                subset &= ~(1 << i)
        return subset

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def tick(self, bound: float) -> bool:
        """Note a node; whether time is left."""
        self.nodes += 1
        self.trace.append((max(bound, self.value), self.value))
        if self.progress is not None:
            self.progress(Progress(self.nodes, self.value, max(bound, self.value), self.seconds()))
        return self.seconds() < self.time_limit

    def solution(self, bound: float, method: str, stopped: Status | None = None) -> Solution:
        bound = max(bound, self.value)
        within: Status = "optimal" if bound - self.value <= ROUND_OFF else "eps"
        status = within if stopped is None or bound - self.value <= self.eps + ROUND_OFF else stopped
        chosen = members(self.subset)
        seconds = self.seconds()
        return Solution(
            chosen, self.value, bound, status, self.nodes, len(self.known), seconds, method, tuple(self.trace)
        )


def _guard(run: _Run, check: bool) -> None:
    """Refuse functions that are not increasing."""
    if check:
        assert_monotone(run.worth, run.n, name="f")
        for constraint in run.constraints:
            assert_monotone(constraint.use, run.n, name=constraint.name)


def polyblock(
    f: SetFunction,
    constraints: Sequence[Constraint],
    n: int,
    *,
    eps: float = 0.0,
    time_limit: float = math.inf,
    progress: Callable[[Progress], None] | None = None,
    check: bool = True,
) -> Solution:
    """Best-first polyblock outer approximation with cover cuts (algorithm A).

    The vertices' boxes always hold every feasible subset that could still beat the incumbent; the best vertex is the
    bound. A vertex z that is infeasible is cut by a minimal cover C of it: children ``z - {i}``, i in C.

    Args:
        f: increasing objective, of a bit mask.
        constraints: increasing budgets.
        n: number of experts.
        eps: stop at this gap.
        time_limit: seconds; then the incumbent and its bound are returned, as after an interrupt.
        progress: called after every vertex.
        check: refuse functions that are seen not to be increasing.

    Returns:
        The solution.

    Raises:
        NotMonotoneError: naming the pair of subsets.
        InvalidInputError: the empty subset is infeasible, or an argument is out of range.
    """
    run = _Run(f, constraints, n, eps, time_limit, progress)
    _guard(run, check)
    run.offer(0)
    whole = (1 << n) - 1
    heap, seen, pruned = [(-run.worth(whole), whole)], {whole}, -math.inf
    method, top = "polyblock with cover cuts", run.worth(whole)
    try:
        while heap:
            top = -heap[0][0]
            if top <= run.value + eps:
                return run.solution(max(top, pruned), method)
            _, z = heapq.heappop(heap)
            if run.feasible(z):
                run.offer(z)
                run.tick(top)
                return run.solution(max(run.value, pruned), method)
            run.offer(run.completed(0, z))
            for i in members(run.cover(z)):
                child = z & ~(1 << i)
                if child in seen:
                    continue
                seen.add(child)
                if run.worth(child) > run.value + eps:
                    heapq.heappush(heap, (-run.worth(child), child))
                else:
                    pruned = max(pruned, run.worth(child))
            if not run.tick(max(-heap[0][0] if heap else -math.inf, pruned)):
                return run.solution(max(-heap[0][0] if heap else -math.inf, pruned), method, "time_limit")
    except KeyboardInterrupt:
        return run.solution(max(top, pruned), method, "interrupted")
    return run.solution(pruned, method)


def branch_and_reduce(
    f: SetFunction,
    constraints: Sequence[Constraint],
    n: int,
    *,
    eps: float = 0.0,
    additive: tuple[Sequence[float], float] | None = None,
    time_limit: float = math.inf,
    progress: Callable[[Progress], None] | None = None,
    check: bool = True,
) -> Solution:
    """Branch-reduce-and-bound over boxes [p, q] of subsets (algorithm B).

    Args:
        f: increasing objective, of a bit mask.
        constraints: increasing budgets.
        n: number of experts.
        eps: stop at this gap.
        additive: (use of every expert, budget) of one additive constraint, given where f is submodular: boxes are then
            also bounded by ``f(p)`` plus the fractional knapsack of the gains at p.
        time_limit: seconds; then the incumbent and its bound are returned, as after an interrupt.
        progress: called after every box.
        check: refuse functions that are seen not to be increasing.

    Returns:
        The solution.

    Raises:
        NotMonotoneError: naming the pair of subsets.
        InvalidInputError: the empty subset is infeasible, or an argument is out of range.
    """
    run = _Run(f, constraints, n, eps, time_limit, progress)
    _guard(run, check)
    run.offer(0)
    whole = (1 << n) - 1
    boxes, pruned, order = [(-run.worth(whole), 0, 0, whole)], -math.inf, 0
    method, top = "branch-reduce-and-bound", run.worth(whole)
    try:
        while boxes:
            top = -boxes[0][0]
            if top <= run.value + eps:
                return run.solution(max(top, pruned), method)
            _, _, p, q = heapq.heappop(boxes)
            p, q, upper, cut = _reduced(run, p, q, top, additive)
            pruned = max(pruned, cut)
            for child in _children(run, p, q) if upper > run.value + eps else ():
                order += 1
                heapq.heappush(boxes, (-min(upper, run.worth(child[1])), order, *child))
            left = max(-boxes[0][0] if boxes else -math.inf, pruned)
            if not run.tick(left):
                return run.solution(left, method, "time_limit")
    except KeyboardInterrupt:
        return run.solution(max(top, pruned), method, "interrupted")
    return run.solution(pruned, method)


def _reduced(
    run: _Run, p: int, q: int, upper: float, additive: tuple[Sequence[float], float] | None
) -> tuple[int, int, float, float]:
    """Shrink a box as far as feasibility and monotonicity allow.

    Returns:
        (p, q, bound of what is left, bound of what was cut for its value); a bound of -inf says nothing is left.
    """
    cut, changed = -math.inf, True
    if not run.feasible(p):
        return p, q, -math.inf, cut
    while changed:
        changed = False
        upper = min(upper, run.worth(q))
        if additive is not None:
            upper = min(upper, _submodular_bound(run, p, q, *additive))
        if upper <= run.value + run.eps:
            return p, q, -math.inf, max(cut, upper)
        for i in members(q & ~p):
            if not run.feasible(p | 1 << i):
                q &= ~(1 << i)
                changed = True
            elif run.worth(q & ~(1 << i)) <= run.value + run.eps:
                cut = max(cut, run.worth(q & ~(1 << i)))
                p |= 1 << i
                changed = True
                if not run.feasible(p):
                    return p, q, -math.inf, cut
    return p, q, upper, cut


def _children(run: _Run, p: int, q: int) -> list[tuple[int, int]]:
    """Try the box for incumbents, then split it along a minimal cover into disjoint boxes."""
    run.offer(p)
    if run.feasible(q):
        run.offer(q)
        return []
    run.offer(run.completed(p, q))
    children, forced = [], p
    for i in members(run.cover(q, p) & ~p):
        children.append((forced, q & ~(1 << i)))
        forced |= 1 << i
    return children


def _submodular_bound(run: _Run, p: int, q: int, use: Sequence[float], limit: float) -> float:
    """``f(p)`` plus the best fractional choice of the gains at p under an additive budget."""
    base = run.worth(p)
    room = limit - sum(use[i] for i in members(p))
    gains = [(run.worth(p | 1 << i) - base, use[i]) for i in members(q & ~p)]
    total = base
    for gain, size in sorted(gains, key=lambda pair: pair[0] / max(pair[1], 1e-300), reverse=True):
        share = 1.0 if size <= max(room, 0.0) else max(room, 0.0) / size
        total += gain * share
        room -= size * share
    return total


def brute_force(f: SetFunction, constraints: Sequence[Constraint], n: int) -> Solution:
    """The optimum by visiting all subsets; n at most 20.

    Raises:
        InvalidInputError: n is larger.
    """
    if not 0 <= n <= 20:
        raise InvalidInputError.of("n", "at most 20 for brute force", n)
    run = _Run(f, constraints, n, 0.0, math.inf, None)
    for subset in range(1 << n):
        if run.feasible(subset):
            run.offer(subset)
    run.nodes = 1 << n
    return run.solution(run.value, "exhaustive search")
