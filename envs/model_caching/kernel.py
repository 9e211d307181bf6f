"""The slot kernel, compiled by numba: project the action, price the slot, move the state, draw the next demand.

The scalar and the batched entry share one body, and the same source runs uncompiled (``NUMBA_DISABLE_JIT=1``) with the
same bits. With a market a slot has two halves, and the trades are made between them. Where an entry that does not count
adds exactly zero it is added all the same: a branch that a policy's choices decide costs more than the arithmetic.
Physics: Xu et al., arXiv 2501.14205, equations 1-3 and 12-20 (journal numbering), with paths counted once
and the local share b as the executed share everywhere.
"""

from __future__ import annotations

import math

from ..core.jit import inlined, kernel
from .demand import draw_demand, start_demand
from .projection_kernel import price_requests, project
from .state import (
    ACCURACY_COST,
    CACHE,
    CLOUD,
    COMMUNICATION,
    COMPUTE,
    CONTEXT,
    CORRECT,
    COST,
    DURATION,
    ENERGY,
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
def _switch(w, i, plan, parts, out):
    """Loads and evictions of each agent's copy, or of each model where weights are shared and users pay equal parts."""
    switching = loads = evictions = 0.0
    shared = w.params[0]["shared"]
    for j in range(w.agent.shape[1]):
        agent, m = w.agent[i, j], w.static[j]["model"]
        model, change, users = w.model[m], plan[i, j] - agent["cache"], 1
        if shared:
            before, after = w.resident[i, m], w.fresh[i, m]
            change = int(plan[i, j] > 0 and before == 0) - int(agent["cache"] > 0 and after == 0)
            users = max(before, after, 1)
        part = model["switch"] * (change > 0) + model["evict"] * (change < 0)
        parts[i, j] = part / users
        if not shared:
            switching += part
            loads += change > 0
            evictions += change < 0
        agent["cache"] = plan[i, j]
    if shared:
        for m in range(w.model.shape[0]):
            model, change = w.model[m], int(w.fresh[i, m] > 0) - int(w.resident[i, m] > 0)
            w.resident[i, m] = w.fresh[i, m]
            switching += model["switch"] * (change > 0) + model["evict"] * (change < 0)
            loads += change > 0
            evictions += change < 0
    out[SWITCHING, i], out[LOADS, i], out[EVICTIONS, i] = switching, loads, evictions


@inlined
def _accumulate(w, i, j, here, paths):
    """Context and age of thoughts after so many requests served here and paths bought (equations 12 and 13)."""
    agent, static, params = w.agent[i, j], w.static[j], w.params[0]
    work = here * params["work_factor"] + paths
    if params["kappa_tokens"]:
        work *= agent["thought"]
    context = agent["context"] + (here * agent["growth"] + paths * agent["thought"])
    kappa = max(agent["kappa"] + params["zeta"] * work - params["vanishing"], 0.0)
    if params["window_rule"] == SLIDE and context > static["window"]:
        kappa -= kappa * ((context - static["window"]) / context)
        context = static["window"]
    resident = agent["cache"] > 0  # eviction zeroes both
    agent["context"], agent["kappa"] = context if resident else 0.0, kappa if resident else 0.0


@inlined
def _memory(w, i):
    """Memory in use, GB."""
    used, shared = 0.0, w.params[0]["shared"]
    if shared:
        for m in range(w.model.shape[0]):
            used += w.model[m]["memory"] if w.resident[i, m] > 0 else 0.0
    for j in range(w.agent.shape[1]):
        agent, static = w.agent[i, j], w.static[j]
        if not shared:
            used += static["memory"] if agent["cache"] else 0.0
        used += static["kv"] * min(agent["context"], static["window"]) if agent["cache"] else 0.0
    return used


@inlined
def _settle(w, i, plan, served, bought, sold, parts, out):
    """Carry out lane i's projected action, with paths bought and energy sold, up to the next slot's demand."""
    params, lane, law = w.params[0], w.lane[i], w.params[0]["accuracy_model"]
    paths, edge_factor, per_token = params["paths"], params["edge_factor"], params["token_factor"] > 0.0
    edge_price, cloud_price, gflops = params["edge_price"], params["cloud_price"], params["gflops"]
    _switch(w, i, plan, parts, out)
    communication = accuracy_cost = cloud = requests = local = correct = 0.0
    compute = sold / gflops
    for j in range(w.agent.shape[1]):
        agent, b, demand = w.agent[i, j], served[i, j], float(w.agent[i, j]["demand"])
        _accumulate(w, i, j, b * demand, 0.0 if bought is None else float(bought[i, j]))
        away = demand * paths * (1.0 - b) * cloud_price * (agent["input"] if per_token else 1.0)
        access = demand * edge_factor * b * edge_price * agent["input"]
        work = b * w.joules[j] / gflops
        cloud += away
        communication += access
        compute += work
        parts[i, j] += (
            params["weight_cloud"] * away + params["weight_communication"] * access + params["weight_compute"] * work
        )
        requests += demand
        local += b * demand
        if law == PAPER or b > 0.0:  # an exponential costs more than a branch
            accuracy, unit_cost = _accuracy(w, j, agent["kappa"])
            accuracy_cost += unit_cost * demand * b
            parts[i, j] += params["weight_accuracy"] * (unit_cost * demand * b)
            correct += accuracy * b * demand
    out[COMMUNICATION, i] = params["weight_communication"] * communication
    out[COMPUTE, i] = params["weight_compute"] * compute
    out[ACCURACY_COST, i] = params["weight_accuracy"] * accuracy_cost
    out[CLOUD, i] = params["weight_cloud"] * cloud
    total = out[SWITCHING, i] + out[COMMUNICATION, i] + out[COMPUTE, i] + out[ACCURACY_COST, i]
    out[COST, i] = total + out[CLOUD, i]
    out[REQUESTS, i], out[LOCAL, i], out[CORRECT, i] = requests, local, correct
    out[MEMORY, i] = _memory(w, i)
    out[ENERGY, i] += sold
    lane["time"] += 1
    out[DURATION, i], out[TIME, i] = 1.0, lane["time"]
    lane["done"] = lane["time"] >= params["horizon"]
    draw_demand(w, i)


@inlined
def _observe(w, i, obs):
    """Write lane i's observation: blocks of I entries, then free memory and time where asked."""
    params, count = w.params[0], w.agent.shape[1]
    kappa_half, more = params["kappa_half"], params["more"]
    for j in range(count):
        agent, static = w.agent[i, j], w.static[j]
        obs[i, CACHE * count + j] = agent["cache"]
        obs[i, SEEN * count + j] = agent["seen"]
        obs[i, KAPPA * count + j] = agent["kappa"] / (agent["kappa"] + kappa_half)
        obs[i, SIZE * count + j] = static["share"]
        obs[i, INPUT * count + j] = agent["seen_input"] * INPUT_SCALE
        if more:
            obs[i, CONTEXT * count + j] = min(agent["context"] / static["window"], 1.0)
    if more:
        obs[i, 6 * count] = 1.0 - _memory(w, i) / params["capacity"]
        obs[i, 6 * count + 1] = w.lane[i]["time"] / params["horizon"]


# --- entries: `world` stands for the arrays of `World` ----------------------------------------------------------------


@kernel
def reset_lanes(mask, obs, out, *world):
    """Start an episode, empty cache first, in every lane whose mask is set.

    Args:
        mask: (L,) bool.
        obs: (L, D) float32, written.
        out: (OUT_ROWS, L) float64, written: zeros.
        *world: the arrays of `World`; seed and episode of each lane are set already.
    """
    w = World(*world)
    for i in range(w.lane.shape[0]):
        if mask[i]:
            w.lane[i]["time"] = w.lane[i]["done"] = 0
            for m in range(w.resident.shape[1]):
                w.resident[i, m] = w.fresh[i, m] = 0
            for j in range(w.agent.shape[1]):
                w.agent[i, j]["cache"] = 0
                w.agent[i, j]["context"] = w.agent[i, j]["kappa"] = 0.0
            out[:, i] = 0.0
            start_demand(w, i)
            draw_demand(w, i)
            _observe(w, i, obs)


@kernel
def observe_lanes(obs, *world):
    """Write the observation of every lane, obs (L, D) float32."""
    w = World(*world)
    for i in range(w.lane.shape[0]):
        _observe(w, i, obs)


@inlined
def _check(w, cache, share, skip):
    """(Lane, agent, code) of the first invalid entry, 1 for a cache bit and 2 for a share; else (0, 0, 0)."""
    for i in range(w.lane.shape[0]):
        if not skip[i]:
            for j in range(w.agent.shape[1]):
                if not 0 <= cache[i, j] <= 1:
                    return i, j, 1
                if not 0.0 <= share[i, j] <= 1.0:  # false for NaN
                    return i, j, 2
    return 0, 0, 0


@kernel
def step_lanes(cache, share, skip, plan, served, parts, obs, out, *world):
    """Carry out one slot in every lane that is not skipped.

    Args:
        cache: (L, I) int8, requested cache bits.
        share: (L, I) float64, requested local shares.
        skip: (L,) bool, lanes that are left alone.
        plan: (L, I) int8, written: the cache after the projection.
        served: (L, I) float64, written: the local shares after the projection.
        parts: (L, I) float64, written: each agent's part of the cost.
        obs: (L, D) float32, written.
        out: (OUT_ROWS, L) float64, written.
        *world: the arrays of `World`.

    Returns:
        (lane, agent, code) of the first invalid entry, see `_check`, and then nothing was done; else (0, 0, 0).
    """
    w = World(*world)
    invalid = _check(w, cache, share, skip)
    if invalid[2] == 0:
        for i in range(w.lane.shape[0]):
            if not skip[i]:
                project(w, i, cache, share, plan, served, out)
                _settle(w, i, plan, served, None, 0.0, parts, out)
                _observe(w, i, obs)
    return invalid


@kernel
def project_lanes(cache, share, skip, plan, served, out, *world):
    """The first half of a slot with a market: the feasible action of every lane and its energy; see `step_lanes`."""
    w = World(*world)
    invalid = _check(w, cache, share, skip)
    if invalid[2] == 0:
        for i in range(w.lane.shape[0]):
            project(w, i, cache, share, plan, served, out)
    return invalid


@kernel
def settle_lanes(plan, served, bought, sold, parts, obs, out, *world):
    """The second half: carry the projected action out, with the paths that were traded.

    Args:
        plan: as `project_lanes` left it.
        served: as `project_lanes` left it.
        bought: (L, I) int64, extra paths of each agent; only resident agents may have some.
        sold: (L,) float64, energy of the paths that each lane runs for others, J.
        parts: (L, I) float64, written: each agent's part of the cost, without that of the paths sold.
        obs: (L, D) float32, written.
        out: (OUT_ROWS, L) float64, as `project_lanes` left it; written.
        *world: the arrays of `World`.
    """
    w = World(*world)
    for i in range(w.lane.shape[0]):
        price_requests(w, i)
        _settle(w, i, plan, served, bought, sold[i], parts, out)
        _observe(w, i, obs)
