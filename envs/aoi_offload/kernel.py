"""The event kernel: M devices and N first-come-first-served edge nodes in continuous time, compiled by numba.

Every event that is not the end of a transmission asks one device for a decision. A lane runs from one decision of an
*agent* to the next; scripted devices are served on the way. The scalar and the batched entry share one body, and the
same source runs uncompiled (``NUMBA_DISABLE_JIT=1``) with the same bits.

Physics: Jin et al., arXiv 2312.10418 and 2409.16832; the names of events and statuses are in `state`.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.jit import inlined, kernel
from ..core.prefetch import prefetch
from ..core.rng import device_key, episode_key
from ..core.streams import POLICY, SERVICE
from .events import advance, decide, observe, price
from .queueing import DEADLINE, join, next_event, set_timer, unit_service
from .state import (
    DROP,
    GENERATE,
    GROUP,
    IDLE,
    LOCAL_DONE,
    NOBODY,
    OFFLOAD,
    OUTSIDE,
    ROOT,
    UPDATE,
    World,
    first_leaf,
)

AHEAD = 4  # lanes between the one that steps and the one that is fetched
BLOCK = 16  # lanes per pass
LINE = 64  # bytes of a cache line


# --- reset and step ---------------------------------------------------------------------------------------------------


@inlined
def _reset_lane(w, i, obs, out, ints):
    """Start the lane's episode: every device has one task, and time runs to the first decision of an agent."""
    lane = w.lane[i]
    count, params = w.device.shape[1], w.params[0]
    lane["service_key"] = episode_key(lane["seed"], lane["episode"], SERVICE)
    lane["policy_key"] = episode_key(lane["seed"], lane["episode"], POLICY)
    lane["time"] = lane["team_area"] = lane["gen_sum"] = 0.0
    lane["decisions"] = lane["done"] = 0
    for n in range(w.edge.shape[1]):
        w.edge[i, n]["head"] = w.edge[i, n]["tail"] = NOBODY
        w.edge[i, n]["length"] = 0
    for j in range(w.timer.shape[1]):
        w.timer[i, j] = math.inf
    for m in range(count):
        d = w.device[i, m]
        d["gen_last"] = d["last_done"] = d["last_decision"] = d["gen"] = 0.0
        d["wait"] = d["team_mark"] = d["area"] = d["length"] = d["peak"] = d["wait_sum"] = 0.0
        d["completions"] = d["drops"] = d["policy_draws"] = 0
        d["next"] = NOBODY
        d["prev"] = OUTSIDE
        d["deadline"] = math.inf
        for place in range(w.choices.shape[2]):
            w.choices[i, m, place] = 0
            if params["remembers"]:
                pair = w.memory[i, m, place]
                pair["draw_sum"] = pair["delay_sum"] = 0.0
                pair["draws"] = pair["delays"] = pair["seen"] = 0
        d["place"] = 0
        shortest = params["initial_queue_limit"]
        for n in range(w.edge.shape[1]):
            if w.edge[i, n]["length"] < shortest:
                d["place"], shortest = n + 1, w.edge[i, n]["length"]
        d["attempts"] = 0
        unit = unit_service(params, device_key(lane["service_key"], m), d["attempts"])
        d["service"] = w.scale[m, d["place"]] * unit
        d["attempts"] += 1
        if d["place"] == 0:
            set_timer(w, i, m, d["service"], LOCAL_DONE)
        else:
            join(w, i, m, 0.0)


# --- entries: `world` stands for the arrays of `World` ----------------------------------------------------------------


@kernel
def reset_lanes(mask, until, obs, out, ints, *world):
    """Start an episode in every lane whose mask is set and run it to the first agent's decision.

    Args:
        mask: (L,) bool.
        until: (L,) float64, stop before the first event at or after it, in seconds.
        obs: (L, D) float32, written.
        out: (6, L) float64, written.
        ints: (2, L) int32, written.
        *world: seed and episode of each lane are set already.
    """
    w = World(*world)
    for i in range(w.lane.shape[0]):
        if mask[i]:
            _reset_lane(w, i, obs, out, ints)
            w.lane[i]["device"] = next_event(w, i)
            advance(w, i, until[i], obs, out, ints)


@inlined
def _fetch(w, i):
    """Ask for lane i's cache lines ahead of its turn: lanes outgrow the inner caches long before they are many."""
    m = w.lane[i]["device"]
    prefetch(w.device, (i, m), 0)
    prefetch(w.choices, (i, m, 0), 0)
    for n in range(w.edge.shape[1]):
        if w.edge[i, n]["tail"] != NOBODY:
            prefetch(w.device, (i, w.edge[i, n]["tail"]), 0)
    place = first_leaf(w.device.shape[1]) + m
    while place > ROOT:
        prefetch(w.timer, (i, place), 0)
        place = place // GROUP + ROOT - 1


@inlined
def _wait_limit(params):
    """Longest accepted wait: a float32 action may sit just above a Z_max that float32 cannot represent."""
    return params["z_max"] * (1.0 + 1e-6)


@inlined
def _all_plausible(server, wait, places, limit):
    """Whether every action is in range, its unused part included: one pass without a branch settles most calls."""
    fine = True
    for i in range(server.shape[0]):
        fine &= (server[i] >= 0) & (server[i] < places) & (wait[i] >= 0.0) & (wait[i] <= limit)
    return fine


@inlined
def _invalid(w, i, server, wait):
    """Code of what is wrong with an action: 0 nothing, 1 server, 2 wait; only the part that is used counts."""
    kind = w.lane[i]["kind"]
    if kind != UPDATE and not 0 <= server < w.scale.shape[1]:
        return 1
    if kind != OFFLOAD and not 0.0 <= wait <= _wait_limit(w.params[0]):
        return 2
    return 0


@kernel
def step_lane(server, wait, obs, out, ints, *world):
    """One decision in lane 0: the scalar twin of `step_lanes`.

    Returns:
        0 or 1: done, and whether the horizon is reached; -1 or -2: server or wait is invalid and nothing was done.
    """
    w = World(*world)
    i = np.int64(0)
    problem = _invalid(w, i, server, wait)
    if problem:
        return -problem
    decide(w, i, server, wait)
    advance(w, i, math.inf, obs, out, ints)
    w.lane[0]["done"] = w.lane[0]["time"] >= w.params[0]["horizon"]
    return w.lane[0]["done"]


@kernel
def step_lanes(server, wait, skip, until, horizon, obs, out, ints, truncated, *world):
    """One decision in every lane.

    Args:
        server: (L,) integers.
        wait: (L,) floats, in seconds.
        skip: (L,) bool, lanes that are left alone.
        until: (L,) float64, stop before the first event at or after it, in seconds; such a lane is truncated, and its
            decision is nobody's.
        horizon: (L,) float64, truncate at the first decision at or after it, in seconds.
        obs: (L, D) float32, written.
        out: (6, L) float64, written.
        ints: (2, L) int32, written.
        truncated: (L,) bool, written.
        *world: see above.

    Returns:
        (lane, code) of the first invalid action with the codes of `step_lane`, and then nothing was done; else (0, 0).
    """
    w = World(*world)
    if not _all_plausible(server, wait, w.scale.shape[1], _wait_limit(w.params[0])):
        for i in range(w.lane.shape[0]):
            if not skip[i]:
                problem = _invalid(w, i, server[i], wait[i])
                if problem:
                    return i, -problem
    lanes = w.lane.shape[0]
    for first in range(0, lanes, BLOCK):
        # Two passes over a block, so that the device of the next event is on its way before it is needed.
        last = min(first + BLOCK, lanes)
        for i in range(first, last):
            if i + AHEAD < lanes:
                _fetch(w, i + AHEAD)
            if not skip[i]:
                decide(w, i, server[i], wait[i])
                prefetch(w.device, (i, w.lane[i]["device"]), 0)
                prefetch(w.device, (i, w.lane[i]["device"]), LINE)
        for i in range(first, last):
            if not skip[i]:
                advance(w, i, until[i], obs, out, ints)
                truncated[i] = w.lane[i]["time"] >= horizon[i] or w.timer[i, ROOT] >= until[i]
                w.lane[i]["done"] = truncated[i]
    return 0, 0


@kernel
def open_intervals(i, step_out, obs, out, *world):
    """Final observation, cost and duration of every device's open interval in lane i.

    Args:
        i: the lane.
        step_out: (6, L) float64: what the step wrote, for the device whose decision is pending.
        obs: (M, 4 + N) float32, written; ``kind`` is IDLE but for the device whose decision is pending.
        out: (6, M) float64, written.
        *world: see above.
    """
    w = World(*world)
    lane, params = w.lane[i], w.params[0]
    for m in range(w.device.shape[1]):
        if m == lane["device"]:
            observe(w, i, m, lane["kind"], obs, m, False)
            for row in range(out.shape[0]):
                out[row, m] = step_out[row, i]
            continue
        code = w.device[i, m]["code"]
        idle = code == DROP and w.device[i, m]["prev"] == OUTSIDE and params["drop"] != DEADLINE
        observe(w, i, m, IDLE, obs, m, False)
        price(w, i, m, code == GENERATE, idle, out, m)
