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
    QUALITY,
    QUALITY_TERM,
    TIME,
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
def _observe(lane, free_at, up, device, head, params, i, obs):
    """Write lane i's observation: the prompt's own part, backlogs, what is left, who works."""
    width, n = head.shape[1], up.shape[1]
    x, now = lane[i]["prompt"], lane[i]["clock"]
    for j in range(width):
        obs[i, j] = head[x, j]
    for m in range(n):
        obs[i, width + m] = max(free_at[i, device[m]] - now, 0.0)
        obs[i, width + n + 2 + m] = up[i, m]
    obs[i, width + n] = 1.0 - lane[i]["energy"] / params["energy_budget"]
    obs[i, width + n + 1] = max(1.0 - lane[i]["time"] / params["horizon"], 0.0)


@inlined
def _mask(lane, up, params, i, mask):
    """Which experts may be chosen; where none works, or the budget is spent, the choice is free and changes nothing."""
    n = up.shape[1]
    spent = params["hard"] != 0 and lane[i]["energy"] >= params["energy_budget"]
    works = 0
    for m in range(n):
        works += up[i, m]
    for a in range(mask.shape[1]):
        m = a if a < n else (a - n) % (n + 1)
        mask[i, a] = m == n or spent or works == 0 or up[i, m] != 0


@kernel
def reset_lanes(lane, free_at, up, head, category, cumulative, device, params, chosen, obs, out, mask):
    """Start the next episode in every chosen lane: the first prompt is there at once.

    Args:
        lane: see `route_state.Lanes`; seed and episode are set already.
        free_at: see `route_state.Lanes`.
        up: see `route_state.Lanes`.
        head: see `route_state.Tables`.
        category: see `route_state.Tables`.
        cumulative: see `route_state.Tables`.
        device: see `route_state.Tables`.
        params: see `route_state.Tables`.
        chosen: (L,) bool.
        obs: (L, D) float32, written.
        out: (R, L) float64, written.
        mask: (L, A) bool, written.
    """
    p = params[0]
    for i in range(lane.shape[0]):
        if not chosen[i]:
            continue
        seed, episode = lane[i]["seed"], lane[i]["episode"]
        lane[i]["prompt_key"] = stream_key(seed, episode, PROMPT_STREAM, 0)
        lane[i]["arrival_key"] = stream_key(seed, episode, ARRIVAL_STREAM, 0)
        lane[i]["quality_key"] = stream_key(seed, episode, QUALITY_STREAM, 0)
        lane[i]["outage_key"] = episode_key(seed, episode, OUTAGE_STREAM)
        lane[i]["clock"] = lane[i]["time"] = lane[i]["energy"] = 0.0
        lane[i]["steps"] = 0
        lane[i]["prompt"] = _draw_prompt(cumulative, p["equal"], lane[i]["prompt_key"], 0)
        free_at[i, :] = 0.0
        up[i, :] = 1
        _observe(lane, free_at, up, device, head, p, i, obs)
        _mask(lane, up, p, i, mask)
        out[:, i] = 0.0
        out[ENERGY_LIMIT, i], out[DELAY_LIMIT, i] = p["energy_budget"], p["delay_budget"]
        out[CATEGORY, i] = category[lane[i]["prompt"]]


@inlined
def _serve(lane, free_at, up, upload, compute, download, energy, quality, logit, device, rtt, params, i, actions):
    """Send lane i's prompt to its experts.

    Returns:
        (number that answered, quality, joules, delay in s).
    """
    x, now, n = lane[i]["prompt"], lane[i]["clock"], up.shape[1]
    sent = now + params["t_gate"]
    spent = params["hard"] != 0 and lane[i]["energy"] >= params["energy_budget"]
    count, slowest, refused, joules = 0, 0.0, 0.0, params["gate_energy"]
    highest, weights, merit, most = -math.inf, 0.0, 0.0, 0.0
    for a in range(actions.shape[1]):
        m = actions[i, a]
        repeated = m == n
        for b in range(a):
            repeated = repeated or actions[i, b] == m
        if repeated:
            continue
        if spent or up[i, m] == 0:
            refused = max(refused, rtt[m])
            continue
        arrival = sent + upload[x, m]
        begin = arrival
        if params["queues"]:
            begin = max(arrival, free_at[i, device[m]])
            free_at[i, device[m]] = begin + compute[x, m]
        slowest = max(slowest, (begin + compute[x, m]) + download[x, m] - sent)
        joules += energy[x, m]
        most = max(most, quality[x, m])
        # A running softmax: the weights are scaled to the highest logit seen so far.
        if logit[x, m] > highest:
            if count:
                scale = math.exp(highest - logit[x, m])
                weights, merit = weights * scale, merit * scale
            highest = logit[x, m]
            weights, merit = weights + 1.0, merit + quality[x, m]
        else:
            share = math.exp(logit[x, m] - highest)
            weights, merit = weights + share, merit + share * quality[x, m]
        count += 1
    if count == 0:
        return 0, 0.0, joules, params["t_gate"] + refused
    value = most if params["best"] else merit / weights
    if params["bernoulli"]:
        value = 1.0 if uniform(lane[i]["quality_key"], lane[i]["steps"]) <= value else 0.0
    return count, value, joules, params["t_gate"] + slowest + params["t_agg"] * count


@kernel
def step_lanes(
    lane,
    free_at,
    up,
    upload,
    compute,
    download,
    energy,
    quality,
    logit,
    head,
    category,
    cumulative,
    device,
    rtt,
    tau,
    params,
    actions,
    skip,
    obs,
    out,
    mask,
    truncated,
):
    """Answer one prompt in every lane and wait for the next.

    Args:
        lane: see `route_state.Lanes`.
        free_at: see `route_state.Lanes`.
        up: see `route_state.Lanes`.
        upload: see `route_state.Tables`; likewise what follows, up to ``params``.
        compute: see `route_state.Tables`.
        download: see `route_state.Tables`.
        energy: see `route_state.Tables`.
        quality: see `route_state.Tables`.
        logit: see `route_state.Tables`.
        head: see `route_state.Tables`.
        category: see `route_state.Tables`.
        cumulative: see `route_state.Tables`.
        device: see `route_state.Tables`.
        rtt: see `route_state.Tables`.
        tau: see `route_state.Tables`.
        params: see `route_state.Tables`.
        actions: (L, k) experts, in range; n in all but the first column means no further expert.
        skip: (L,) bool, lanes that are left alone.
        obs: (L, D) float32, written.
        out: (R, L) float64, written.
        mask: (L, A) bool, written.
        truncated: (L,) bool, written.
    """
    p = params[0]
    for i in range(lane.shape[0]):
        if skip[i]:
            continue
        x, now, step = lane[i]["prompt"], lane[i]["clock"], lane[i]["steps"]
        count, value, joules, delay = _serve(
            lane, free_at, up, upload, compute, download, energy, quality, logit, device, rtt, p, i, actions
        )
        excess = 0.0
        if p["delays"] and count:
            excess = max(delay - tau[category[x]], 0.0) / tau[category[x]]
        gap = delay
        if p["objective"] != PER_SECOND:
            gap = -math.log(uniform(lane[i]["arrival_key"], step)) / p["rate"]
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
        lane[i]["clock"] = now + gap
        lane[i]["time"] += duration
        lane[i]["energy"] += total
        lane[i]["steps"] = step + 1
        lane[i]["prompt"] = _draw_prompt(cumulative, p["equal"], lane[i]["prompt_key"], step + 1)
        if p["dynamic"]:
            for m in range(up.shape[1]):
                u = uniform(device_key(lane[i]["outage_key"], m), step)
                up[i, m] = u > p["p_fail"] if up[i, m] else u <= p["p_repair"]
        truncated[i] = lane[i]["time"] >= p["horizon"]
        out[COST, i] = (energy_term - value) + delay_term
        out[DURATION, i], out[TIME, i] = duration, lane[i]["time"]
        out[QUALITY_TERM, i], out[ENERGY_TERM, i], out[DELAY_TERM, i] = -value, energy_term, delay_term
        out[ENERGY_USED, i], out[DELAY_USED, i] = total, excess
        out[ENERGY_LIMIT, i], out[DELAY_LIMIT, i] = p["energy_budget"], p["delay_budget"]
        out[CLOCK, i], out[QUALITY, i], out[DELAY, i], out[JOULES, i] = lane[i]["clock"], value, delay, total
        out[CATEGORY, i] = category[x]
        _observe(lane, free_at, up, device, head, p, i, obs)
        _mask(lane, up, p, i, mask)


@kernel
def show_lanes(lane, free_at, up, head, device, params, obs, mask):
    """Write what every lane shows now.

    Args:
        lane: see `route_state.Lanes`.
        free_at: see `route_state.Lanes`.
        up: see `route_state.Lanes`.
        head: see `route_state.Tables`.
        device: see `route_state.Tables`.
        params: see `route_state.Tables`.
        obs: (L, D) float32, written.
        mask: (L, A) bool, written.
    """
    for i in range(lane.shape[0]):
        _observe(lane, free_at, up, device, head, params[0], i, obs)
        _mask(lane, up, params[0], i, mask)


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
