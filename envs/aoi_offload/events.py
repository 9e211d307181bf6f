"""What happens in one lane: decisions that are carried out, events that are processed, and what they cost.

Compiled functions of a `World` and a lane index; everything is inlined into the entry points of `kernel`.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.jit import inlined
from ..core.rng import device_key
from .queueing import AUTHORS, DEADLINE, NO_DROP, join, leave, next_event, set_timer, unit_service
from .scripted import scripted_server, scripted_wait
from .state import (
    AGE,
    ARRIVE,
    COST,
    DELAY,
    DROP,
    DURATION,
    GENERATE,
    JOINT,
    JOINT_AGENT,
    KIND,
    LOCAL_DONE,
    OFFLOAD,
    OUT_DEVICE,
    OUT_KIND,
    OUTSIDE,
    QUEUES,
    ROOT,
    SCRIPTED,
    SINCE_DONE,
    STAGED_AGENT,
    STREAM_OFFSET,
    TERM_0,
    TERM_1,
    TERM_2,
    TIME,
    UPDATE,
)

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
def decide(w, i, server, wait):
    """Carry out the agent's pending decision; leave the device of the next event in its place."""
    lane = w.lane[i]
    m, kind = np.int64(lane["device"]), lane["kind"]
    d = w.device[i, m]
    d["last_decision"] = lane["time"]
    if w.params[0]["team"]:
        d["team_mark"] = lane["team_area"]
    if kind == OFFLOAD:
        lane["decisions"] += 1
        _apply_server(w, i, m, server)
    else:
        if kind == JOINT:
            d["place"] = server
        _apply_wait(w, i, m, min(wait, w.params[0]["z_max"]))
    lane["device"] = next_event(w, i)


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
def price(w, i, m, waiting, dropped, out, column):
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
def observe(w, i, m, kind, obs, row, stream):
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
def advance(w, i, until, obs, out, ints):
    """Process lane i's events, the first of which `decide` or a reset has found, up to the next decision of an agent.

    It stops before the first event at or after ``until``.
    """
    lane, params = w.lane[i], w.params[0]
    m = np.int64(lane["device"])
    while True:
        now, code = w.timer[i, ROOT], w.device[i, m]["code"]
        if now >= until:
            return
        if params["team"]:
            length = now - lane["time"]
            lane["team_area"] += (w.device.shape[1] * (lane["time"] + 0.5 * length) - lane["gen_sum"]) * length
        lane["time"] = now
        if code == ARRIVE:
            join(w, i, m, now)
            m = next_event(w, i)
            continue
        d = w.device[i, m]
        agent = w.rule[m]["agent"]
        # a joint device whose tasks keep being dropped must not outlive the horizon undecided
        overdue = code == DROP and now >= params["horizon"]
        asked = agent == STAGED_AGENT or (agent == JOINT_AGENT and (code < DROP or overdue))
        if asked:
            price(w, i, m, code == GENERATE, code == DROP, out, i)
        if d["prev"] != OUTSIDE:
            leave(w, i, m, now)
        if code >= DROP:
            if code == DROP and d["gen"] >= params["warmup"]:
                d["drops"] += 1
            d["gen"] = now
            if not asked:
                server = d["place"]
                if agent == SCRIPTED:
                    lane["decisions"] += 1
                    server = scripted_server(w, i, m)
                _apply_server(w, i, m, server)
                m = next_event(w, i)
                continue
            kind = JOINT if agent == JOINT_AGENT else OFFLOAD
        else:
            _complete(w, i, m, now)
            if agent == SCRIPTED:
                _apply_wait(w, i, m, scripted_wait(w, i, m))
                m = next_event(w, i)
                continue
            kind = JOINT if agent == JOINT_AGENT else UPDATE
        lane["device"] = m
        lane["kind"] = kind
        ints[OUT_DEVICE, i] = m
        ints[OUT_KIND, i] = kind
        observe(w, i, m, kind, obs, i, params["stream"])
        return
