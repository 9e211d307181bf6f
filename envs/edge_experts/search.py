"""The compiled best-first search over boxes: heap, reduction, branching. `optimum` drives it and looks at the clock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .facility import bit, bound, compiled, complete, feasible, has, improve, inner, value

ROOT_STEPS, NODE_STEPS = 120, 12
"""Subgradient steps at the root and in every other box."""
PRICE_BYTES = 512 * 2**20
"""Memory for the prices of open boxes; boxes beyond it start from the root's prices."""

# Positions in the integer and float counters of a search.
_HEAP, _POOL, _NODES, _FREE, _SLOTS = range(5)
_LOWER, _PRUNED = range(2)
RUNNING, DONE, FULL = range(3)


class Boxes(NamedTuple):
    """Open boxes: a pool of records, a heap of their indices, and prices in slots."""

    p: NDArray[np.uint64]
    q: NDArray[np.uint64]
    bound: NDArray[np.float64]
    slot: NDArray[np.int64]
    heap: NDArray[np.int64]
    free: NDArray[np.int64]  # indices of the pool that may be used again
    slots: NDArray[np.int64]  # free price slots
    price: NDArray[np.float32]

    @classmethod
    def make(cls, size: int, slots: int, prompts: int) -> Boxes:
        """Empty arrays."""
        whole = np.zeros(size, np.int64)
        return cls(
            np.zeros(size, np.uint64),
            np.zeros(size, np.uint64),
            np.zeros(size),
            whole,
            whole.copy(),
            whole.copy(),
            np.arange(slots - 1, 0, -1, dtype=np.int64),  # slot 0 holds the root's prices
            np.zeros((slots, prompts), np.float32),
        )

    def grown(self) -> Boxes:
        """The same boxes in arrays of twice the length; the price slots stay as they are."""
        longer = ("p", "q", "bound", "slot", "heap", "free")
        return self._replace(**{name: np.concatenate([a := getattr(self, name), np.zeros_like(a)]) for name in longer})


def counters(free_slots: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The integer and float counters of a new search."""
    return np.array([0, 0, 0, 0, free_slots], np.int64), np.array([-np.inf, -np.inf])


def nodes(ints: NDArray[np.int64]) -> int:
    """Boxes processed so far."""
    return int(ints[_NODES])


def bracket(boxes: Boxes, ints: NDArray[np.int64], floats: NDArray[np.float64]) -> tuple[float, float]:
    """(value of the incumbent, bound over everything that is open or was cut)."""
    value = float(floats[_LOWER])
    top = float(boxes.bound[boxes.heap[0]]) if ints[_HEAP] else -np.inf
    return value, max(value, top, float(floats[_PRUNED]))


@inner
def _push(boxes, ints, p, q, upper, slot):
    """Open a box."""
    if ints[_FREE]:
        ints[_FREE] -= 1
        index = boxes.free[ints[_FREE]]
    else:
        index = ints[_POOL]
        ints[_POOL] += 1
    boxes.p[index], boxes.q[index], boxes.bound[index], boxes.slot[index] = p, q, upper, slot
    place = ints[_HEAP]
    ints[_HEAP] += 1
    while place and boxes.bound[boxes.heap[(place - 1) // 2]] < upper:
        boxes.heap[place] = boxes.heap[(place - 1) // 2]
        place = (place - 1) // 2
    boxes.heap[place] = index


@inner
def _pop(boxes, ints):
    """Close the box with the largest bound and return its index."""
    top = boxes.heap[0]
    ints[_HEAP] -= 1
    last, place, count = boxes.heap[ints[_HEAP]], 0, ints[_HEAP]
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and boxes.bound[boxes.heap[child + 1]] > boxes.bound[boxes.heap[child]]:
            child += 1
        if boxes.bound[boxes.heap[child]] <= boxes.bound[last]:
            break
        boxes.heap[place] = boxes.heap[child]
        place = child
    boxes.heap[place] = last
    boxes.free[ints[_FREE]] = top
    ints[_FREE] += 1
    return top


@inner
def _offer(problem, incumbent, floats, s, best):
    """Take a feasible subset as incumbent if it is better; its value is computed afresh."""
    found = value(problem.gain, s, best)
    if found > floats[_LOWER]:
        floats[_LOWER] = found
        incumbent[0] = s


@inner
def _reduce(problem, p, q, upper, limit, scratch, steps, floats):
    """Bound a box and shrink it: experts that do not fit or cannot pay leave q, those it cannot miss join p.

    Returns:
        (p, q, bound); a bound of -inf says that the box holds nothing better than the limit.
    """
    n = problem.cap.shape[0]
    if not feasible(problem, p):
        return p, q, -np.inf
    for _ in range(4):
        for i in range(n):
            if has(q, i) and not has(p, i) and not feasible(problem, p | bit(i)):
                q &= ~bit(i)
        if feasible(problem, q):
            return p, q, upper
        found = bound(problem, p, q, scratch.price, scratch.best_price, steps, limit, scratch)
        upper = min(upper, found)
        if upper <= limit:
            floats[_PRUNED] = max(floats[_PRUNED], upper)
            return p, q, -np.inf
        before_p, before_q = p, q
        for i in range(n):
            if has(before_q, i) and not has(before_p, i):
                if scratch.forced[i, 1] <= limit:
                    q &= ~bit(i)
                    floats[_PRUNED] = max(floats[_PRUNED], scratch.forced[i, 1])
                if scratch.forced[i, 0] <= limit:
                    p |= bit(i)
                    floats[_PRUNED] = max(floats[_PRUNED], scratch.forced[i, 0])
        if p & ~q or not feasible(problem, p):
            return p, q, -np.inf
        if p == before_p and q == before_q:
            return p, q, upper
        scratch.price[:] = scratch.best_price
        steps = min(steps, 6)
    return p, q, upper


@inner
def _branch(scratch, p, q, upper):
    """The undecided expert whose decision lowers the bound most on both sides."""
    chosen, merit = -1, -1.0
    for i in range(scratch.y.shape[0]):
        if has(q, i) and not has(p, i):
            out = min(max(upper - scratch.forced[i, 0], 0.0), 1.0)
            inside = min(max(upper - scratch.forced[i, 1], 0.0), 1.0)
            score = (out + 1e-7) * (inside + 1e-7)
            if score > merit:
                chosen, merit = i, score
    return chosen


@compiled
def start(problem, boxes, ints, floats, incumbent, scratch):
    """Find a first incumbent (greedy by gain and by density, swaps) and open the root box."""
    n = problem.cap.shape[0]
    everyone = (~np.uint64(0)) >> np.uint64(64 - n)
    for density in (False, True):
        s, _ = complete(problem, np.uint64(0), everyone, density, scratch.best)
        _offer(problem, incumbent, floats, s, scratch.best)
        s, _ = improve(problem, s, scratch.best)
        _offer(problem, incumbent, floats, s, scratch.best)
    value(problem.gain, incumbent[0], scratch.price)  # the submodular bound at the incumbent
    whole = value(problem.gain, everyone, scratch.best)
    boxes.price[0] = scratch.price
    _push(boxes, ints, np.uint64(0), everyone, whole, 0)


@compiled
def search(problem, boxes, ints, floats, incumbent, tolerance, most, scratch):
    """Process up to ``most`` boxes.

    Returns:
        RUNNING, DONE (what is left cannot beat the incumbent by more than the tolerance) or FULL (grow the arrays).
    """
    n, room = problem.cap.shape[0], boxes.p.shape[0]
    for _ in range(most):
        if not ints[_HEAP] or boxes.bound[boxes.heap[0]] <= floats[_LOWER] + tolerance:
            return DONE
        if ints[_POOL] + 2 > room:
            return FULL
        index = _pop(boxes, ints)
        p, q, upper, slot = boxes.p[index], boxes.q[index], boxes.bound[index], boxes.slot[index]
        scratch.price[:] = boxes.price[slot]
        steps = NODE_STEPS if ints[_NODES] else ROOT_STEPS
        ints[_NODES] += 1
        p, q, upper = _reduce(problem, p, q, upper, floats[_LOWER] + tolerance, scratch, steps, floats)
        if ints[_NODES] == 1:
            boxes.price[0] = scratch.best_price
        if slot:
            boxes.slots[ints[_SLOTS]] = slot
            ints[_SLOTS] += 1
        if upper == -np.inf:
            continue
        if feasible(problem, q):
            _offer(problem, incumbent, floats, q, scratch.best)
            continue
        s = p
        for i in range(n):
            if has(q, i) and scratch.y[i] >= 1.0 and feasible(problem, s | bit(i)):
                s |= bit(i)
        s, _ = complete(problem, s, q, False, scratch.best)
        _offer(problem, incumbent, floats, s, scratch.best)
        i = _branch(scratch, p, q, upper)
        for inside in range(2):
            child = min(upper, scratch.forced[i, inside])
            if child <= floats[_LOWER] + tolerance:
                floats[_PRUNED] = max(floats[_PRUNED], child)
                continue
            slot = 0
            if ints[_SLOTS]:
                ints[_SLOTS] -= 1
                slot = boxes.slots[ints[_SLOTS]]
                boxes.price[slot] = scratch.best_price
            if inside:
                _push(boxes, ints, p | bit(i), q, child, slot)
            else:
                _push(boxes, ints, p, q & ~bit(i), child, slot)
    return RUNNING
