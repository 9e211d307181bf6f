"""Branch-reduce-and-bound for the facility-location objective, compiled: the hot path of the exact selection.

Subsets are 64-bit sets. A box ``[p, q]`` holds every subset that contains p and lies in q. Its bound is Lagrangian: for
any prices v >= 0, one per prompt, ``max_i G_ix <= v_x + sum_i (G_ix - v_x)+``, so no subset T of the box is worth more
than ``sum_x v_x`` plus the profits ``rho_i = sum_x (G_ix - v_x)+`` of its experts, and the best profits under one
additive budget are at most those of the fractional knapsack. Prices at ``max_{i in S} G_ix`` give the submodular bound
at S (Nemhauser, Wolsey, Fisher 1978); a few subgradient steps improve on it. The profits also say which experts a box
must hold or may drop (reduction).

Every function is plain numba; `search` advances a search that lives in arrays, so its caller can look at the clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}
# Functions that only compiled code calls need no wrapper, which takes longer to compile than most of them.
_INNER = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_FREE_ORDER = {"fastmath": {"reassoc", "nsz", "nnan", "contract"}}  # sums may be vectorised
compiled: Any = numba.njit(**_OPTIONS)
inner: Any = numba.njit(**_INNER)
_sums: Any = numba.njit(**_INNER | _FREE_ORDER)
_called_sums: Any = numba.njit(**_OPTIONS | _FREE_ORDER)

SLACK = 1e-12
"""Budgets are met up to this, relative to the budget where it exceeds 1."""
_ONE = np.uint64(1)


class Problem(NamedTuple):
    """What is maximised and under which budgets, as arrays (see `constraints.Compiled`)."""

    gain: NDArray[np.float64]  # (n, M) weighted qualities G
    load: NDArray[np.float64]  # (R, n) additive use of every budget
    limit: NDArray[np.float64]  # (R,) those budgets, slack included
    cap: NDArray[np.int64]  # (n,) largest subset that may hold the expert
    peak: NDArray[np.float64]  # (n,) energy of which the k largest count
    peak_row: int  # row of `load` to which they are added, or -1
    k: int


@inner
def has(s, i):
    """Whether the set s holds i."""
    return (s >> np.uint64(i)) & _ONE != 0


@inner
def bit(i):
    """The set {i}."""
    return _ONE << np.uint64(i)


@compiled
def feasible(problem, s):
    """Whether the subset s keeps every budget."""
    n = problem.cap.shape[0]
    size, cap = 0, n
    for i in range(n):
        if has(s, i):
            size += 1
            cap = min(cap, problem.cap[i])
    if size > cap:
        return False
    for r in range(problem.load.shape[0]):
        total = 0.0
        for i in range(n):
            if has(s, i):
                total += problem.load[r, i]
        if r == problem.peak_row:
            total += _largest(problem, s)
        if total > problem.limit[r]:
            return False
    return True


@inner
def _largest(problem, s):
    """Sum of the k largest peaks in s."""
    taken, total = np.uint64(0), 0.0
    for _ in range(problem.k):
        best = -1
        for i in range(problem.cap.shape[0]):
            if has(s, i) and not has(taken, i) and (best < 0 or problem.peak[i] > problem.peak[best]):
                best = i
        if best < 0:
            break
        taken |= bit(best)
        total += problem.peak[best]
    return total


@_called_sums
def value(gain, s, best):
    """f(s) = sum over prompts of the best quality in s; ``best`` (M,) is left holding the qualities."""
    best[:] = 0.0
    for i in range(gain.shape[0]):
        if has(s, i):
            for x in range(gain.shape[1]):
                best[x] = max(best[x], gain[i, x])
    total = 0.0
    for x in range(gain.shape[1]):
        total += best[x]
    return total


@_sums
def _profit(row, price):
    """Profit rho of one expert at these prices."""
    total = 0.0
    for x in range(row.shape[0]):
        total += max(row[x] - price[x], 0.0)
    return total


@inner
def _by_density(profit, load, free, count, order):
    """Sort the first ``count`` entries of ``order`` (experts in ``free``) by profit per load, best first."""
    for a in range(1, count):
        i = order[a]
        b = a - 1
        while b >= 0 and profit[i] * load[order[b]] > profit[order[b]] * load[i]:
            order[b + 1] = order[b]
            b -= 1
        order[b + 1] = i


@inner
def _knapsack(profit, load, room, order, count, skip, y):
    """Fractional knapsack over ``order``, without ``skip`` (-1: none); y (n,) is the solution; returns its profit."""
    total = 0.0
    for a in range(count):
        i = order[a]
        y[i] = 0.0
        if i == skip or profit[i] <= 0.0:
            continue
        if load[i] <= room:
            y[i] = 1.0
            room -= load[i]
            total += profit[i]
        elif room > 0.0:
            y[i] = room / load[i]
            total += profit[i] * y[i]
            room = 0.0
    return total


@inner
def _best_profits(profit, order, count, skip, room, y):
    """The ``room`` largest profits, for a limit on the number of experts."""
    total = 0.0
    for a in range(count):
        i = order[a]
        y[i] = 0.0
        if i != skip and room > 0 and profit[i] > 0.0:
            y[i] = 1.0
            room -= 1
            total += profit[i]
    return total


@inner
def _relax(problem, profit, p, q, row, order, y, forced, reach):
    """Best profits of a box under one budget (row R: the number of experts), and with every expert forced in or out.

    Returns:
        The bound; ``forced`` (n, 2) is the bound with expert i out (0) or in (1), for the undecided ones.
    """
    n, rows = problem.cap.shape[0], problem.load.shape[0]
    count, base, room = 0, 0.0, 0.0
    for i in range(n):
        if has(p, i):
            base += profit[i]
        elif has(q, i):
            order[count] = i
            count += 1
    if row < rows:
        room = problem.limit[row]
        for i in range(n):
            if has(p, i):
                room -= problem.load[row, i]
        _by_density(profit, problem.load[row], q, count, order)
        total = base + _knapsack(profit, problem.load[row], room, order, count, -1, y)
    else:
        room = float(_room(problem, p, q))
        _by_density(profit, reach, q, count, order)
        total = base + _best_profits(profit, order, count, -1, room, y)
    other = reach.copy()
    for a in range(count):
        i = order[a]
        if row < rows:
            out = base + _knapsack(profit, problem.load[row], room, order, count, i, other)
            rest = room - problem.load[row, i]
            inside = base + profit[i] + _knapsack(profit, problem.load[row], rest, order, count, i, other)
            if rest < 0.0:
                inside = -np.inf
        else:
            out = base + _best_profits(profit, order, count, i, room, other)
            inside = base + profit[i] + _best_profits(profit, order, count, i, room - 1.0, other)
        forced[i, 0] = min(forced[i, 0], out)
        forced[i, 1] = min(forced[i, 1], inside)
    return total


@inner
def _room(problem, p, q):
    """How many experts may still join p within q."""
    size, cap, largest = 0, problem.cap.shape[0], 0
    for i in range(problem.cap.shape[0]):
        if has(p, i):
            size += 1
            cap = min(cap, problem.cap[i])
        elif has(q, i):
            largest = max(largest, problem.cap[i])
    return max(min(cap, max(largest, size)) - size, 0)


@_sums
def _descend(gain, price, y, p, q, step_length, slope):
    """One subgradient step of the prices: prompts that several chosen experts serve get dearer."""
    n, count = gain.shape
    slope[:] = 1.0
    for i in range(n):
        share = 1.0 if has(p, i) else (y[i] if has(q, i) else 0.0)
        if share > 0.0:
            for x in range(count):
                slope[x] -= share if gain[i, x] > price[x] else 0.0
    norm = 0.0
    for x in range(count):
        norm += slope[x] * slope[x]
    if norm < 1e-15:
        return False
    step = step_length / norm
    for x in range(count):
        price[x] = max(price[x] - step * slope[x], 0.0)
    return True


@inner
def bound(problem, p, q, price, best_price, steps, lower, scratch):
    """Lagrangian bound of the box [p, q].

    Args:
        problem: a `Problem`.
        p: experts in every subset of the box.
        q: experts in none outside it.
        price: (M,) prices to start from; changed.
        best_price: (M,) written: the prices of the bound.
        steps: number of subgradient steps.
        lower: a known value; the search for better prices stops at a bound that does not exceed it.
        scratch: a `Scratch`.

    Returns:
        The bound; ``scratch.forced`` and ``scratch.y`` belong to it.
    """
    n, rows = problem.cap.shape[0], problem.load.shape[0]
    least, theta, stale = np.inf, 1.0, 0
    for step in range(steps + 1):
        base = price.sum()
        for i in range(n):
            scratch.profit[i] = _profit(problem.gain[i], price) if has(q, i) else 0.0
        scratch.trial_forced[:] = np.inf
        found = np.inf
        for row in range(rows + 1):
            total = _relax(
                problem, scratch.profit, p, q, row, scratch.order, scratch.trial, scratch.trial_forced, scratch.ones
            )
            if total < found:
                found = total
                scratch.trial_y[:] = scratch.trial
        found += base
        if found < least - 1e-15:
            stale = 0 if found < least - 1e-4 * abs(least - lower) else stale + 1
            least = found
            best_price[:] = price
            scratch.y[:] = scratch.trial_y
            for i in range(n):
                scratch.forced[i, 0] = base + scratch.trial_forced[i, 0]
                scratch.forced[i, 1] = base + scratch.trial_forced[i, 1]
        else:
            stale += 1
        if least <= lower or step == steps:
            break
        if stale >= 4:
            theta *= 0.5
            stale = 0
        if not _descend(problem.gain, price, scratch.trial_y, p, q, theta * max(found - lower, 1e-9), scratch.slope):
            break
    return least


class Scratch(NamedTuple):
    """Work arrays of the bound."""

    profit: NDArray[np.float64]
    order: NDArray[np.int64]
    y: NDArray[np.float64]
    trial: NDArray[np.float64]
    trial_y: NDArray[np.float64]
    forced: NDArray[np.float64]
    trial_forced: NDArray[np.float64]
    ones: NDArray[np.float64]
    slope: NDArray[np.float64]
    best: NDArray[np.float64]
    price: NDArray[np.float64]
    best_price: NDArray[np.float64]

    @classmethod
    def make(cls, n: int, prompts: int) -> Scratch:
        """Arrays for n experts."""
        return cls(
            np.zeros(n),
            np.zeros(n, np.int64),
            np.zeros(n),
            np.zeros(n),
            np.zeros(n),
            np.zeros((n, 2)),
            np.zeros((n, 2)),
            np.ones(n),
            np.zeros(prompts),
            np.zeros(prompts),
            np.zeros(prompts),
            np.zeros(prompts),
        )


@inner
def complete(problem, s, q, density, best):
    """Add experts of q to s while that is feasible, by gain or by gain per load of the first budget.

    Returns:
        (subset, value).
    """
    n = problem.cap.shape[0]
    total = value(problem.gain, s, best)
    while True:
        chosen, merit, gained = -1, 0.0, 0.0
        for i in range(n):
            if has(q, i) and not has(s, i) and feasible(problem, s | bit(i)):
                extra = _profit(problem.gain[i], best)
                worth = extra
                if density and problem.load.shape[0]:
                    worth = extra / max(
                        problem.load[0, i] + (problem.peak[i] if problem.peak_row == 0 else 0.0), 1e-300
                    )
                if worth > merit:
                    chosen, merit, gained = i, worth, extra
        if chosen < 0:
            return s, total
        s |= bit(chosen)
        total += gained
        for x in range(best.shape[0]):
            best[x] = max(best[x], problem.gain[chosen, x])


@inner
def improve(problem, s, best):
    """Local search: swap one expert for another and complete, while that helps. Returns (subset, value)."""
    n = problem.cap.shape[0]
    everyone = _everyone(n)
    s, total = complete(problem, s, everyone, False, best)
    improved = True
    while improved:
        improved = False
        for out in range(n):
            if not has(s, out):
                continue
            rest = s & ~bit(out)
            for into in range(n):
                if has(s, into) or not feasible(problem, rest | bit(into)):
                    continue
                trial, found = complete(problem, rest | bit(into), everyone, False, best)
                if found > total + 1e-12:
                    s, total, improved = trial, found, True
                    break
            if improved:
                break
    return s, total


@inner
def _everyone(n):
    return (~np.uint64(0)) >> np.uint64(64 - n)
