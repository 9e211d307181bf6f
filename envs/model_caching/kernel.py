"""The slot kernel, compiled by numba: project the action, price the slot, move the state, draw the next demand.

The scalar and the batched entry share one body, and the same source runs uncompiled (``NUMBA_DISABLE_JIT=1``) with the
same bits. Physics: Xu et al., arXiv 2501.14205, equations 1-3 and 12-20 (journal numbering), with paths counted once
and the local share b as the executed share everywhere.
"""

from __future__ import annotations

import math

from .demand import compiled, draw_demand, inlined, start_demand
from .state import (
    ACCURACY_COST,
    CACHE,
    CLIP,
    CLOUD,
    COMMUNICATION,
    COMPUTE,
    CONTEXT,
    CORRECT,
    COST,
    DURATION,
    ENERGY,
    EVICT_ON_OVERFLOW,
    EVICTIONS,
    INPUT,
    INPUT_SCALE,
    KAPPA,
    LOADS,
    LOCAL,
    MEMORY,
    PAPER,
    REQUESTS,
    SATURATING,
    SEEN,
    SIZE,
    SLIDE,
    SWITCHING,
    TIME,
    World,
)

# --- projection -------------------------------------------------------------------------------------------------------


@inlined
def _size(w, i, j, wanted):
    """Memory that agent j adds, GB: its weights, unless its model is there already and shared, and its context."""
    static, agent = w.static[j], w.agent[i, j]
    weights = 0.0 if w.params[0]["shared"] and w.fresh[i, static["model"]] > 0 else static["memory"]
    tokens = agent["context"] + agent["demand"] * wanted * agent["growth"]
    return weights + static["kv"] * min(tokens, static["window"])


@inlined
def _place(w, i, cache, share, plan):
    """Keep requested entries by ascending weights, resident ones first among equals, while they fit."""
    params = w.params[0]
    capacity, used = params["capacity"], 0.0
    if params["plain"]:  # sizes are constants: mostly everything fits, and behind the first that does not, nothing does
        for position in range(w.order.shape[0]):
            j = w.order[position]
            used += w.static[j]["memory"] * cache[i, j]
            plan[i, j] = cache[i, j]
        if used <= capacity:
            return
        used = 0.0
    for m in range(w.fresh.shape[1]):
        w.fresh[i, m] = 0
    for j in range(w.agent.shape[1]):
        plan[i, j] = 0
    start = 0
    while start < w.order.shape[0]:
        end = w.group[start]
        for resident in range(1, -1, -1):
            for position in range(start, end):
                j = w.order[position]
                if cache[i, j] and w.agent[i, j]["cache"] == resident:
                    size = w.static[j]["memory"] if params["plain"] else _size(w, i, j, share[i, j])
                    if used + size <= capacity:
                        used += size
                        plan[i, j] = 1
                        if params["shared"]:
                            w.fresh[i, w.static[j]["model"]] += 1
        start = end


@inlined
def _shares(w, i, share, plan, served):
    """Locally executed shares: none without demand or model, less while weights are loaded or a window is full."""
    params = w.params[0]
    rule = params["window_rule"]
    for j in range(w.agent.shape[1]):
        agent, static = w.agent[i, j], w.static[j]
        served[i, j] = 0.0
        if not plan[i, j] or agent["demand"] == 0:
            continue
        b = float(share[i, j])
        moved = w.resident[i, static["model"]] == 0 if params["shared"] else agent["cache"] == 0
        if moved:
            b = min(b, static["ready"])
        arriving = agent["demand"] * agent["growth"]
        if agent["context"] + b * arriving > static["window"]:
            if rule == EVICT_ON_OVERFLOW:
                plan[i, j] = 0
                if params["shared"]:
                    w.fresh[i, static["model"]] -= 1
                b = 0.0
            elif rule == CLIP:
                b = min(b, max(0.0, static["window"] - agent["context"]) / arriving)
        served[i, j] = b


@inlined
def _joules(w, i, j):
    """Energy of serving all requests of agent j here, J."""
    agent, static, params = w.agent[i, j], w.static[j], w.params[0]
    out = agent["thought"] * (static["energy_out"] + static["energy_kv"] * agent["context"])
    token = out + params["prompt_factor"] * agent["input"] * static["energy_in"]
    return agent["demand"] * params["work_factor"] * token


@inlined
def _save_energy(w, i, served):
    """Cut shares, hungriest model first, until the slot's energy is within its budget.

    Returns:
        The energy in use, J.
    """
    need, budget = 0.0, w.params[0]["budget"]
    for j in range(w.agent.shape[1]):
        w.joules[j] = _joules(w, i, j)
        need += served[i, j] * w.joules[j]
    for position in range(w.hungry.shape[0]):
        if need <= budget:
            break
        j = w.hungry[position]
        joules = w.joules[j]
        if served[i, j] > 0.0 and joules > 0.0:
            cut = min(served[i, j], (need - budget) / joules)
            served[i, j] -= cut
            need -= cut * joules
    return need


# --- accuracy ---------------------------------------------------------------------------------------------------------


@inlined
def _accuracy(w, j, kappa):
    """(Accuracy, unit accuracy cost) of agent j at an age of thoughts."""
    static, params = w.static[j], w.params[0]
    alpha, limit = static["alpha"], static["limit"]
    if params["accuracy_model"] == PAPER:
        gain = kappa * static["decay"]
        return alpha * gain, (1.0 - alpha) / max(gain, 1.0)
    if params["accuracy_model"] == SATURATING:
        accuracy = alpha + (limit - alpha) * (1.0 - math.exp(-static["decay"] * kappa))
        return accuracy, 1.0 - accuracy
    paths = params["paths"] * kappa / (kappa + params["kappa_half"])
    accuracy = limit - (limit - alpha) * math.exp(-paths / static["tau"])
    return accuracy, 1.0 - accuracy


# --- one slot ---------------------------------------------------------------------------------------------------------


@inlined
def _advance_agent(w, i, j, cached, b):
    """Context and age of thoughts after the slot (equations 12 and 13); eviction zeroes both."""
    agent, static, params = w.agent[i, j], w.static[j], w.params[0]
    if not cached:
        agent["context"] = agent["kappa"] = 0.0
        return
    requests = b * agent["demand"]
    work = requests * params["work_factor"]
    if params["kappa_tokens"]:
        work *= agent["thought"]
    context = agent["context"] + requests * agent["growth"]
    kappa = max(agent["kappa"] + params["zeta"] * work - params["vanishing"], 0.0)
    if params["window_rule"] == SLIDE and context > static["window"]:
        kappa -= kappa * ((context - static["window"]) / context)
        context = static["window"]
    agent["context"], agent["kappa"] = context, kappa


@inlined
def _switch(w, i, plan, out):
    """Loads and evictions: of each agent's copy, or of each model where weights are shared."""
    switching = loads = evictions = 0.0
    if w.params[0]["shared"]:
        for m in range(w.model.shape[0]):
            model, before, after = w.model[m], w.resident[i, m] > 0, w.fresh[i, m] > 0
            if after and not before:
                switching += model["switch"]
                loads += 1.0
            if before and not after:
                switching += model["evict"]
                evictions += 1.0
            w.resident[i, m] = w.fresh[i, m]
    else:
        for j in range(w.agent.shape[1]):
            before, after = w.agent[i, j]["cache"], plan[i, j]
            if after != before:
                model = w.model[w.static[j]["model"]]
                if after:
                    switching += model["switch"]
                    loads += 1.0
                else:
                    switching += model["evict"]
                    evictions += 1.0
    out[SWITCHING, i], out[LOADS, i], out[EVICTIONS, i] = switching, loads, evictions


@inlined
def _memory(w, i):
    """Memory in use, GB."""
    used = 0.0
    if w.params[0]["shared"]:
        for m in range(w.model.shape[0]):
            if w.resident[i, m] > 0:
                used += w.model[m]["memory"]
    for j in range(w.agent.shape[1]):
        agent, static = w.agent[i, j], w.static[j]
        if agent["cache"]:
            if not w.params[0]["shared"]:
                used += static["memory"]
            used += static["kv"] * min(agent["context"], static["window"])
    return used


@inlined
def _slot(w, i, cache, share, plan, served, out):
    """Carry out one slot in lane i with a valid action, up to the next slot's demand."""
    params, lane = w.params[0], w.lane[i]
    _place(w, i, cache, share, plan)
    _shares(w, i, share, plan, served)
    out[ENERGY, i] = _save_energy(w, i, served)
    _switch(w, i, plan, out)
    communication = compute = accuracy_cost = cloud = requests = local = correct = 0.0
    for j in range(w.agent.shape[1]):
        agent, b, demand = w.agent[i, j], served[i, j], w.agent[i, j]["demand"]
        joules = b * w.joules[j]
        _advance_agent(w, i, j, plan[i, j], b)
        agent["cache"] = plan[i, j]
        requests += demand
        if demand == 0:
            continue
        tokens = agent["input"] if params["token_factor"] > 0.0 else 1.0
        cloud += demand * params["paths"] * (1.0 - b) * params["cloud_price"] * tokens
        if b > 0.0:
            accuracy, unit_cost = _accuracy(w, j, agent["kappa"])
            communication += demand * params["edge_factor"] * b * params["edge_price"] * agent["input"]
            compute += joules / params["gflops"]
            accuracy_cost += unit_cost * demand * b
            local += b * demand
            correct += accuracy * b * demand
    out[COMMUNICATION, i] = params["weight_communication"] * communication
    out[COMPUTE, i] = params["weight_compute"] * compute
    out[ACCURACY_COST, i] = params["weight_accuracy"] * accuracy_cost
    out[CLOUD, i] = params["weight_cloud"] * cloud
    total = out[SWITCHING, i] + out[COMMUNICATION, i] + out[COMPUTE, i] + out[ACCURACY_COST, i]
    out[COST, i] = total + out[CLOUD, i]
    out[REQUESTS, i], out[LOCAL, i], out[CORRECT, i] = requests, local, correct
    out[MEMORY, i] = _memory(w, i)
    lane["time"] += 1
    out[DURATION, i], out[TIME, i] = 1.0, lane["time"]
    lane["done"] = lane["time"] >= params["horizon"]
    draw_demand(w, i)


@inlined
def _observe(w, i, obs):
    """Write lane i's observation: blocks of I entries, then free memory and time where asked."""
    params, count = w.params[0], w.agent.shape[1]
    for j in range(count):
        agent, static = w.agent[i, j], w.static[j]
        obs[i, CACHE * count + j] = agent["cache"]
        obs[i, SEEN * count + j] = agent["seen"]
        obs[i, KAPPA * count + j] = agent["kappa"] / (agent["kappa"] + params["kappa_half"])
        obs[i, SIZE * count + j] = static["share"]
        obs[i, INPUT * count + j] = agent["seen_input"] * INPUT_SCALE
        if params["more"]:
            obs[i, CONTEXT * count + j] = min(agent["context"] / static["window"], 1.0)
    if params["more"]:
        obs[i, 6 * count] = 1.0 - _memory(w, i) / params["capacity"]
        obs[i, 6 * count + 1] = w.lane[i]["time"] / params["horizon"]


# --- entries ----------------------------------------------------------------------------------------------------------


@compiled
def reset_lanes(
    lane, agent, resident, fresh, static, model, order, group, hungry, joules, rate, still, trace_count, trace_tokens,
    params, mask, obs, out,
):  # fmt: skip
    """Start an episode, empty cache first, in every lane whose mask is set.

    Args:
        lane: the arrays of `World`, in order, up to ``params``; seed and episode of each lane are set already.
        agent: see `World`.
        resident: see `World`.
        fresh: see `World`.
        static: see `World`.
        model: see `World`.
        order: see `World`.
        group: see `World`.
        hungry: see `World`.
        joules: see `World`.
        rate: see `World`.
        still: see `World`.
        trace_count: see `World`.
        trace_tokens: see `World`.
        params: see `World`.
        mask: (L,) bool.
        obs: (L, D) float32, written.
        out: (OUT_ROWS, L) float64, written: zeros.
    """
    w = World(
        lane,
        agent,
        resident,
        fresh,
        static,
        model,
        order,
        group,
        hungry,
        joules,
        rate,
        still,
        trace_count,
        trace_tokens,
        params,
    )
    for i in range(lane.shape[0]):
        if mask[i]:
            lane[i]["time"] = lane[i]["done"] = 0
            for m in range(resident.shape[1]):
                resident[i, m] = fresh[i, m] = 0
            for j in range(agent.shape[1]):
                agent[i, j]["cache"] = 0
                agent[i, j]["context"] = agent[i, j]["kappa"] = 0.0
            out[:, i] = 0.0
            start_demand(w, i)
            draw_demand(w, i)
            _observe(w, i, obs)


@compiled
def observe_lanes(
    lane,
    agent,
    resident,
    fresh,
    static,
    model,
    order,
    group,
    hungry,
    joules,
    rate,
    still,
    trace_count,
    trace_tokens,
    params,
    obs,
):
    """Write the observation of every lane.

    Args:
        lane: the arrays of `World`, in order, up to ``params``.
        agent: see `World`.
        resident: see `World`.
        fresh: see `World`.
        static: see `World`.
        model: see `World`.
        order: see `World`.
        group: see `World`.
        hungry: see `World`.
        joules: see `World`.
        rate: see `World`.
        still: see `World`.
        trace_count: see `World`.
        trace_tokens: see `World`.
        params: see `World`.
        obs: (L, D) float32, written.
    """
    w = World(
        lane,
        agent,
        resident,
        fresh,
        static,
        model,
        order,
        group,
        hungry,
        joules,
        rate,
        still,
        trace_count,
        trace_tokens,
        params,
    )
    for i in range(lane.shape[0]):
        _observe(w, i, obs)


@compiled
def step_lanes(
    lane, agent, resident, fresh, static, model, order, group, hungry, joules, rate, still, trace_count, trace_tokens,
    params, cache, share, skip, plan, served, obs, out,
):  # fmt: skip
    """Carry out one slot in every lane that is not skipped.

    Args:
        lane: the arrays of `World`, in order, up to ``params``.
        agent: see `World`.
        resident: see `World`.
        fresh: see `World`.
        static: see `World`.
        model: see `World`.
        order: see `World`.
        group: see `World`.
        hungry: see `World`.
        joules: see `World`.
        rate: see `World`.
        still: see `World`.
        trace_count: see `World`.
        trace_tokens: see `World`.
        params: see `World`.
        cache: (L, I) int8, requested cache bits.
        share: (L, I) float32 or float64, requested local shares.
        skip: (L,) bool, lanes that are left alone.
        plan: (L, I) int8, written: the cache after the projection.
        served: (L, I) float64, written: the local shares after the projection.
        obs: (L, D) float32, written.
        out: (OUT_ROWS, L) float64, written.

    Returns:
        (lane, agent, code) of the first invalid entry, 1 for a cache bit and 2 for a share, and then nothing was done;
        else (0, 0, 0).
    """
    w = World(
        lane,
        agent,
        resident,
        fresh,
        static,
        model,
        order,
        group,
        hungry,
        joules,
        rate,
        still,
        trace_count,
        trace_tokens,
        params,
    )
    for i in range(lane.shape[0]):
        if not skip[i]:
            for j in range(agent.shape[1]):
                if not 0 <= cache[i, j] <= 1:
                    return i, j, 1
                if not 0.0 <= share[i, j] <= 1.0:  # false for NaN
                    return i, j, 2
    for i in range(lane.shape[0]):
        if not skip[i]:
            _slot(w, i, cache, share, plan, served, out)
            _observe(w, i, obs)
    return 0, 0, 0
