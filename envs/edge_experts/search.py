"""Best-first branch-reduce-and-bound for the facility-location objective, on the compiled bound of `facility`."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .facility import IN, OUT, UNDECIDED, bound
from .monotone import mask_of, members

ROUND_OFF = 1e-12
"""Bounds that exceed the incumbent by no more than this are rounding."""
ROOT_STEPS, NODE_STEPS, AGAIN_STEPS = 120, 12, 6
"""Subgradient steps at the root, in every other box, and after a box has shrunk."""
PRICE_BYTES = 512 * 2**20
"""Memory for the prices of open boxes; boxes beyond it start from the root's prices."""
SWAP_ROUNDS = 20
"""Longest local search for the first incumbent."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """Maximise ``sum_x max_{i in S} gain[i, x]`` under budgets.

    Attributes:
        gain: (n, M) weighted qualities, >= 0.
        load: (R, n) use of every additive budget, >= 0.
        limit: (R,) these budgets.
        cap: (n,) a subset that holds expert i has at most ``cap[i]`` members.
        peak: (n,) energy of which the k largest in a subset are added to row `peak_row`.
        peak_row: a row of `load`, or -1.
        k: how many peaks count.
    """

    gain: FloatArray
    load: FloatArray
    limit: FloatArray
    cap: NDArray[np.int64]
    peak: FloatArray
    peak_row: int = -1
    k: int = 1

    @property
    def n(self) -> int:
        """Number of experts."""
        return len(self.cap)


@dataclass(order=True)
class _Box:
    """Subsets between p and q; the heap pops the largest bound, and of equal ones the oldest."""

    key: float
    number: int
    p: int = field(compare=False)
    q: int = field(compare=False)
    price: NDArray[np.float32] | None = field(compare=False)


class Search:
    """One search: open boxes, incumbent, bound. `advance` processes one box, so the caller can look at the clock.

    Args:
        problem: what to solve.
        eps: tolerated gap.

    Attributes:
        value: of the incumbent.
        subset: the incumbent, a bit mask.
        nodes: boxes processed.
    """

    def __init__(self, problem: Problem, eps: float) -> None:
        self.problem, self.tolerance = problem, max(eps, ROUND_OFF)
        n, prompts = problem.gain.shape
        self._columns = problem.load.T.tolist()
        self._limits, self._caps, self._peaks = problem.limit.tolist(), problem.cap.tolist(), problem.peak.tolist()
        self._load = np.ascontiguousarray(np.vstack([problem.load, np.ones(n)]))  # the last row counts the members
        self._share, self._forced = np.zeros(n), np.zeros((n, 2))
        self._best_price = np.zeros(prompts)
        self._most_prices = max(PRICE_BYTES // (4 * prompts), 1)
        self.value, self.subset, self.nodes = 0.0, 0, 0
        self._pruned, self._opened = -math.inf, 0
        whole = (1 << n) - 1
        self._first_incumbent(whole)
        self._root_price = self._best(self.subset).astype(np.float32)  # the submodular bound at the incumbent
        self._heap = [_Box(-float(self._best(whole).sum()), 0, 0, whole, None)]

    @property
    def bound(self) -> float:
        """No feasible subset is worth more: the largest bound that is open or was cut."""
        return max(self.value, -self._heap[0].key if self._heap else -math.inf, self._pruned)

    @property
    def done(self) -> bool:
        """Whether nothing that is open can beat the incumbent by more than the tolerance."""
        return not self._heap or -self._heap[0].key <= self.value + self.tolerance

    def feasible(self, subset: int) -> bool:
        """Whether a subset keeps every budget."""
        chosen = members(subset)
        if chosen and len(chosen) > min(self._caps[i] for i in chosen):
            return False
        for row, limit in enumerate(self._limits):
            use = sum(self._columns[i][row] for i in chosen)
            if row == self.problem.peak_row:
                use += sum(sorted((self._peaks[i] for i in chosen), reverse=True)[: self.problem.k])
            if use > limit:
                return False
        return True

    def _best(self, subset: int) -> FloatArray:
        """Best weighted quality of every prompt, (M,)."""
        chosen = list(members(subset))
        return self.problem.gain[chosen].max(axis=0) if chosen else np.zeros(self.problem.gain.shape[1])

    def _offer(self, subset: int) -> None:
        """Take a feasible subset as incumbent if it is better."""
        value = float(self._best(subset).sum())
        if value > self.value:
            self.value, self.subset = value, subset

    # --- incumbents ---------------------------------------------------------------------------------------------------

    def complete(self, subset: int, within: int, density: bool) -> int:
        """Add experts while that is feasible and helps, by gain or by gain per load of the first budget."""
        problem, best = self.problem, self._best(subset)
        load = np.ones(problem.n)
        if density and len(problem.load):
            load = problem.load[0] + (problem.peak if problem.peak_row == 0 else 0.0)
        while True:
            gains = np.maximum(problem.gain - best, 0.0).sum(axis=1)
            merit = gains / np.maximum(load, 1e-300)
            fits = [i for i in members(within & ~subset) if gains[i] > 0 and self.feasible(subset | 1 << i)]
            if not fits:
                return subset
            chosen = max(fits, key=lambda i: merit[i])
            subset |= 1 << chosen
            best = np.maximum(best, problem.gain[chosen])

    def _first_incumbent(self, whole: int) -> None:
        """Greedy by gain and by density, each followed by swaps."""
        for density in (False, True):
            subset = self.complete(0, whole, density)
            self._offer(subset)
            for _ in range(SWAP_ROUNDS):
                better = self._swapped(subset, whole)
                if better == subset:
                    break
                subset = self.complete(better, whole, False)
                self._offer(subset)

    def _swapped(self, subset: int, whole: int) -> int:
        """The best feasible exchange of one expert for another, or the subset itself."""
        best, found = float(self._best(subset).sum()) + ROUND_OFF, subset
        for out in members(subset):
            rest = subset & ~(1 << out)
            values = np.maximum(self.problem.gain, self._best(rest)).sum(axis=1)
            for into in members(whole & ~subset):
                if values[into] > best and self.feasible(rest | 1 << into):
                    best, found = float(values[into]), rest | 1 << into
        return found

    # --- boxes --------------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Process the box with the largest bound."""
        box = heapq.heappop(self._heap)
        price = (self._root_price if box.price is None else box.price).astype(np.float64)
        steps = NODE_STEPS if self.nodes else ROOT_STEPS
        self.nodes += 1
        p, q, upper = self._reduced(box.p, box.q, -box.key, price, steps)
        if self.nodes == 1 and upper > -math.inf:
            self._root_price = self._best_price.astype(np.float32)
        if upper == -math.inf:
            return
        if self.feasible(q):
            self._offer(q)
            return
        subset = p
        for i in members(q):
            if self._share[i] >= 1.0 and self.feasible(subset | 1 << i):
                subset |= 1 << i
        self._offer(self.complete(subset, q, False))
        i = self._branching(p, q, upper)
        for inside, child in ((1, (p | 1 << i, q)), (0, (p, q & ~(1 << i)))):
            worth = min(upper, float(self._forced[i, inside]))
            if worth <= self.value + self.tolerance:
                self._pruned = max(self._pruned, worth)
                continue
            self._opened += 1
            kept = self._best_price.astype(np.float32) if len(self._heap) < self._most_prices else None
            heapq.heappush(self._heap, _Box(-worth, self._opened, *child, kept))

    def _room(self, p: int, q: int) -> FloatArray:
        """What p leaves of every additive budget, and how many members may join it."""
        chosen, free = members(p), members(q & ~p)
        most = min([self._caps[i] for i in chosen], default=self.problem.n)
        most = min(most, max([self._caps[i] for i in free], default=0)) if free else len(chosen)
        used = self.problem.load[:, list(chosen)].sum(axis=1)
        return np.append(self.problem.limit - used, max(most - len(chosen), 0))

    def _reduced(self, p: int, q: int, upper: float, price: FloatArray, steps: int) -> tuple[int, int, float]:
        """Bound a box and shrink it: experts that do not fit or cannot pay leave q, those it cannot miss join p.

        Returns:
            (p, q, bound); a bound of -inf says that nothing in the box beats the incumbent.
        """
        for _ in range(4):
            if p & ~q or not self.feasible(p):
                return p, q, -math.inf
            q = p | mask_of([i for i in members(q & ~p) if self.feasible(p | 1 << i)])
            if self.feasible(q):
                return p, q, upper
            lower = self.value + self.tolerance
            state = np.full(self.problem.n, OUT)
            state[list(members(q))] = UNDECIDED
            state[list(members(p))] = IN
            found = bound(
                self.problem.gain,
                self._load,
                self._room(p, q),
                state,
                price,
                self._best_price,
                steps,
                lower,
                self._share,
                self._forced,
            )
            upper = min(upper, float(found))
            if upper <= lower:
                self._pruned = max(self._pruned, upper)
                return p, q, -math.inf
            forced = self._forced.tolist()
            free = members(q & ~p)
            dropped = [i for i in free if forced[i][1] <= lower]
            needed = [i for i in free if forced[i][0] <= lower]
            for bounds in ([forced[i][1] for i in dropped], [forced[i][0] for i in needed]):
                self._pruned = max([self._pruned, *bounds])
            if not dropped and not needed:
                return p, q, upper
            p, q = p | mask_of(needed), q & ~mask_of(dropped)
            price, steps = self._best_price.copy(), AGAIN_STEPS
        if p & ~q or not self.feasible(p):
            return p, q, -math.inf
        return p, q, upper

    def _branching(self, p: int, q: int, upper: float) -> int:
        """The undecided expert whose decision lowers the bound most on both sides."""

        def merit(i: int) -> float:
            out, inside = (min(max(upper - float(worth), 0.0), 1.0) for worth in self._forced[i])
            return (out + 1e-7) * (inside + 1e-7)

        return max(members(q & ~p), key=merit)
