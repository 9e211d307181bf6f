"""The routing kernel: prompts arrive, are sent to experts, wait in queues, cost joules; compiled by numba.

The scalar and the batched environment call the same functions with 1 or L lanes; uncompiled
(``NUMBA_DISABLE_JIT=1``) they give the same bits.
"""

from __future__ import annotations

import math

from ..core.jit import inlined, kernel
from ..core.rng import device_key, episode_key, stream_key, uniform
from ..core.streams import ARRIVAL_STREAM, OUTAGE_STREAM, PROMPT_STREAM, QUALITY_STREAM
from .route_state import (
    CATEGORY,
    CLOCK,
    COST,
    DELAY,
    DELAY_LIMIT,
    DELAY_TERM,
    DELAY_USED,
    DURATION,
    ENERGY_LIMIT,
    ENERGY_TERM,
    ENERGY_USED,
    JOULES,
    LANE_ARRAYS,
    QUALITY,
    QUALITY_TERM,
    TIME,
    Lanes,
    Tables,
)

SUM, PER_JOULE, PER_SECOND = range(3)
NO_CONSTRAINTS, PENALTY, CMDP = range(3)


@inlined
def _draw_prompt(cumulative, equal, key, counter):
    """Row of prompt number ``counter``: uniform, or by weight."""
    u, count = uniform(key, counter), cumulative.shape[0]
    if equal:
        return min(int(u * count), count - 1)
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] < u:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _split(arrays):
    """The arrays of the lanes, and those that do not change."""
    return Lanes(*arrays[:LANE_ARRAYS]), Tables(*arrays[LANE_ARRAYS:])


@inlined
def _observe(s, t, i, obs):
    """Write lane i's observation: the prompt's own part, backlogs, what is left, who works."""
    lane, params, width, n = s.lane[i], t.params[0], t.head.shape[1], s.up.shape[1]
    x, now = lane["prompt"], lane["clock"]
    for j in range(width):
        obs[i, j] = t.head[x, j]
    for m in range(n):
        obs[i, width + m] = max(s.free_at[i, t.device[m]] - now, 0.0)
        obs[i, width + n + 2 + m] = s.up[i, m]
    obs[i, width + n] = 1.0 - lane["energy"] / params["energy_budget"]
    obs[i, width + n + 1] = max(1.0 - lane["time"] / params["horizon"], 0.0)


@inlined
def _mask(s, t, i, mask):
    """Which experts may be chosen; where none works, or the budget is spent, the choice is free and changes nothing."""
    n, params = s.up.shape[1], t.params[0]
    spent = params["hard"] != 0 and s.lane[i]["energy"] >= params["energy_budget"]
    works = 0
    for m in range(n):
        works += s.up[i, m]
    for a in range(mask.shape[1]):
        m = a if a < n else (a - n) % (n + 1)
        mask[i, a] = m == n or spent or works == 0 or s.up[i, m] != 0


@inlined
def _serve(s, t, i, actions):
    """Send lane i's prompt to its experts.

    Returns:
        (number that answered, quality, joules, delay in s).
    """
    lane, params = s.lane[i], t.params[0]
    x, n = lane["prompt"], s.up.shape[1]
    sent = lane["clock"] + params["t_gate"]
    spent = params["hard"] != 0 and lane["energy"] >= params["energy_budget"]
    count, slowest, refused, joules = 0, 0.0, 0.0, params["gate_energy"]
    highest, weights, merit, most = -math.inf, 0.0, 0.0, 0.0
    for a in range(actions.shape[1]):
        m = actions[i, a]
        repeated = m == n
        for b in range(a):
            repeated = repeated or actions[i, b] == m
        if repeated:
            continue
        if spent or s.up[i, m] == 0:
            refused = max(refused, t.rtt[m])
            continue
        arrival = sent + t.upload[x, m]
        begin = arrival
        if params["queues"]:
            begin = max(arrival, s.free_at[i, t.device[m]])
            s.free_at[i, t.device[m]] = begin + t.compute[x, m]
        slowest = max(slowest, (begin + t.compute[x, m]) + t.download[x, m] - sent)
        joules += t.energy[x, m]
        quality, logit = t.quality[x, m], t.logit[x, m]
        most = max(most, quality)
        # A running softmax: the weights are scaled to the highest logit seen so far.
        if logit > highest:
            if count:
                scale = math.exp(highest - logit)
                weights, merit = weights * scale, merit * scale
            highest = logit
            weights, merit = weights + 1.0, merit + quality
        else:
            share = math.exp(logit - highest)
            weights, merit = weights + share, merit + share * quality
        count += 1
    if count == 0:
        return 0, 0.0, joules, params["t_gate"] + refused
    value = most if params["best"] else merit / weights
    if params["bernoulli"]:
        value = 1.0 if uniform(lane["quality_key"], lane["steps"]) <= value else 0.0
    return count, value, joules, params["t_gate"] + slowest + params["t_agg"] * count


# --- entries: `arrays` stands for those of `route_state.Lanes`, then those of `route_state.Tables` --------------------


@kernel
def reset_lanes(chosen, obs, out, mask, *arrays):
    """Start the next episode in every chosen lane: the first prompt is there at once.

    Args:
        chosen: (L,) bool.
        obs: (L, D) float32, written.
        out: (R, L) float64, written.
        mask: (L, A) bool, written.
        *arrays: seed and episode of each lane are set already.
    """
    s, t = _split(arrays)
    p = t.params[0]
    for i in range(s.lane.shape[0]):
        if not chosen[i]:
            continue
        lane = s.lane[i]
        seed, episode = lane["seed"], lane["episode"]
        lane["prompt_key"] = stream_key(seed, episode, PROMPT_STREAM, 0)
        lane["arrival_key"] = stream_key(seed, episode, ARRIVAL_STREAM, 0)
        lane["quality_key"] = stream_key(seed, episode, QUALITY_STREAM, 0)
        lane["outage_key"] = episode_key(seed, episode, OUTAGE_STREAM)
        lane["clock"] = lane["time"] = lane["energy"] = 0.0
        lane["steps"] = 0
        lane["prompt"] = _draw_prompt(t.cumulative, p["equal"], lane["prompt_key"], 0)
        s.free_at[i, :] = 0.0
        s.up[i, :] = 1
        _observe(s, t, i, obs)
        _mask(s, t, i, mask)
        out[:, i] = 0.0
        out[ENERGY_LIMIT, i], out[DELAY_LIMIT, i] = p["energy_budget"], p["delay_budget"]
        out[CATEGORY, i] = t.category[lane["prompt"]]


@kernel
def step_lanes(actions, skip, obs, out, mask, truncated, *arrays):
    """Answer one prompt in every lane and wait for the next.

    Args:
        actions: (L, k) experts, in range; n in all but the first column means no further expert.
        skip: (L,) bool, lanes that are left alone.
        obs: (L, D) float32, written.
        out: (R, L) float64, written.
        mask: (L, A) bool, written.
        truncated: (L,) bool, written.
        *arrays: see above.
    """
    s, t = _split(arrays)
    p = t.params[0]
    for i in range(s.lane.shape[0]):
        if skip[i]:
            continue
        lane = s.lane[i]
        category, step = t.category[lane["prompt"]], lane["steps"]
        count, value, joules, delay = _serve(s, t, i, actions)
        excess = 0.0
        if p["delays"] and count:
            excess = max(delay - t.tau[category], 0.0) / t.tau[category]
        gap = delay
        if p["objective"] != PER_SECOND:
            gap = -math.log(uniform(lane["arrival_key"], step)) / p["rate"]
        total = joules + p["idle_watts"] * gap
        duration = 1.0
        if p["objective"] == PER_JOULE:
            duration = total
        elif p["objective"] == PER_SECOND:
            duration = delay
        energy_term, delay_term = 0.0, 0.0
        if p["constraints"] == PENALTY:
            energy_term = p["energy_price"] * joules / p["energy_unit"]
            delay_term = p["delay_price"] * excess
        lane["clock"] += gap
        lane["time"] += duration
        lane["energy"] += total
        lane["steps"] = step + 1
        lane["prompt"] = _draw_prompt(t.cumulative, p["equal"], lane["prompt_key"], step + 1)
        if p["dynamic"]:
            for m in range(s.up.shape[1]):
                u = uniform(device_key(lane["outage_key"], m), step)
                s.up[i, m] = u > p["p_fail"] if s.up[i, m] else u <= p["p_repair"]
        truncated[i] = lane["time"] >= p["horizon"]
        out[COST, i] = (energy_term - value) + delay_term
        out[DURATION, i], out[TIME, i] = duration, lane["time"]
        out[QUALITY_TERM, i], out[ENERGY_TERM, i], out[DELAY_TERM, i] = -value, energy_term, delay_term
        out[ENERGY_USED, i], out[DELAY_USED, i] = total, excess
        out[ENERGY_LIMIT, i], out[DELAY_LIMIT, i] = p["energy_budget"], p["delay_budget"]
        out[CLOCK, i], out[QUALITY, i], out[DELAY, i], out[JOULES, i] = lane["clock"], value, delay, total
        out[CATEGORY, i] = category
        _observe(s, t, i, obs)
        _mask(s, t, i, mask)


@kernel
def show_lanes(obs, mask, *arrays):
    """Write what every lane shows now: obs (L, D) float32, mask (L, A) bool."""
    s, t = _split(arrays)
    for i in range(s.lane.shape[0]):
        _observe(s, t, i, obs)
        _mask(s, t, i, mask)


@kernel
def random_actions(mask, keys, counter, n, k, actions):
    """Uniformly random allowed actions for benchmarks: (L, k), from one random number per lane and column.

    Args:
        mask: (L, A) bool.
        keys: (L,) uint64 stream keys.
        counter: number of the draw.
        n: number of experts.
        k: number of columns.
        actions: (L, k) int64, written.
    """
    for i in range(mask.shape[0]):
        start = 0
        for a in range(k):
            size = n if a == 0 else n + 1
            allowed = 0
            for m in range(size):
                allowed += mask[i, start + m]
            rank = min(int(uniform(keys[i], counter * k + a) * allowed), allowed - 1)
            for m in range(size):
                if mask[i, start + m]:
                    if rank == 0:
                        actions[i, a] = m
                        break
                    rank -= 1
            start += size
