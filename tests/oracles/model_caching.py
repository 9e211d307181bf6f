"""Reference simulator of the model-caching server in plain Python, written from the model and not from the kernel.

Lists and `math` only. Same inputs give the same bits as the compiled kernel: the formulas below are evaluated in this
order, in double precision. It is also the plain-Python run that the kernel's speed is compared with, so what a slot
does not change is looked up once.
"""

from __future__ import annotations

import math

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
DEMAND, POPULARITY, BURST = 2, 3, 5  # streams


def mix(z):
    """Splitmix64's finaliser."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def stream_key(seed, episode, stream, agent):
    key = mix(seed & MASK)
    for part in (episode, stream, agent):
        key = mix(key + GOLDEN * (part + 1) & MASK)
    return key


def uniform(key, counter):
    z = key + GOLDEN * (counter + 1) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK  # `mix`, without the call
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return (((z ^ (z >> 31)) >> 11) + 0.5) * 2.0**-53


def poisson(u, mean):
    """Inversion of the distribution function."""
    probability = below = math.exp(-mean)
    k = 0
    while u > below:
        k += 1
        probability *= mean / k
        if probability < 1e-18 and k > mean:
            break
        below += probability
    return k


class Reference:
    """One server.

    Args:
        params: a `CachingParams`.
        agents: records of `draw_instance`: what the agents are.
        seed: of the demand.
        episode: number of the episode.
        horizon: slots.
        trace: (counts, tokens) of a trace, nested lists.
    """

    def __init__(self, params, agents, seed, episode=0, horizon=100.0, trace=None):
        self.p, self.horizon, self.trace = params, horizon, trace
        self.ids = range(params.n_agents)
        for field in agents.dtype.names:
            setattr(self, field, agents[field].tolist())
        self.models, self.name = range(len(params.models)), params.models
        order = sorted(self.ids, key=lambda i: (self.memory[i], i))
        self.groups = [
            [i for i in order if self.memory[i] == size] for size in dict.fromkeys(map(self.memory.__getitem__, order))
        ]
        self.hungry = sorted(self.ids, key=lambda i: (-self.energy_out[i], i))
        self.weight = {self.model[i]: self.memory[i] for i in self.ids}  # GB per model in use
        self.rates = params.rates().tolist()
        J = params.paths
        self.work_factor = float(J * J if params.count_paths == "twice" else J)
        self.per_token = params.price_unit == "token"
        self.edge_factor = float(J) if self.per_token else 1.0
        # episode
        self.keys = [stream_key(seed, episode, DEMAND, i) for i in self.ids]
        self.bursts = [stream_key(seed, episode, BURST, i) for i in self.ids]
        self.popularity = stream_key(seed, episode, POPULARITY, 0)
        self.first = 0
        if trace and params.trace_start == "random":
            last = max(0, len(trace[0]) - int(horizon))
            self.first = min(int(uniform(stream_key(seed, episode, POPULARITY, 1), 0) * (last + 1)), last)
        zeros = [0] * params.n_agents
        self.cache, self.demand, self.burst = zeros[:], zeros[:], zeros[:]
        self.context, self.kappa = [0.0] * params.n_agents, [0.0] * params.n_agents
        self.input_now, self.thought_now, self.growth_now = self.input[:], self.thought[:], self.growth[:]
        self.time = 0
        self.draw()

    # --- demand -----------------------------------------------------------------------------------------------------

    def draw(self):
        """Demand of the slot that begins, and what of it is shown."""
        p, t = self.p, self.time
        if p.hide_demand:
            self.seen, self.seen_input = self.demand[:], self.input_now[:]
        if p.workload == "trace":
            self.replay(self.first + t)
        else:
            every = p.shift_every
            if t == 0 or (every and t % every == 0):
                self.rank = self.shuffled(t // every if every else 0)
            means = [self.rates[rank] for rank in self.rank]
            if p.workload == "markov":
                scale, leave = 2.0 / sum(p.burst_rates), 0.5 if t == 0 else 1.0 / p.burst_slots
                for i in self.ids:
                    if uniform(self.bursts[i], t) <= leave:
                        self.burst[i] = 1 - self.burst[i]
                    means[i] *= scale * p.burst_rates[self.burst[i]]
            self.demand = [poisson(uniform(key, t), mean) for key, mean in zip(self.keys, means, strict=True)]
        if not p.hide_demand:
            self.seen, self.seen_input = self.demand[:], self.input_now[:]

    def shuffled(self, epoch):
        count = self.p.n_agents
        rank = list(self.ids)
        for j in range(count - 1, 0, -1):
            k = min(int(uniform(self.popularity, epoch * count + j) * (j + 1)), j)
            rank[j], rank[k] = rank[k], rank[j]
        return rank

    def replay(self, row):
        counts, tokens = self.trace
        self.demand = list(counts[row]) if row < len(counts) else [0] * self.p.n_agents
        for i in self.ids:
            if self.demand[i] > 0:
                self.input_now[i], self.thought_now[i], self.growth_now[i] = tokens[row][i]

    # --- one slot ---------------------------------------------------------------------------------------------------

    def project(self, cache, share):
        """The feasible action: cache bits, local shares, and the energy in use."""
        p = self.p
        plan = [0] * p.n_agents
        held = dict.fromkeys(self.models, 0)
        used = 0.0
        for group in self.groups:
            for resident in (1, 0):
                for i in group:
                    if cache[i] and self.cache[i] == resident:
                        weights = 0.0 if p.weights_shared and held[self.model[i]] else self.memory[i]
                        tokens = self.context[i] + self.demand[i] * share[i] * self.growth_now[i]
                        size = weights + self.kv[i] * min(tokens, self.window[i])
                        if used + size <= p.capacity_gb:
                            used += size
                            plan[i] = 1
                            held[self.model[i]] += 1
        before = (
            {m: sum(self.cache[i] for i in self.ids if self.model[i] == m) for m in self.models}
            if p.weights_shared
            else None
        )
        served = [0.0] * p.n_agents
        for i in self.ids:
            if not plan[i] or not self.demand[i]:
                continue
            b = share[i]
            if not (before[self.model[i]] if p.weights_shared else self.cache[i]):
                b = min(b, self.ready[i])
            arriving = self.demand[i] * self.growth_now[i]
            if self.context[i] + b * arriving > self.window[i]:
                if p.window_rule == "evict_on_overflow":
                    plan[i], b = 0, 0.0
                    held[self.model[i]] -= 1
                elif p.window_rule == "clip":
                    b = min(b, max(0.0, self.window[i] - self.context[i]) / arriving)
            served[i] = b
        joules = [self.joules(i) for i in self.ids]
        need = 0.0
        for i in self.ids:
            need += served[i] * joules[i]
        for i in self.hungry:
            if need <= p.energy_budget:
                break
            if served[i] > 0.0 and joules[i] > 0.0:
                cut = min(served[i], (need - p.energy_budget) / joules[i])
                served[i] -= cut
                need -= cut * joules[i]
        return plan, served, need, joules, before, held

    def joules(self, i):
        """Energy of serving all of an agent's requests here."""
        out = self.thought_now[i] * (self.energy_out[i] + self.energy_kv[i] * self.context[i])
        prompt = 1.0 if self.per_token else 0.0
        return self.demand[i] * self.work_factor * (out + prompt * self.input_now[i] * self.energy_in[i])

    def step(self, cache, share, bought=None, sold=0.0):
        """Carry out one slot; returns cost, its five terms, the other figures, and the projected action.

        With a market, `bought` are the extra paths of every agent and `sold` is the energy spent on paths of others.
        """
        p = self.p
        plan, served, energy, joules, before, held = self.project(cache, share)
        self.parts = self.switching_parts(plan, before, held)
        switching, loads, evictions = self.switch(plan, before, held)
        communication = accuracy_cost = cloud = requests = local = correct = 0.0
        compute = sold / p.gpu_gflops
        for i in self.ids:
            b, demand = served[i], self.demand[i]
            self.accumulate(i, plan[i], b, bought[i] if bought else 0)
            requests += demand
            if not demand:
                continue
            tokens = self.input_now[i] if self.per_token else 1.0
            cloud += demand * float(p.paths) * (1.0 - b) * p.cloud_price * tokens
            self.parts[i] += p.weight_cloud * demand * p.paths * (1.0 - b) * p.cloud_price * tokens
            if b > 0.0:
                accuracy, unit = self.accuracy(i)
                communication += demand * self.edge_factor * b * p.edge_price * self.input_now[i]
                compute += b * joules[i] / p.gpu_gflops
                accuracy_cost += unit * demand * b
                local += b * demand
                correct += accuracy * b * demand
                self.parts[i] += (
                    p.weight_communication * demand * self.edge_factor * b * p.edge_price * self.input_now[i]
                )
                self.parts[i] += p.weight_compute * b * joules[i] / p.gpu_gflops + p.weight_accuracy * unit * demand * b
        self.cache = plan
        terms = (switching, p.weight_communication * communication, p.weight_compute * compute,
                 p.weight_accuracy * accuracy_cost, p.weight_cloud * cloud)  # fmt: skip
        cost = terms[0] + terms[1] + terms[2] + terms[3] + terms[4]
        figures = (loads, evictions, requests, local, correct, energy + sold, self.memory_in_use())
        self.time += 1
        self.draw()
        return cost, terms, figures, plan, served

    def switch(self, plan, before, held):
        """Cost and number of loads, number of evictions: of agents' copies, or of models where weights are shared."""
        p, cost, loads, evictions = self.p, 0.0, 0.0, 0.0
        if p.weights_shared:
            changes = [(m, before[m] > 0, held[m] > 0) for m in self.models]
        else:
            changes = [(self.model[i], self.cache[i], plan[i]) for i in self.ids]
        for m, was, is_now in changes:
            if was != is_now:
                megabytes = 1000.0 * self.weight[m]
                if is_now:
                    cost += p.weight_switching * (p.lambda_MB * megabytes if p.switching == "per_mb" else p.lambda_load)
                    loads += 1.0
                else:
                    cost += p.weight_switching * p.lambda_evict * megabytes
                    evictions += 1.0
        return cost, loads, evictions

    def switching_parts(self, plan, before, held):
        """Switching cost by agent; users of shared weights pay in equal parts, for an eviction those that leave."""
        p, parts = self.p, []
        for i in self.ids:
            m, was, is_now = self.model[i], self.cache[i], plan[i]
            payers = 1
            if p.weights_shared:
                was, is_now = (was or is_now) and before[m] > 0, (was or is_now) and held[m] > 0
                payers = held[m] if is_now else before[m]
            megabytes = 1000.0 * self.weight[m]
            load = p.lambda_MB * megabytes if p.switching == "per_mb" else p.lambda_load
            price = load if is_now else p.lambda_evict * megabytes
            parts.append(p.weight_switching * price / payers if bool(was) != bool(is_now) else 0.0)
        return parts

    def path_joules(self, i):
        """Energy of one path of an agent."""
        out = self.thought_now[i] * (self.energy_out[i] + self.energy_kv[i] * self.context[i])
        return out + (self.input_now[i] * self.energy_in[i] if self.per_token else 0.0)

    def accumulate(self, i, cached, b, paths):
        """Context and age of thoughts."""
        p = self.p
        if not cached:
            self.context[i] = self.kappa[i] = 0.0
            return
        requests = b * self.demand[i]
        work = requests * self.work_factor + paths
        if p.kappa_unit == "tokens":
            work *= self.thought_now[i]
        context = self.context[i] + (requests * self.growth_now[i] + paths * self.thought_now[i])
        kappa = max(self.kappa[i] + p.zeta * work - p.vanishing, 0.0)
        if p.window_rule == "slide" and context > self.window[i]:
            kappa -= kappa * ((context - self.window[i]) / context)
            context = self.window[i]
        self.context[i], self.kappa[i] = context, kappa

    def accuracy(self, i):
        """Accuracy and unit accuracy cost at the present age of thoughts."""
        p, kappa, alpha = self.p, self.kappa[i], self.alpha[i]
        if p.accuracy_model == "paper":
            gain = kappa * self.decay[i]
            return alpha * gain, (1.0 - alpha) / max(gain, 1.0)
        span = self.limit[i] - alpha
        if p.accuracy_model == "saturating":
            accuracy = alpha + span * (1.0 - math.exp(-self.decay[i] * kappa))
        else:
            paths = p.paths * kappa / (kappa + p.kappa_half)
            accuracy = self.limit[i] - span * math.exp(-paths / self.tau[i])
        return accuracy, 1.0 - accuracy

    def memory_in_use(self):
        used = 0.0
        if self.p.weights_shared:
            for m in self.models:
                if any(self.cache[i] and self.model[i] == m for i in self.ids):
                    used += self.weight[m]
        for i in self.ids:
            if self.cache[i]:
                if not self.p.weights_shared:
                    used += self.memory[i]
                used += self.kv[i] * min(self.context[i], self.window[i])
        return used

    def observation(self):
        """Blocks of one entry per agent, then free memory and time where asked."""
        p = self.p
        seen = [
            *map(float, self.cache),
            *map(float, self.seen),
            *(kappa / (kappa + p.kappa_half) for kappa in self.kappa),
            *(size / p.capacity_gb for size in self.memory),
            *(tokens * 1e-3 for tokens in self.seen_input),
        ]
        if p.observe_more:
            seen += [min(self.context[i] / self.window[i], 1.0) for i in self.ids]
            seen += [1.0 - self.memory_in_use() / p.capacity_gb, self.time / self.horizon]
        return seen
