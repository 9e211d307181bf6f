"""The compiled bound of the facility-location objective: the hot path of the exact selection.

A box holds every subset that contains some experts and avoids others. Its bound is Lagrangian: for any prices v >= 0,
one per prompt, ``max_{i in T} G_ix <= v_x + sum_{i in T} (G_ix - v_x)+``, so no subset T of the box is worth more than
``sum_x v_x`` plus the profits ``rho_i = sum_x (G_ix - v_x)+`` of its experts, and the best profits under one additive
budget are at most those of the fractional knapsack. Prices at ``max_{i in S} G_ix`` give the submodular bound at S
(Nemhauser, Wolsey, Fisher 1978); subgradient steps improve on it. The profits also bound the box with any one expert
forced in or out, which says which experts it must hold or may drop.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ..core.jit import OPTIONS, compiled

_FREE_ORDER: dict[str, Any] = {"fastmath": {"reassoc", "nsz", "nnan", "contract"}}  # sums may be vectorised
_sums: Any = numba.njit(**OPTIONS | _FREE_ORDER)

OUT, UNDECIDED, IN = range(3)
"""States of an expert in a box."""


@_sums
def _profits(gain, price, state, profit):
    """Profit of every expert that is not out, at these prices."""
    for i in range(gain.shape[0]):
        total = 0.0
        if state[i] != OUT:
            for x in range(gain.shape[1]):
                total += max(gain[i, x] - price[x], 0.0)
        profit[i] = total


@_sums
def _descend(gain, price, share, step, slope):
    """One subgradient step of the prices: prompts that several chosen experts serve get dearer."""
    prompts = gain.shape[1]
    slope[:] = 1.0
    for i in range(gain.shape[0]):
        if share[i] > 0.0:
            for x in range(prompts):
                slope[x] -= share[i] if gain[i, x] > price[x] else 0.0
    norm = 0.0
    for x in range(prompts):
        norm += slope[x] * slope[x]
    if norm > 1e-15:
        for x in range(prompts):
            price[x] = max(price[x] - step / norm * slope[x], 0.0)


@compiled
def _knapsack(profit, load, room, order, count, skip, share):
    """Fractional knapsack over experts in order of profit per load, one of them left out; returns its profit."""
    total = 0.0
    for a in range(count):
        i = order[a]
        share[i] = 0.0
        if i == skip:
            continue
        if load[i] <= room:
            share[i] = 1.0
        elif room > 0.0:
            share[i] = room / load[i]
        room -= load[i] * share[i]
        total += profit[i] * share[i]
    return total


@compiled
def _relax(profit, load, room, state, base, order, share, forced):
    """Best profits of a box under one budget; lowers ``forced`` (n, 2) to the bounds with expert i out (0) or in (1).

    Returns:
        The bound, base included; ``share`` is the solution.
    """
    n, count = profit.shape[0], 0
    for i in range(n):
        share[i] = 1.0 if state[i] == IN else 0.0
        if state[i] == IN:
            base += profit[i]
        elif state[i] == UNDECIDED and profit[i] > 0.0:
            place = count
            while place and profit[i] * load[order[place - 1]] > profit[order[place - 1]] * load[i]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = i
            count += 1
    found = 0.0
    for trial in range(2 * n, -1, -1):  # 0 forces nothing and goes last: its solution is the one that stays
        i, inside = (trial - 1) // 2, (trial - 1) % 2
        if trial and state[i] != UNDECIDED:
            continue
        rest, found = room, base
        if trial and inside:
            rest -= load[i]
            found += profit[i]
        # Room below 0 is rounding, or an expert that does not fit, which the caller removes: 0 is still a bound.
        found += _knapsack(profit, load, max(rest, 0.0), order, count, i if trial else -1, share)
        if trial:
            forced[i, inside] = min(forced[i, inside], found)
    return found


@compiled
def bound(gain, load, room, state, price, best_price, steps, lower, share, forced):
    """Lagrangian bound of a box.

    Args:
        gain: (n, M) weighted qualities.
        load: (R, n) use of every additive budget, R >= 1.
        room: (R,) what the experts that are in leave of it.
        state: (n,) OUT, UNDECIDED or IN.
        price: (M,) prices to start from; changed.
        best_price: (M,) written: the prices of the bound.
        steps: number of subgradient steps.
        lower: steps end at a bound that does not exceed it.
        share: (n,) written: the fractional solution at the bound.
        forced: (n, 2) written: bounds of the box with an undecided expert out (0) or in (1).

    Returns:
        The bound.
    """
    n, prompts = gain.shape
    profit, trial, picked = np.zeros(n), np.zeros(n), np.zeros(n)
    order, slope = np.zeros(n, np.int64), np.zeros(prompts)
    least, theta, stale = np.inf, 1.0, 0
    forced[:] = np.inf
    for step in range(steps + 1):
        base = price.sum()
        _profits(gain, price, state, profit)
        found = np.inf
        for row in range(load.shape[0]):
            total = _relax(profit, load[row], room[row], state, base, order, trial, forced)
            if total < found:
                found = total
                picked[:] = trial
        if found < least:
            stale = 0 if found < least - 1e-4 * abs(least - lower) else stale + 1
            least = found
            best_price[:] = price
            share[:] = picked
        else:
            stale += 1
        if least <= lower or step == steps:
            break
        if stale >= 4:
            theta, stale = 0.5 * theta, 0
        _descend(gain, price, picked, theta * max(found - lower, 1e-9), slope)
    return least
