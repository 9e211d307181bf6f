"""The scripted rules as the kernel runs them; their names and numbers are in `policies`."""

from __future__ import annotations

import math

from ..core.jit import inlined, kernel
from .queueing import pick, policy_uniform
from .state import EDGE_UNIFORM, FIXED, JSQ, JSQ_UNLESS, LOCAL, PGOA, SERVER, UNIFORM, UNIFORM_WAIT


@inlined
def _shortest_queue(w, i, m):
    """Edge node (1..N) with the fewest tasks, ties at random; 0 if there is none."""
    best, ties = 0, 0
    for n in range(w.edge.shape[1]):
        if ties == 0 or w.edge[i, n]["length"] < w.edge[i, best - 1]["length"]:
            best, ties = n + 1, 1
        elif w.edge[i, n]["length"] == w.edge[i, best - 1]["length"]:
            ties += 1
    if ties <= 1:
        return best
    skip = pick(policy_uniform(w.lane[i], w.device[i, m], m), ties)
    least = w.edge[i, best - 1]["length"]
    for n in range(best - 1, w.edge.shape[1]):
        if w.edge[i, n]["length"] == least:
            if skip == 0:
                return n + 1
            skip -= 1
    return best


@kernel
def _potential_game(w, i, m, episodes):
    """PGOA, repaired: the place with the least expected delay, exploring less and less."""
    lane, d = w.lane[i], w.device[i, m]
    places = w.scale.shape[1]
    if policy_uniform(lane, d, m) < 1.0 - d["attempts"] / episodes:
        return pick(policy_uniform(lane, d, m), places)
    best, least = 0, math.inf
    for place in range(places):
        pair = w.memory[i, m, place]
        belief = pair["delay_sum"] / pair["delays"] if pair["delays"] > 0 else 0.0
        if place > 0:
            belief *= w.edge[i, place - 1]["length"] + 1
        if belief < least:
            best, least = place, belief
    return best


@inlined
def scripted_server(w, i, m):
    """Place where scripted device m sends the task generated now."""
    rule = w.rule[m]
    edges = w.edge.shape[1]
    code = rule["server"]
    if code == LOCAL or (edges == 0 and code != SERVER):
        return 0
    if code == JSQ:
        return _shortest_queue(w, i, m)
    if code == JSQ_UNLESS:
        place = _shortest_queue(w, i, m)
        return place if w.edge[i, place - 1]["length"] < rule["server_number"] else 0
    if code == UNIFORM:
        return pick(policy_uniform(w.lane[i], w.device[i, m], m), edges + 1)
    if code == EDGE_UNIFORM:
        return 1 + pick(policy_uniform(w.lane[i], w.device[i, m], m), edges)
    if code == PGOA:
        return _potential_game(w, i, m, rule["server_number"])
    return int(rule["server_number"])


@inlined
def scripted_wait(w, i, m):
    """Waiting time of scripted device m after the completion now, in seconds."""
    rule, d = w.rule[m], w.device[i, m]
    if rule["wait"] == FIXED:
        return rule["wait_low"]
    if rule["wait"] == UNIFORM_WAIT:
        u = policy_uniform(w.lane[i], d, m)
        return rule["wait_low"] + u * (rule["wait_high"] - rule["wait_low"])
    delay = d["last_done"] - d["gen_last"]
    return min(max(0.0, rule["wait_low"] - delay), w.params[0]["z_max"])
