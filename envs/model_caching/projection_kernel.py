"""From a requested action to the feasible one: memory, windows, then energy. Part of the slot kernel."""

from __future__ import annotations

from ..core.jit import inlined
from .state import CLIP, ENERGY, EVICT_ON_OVERFLOW


@inlined
def _place_weights(w, i, cache, plan):
    """Keep requested entries by ascending weights, resident ones first among equals, while they fit."""
    capacity, used, start = w.params[0]["capacity"], 0.0, 0
    while start < w.order.shape[0]:
        end, size = w.group[start], w.static[w.order[start]]["memory"]
        requested = room = 0
        for position in range(start, end):
            j = w.order[position]
            plan[i, j] = cache[i, j]
            requested += int(cache[i, j])
        while room < requested and used + size <= capacity:
            used += size
            room += 1
        if room < requested:
            for resident in range(1, -1, -1):
                for position in range(start, end):
                    j = w.order[position]
                    if w.agent[i, j]["cache"] == resident:
                        plan[i, j] = cache[i, j] > 0 and room > 0
                        room -= int(plan[i, j])
        start = end


@inlined
def _place(w, i, cache, share, plan):
    """The same where an entry's size depends on its context, or on who else is there."""
    capacity, shared, used, start = w.params[0]["capacity"], w.params[0]["shared"], 0.0, 0
    for m in range(w.fresh.shape[1]):
        w.fresh[i, m] = 0
    for j in range(w.agent.shape[1]):
        plan[i, j] = 0
    while start < w.order.shape[0]:
        end = w.group[start]
        for resident in range(1, -1, -1):
            for position in range(start, end):
                j = w.order[position]
                agent, static = w.agent[i, j], w.static[j]
                if cache[i, j] and agent["cache"] == resident:
                    tokens = agent["context"] + agent["demand"] * share[i, j] * agent["growth"]
                    size = 0.0 if shared and w.fresh[i, static["model"]] > 0 else static["memory"]
                    size += static["kv"] * min(tokens, static["window"])
                    if used + size <= capacity:
                        used += size
                        plan[i, j] = 1
                        w.fresh[i, static["model"]] += 1
        start = end


@inlined
def _shares(w, i, share, plan, served):
    """Locally executed shares: none without demand or model, less while weights are loaded or a window is full."""
    rule, shared, plain = w.params[0]["window_rule"], w.params[0]["shared"], w.params[0]["plain"]
    for j in range(w.agent.shape[1]):
        agent, static = w.agent[i, j], w.static[j]
        held = w.resident[i, static["model"]] > 0 if shared else agent["cache"] > 0
        asked = plan[i, j] > 0 and agent["demand"] > 0
        b = min(float(share[i, j]), 1.0 if held else static["ready"]) if asked else 0.0
        if asked and rule in (EVICT_ON_OVERFLOW, CLIP):
            arriving = agent["demand"] * agent["growth"]
            if agent["context"] + b * arriving > static["window"]:
                if rule == CLIP:
                    b = min(b, max(0.0, static["window"] - agent["context"]) / arriving)
                else:
                    plan[i, j], b = 0, 0.0
                    w.fresh[i, static["model"]] -= 0 if plain else 1  # nobody counts where weights alone take memory
        served[i, j] = b


@inlined
def price_requests(w, i):
    """Write the energy of serving all requests of each agent here, J."""
    work_factor, prompt_factor = w.params[0]["work_factor"], w.params[0]["prompt_factor"]
    for j in range(w.agent.shape[1]):
        agent, static = w.agent[i, j], w.static[j]
        out = agent["thought"] * (static["energy_out"] + static["energy_kv"] * agent["context"])
        token = out + prompt_factor * agent["input"] * static["energy_in"]
        w.joules[j] = agent["demand"] * work_factor * token


@inlined
def _save_energy(w, i, served):
    """Cut shares, hungriest model first, until the slot's energy is within its budget.

    Returns:
        The energy in use, J.
    """
    need, budget = 0.0, w.params[0]["budget"]
    for j in range(w.agent.shape[1]):
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


@inlined
def project(w, i, cache, share, plan, served, out):
    """The feasible action of lane i, and the energy that it uses."""
    if w.params[0]["plain"]:
        _place_weights(w, i, cache, plan)
    else:
        _place(w, i, cache, share, plan)
    _shares(w, i, share, plan, served)
    price_requests(w, i)
    out[ENERGY, i] = _save_energy(w, i, served)
