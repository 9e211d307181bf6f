"""Decisions of one device, picked out of event sequences in which many devices alternate.

A *transition* of a device leads from one of its decisions to its next one. In an event stream other devices' decisions
lie between the two; whoever computes returns on the stream as it is mixes them up.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from .returns import accumulate

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Transitions(NamedTuple):
    """Transitions in the order (system, device, time), as indices into the flat list of events.

    Attributes:
        start: event of the decision, shape (R,).
        end: event of the device's next decision: its cost and duration span the transition, shape (R,).
        last: whether no transition of the same chain follows, shape (R,).
    """

    start: Indices
    end: Indices
    last: Flags

    def select(self, keep: Flags) -> "Transitions":
        """Those marked by `keep` (R,)."""
        start, end = self.start[keep], self.end[keep]
        last = np.ones(len(start), np.bool_)
        last[:-1] = end[:-1] != start[1:]
        return Transitions(start, end, last)


def transitions(chain: Indices) -> Transitions:
    """Pair every event with the next one of its chain.

    Args:
        chain: which (system, device) each event belongs to, negative for padding; events of a chain stand in the order
            of time; shape (E,).
    """
    order = np.argsort(chain, kind="stable")
    order = order[chain[order] >= 0]
    start, end = order[:-1], order[1:]
    same = chain[start] == chain[end]
    return Transitions(start, end, same).select(same)


def advantages(delta: Floats, carry: Floats, last: Flags) -> Floats:
    """Sums delta[r] + carry[r] * sum[r + 1] along every chain.

    Args:
        delta: temporal differences, shape (R,).
        carry: discount times lambda, shape (R,).
        last: ends of chains, see `Transitions`, shape (R,).
    """
    if not len(delta):
        return np.zeros(0)
    chain: Indices = np.cumsum(last) - last
    first = np.flatnonzero(np.r_[True, last[:-1]])
    step = np.arange(len(delta)) - first[chain]
    table = np.zeros((2, int(step.max()) + 1, len(first)))
    table[:, step, chain] = delta, carry
    sums: Floats = accumulate(table[0], table[1], np.zeros(table.shape[1:], np.bool_))[step, chain]
    return sums


def eligibility_traces(features: Floats, carry: Floats, last: Flags) -> Floats:
    """Sums features[r] + carry[r - 1] * sum[r - 1] along every chain.

    Args:
        features: at the start of each transition, shape (R, width).
        carry: discount times lambda, shape (R,).
        last: ends of chains, see `Transitions`, shape (R,).
    """
    sums: Floats = features.copy()
    _accumulate_forward(sums, np.where(last, 0.0, carry))
    return sums


@numba.njit(cache=True)
def _accumulate_forward(sums: Floats, carry: Floats) -> None:
    for row in range(1, len(sums)):
        if carry[row - 1] != 0.0:
            for column in range(sums.shape[1]):
                sums[row, column] += carry[row - 1] * sums[row - 1, column]


def running_sums(group: Indices, values: Floats) -> Floats:
    """Cumulative sums within each group, the own value included.

    Args:
        group: group of each value, shape (n,).
        values: shape (n,).
    """
    order = np.argsort(group, kind="stable")
    sums = np.cumsum(values[order])
    first = np.r_[True, group[order][1:] != group[order][:-1]][: len(order)]
    before = np.r_[0.0, sums[:-1]][: len(order)]
    result = np.empty(len(order))
    result[order] = sums - before[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    return result


def cycle_rates(
    chain: Indices, completion: Flags, delay: Floats, cost: Floats, duration: Floats, trapezoid: bool
) -> Floats:
    """Cost per unit of time of the cycle that each completion ends: what a non-fractional learner minimises.

    Args:
        chain: see `transitions`, shape (E,).
        completion: events at which a task of the device has completed, shape (E,).
        delay: delay of the device's last completed task, shape (E,), in seconds.
        cost: area since the device's previous decision, shape (E,), in s^2.
        duration: time since then, shape (E,), in seconds.
        trapezoid: count the area between the slopes of two generations, A / (Y + Z), instead of that between two
            completions; only where `cost` is the device's own age.

    Returns:
        The rate at completions, 0 at other events, and NaN where the cycle began before the first event; shape (E,).
    """
    order = np.argsort(chain, kind="stable")
    order = order[chain[order] >= 0]
    ends = completion[order]
    marks = np.where(ends, np.arange(len(order)), -1)
    before = np.r_[-1, np.maximum.accumulate(marks)[:-1]] if len(order) else marks
    known = (before >= 0) & (chain[order][before] == chain[order])
    area, length = (np.cumsum(x[order]) for x in (cost, duration))
    area, length = area - area[before], length - length[before]
    if trapezoid:
        was, now = delay[order][before], delay[order]
        area, length = area + 0.5 * (was**2 - now**2), length + was - now
    rates = np.zeros(len(chain))
    with np.errstate(divide="ignore", invalid="ignore"):
        rates[order] = np.where(ends, np.where(known, area / length, np.nan), 0.0)
    return rates
