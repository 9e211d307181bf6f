"""The event kernel: M devices and N first-come-first-served edge nodes in continuous time, compiled by numba.

Every event that is not the end of a transmission asks one device for a decision. A lane runs from one decision of an
*agent* to the next; scripted devices are served on the way. The scalar and the batched entry share one body, and the
same source runs uncompiled (``NUMBA_DISABLE_JIT=1``) with the same bits.

Physics: Jin et al., arXiv 2312.10418 and 2409.16832; the names of events and statuses are in `state`.
"""

from __future__ import annotations

import math

from ..core.prefetch import prefetch
from ..core.rng import POLICY, SERVICE, device_key, episode_key
from .queueing import AUTHORS, DEADLINE, NO_DROP, compiled, inlined, join, leave, next_event, set_timer, unit_service
from .scripted import scripted_server, scripted_wait
from .state import (
    AGE,
    ARRIVE,
    COST,
    DELAY,
    DROP,
    DURATION,
    GENERATE,
    GROUP,
    IDLE,
    JOINT,
    JOINT_AGENT,
    KIND,
    LOCAL_DONE,
    NOBODY,
    OFFLOAD,
    OUT_DEVICE,
    OUT_KIND,
    OUTSIDE,
    QUEUES,
    SCRIPTED,
    SINCE_DONE,
    STAGED_AGENT,
    STREAM_OFFSET,
    TERM_0,
    TERM_1,
    TERM_2,
    TIME,
    UPDATE,
    World,
)

AHEAD = 4  # lanes between the one that steps and the one that is fetched
NOWHERE = -1  # no server is chosen yet


# --- decisions --------------------------------------------------------------------------------------------------------


@inlined
def _apply_wait(w, i, m, wait):
    """Device m waits before it generates its next task."""
    d = w.device[i, m]
    now = w.lane[i]["time"]
    d["wait"] = wait
    w.lane[i]["decisions"] += 1
    set_timer(w, i, m, now + wait, GENERATE)


@inlined
def _apply_server(w, i, m, place):
    """Device m sends the task generated now to a place: service draw, drop test, transmission, queue."""
    lane, d, params = w.lane[i], w.device[i, m], w.params[0]
    now = lane["time"]
    d["place"] = place
    scale = w.scale[m, place]
    service = scale * unit_service(params, device_key(lane["service_key"], m), d["attempts"])
    d["attempts"] += 1
    d["service"] = service
    d["prev"] = OUTSIDE
    if now >= params["warmup"]:
        w.choices[i, m, place] += 1
    if params["remembers"]:
        w.memory[i, m, place]["seen"] = 1 if place == 0 else w.edge[i, place - 1]["length"] + 1

    limit = math.inf
    mode = params["drop"]
    if mode != NO_DROP:
        mean = params["law_mean"] * scale
        if params["running"]:
            pair = w.memory[i, m, place]
            mean = pair["draw_sum"] / pair["draws"] if pair["draws"] > 0 else 0.0
            pair["draw_sum"] += service
            pair["draws"] += 1
        limit = params["drop_coefficient"] * mean
        if mode != DEADLINE and service >= limit:
            set_timer(w, i, m, now + (service if mode == AUTHORS else limit), DROP)
            return
    deadline = math.inf
    if mode == DEADLINE:
        deadline = now + limit
        d["deadline"] = deadline
    if place == 0:
        if now + service <= deadline:
            set_timer(w, i, m, now + service, LOCAL_DONE)
        else:
            set_timer(w, i, m, deadline, DROP)
    elif params["transmission"] > 0.0:
        arrival = now + params["transmission"]
        if arrival < deadline:  # at equal times a drop goes first
            set_timer(w, i, m, arrival, ARRIVE)
        else:
            set_timer(w, i, m, deadline, DROP)
    else:
        join(w, i, m, now)


@inlined
def _decide(w, i, server, wait):
    """Carry out the wait part of the agent's pending decision; say who and which server is left to `_advance`."""
    lane = w.lane[i]
    m, kind = lane["device"], lane["kind"]
    d = w.device[i, m]
    d["last_decision"] = lane["time"]
    if w.params[0]["team"]:
        d["team_mark"] = lane["team_area"]
    if kind == OFFLOAD:
        lane["decisions"] += 1
        return m, server
    if kind == JOINT:
        d["place"] = server
    _apply_wait(w, i, m, min(wait, w.params[0]["z_max"]))
    return m, NOWHERE


# --- events -----------------------------------------------------------------------------------------------------------


@inlined
def _area(age, length):
    """Area under an age that starts at ``age`` and grows for ``length``."""
    return (age + 0.5 * length) * length


@inlined
def _complete(w, i, m, now):
    """Account for the task of device m that ends now: age falls to its delay."""
    d, lane, params = w.device[i, m], w.lane[i], w.params[0]
    length = now - d["last_done"]
    if d["last_done"] >= params["warmup"]:
        d["area"] += _area(d["last_done"] - d["gen_last"], length)
        d["length"] += length
        d["peak"] += now - d["gen_last"]
        d["wait_sum"] += d["wait"]
        d["completions"] += 1
    if params["remembers"]:
        pair = w.memory[i, m, d["place"]]
        if pair["seen"] > 0:
            pair["delay_sum"] += (now - d["gen"]) / pair["seen"]
            pair["delays"] += 1
    lane["gen_sum"] += d["gen"] - d["gen_last"]
    d["gen_last"] = d["gen"]
    d["last_done"] = now


@inlined
def _price(w, i, m, waiting, dropped, out, column):
    """Write cost, duration and terms of device m's interval up to now.

    Called before the event that ends the interval changes the device. ``waiting`` and ``dropped`` say what the
    device is doing; a joint decision's interval holds all three phases.
    """
    lane, d = w.lane[i], w.device[i, m]
    now, start, gen = lane["time"], d["last_decision"], d["gen_last"]
    own = _area(start - gen, now - start)
    out[COST, column] = own
    out[DURATION, column] = now - start
    out[TIME, column] = now
    out[TERM_0, column] = 0.0
    out[TERM_1, column] = 0.0
    out[TERM_2, column] = 0.0
    if w.params[0]["team"]:
        devices = w.device.shape[1]
        cost = (lane["team_area"] - d["team_mark"]) / devices
        out[COST, column] = cost
        out[TERM_0, column] = own / devices
        out[TERM_1, column] = cost - own / devices
    elif waiting:
        out[TERM_0, column] = own
    else:
        first = min(start + d["wait"], d["gen"])
        last = now if dropped else d["gen"]
        out[TERM_0, column] = _area(start - gen, first - start)
        out[TERM_1, column] = _area(last - gen, now - last)
        out[TERM_2, column] = _area(first - gen, last - first)


@inlined
def _observe(w, i, m, kind, obs, row, stream):
    """Write the observation of device m, after its index where ``stream`` is set."""
    d = w.device[i, m]
    now = w.lane[i]["time"]
    at = 0
    if stream:
        obs[row, 0] = m
        at = STREAM_OFFSET
    obs[row, at + KIND] = kind
    obs[row, at + DELAY] = d["last_done"] - d["gen_last"]
    obs[row, at + AGE] = now - d["gen_last"]
    obs[row, at + SINCE_DONE] = now - d["last_done"]
    for n in range(w.edge.shape[1]):
        obs[row, at + QUEUES + n] = w.edge[i, n]["length"]


@inlined
def _advance(w, i, m, server, until, obs, out, ints):
    """Send device m's task to ``server`` (unless that is NOWHERE), then run to the next decision of an agent.

    It stops before the first event at or after ``until``.

    Returns:
        Whether an agent's decision is pending.
    """
    lane, params = w.lane[i], w.params[0]
    while True:
        if server != NOWHERE:
            _apply_server(w, i, m, server)
            server = NOWHERE
        now, m = next_event(w, i)
        code = w.device[i, m]["code"]
        if now >= until:
            return False
        if params["team"]:
            length = now - lane["time"]
            lane["team_area"] += (w.device.shape[1] * (lane["time"] + 0.5 * length) - lane["gen_sum"]) * length
        lane["time"] = now
        if code == ARRIVE:
            join(w, i, m, now)
            continue
        d = w.device[i, m]
        agent = w.rule[m]["agent"]
        # a joint device whose tasks keep being dropped must not outlive the horizon undecided
        overdue = code == DROP and now >= params["horizon"]
        asked = agent == STAGED_AGENT or (agent == JOINT_AGENT and (code < DROP or overdue))
        if asked:
            _price(w, i, m, code == GENERATE, code == DROP, out, i)
        if d["prev"] != OUTSIDE:
            leave(w, i, m, now)
        if code >= DROP:
            if code == DROP and d["gen"] >= params["warmup"]:
                d["drops"] += 1
            d["gen"] = now
            if agent == SCRIPTED:
                lane["decisions"] += 1
                server = scripted_server(w, i, m)
                continue
            if not asked:
                server = d["place"]
                continue
            kind = JOINT if agent == JOINT_AGENT else OFFLOAD
        else:
            _complete(w, i, m, now)
            if agent == SCRIPTED:
                _apply_wait(w, i, m, scripted_wait(w, i, m))
                continue
            kind = JOINT if agent == JOINT_AGENT else UPDATE
        lane["device"] = m
        lane["kind"] = kind
        ints[OUT_DEVICE, i] = m
        ints[OUT_KIND, i] = kind
        _observe(w, i, m, kind, obs, i, params["stream"])
        return True


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
        unit = unit_service(params, device_key(lane["service_key"], m), 0)
        d["service"] = w.scale[m, d["place"]] * unit
        d["attempts"] = 1
        if d["place"] == 0:
            set_timer(w, i, m, d["service"], LOCAL_DONE)
        else:
            join(w, i, m, 0.0)


@compiled
def reset_lanes(lane, device, edge, timer, memory, choices, rule, scale, params, mask, until, obs, out, ints):
    """Start an episode in every lane whose mask is set and run it to the first agent's decision.

    Args:
        lane: the arrays of `World`, in order, up to ``params``; seed and episode of each lane are set already.
        device: see `World`.
        edge: see `World`.
        timer: see `World`.
        memory: see `World`.
        choices: see `World`.
        rule: see `World`.
        scale: see `World`.
        params: see `World`.
        mask: (L,) bool.
        until: stop there at the latest (only scripted systems need it), in seconds.
        obs: (L, D) float32, written.
        out: (6, L) float64, written.
        ints: (2, L) int32, written.
    """
    w = World(lane, device, edge, timer, memory, choices, rule, scale, params)
    for i in range(lane.shape[0]):
        if mask[i]:
            _reset_lane(w, i, obs, out, ints)
            _advance(w, i, 0, NOWHERE, until, obs, out, ints)


@inlined
def _fetch(w, i):
    """Ask for lane i's cache lines ahead of its turn: lanes outgrow the inner caches long before they are many."""
    m = w.lane[i]["device"]
    prefetch(w.device, (i, m))
    for j in range(0, min(w.timer.shape[1], GROUP), 8):
        prefetch(w.timer, (i, j))
    prefetch(w.choices, (i, m, 0))
    if w.edge.shape[1] > 0:
        prefetch(w.edge, (i, 0))


@inlined
def _invalid(w, i, server, wait):
    """Code of what is wrong with an action: 0 nothing, 1 server, 2 wait; only the part that is used counts."""
    kind = w.lane[i]["kind"]
    if kind != UPDATE and not 0 <= server < w.scale.shape[1]:
        return 1
    # float32 actions may sit just above a Z_max that float32 cannot represent
    if kind != OFFLOAD and not 0.0 <= wait <= w.params[0]["z_max"] * (1.0 + 1e-6):
        return 2
    return 0


@compiled
def step_lane(lane, device, edge, timer, memory, choices, rule, scale, params, server, wait, obs, out, ints):
    """One decision in lane 0: the scalar twin of `step_lanes`.

    Returns:
        0 or 1: done, and whether the horizon is reached; -1 or -2: server or wait is invalid and nothing was done.
    """
    w = World(lane, device, edge, timer, memory, choices, rule, scale, params)
    problem = _invalid(w, 0, server, wait)
    if problem:
        return -problem
    m, server = _decide(w, 0, server, wait)
    _advance(w, 0, m, server, math.inf, obs, out, ints)
    lane[0]["done"] = lane[0]["time"] >= params[0]["horizon"]
    return lane[0]["done"]


@compiled
def step_lanes(
    lane, device, edge, timer, memory, choices, rule, scale, params, server, wait, skip, obs, out, ints, truncated
):
    """One decision in every lane.

    Args:
        lane: the arrays of `World`, in order, up to ``params``.
        device: see `World`.
        edge: see `World`.
        timer: see `World`.
        memory: see `World`.
        choices: see `World`.
        rule: see `World`.
        scale: see `World`.
        params: see `World`.
        server: (L,) integers.
        wait: (L,) floats, in seconds.
        skip: (L,) bool, lanes that are left alone.
        obs: (L, D) float32, written.
        out: (6, L) float64, written.
        ints: (2, L) int32, written.
        truncated: (L,) bool, written.

    Returns:
        (lane, code) of the first invalid action with the codes of `step_lane`, and then nothing was done; else (0, 0).
    """
    w = World(lane, device, edge, timer, memory, choices, rule, scale, params)
    for i in range(lane.shape[0]):
        if not skip[i]:
            problem = _invalid(w, i, server[i], wait[i])
            if problem:
                return i, -problem
    horizon = params[0]["horizon"]
    for i in range(lane.shape[0]):
        if i + AHEAD < lane.shape[0]:
            _fetch(w, i + AHEAD)
        if skip[i]:
            continue
        m, place = _decide(w, i, server[i], wait[i])
        _advance(w, i, m, place, math.inf, obs, out, ints)
        truncated[i] = lane[i]["time"] >= horizon
        lane[i]["done"] = truncated[i]
    return 0, 0


@compiled
def open_intervals(lane, device, edge, timer, memory, choices, rule, scale, params, i, step_out, obs, out):
    """Final observation, cost and duration of every device's open interval in lane i.

    Args:
        lane: the arrays of `World`, in order, up to ``params``.
        device: see `World`.
        edge: see `World`.
        timer: see `World`.
        memory: see `World`.
        choices: see `World`.
        rule: see `World`.
        scale: see `World`.
        params: see `World`.
        i: the lane.
        step_out: (6, L) float64: what the step wrote, for the device whose decision is pending.
        obs: (M, 4 + N) float32, written; ``kind`` is IDLE but for the device whose decision is pending.
        out: (6, M) float64, written.
    """
    w = World(lane, device, edge, timer, memory, choices, rule, scale, params)
    count = device.shape[1]
    for m in range(count):
        if m == lane[i]["device"]:
            _observe(w, i, m, lane[i]["kind"], obs, m, False)
            out[:, m] = step_out[:, i]
            continue
        code = device[i, m]["code"]
        idle = code == DROP and device[i, m]["prev"] == OUTSIDE and params[0]["drop"] != DEADLINE
        _observe(w, i, m, IDLE, obs, m, False)
        _price(w, i, m, code == GENERATE, idle, out, m)
