"""What the order of events tells about the whole system, as features of a linear value.

The *event table* keeps, for every device, what its last event was: its age then, when it was, and what it decided. With
the elapsed times it is a hand-made recurrent state over the global event sequence: who is waiting, for how much longer,
and who is being served where. Its features are sums over devices by status, so their number does not grow with M.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.state import AGE, KIND, OFFLOAD, QUEUES

Floats = NDArray[np.float64]

TABLE = ("age", "time", "place", "wait")
"""Columns of a table row: a device's age at its last event (s), the time of that event (s), where it went (-1: unknown;
0: it waits; 1 + n: it offloaded to server n), and the wait it chose (share of the longest)."""
_AGE, _TIME, _PLACE, _WAIT = range(len(TABLE))

# Sums over devices: all ages; of those that wait: number, age, remaining wait, its square, its product with the age,
# and for some time scales the discounted remaining wait alone and times the age; at each place number, age, time there.
_SCALES = (1.0 / 30.0, 0.1, 1.0 / 3.0)  # shares of the longest wait
_WAITING, _EXP = 2, 7
_PLACES = _EXP + 2 * len(_SCALES)
_PER_PLACE, _PER_QUEUE, _CROSS, _OWN = 3, 2, 10, 11

_F = TypeVar("_F", bound=Callable[..., Any])


def _jit(function: _F) -> _F:
    return cast(_F, numba.njit(cache=True)(function))


def unknown_table(n_devices: int) -> Floats:
    """The table before anything has happened, shape (M, 4)."""
    table = np.zeros((n_devices, len(TABLE)))
    table[:, _PLACE] = -1.0
    return table


def table_width(n_edges: int) -> int:
    """Number of features with N edge nodes."""
    return _PLACES + _PER_PLACE * (n_edges + 1) + _PER_QUEUE * n_edges + _CROSS + _OWN


def advance(
    table: Floats,
    observation: NDArray[np.float32],
    device: NDArray[np.int64],
    time: Floats,
    server: NDArray[np.int64],
    wait: Floats,
) -> Floats:
    """The table behind some events.

    Args:
        table: before them, shape (M, 4).
        observation: without the device's index, shape (T, 4 + N).
        device: who decided, shape (T,).
        time: when, shape (T,), in seconds.
        server: chosen servers, shape (T,).
        wait: chosen waits as a share of the longest, shape (T,).
    """
    result = table.copy()
    offloads = observation[:, KIND] == OFFLOAD
    rows = np.stack([observation[:, AGE], time, np.where(offloads, server + 1.0, 0.0), wait], axis=1)
    result[device] = rows  # of a device's several events the last one stays
    return result


def table_features(
    table: Floats,
    observation: NDArray[np.float32],
    device: NDArray[np.int64],
    time: Floats,
    server: NDArray[np.int64],
    wait: Floats,
    longest: float,
) -> Floats:
    """Features at every event of B windows: of the table just before it, and of the deciding device.

    Args:
        table: before the first event, shape (B, M, 4).
        observation: without the device's index, shape (B, T, 4 + N).
        device: who decides, shape (B, T); negative is padding.
        time: when, shape (B, T), in seconds.
        server: chosen servers, shape (B, T).
        wait: chosen waits as a share of the longest, shape (B, T).
        longest: longest wait, in seconds.

    Returns:
        Shape (B, T, `table_width`); zero where padded.
    """
    n_edges = observation.shape[-1] - QUEUES
    out = np.zeros((*device.shape, table_width(n_edges)))
    for lane in range(len(device)):
        arguments = (observation[lane], device[lane], time[lane], server[lane], wait[lane])
        _fill(table[lane].copy(), *arguments, longest, np.array(_SCALES), out[lane])
    return out


@_jit
def _fill(
    table: Floats,
    observation: NDArray[np.float32],
    device: NDArray[np.int64],
    time: Floats,
    server: NDArray[np.int64],
    wait: Floats,
    longest: float,
    scales: Floats,
    out: Floats,
) -> None:
    for t in range(len(device)):
        own = device[t]
        if own < 0:
            continue
        now, age = time[t], np.float64(observation[t, AGE])
        table[own, _PLACE] = -1.0  # the deciding device is described by its observation
        _sum_devices(table, now, longest, scales, out[t])
        _describe(observation[t], age, len(table), out[t])
        table[own, _AGE], table[own, _TIME], table[own, _WAIT] = age, now, wait[t]
        table[own, _PLACE] = server[t] + 1.0 if int(observation[t, KIND]) == OFFLOAD else 0.0


@_jit
def _sum_devices(table: Floats, now: float, longest: float, scales: Floats, f: Floats) -> None:
    for m in range(len(table)):
        place = int(table[m, _PLACE])
        if place < 0:
            continue
        elapsed = now - table[m, _TIME]
        age = table[m, _AGE] + elapsed
        f[0] += age
        if place == 0:
            rest = max(table[m, _WAIT] - elapsed / longest, 0.0)
            f[_WAITING] += 1.0
            f[_WAITING + 1] += age
            f[_WAITING + 2] += rest
            f[_WAITING + 3] += rest * rest
            f[_WAITING + 4] += rest * age
            for s in range(len(scales)):
                soon = math.exp(-rest / scales[s])
                f[_EXP + 2 * s] += soon
                f[_EXP + 2 * s + 1] += age * soon
        else:
            b = _PLACES + (place - 1) * _PER_PLACE
            f[b] += 1.0
            f[b + 1] += age
            f[b + 2] += elapsed


@_jit
def _describe(observation: NDArray[np.float32], age: float, devices: int, f: Floats) -> None:
    """Queues, products with them, and the deciding device."""
    edges = len(observation) - QUEUES
    f[0] += age
    f[1] = f[0] * f[0] / devices
    b = _PLACES + _PER_PLACE * (edges + 1)
    total, shortest, longest = 0.0, math.inf, 0.0
    for n in range(edges):
        q = np.float64(observation[QUEUES + n])  # `float` would stay in single precision here
        f[b], f[b + 1] = q, q * q
        total, shortest, longest = total + q, min(shortest, q), max(longest, q)
        b += _PER_QUEUE
    if edges == 0:
        shortest = 0.0
    soon, later = f[_EXP + 2], f[_EXP + 4]
    f[b], f[b + 1], f[b + 2] = shortest * longest, longest - shortest, total * f[0]
    f[b + 3], f[b + 4], f[b + 5] = total * f[_EXP], total * soon, total * later
    f[b + 6], f[b + 7], f[b + 8], f[b + 9] = later * later, soon * soon, soon * f[0], later * f[0]
    b += _CROSS
    if int(observation[KIND]) == OFFLOAD:
        f[b + 4], f[b + 5], f[b + 6], f[b + 7] = 1.0, age, age * age, age * total
        f[b + 8], f[b + 9] = shortest, age * shortest
    else:
        f[b], f[b + 1], f[b + 2], f[b + 3] = 1.0, age, age * age, age * total
    f[b + 10] = 1.0
