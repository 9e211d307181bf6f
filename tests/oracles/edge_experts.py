"""Plain-Python reference of expert routing, written from the model's description: lists and `math`, no numpy.

`Reference` is one lane, optimised as plain Python can be: tables are lists, an observation is one list.
"""

from __future__ import annotations

import math
from itertools import accumulate

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
BUDGET, PROMPT, ARRIVAL, OUTAGE, QUALITY = range(8, 13)


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def key_of(seed, *parts):
    key = mix(seed)
    for part in parts:
        key = mix((key + GOLDEN * (part + 1)) & MASK)
    return key


def uniform(key, counter):
    z = (key + GOLDEN * (counter + 1)) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return (((z ^ (z >> 31)) >> 11) + 0.5) * 2.0**-53


class Reference:
    """One lane.

    Tables are lists of rows per prompt; `head` is the part of an observation that the prompt fixes; the keyword
    arguments are the numbers of the model by their usual names.
    """

    def __init__(
        self,
        seed,
        *,
        upload,
        compute,
        download,
        energy,
        quality,
        logit,
        head,
        category,
        weight,
        device,
        rtt,
        tau,
        rate,
        queues,
        dynamic,
        p_fail,
        p_repair,
        best,
        bernoulli,
        objective,
        penalty,
        energy_price,
        delay_price,
        energy_unit,
        energy_budget,
        hard,
        gate_energy,
        idle_watts,
        t_gate,
        t_agg,
        horizon,
    ):
        self.seed, self.episode = seed, -1
        self.upload, self.compute, self.download, self.energy = upload, compute, download, energy
        self.quality, self.logit, self.head, self.category = quality, logit, head, category
        self.cumulative = None if weight is None else list(accumulate(weight))
        self.device, self.rtt, self.tau = device, rtt, tau
        self.rate, self.queues, self.dynamic, self.p_fail, self.p_repair = rate, queues, dynamic, p_fail, p_repair
        self.best, self.bernoulli, self.objective, self.penalty = best, bernoulli, objective, penalty
        self.energy_price, self.delay_price, self.energy_unit = energy_price, delay_price, energy_unit
        self.energy_budget, self.hard, self.gate_energy, self.idle_watts = energy_budget, hard, gate_energy, idle_watts
        self.t_gate, self.t_agg, self.horizon = t_gate, t_agg, horizon
        self.n, self.devices = len(device), max(device) + 1

    def reset(self):
        self.episode += 1
        self.prompt_key, self.arrival_key, self.quality_key = (
            key_of(self.seed, self.episode, stream, 0) for stream in (PROMPT, ARRIVAL, QUALITY)
        )
        self.outage_keys = [key_of(self.seed, self.episode, OUTAGE, m) for m in range(self.n)]
        self.clock = self.time = self.used = 0.0
        self.steps = 0
        self.free_at, self.up = [0.0] * self.devices, [True] * self.n
        self.draw()
        return self.observe()

    def draw(self):
        u = uniform(self.prompt_key, self.steps)
        count = len(self.category)
        if self.cumulative is None:
            self.prompt = min(int(u * count), count - 1)
        else:
            self.prompt = next((x for x, c in enumerate(self.cumulative) if c >= u), count - 1)

    def observe(self):
        now = self.clock
        obs = self.head[self.prompt] + [max(self.free_at[d] - now, 0.0) for d in self.device]
        obs.append(1.0 - self.used / self.energy_budget)
        obs.append(max(1.0 - self.time / self.horizon, 0.0))
        return obs + [float(up) for up in self.up]

    def masks(self):
        if (self.hard and self.used >= self.energy_budget) or not any(self.up):
            return [True] * self.n
        return list(self.up)

    def step(self, action):
        x, now = self.prompt, self.clock
        experts = list(dict.fromkeys(m for m in action if m != self.n))
        spent = self.hard and self.used >= self.energy_budget
        served = [m for m in experts if self.up[m] and not spent]
        joules, sent = self.gate_energy, now + self.t_gate
        if served:
            slowest, free_at = 0.0, self.free_at
            for m in served:
                begin = sent + self.upload[x][m]
                if self.queues:
                    begin = max(begin, free_at[self.device[m]])
                    free_at[self.device[m]] = begin + self.compute[x][m]
                slowest = max(slowest, (begin + self.compute[x][m]) + self.download[x][m] - sent)
                joules += self.energy[x][m]
            value = self.answer(x, served)
            delay = self.t_gate + slowest + self.t_agg * len(served)
        else:
            value, delay = 0.0, self.t_gate + max(self.rtt[m] for m in experts)
        excess = 0.0
        if self.tau is not None and served:
            budget = self.tau[self.category[x]]
            excess = max(delay - budget, 0.0) / budget
        if self.objective == "per_second":
            gap = delay
        else:
            gap = -math.log(uniform(self.arrival_key, self.steps)) / self.rate
        total = joules + self.idle_watts * gap
        duration = {"sum": 1.0, "per_joule": total, "per_second": delay}[self.objective]
        priced = excess_price = 0.0
        if self.penalty:
            priced, excess_price = self.energy_price * joules / self.energy_unit, self.delay_price * excess
        self.clock = now + gap
        self.time += duration
        self.used += total
        self.steps += 1
        self.draw()
        if self.dynamic:
            step = self.steps - 1
            for m, key in enumerate(self.outage_keys):
                u = uniform(key, step)
                self.up[m] = u > self.p_fail if self.up[m] else u <= self.p_repair
        cost = (priced - value) + excess_price
        numbers = (cost, duration, self.time, value, priced, excess_price, total, excess, self.clock, delay)
        return self.observe(), numbers, self.time >= self.horizon

    def answer(self, x, served):
        if self.best:
            value = max(self.quality[x][m] for m in served)
        elif len(served) == 1:
            value = self.quality[x][served[0]]
        else:  # a softmax over the logits, scaled to the highest one seen so far as experts are taken in order
            highest, weights, merit = -math.inf, 0.0, 0.0
            for m in served:
                if self.logit[x][m] > highest:
                    scale = math.exp(highest - self.logit[x][m]) if weights else 1.0
                    highest, weights, merit = self.logit[x][m], weights * scale, merit * scale
                    weights, merit = weights + 1.0, merit + self.quality[x][m]
                else:
                    share = math.exp(self.logit[x][m] - highest)
                    weights, merit = weights + share, merit + share * self.quality[x][m]
            value = merit / weights
        if self.bernoulli:
            return 1.0 if uniform(self.quality_key, self.steps) <= value else 0.0
        return value
