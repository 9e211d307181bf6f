"""Building blocks of the event kernel: timers, random draws and edge queues of one lane.

Compiled functions of a `World` and a lane index. Everything is inlined into the entry points of `kernel`.
"""

from __future__ import annotations

import math
from typing import Any

import numba

from ..core.rng import device_key, uniform
from .state import DROP, EDGE_DONE, GROUP, NOBODY, OUTSIDE

_EXPONENTIAL, _LOGNORMAL, _DETERMINISTIC, _HYPEREXP = range(4)
NO_DROP, AUTHORS, CUTOFF, DEADLINE = range(4)

compiled: Any = numba.njit(cache=True, error_model="numpy", nogil=True)
inlined: Any = numba.njit(forceinline=True, cache=True, error_model="numpy")
_MINIMUM = {"nnan", "nsz", "reassoc"}  # no timer is NaN: lets a minimum vectorise
_scan: Any = numba.njit(forceinline=True, cache=True, fastmath=_MINIMUM)
_compiled_scan: Any = numba.njit(cache=True, fastmath=_MINIMUM)


# --- timers: a flat list searched whole; beyond GROUP devices a shallow tree of group minima ------------------------


@_scan
def _first(timer, i, count):
    """(time, index, ties) of the least of lane i's first ``count`` timers; the index is right if nothing ties."""
    least = math.inf
    for j in range(count):
        if timer[i, j] < least:
            least = timer[i, j]
    index, hits = 0, 0
    for j in range(count):
        hit = timer[i, j] == least
        index += j * hit
        hits += hit
    return least, index, hits


@_compiled_scan
def _renew(timer, i, count, m):
    """Renew the group minima above timer m, up to the first that stays the same."""
    start, size, place = 0, count, m
    while size > GROUP:
        group = place // GROUP
        low = start + group * GROUP
        least = math.inf
        for j in range(low, min(low + GROUP, start + size)):
            if timer[i, j] < least:
                least = timer[i, j]
        start, size, place = start + size, (size + GROUP - 1) // GROUP, group
        if timer[i, start + place] == least:
            return
        timer[i, start + place] = least


@_compiled_scan
def _first_grouped(timer, i, count):
    """`_first` of more timers than one group holds: down from the top group's least to the timer behind it."""
    start, size = 0, count
    while size > GROUP:
        start, size = start + size, (size + GROUP - 1) // GROUP
    low, high, least, index, hits = start, start + size, math.inf, 0, 0
    for j in range(low, high):
        if timer[i, j] < least:
            least = timer[i, j]
    while True:
        index, hits = 0, 0
        for j in range(low, high):
            hit = timer[i, j] == least
            index += j * hit
            hits += hit
        if start == 0 or hits > 1:
            return least, index, hits
        below, width = 0, count
        while below + width < start:
            below, width = below + width, (width + GROUP - 1) // GROUP
        low = below + (index - start) * GROUP
        high = min(low + GROUP, start)
        start = below


@inlined
def set_timer(w, i, m, time, code):
    """Set the event of device m."""
    w.device[i, m]["code"] = code
    w.timer[i, m] = time
    if w.device.shape[1] > GROUP:
        _renew(w.timer, i, w.device.shape[1], m)


@inlined
def next_event(w, i):
    """(time, device) of the next event; ties go to the lower code, then to the lower device."""
    count = w.device.shape[1]
    if count > GROUP:
        now, m, ties = _first_grouped(w.timer, i, count)
    else:
        now, m, ties = _first(w.timer, i, count)
    if ties > 1:
        m = -1
        for other in range(count):
            if w.timer[i, other] == now and (m < 0 or w.device[i, other]["code"] < w.device[i, m]["code"]):
                m = other
    return now, m


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
            _start_service(w, i, e["head"], now)
    else:
        w.device[i, d["prev"]]["next"] = d["next"]
    d["prev"] = OUTSIDE
