"""Reference simulator of the offloading system in plain Python, written from the model and not from the kernel.

Every device decides outside (`decide`), which makes it slow and easy to read. Same inputs give the same bits as the
compiled kernel: the formulas below are evaluated in this order, in double precision. The one exception is the team
cost, whose summation order is not part of the model.
"""

from __future__ import annotations

import math

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
SERVICE_STREAM = 0
EDGE_DONE, LOCAL_DONE, DROP, GENERATE, ARRIVE = range(5)  # tie order at equal times, then the device's index
UPDATE, OFFLOAD, JOINT = range(3)


def mix(z):
    """Splitmix64's finaliser."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def stream_key(seed, episode, stream, device):
    key = mix(seed & MASK)
    for part in (episode, stream, device):
        key = mix(key + GOLDEN * (part + 1) & MASK)
    return key


def uniform(key, counter):
    return ((mix(key + GOLDEN * (counter + 1) & MASK) >> 11) + 0.5) * 2.0**-53


def unit_service(law, parameter, key, k):
    """Unit variate of attempt k."""
    if law == "deterministic":
        return 1.0
    if law == "exponential":
        return -math.log(uniform(key, k))
    first, second = uniform(key, 2 * k), uniform(key, 2 * k + 1)
    if law == "lognormal":
        return math.exp(parameter * (math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)))
    p = (1.0 + math.sqrt((parameter - 1.0) / (parameter + 1.0))) / 2.0
    return -math.log(second) / (2.0 * p if first < p else 2.0 * (1.0 - p))


class Device:
    """One device; `timer` is its only scheduled event, (time, code), or None while it queues or awaits a decision."""

    def __init__(self, scales, key, joint):
        self.scales, self.key, self.joint = scales, key, joint
        self.timer = None
        self.freshest = 0.0  # generation time of the freshest completed task
        self.last_done = 0.0
        self.last_decision = 0.0
        self.generated = 0.0  # generation time of the current task
        self.place = 0
        self.service = 0.0
        self.deadline = math.inf
        self.attempts = 0
        self.drawn = [(0.0, 0)] * len(scales)  # sum and number of service times drawn at every place
        self.team_area = 0.0  # area of all devices since this one's last decision
        self.servers = [0] * len(scales)
        self.completions = self.drops = self.waits = 0
        self.area = self.time = self.peak = self.paper_area = self.wait_sum = 0.0


class Reference:
    """M devices, N queues. After construction and after every `decide` one device awaits a decision.

    Attributes: device, kind (of the pending decision), time, cost, duration (of the device's own interval), truncated.
    """

    def __init__(self, *, n_devices, edge_ghz, local_ghz, task_mbit, density, service, drop, drop_mean, transmission,
                 initial_queue_limit, horizon, seed, episode=0, joint=(), team=False, agents=None):  # fmt: skip
        self.law, _, parameter = service.partition(":")
        self.parameter = float(parameter or 0)
        self.law_mean = math.exp(0.5 * self.parameter**2) if self.law == "lognormal" else 1.0
        self.mode, _, coefficient = drop.partition(":")
        self.coefficient, self.running = float(coefficient or 0), drop_mean == "running"
        kind, *numbers = transmission.split(":")
        self.transmission = float(numbers[0]) if kind == "fixed" else 0.0
        if kind == "shannon":
            self.transmission = task_mbit / (float(numbers[0]) * math.log2(1.0 + 10.0 ** (float(numbers[1]) / 10.0)))
        self.horizon, self.team, self.time = horizon, team, 0.0
        self.agents = range(n_devices) if agents is None else agents
        local = local_ghz if isinstance(local_ghz, tuple) else (local_ghz,) * n_devices
        self.devices = [
            Device([task_mbit * density / ghz for ghz in (local[m], *edge_ghz)],
                   stream_key(seed, episode, SERVICE_STREAM, m), m in joint)
            for m in range(n_devices)
        ]  # fmt: skip
        self.queues = [[] for _ in edge_ghz]
        for m, d in enumerate(self.devices):
            lengths = [len(queue) for queue in self.queues]
            shortest = lengths.index(min(lengths)) if lengths else None
            d.place = 1 + shortest if lengths and lengths[shortest] < initial_queue_limit else 0
            self.draw(d)
            self.start_local(d) if d.place == 0 else self.join(m)
        self.run()

    # --- decisions --------------------------------------------------------------------------------------------------

    def decide(self, server, wait):
        """Answer the pending decision; the part that its kind does not use is ignored."""
        d = self.devices[self.device]
        d.last_decision, d.team_area = self.time, 0.0
        if self.kind in (OFFLOAD, JOINT):
            d.place = server
        if self.kind in (UPDATE, JOINT):
            d.waits, d.wait_sum = d.waits + 1, d.wait_sum + wait
            d.timer = (self.time + wait, GENERATE)
        else:
            self.attempt(self.device)
        self.run()

    def observation(self, m):
        """Delay, age, time since the own last completion, queue lengths (in seconds and tasks)."""
        d = self.devices[m]
        queues = [float(len(queue)) for queue in self.queues]
        return [d.last_done - d.freshest, self.time - d.freshest, self.time - d.last_done, *queues]

    def interval(self, m):
        """Cost and duration of the own open interval, which began at the last decision."""
        d = self.devices[m]
        duration = self.time - d.last_decision
        return ((d.last_decision - d.freshest) + 0.5 * duration) * duration, duration

    def ask(self, m, kind, interval):
        self.device, self.kind = m, kind
        self.cost, self.duration = interval
        if self.team:
            self.cost = self.devices[m].team_area / len(self.devices)
        self.truncated = self.time >= self.horizon and m in self.agents

    # --- events -----------------------------------------------------------------------------------------------------

    def run(self):
        """Process events up to the next decision."""
        while not self.step():
            pass

    def step(self):
        """Process the next event; return True if it asks for a decision."""
        (now, code), m = min((d.timer, m) for m, d in enumerate(self.devices) if d.timer)
        if self.team:
            grown = sum(((self.time - d.freshest) + 0.5 * (now - self.time)) * (now - self.time) for d in self.devices)
            for d in self.devices:
                d.team_area += grown
        self.time = now
        d = self.devices[m]
        d.timer = None
        if code == ARRIVE:
            self.join(m)
            return False
        interval = self.interval(m)
        if code in (EDGE_DONE, LOCAL_DONE):
            self.complete(d, m, code)
            self.ask(m, JOINT if d.joint else UPDATE, interval)
            return True
        if code == DROP:
            d.drops += 1
            self.leave(m)
        d.generated = now
        if d.joint and not (code == DROP and now >= self.horizon):
            self.attempt(m)
            return False
        self.ask(m, JOINT if d.joint else OFFLOAD, interval)
        return True

    def complete(self, d, m, code):
        if code == EDGE_DONE:
            self.leave(m)
        now, length, delay_before = self.time, self.time - d.last_done, d.last_done - d.freshest
        d.area += (delay_before + 0.5 * length) * length
        d.time += length
        d.peak += now - d.freshest
        delay, effective_wait = now - d.generated, d.generated - d.last_done
        if d.completions:
            d.paper_area += 0.5 * ((delay_before + effective_wait + delay) ** 2 - delay**2)
        d.completions += 1
        d.freshest, d.last_done = d.generated, now

    def draw(self, d):
        d.service = unit_service(self.law, self.parameter, d.key, d.attempts) * d.scales[d.place]
        d.attempts += 1
        d.deadline = math.inf

    def attempt(self, m):
        """Offload the task generated now to the chosen place, unless the drop rule says otherwise."""
        d = self.devices[m]
        d.servers[d.place] += 1
        self.draw(d)
        mean = self.law_mean * d.scales[d.place]
        if self.running:  # of the earlier draws; the first tasks, issued before anybody decided, do not count
            total, count = d.drawn[d.place]
            mean = total / count if count else 0.0
            d.drawn[d.place] = total + d.service, count + 1
        limit = self.coefficient * mean
        if self.mode in ("authors", "cutoff") and d.service >= limit:
            d.timer = (self.time + (d.service if self.mode == "authors" else limit), DROP)
            return
        if self.mode == "deadline":
            d.deadline = self.time + limit
        if d.place == 0:
            self.start_local(d)
        elif self.transmission > 0.0:
            d.timer = min((self.time + self.transmission, ARRIVE), (d.deadline, DROP))
        else:
            self.join(m)

    # --- places -----------------------------------------------------------------------------------------------------

    def start_local(self, d):
        late = self.time + d.service > d.deadline
        d.timer = (d.deadline, DROP) if late else (self.time + d.service, LOCAL_DONE)

    def join(self, m):
        d = self.devices[m]
        queue = self.queues[d.place - 1]
        queue.append(m)
        d.timer = (d.deadline, DROP) if d.deadline < math.inf else None
        if queue[0] == m:
            self.start_edge(queue)

    def start_edge(self, queue):
        d = self.devices[queue[0]]
        late = self.time + d.service > d.deadline
        d.timer = (d.deadline, DROP) if late else (self.time + d.service, EDGE_DONE)

    def leave(self, m):
        """Take the task out of its queue, if it is in one; a server that it leaves takes the next task at once."""
        for queue in self.queues:
            if m in queue:
                served = queue[0] == m
                queue.remove(m)
                if served and queue:
                    self.start_edge(queue)
