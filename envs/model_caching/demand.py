"""Demand of a slot, compiled: Poisson with Zipf popularity, Markov-modulated Poisson, or a trace."""

from __future__ import annotations

import math

from ..core.jit import inlined, kernel
from ..core.rng import device_key, episode_key, uniform
from ..core.streams import BURST, DEMAND, POPULARITY
from .state import LEAST, MARKOV, TABULATED, TRACE, World


@kernel
def poisson(u, mean, still):
    """Poisson variate by inversion of its distribution function at u in (0, 1]; ``still`` is exp(-mean)."""
    probability = below = still
    k = 0
    while u > below:
        k += 1
        probability *= mean / k
        if probability < LEAST and k > mean:
            break
        below += probability
    return k


@inlined
def _popular(w, rank, u):
    """The Poisson variate of a popularity rank; the outcome of a comparison is added, as nobody can predict it."""
    k = 0
    for n in range(TABULATED):
        k += int(u > w.below[rank, n])
    return k if k < TABULATED else poisson(u, w.rate[rank], w.still[rank])


@inlined
def _redraw_popularity(w, i, epoch):
    """A fresh random order of the agents (Fisher and Yates)."""
    count = w.agent.shape[1]
    key = device_key(w.lane[i]["popularity_key"], 0)
    for j in range(count):
        w.agent[i, j]["rank"] = j
    for j in range(count - 1, 0, -1):
        k = min(int(uniform(key, epoch * count + j) * (j + 1)), j)
        rank = w.agent[i, j]["rank"]
        w.agent[i, j]["rank"] = w.agent[i, k]["rank"]
        w.agent[i, k]["rank"] = rank


@inlined
def _modulate(w, i, t):
    """States of the modulating chains in slot t; they start in their stationary law."""
    leave = 0.5 if t == 0 else w.params[0]["leave"]
    for j in range(w.agent.shape[1]):
        if uniform(device_key(w.lane[i]["burst_key"], j), t) <= leave:
            w.agent[i, j]["burst"] = 1 - w.agent[i, j]["burst"]


@inlined
def _replay(w, i, t):
    """Demand of a trace's slot; behind its end there is none."""
    slot = w.lane[i]["first"] + t
    row = w.trace_base[i] + slot
    for j in range(w.agent.shape[1]):
        agent = w.agent[i, j]
        agent["demand"] = w.trace_count[row, j] if slot < w.params[0]["trace_slots"] else 0
        if agent["demand"] > 0:
            agent["input"] = w.trace_tokens[row, j, 0]
            agent["thought"] = w.trace_tokens[row, j, 1]
            agent["growth"] = w.trace_tokens[row, j, 2]


@inlined
def start_demand(w, i):
    """Keys and constants of a new episode; the first slot's demand is drawn by `draw_demand`."""
    lane = w.lane[i]
    demand_key = episode_key(lane["seed"], lane["episode"], DEMAND)
    lane["popularity_key"] = episode_key(lane["seed"], lane["episode"], POPULARITY)
    lane["burst_key"] = episode_key(lane["seed"], lane["episode"], BURST)
    last = w.params[0]["last_start"]
    lane["first"] = min(int(uniform(device_key(lane["popularity_key"], 1), 0) * (last + 1)), last)
    for j in range(w.agent.shape[1]):
        agent = w.agent[i, j]
        agent["key"] = device_key(demand_key, j)
        agent["burst"] = agent["demand"] = agent["seen"] = agent["rank"] = 0
        agent["input"] = agent["seen_input"] = w.static[j]["input"]
        agent["thought"] = w.static[j]["thought"]
        agent["growth"] = w.static[j]["growth"]


@inlined
def draw_demand(w, i):
    """Demand of the slot that begins now, and what of it is shown."""
    params, t = w.params[0], w.lane[i]["time"]
    hide = params["hide"]
    for j in range(w.agent.shape[1]):
        agent = w.agent[i, j]
        if hide:
            agent["seen"], agent["seen_input"] = agent["demand"], agent["input"]
    if params["workload"] == TRACE:
        _replay(w, i, t)
    else:
        every = params["shift_every"]
        if t == 0 or (every > 0 and t % every == 0):
            _redraw_popularity(w, i, t // every if every > 0 else 0)
        modulated = params["workload"] == MARKOV
        if modulated:
            _modulate(w, i, t)
        for j in range(w.agent.shape[1]):
            agent = w.agent[i, j]
            u = uniform(agent["key"], t)
            if modulated:
                mean = w.rate[agent["rank"]] * (params["busy"] if agent["burst"] else params["calm"])
                agent["demand"] = poisson(u, mean, math.exp(-mean))
            else:
                agent["demand"] = _popular(w, agent["rank"], u)
    if not hide:
        for j in range(w.agent.shape[1]):
            agent = w.agent[i, j]
            agent["seen"], agent["seen_input"] = agent["demand"], agent["input"]


@kernel
def write_episode(requests, inputs, thoughts, growths, *world):
    """Write the demand of lane 0's episode slot by slot.

    Args:
        requests: (T, I) int32, written.
        inputs: (T, I) float64, written: input sizes, tokens.
        thoughts: (T, I) float64, written: tokens per path.
        growths: (T, I) float64, written: context per locally served request, tokens.
        *world: the arrays of `World`; seed and episode of lane 0 are set already.
    """
    w = World(*world)
    start_demand(w, 0)
    for t in range(requests.shape[0]):
        w.lane[0]["time"] = t
        draw_demand(w, 0)
        for j in range(requests.shape[1]):
            agent = w.agent[0, j]
            requests[t, j], inputs[t, j] = agent["demand"], agent["input"]
            thoughts[t, j], growths[t, j] = agent["thought"], agent["growth"]


@kernel
def fill_uniforms(key, counters, out):
    """Write the draws of one stream at many counters, arrays (n,)."""
    for i in range(counters.shape[0]):
        out[i] = uniform(key, counters[i])
