"""Building blocks of the event kernel: timers, random draws and edge queues of one lane.

Compiled functions of a `World` and a lane index. Everything is inlined into the entry points of `kernel`.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from ..core.jit import inlined
from ..core.rng import device_key, uniform
from .state import DROP, EDGE_DONE, GROUP, NOBODY, OUTSIDE, ROOT, first_leaf

_EXPONENTIAL, _LOGNORMAL, _DETERMINISTIC, _HYPEREXP = range(4)
NO_DROP, AUTHORS, CUTOFF, DEADLINE = range(4)

_MINIMUM = {"nnan", "nsz", "reassoc"}  # no timer is NaN: lets a minimum vectorise
_scan: Any = numba.njit(forceinline=True, cache=True, fastmath=_MINIMUM)


# --- timers: a complete tree of minima with GROUP children per node, each group on one cache line ------------------


@_scan
def _group_least(timer, i, start):
    """Least of lane i's group of timers that begins at position ``start``."""
    least = timer[i, start]
    for j in range(start + 1, start + GROUP):
        if timer[i, j] < least:
            least = timer[i, j]
    return least


@inlined
def set_timer(w, i, m, time, code):
    """Set the event of device m and renew the minima above it, up to the first that stays the same."""
    w.device[i, m]["code"] = code
    place = first_leaf(w.device.shape[1]) + m
    w.timer[i, place] = time
    while place > ROOT:
        least = _group_least(w.timer, i, place // GROUP * GROUP)
        place = place // GROUP + ROOT - 1
        if w.timer[i, place] == least:
            break
        w.timer[i, place] = least


@inlined
def next_event(w, i):
    """Device of the next event, whose time is at ROOT; ties go to the lower code, then to the lower device."""
    count = w.device.shape[1]
    leaves = first_leaf(count)
    now, place, ties = w.timer[i, ROOT], ROOT, 1
    while place < leaves:
        start = (place - ROOT + 1) * GROUP
        place, ties = 0, 0
        for j in range(start, start + GROUP):
            hit = w.timer[i, j] == now
            place += j * hit
            ties += hit
        if ties > 1:
            break
    if ties == 1:
        return place - leaves
    m = -1
    for other in range(count):
        if w.timer[i, leaves + other] == now and (m < 0 or w.device[i, other]["code"] < w.device[i, m]["code"]):
            m = other
    return m


# --- random draws ---------------------------------------------------------------------------------------------------


@inlined
def unit_service(params, key, attempt):
    """Service time of unit scale number ``attempt`` of a device's stream."""
    if params["service"] == _EXPONENTIAL:
        return -math.log(uniform(key, attempt))
    if params["service"] == _DETERMINISTIC:
        return 1.0
    first = uniform(key, 2 * attempt)
    second = uniform(key, 2 * attempt + 1)
    if params["service"] == _LOGNORMAL:
        normal = math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
        return math.exp(params["service_parameter"] * normal)
    cv2 = params["service_parameter"]
    p = (1.0 + math.sqrt((cv2 - 1.0) / (cv2 + 1.0))) / 2.0
    rate = 2.0 * p if first < p else 2.0 * (1.0 - p)
    return -math.log(second) / rate


@inlined
def policy_uniform(lane, d, m):
    """Next uniform variate of a scripted device's own stream."""
    draw = uniform(device_key(lane["policy_key"], m), d["policy_draws"])
    d["policy_draws"] += 1
    return draw


@inlined
def pick(u, n):
    """Index in 0..n-1 from a uniform variate in (0, 1]."""
    return min(int(u * n), n - 1)


# --- queues -----------------------------------------------------------------------------------------------------------


@inlined
def _deadline(w, i, m):
    """When the task of device m is dropped at the latest; the record is only looked up in that mode."""
    return w.device[i, m]["deadline"] if w.params[0]["drop"] == DEADLINE else math.inf


@inlined
def _start_service(w, i, m, now):
    """The edge server takes up the task of device m."""
    done = now + w.device[i, m]["service"]
    deadline = _deadline(w, i, m)
    if done <= deadline:
        set_timer(w, i, m, done, EDGE_DONE)
    else:
        set_timer(w, i, m, deadline, DROP)


@inlined
def join(w, i, m, now):
    """The task of device m joins the queue of its edge node."""
    d = w.device[i, m]
    e = w.edge[i, d["place"] - 1]
    d["next"] = NOBODY
    e["length"] += 1
    if e["length"] == 1:
        d["prev"] = NOBODY
        e["head"] = m
        e["tail"] = m
        _start_service(w, i, m, now)
    else:
        d["prev"] = e["tail"]
        w.device[i, e["tail"]]["next"] = m
        e["tail"] = m
        set_timer(w, i, m, _deadline(w, i, m), DROP)


@inlined
def leave(w, i, m, now):
    """The task of device m leaves its edge node; the next one starts if the server falls free."""
    d = w.device[i, m]
    e = w.edge[i, d["place"] - 1]
    e["length"] -= 1
    if d["next"] == NOBODY:
        e["tail"] = d["prev"]
    else:
        w.device[i, d["next"]]["prev"] = d["prev"]
    if d["prev"] == NOBODY:
        e["head"] = d["next"]
        if e["length"] > 0:
            _start_service(w, i, np.int64(e["head"]), now)
    else:
        w.device[i, d["prev"]]["next"] = d["next"]
    d["prev"] = OUTSIDE
