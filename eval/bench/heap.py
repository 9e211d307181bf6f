"""The yardstick of the speed table: the event stream in plain Python, each system with a heap of its events.

It has the model, the random streams, the observations and the infos of ``edgewise/AoIOffloadGame-v0`` (so the results
are the same, bit for bit) for systems with exponential service times and without drops and transmission times. Where
Python allows a choice the faster way is taken: lists rather than objects, uniform variates drawn by numpy in blocks.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.params import AoIParams
from ...envs.aoi_offload.state import EDGE_DONE, GENERATE, LOCAL_DONE, OFFLOAD, UPDATE
from ...envs.core.errors import InvalidInputError

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_BLOCK = 64  # uniform variates drawn at once
_COUNTERS = np.arange(1, _BLOCK + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
_TERMS = ("waiting", "processing", "dropped")


def _mix(z: Any) -> Any:
    """Splitmix64's finaliser, of a Python integer or an array."""
    if isinstance(z, np.ndarray):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


def _device_keys(seed: int, episode: int, devices: int) -> NDArray[np.uint64]:
    """Keys of the service streams, (M,); the stream number of service times is 0."""
    key = _mix(seed)
    for part in (episode, 0):
        key = _mix((key + _GOLDEN * (part + 1)) & _MASK)
    offsets = np.arange(1, devices + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return np.asarray(_mix(np.uint64(key) + offsets))


class HeapSystem:
    """One system of M devices and N edge nodes; `reset` and `step` run to the next decision of any device.

    Attributes:
        row: device, kind, delay Y, age, time since its last completion, queue lengths: the observation, N + 5 numbers.
        prices: cost, duration, time, and the parts of the cost that were waiting and processing.
    """

    def __init__(self, params: AoIParams, seed: int) -> None:
        self.scales = params.scales().tolist()
        self.n_devices, self.n_edges = params.n_devices, params.n_edges
        self.queue_limit, self.z_max = params.initial_queue_limit, params.z_max * (1.0 + 1e-6)
        self.seed, self.episode = seed, -1

    def reset(self) -> None:
        """Start the next episode: every device has one task, at the shortest queue or at its own processor."""
        devices = self.n_devices
        self.episode += 1
        self.keys = _device_keys(self.seed, self.episode, devices)
        blocks = self._uniforms(self.keys[:, None] + _COUNTERS)
        self.uniforms = blocks[:, ::-1].tolist()  # the next one is at the end
        self.blocks = [1] * devices
        self.time = 0.0
        self.gen_last, self.last_done, self.last_decision = [0.0] * devices, [0.0] * devices, [0.0] * devices
        self.gen, self.wait, self.service, self.place = [0.0] * devices, [0.0] * devices, [0.0] * devices, [0] * devices
        self.queues: list[list[int]] = [[] for _ in range(self.n_edges)]
        self.heap: list[tuple[float, int, int]] = []
        for m in range(devices):
            lengths = [len(queue) for queue in self.queues]
            shortest = min(lengths, default=self.queue_limit)
            self._send(m, 1 + lengths.index(shortest) if shortest < self.queue_limit else 0)
        heapify(self.heap)
        self._advance()

    def step(self, server: int, wait: float) -> None:
        """Carry out the pending decision and run to the next one.

        Raises:
            InvalidInputError: the part of the action that is used is out of range.
        """
        m, now = self.device, self.time
        if self.kind == OFFLOAD:
            if not 0 <= server <= self.n_edges:
                raise InvalidInputError.of("server", f"an integer in [0, {self.n_edges}]", server)
            self.last_decision[m] = now
            self._send(m, server)
        else:
            if not 0.0 <= wait <= self.z_max:
                raise InvalidInputError.of("wait", f"a number in [0, {self.z_max:g}] s", wait)
            self.last_decision[m] = now
            self.wait[m] = wait
            heappush(self.heap, (now + wait, GENERATE, m))
        self._advance()

    def _send(self, m: int, place: int) -> None:
        """Device m's task goes to a place."""
        if not self.uniforms[m]:
            self._refill(m)
        service = self.scales[m][place] * -math.log(self.uniforms[m].pop())
        self.place[m] = place
        if place == 0:
            heappush(self.heap, (self.time + service, LOCAL_DONE, m))
            return
        self.service[m] = service
        queue = self.queues[place - 1]
        queue.append(m)
        if len(queue) == 1:
            heappush(self.heap, (self.time + service, EDGE_DONE, m))

    def _refill(self, m: int) -> None:
        shift = np.uint64(self.blocks[m] * _BLOCK * _GOLDEN & _MASK)
        self.uniforms[m] = self._uniforms(self.keys[m : m + 1] + shift + _COUNTERS)[::-1].tolist()
        self.blocks[m] += 1

    @staticmethod
    def _uniforms(states: NDArray[np.uint64]) -> NDArray[np.float64]:
        return np.asarray(((_mix(states) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)

    def _advance(self) -> None:
        """Process the next event, which always asks its device for a decision."""
        now, code, m = heappop(self.heap)
        self.time = now
        start, freshest, generated = self.last_decision[m], self.gen_last[m], self.gen[m]
        duration = now - start
        cost = ((start - freshest) + 0.5 * duration) * duration
        if code == GENERATE:
            self.gen[m] = now
            self.kind, waiting, processing = OFFLOAD, cost, 0.0
        else:
            first, rest = min(start + self.wait[m], generated) - start, now - generated
            waiting = ((start - freshest) + 0.5 * first) * first
            processing = ((generated - freshest) + 0.5 * rest) * rest
            if code == EDGE_DONE:
                queue = self.queues[self.place[m] - 1]
                queue.pop(0)
                if queue:
                    heappush(self.heap, (now + self.service[queue[0]], EDGE_DONE, queue[0]))
            self.gen_last[m], self.last_done[m] = generated, now
            self.kind = UPDATE
        self.device = m
        since, freshest = self.last_done[m], self.gen_last[m]
        queues = [len(queue) for queue in self.queues]
        self.row = [m, self.kind, since - freshest, now - freshest, now - since, *queues]
        self.prices = (cost, duration, now, waiting, processing)


class HeapGame:
    """Many plain-Python systems behind the vector interface of the event stream (NEXT_STEP autoreset).

    Args:
        num_envs: number of systems n; system i has the seed i.
        params: the physics, with exponential service and neither drops nor transmission times.
        horizon: episodes are truncated at the first decision at or after it, in seconds.

    Raises:
        InvalidInputError: a system that this simulation does not know.
    """

    def __init__(self, num_envs: int, params: AoIParams, horizon: float = 300.0) -> None:
        if (params.service, params.drop, params.transmission) != ("exponential", "none", "none"):
            raise InvalidInputError.of("params", "exponential, without drops and transmission times", params)
        self.systems = [HeapSystem(params, seed) for seed in range(num_envs)]
        self.horizon = horizon
        self._done = [False] * num_envs

    def reset(self) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode in every system; observations (n, 5 + N) and infos."""
        for system in self.systems:
            system.reset()
        self._done = [False] * len(self.systems)
        return self._results([])

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One decision in every system, as in `AoIOffloadGameVectorEnv`; the final intervals are left out."""
        restarted = []
        servers, waits = actions["server"].tolist(), actions["wait"][:, 0].tolist()
        for i, (system, server, wait) in enumerate(zip(self.systems, servers, waits, strict=True)):
            if self._done[i]:
                system.reset()
                restarted.append(i)
            else:
                system.step(server, wait)
        obs, info = self._results(restarted)
        truncated = info["time"] >= self.horizon
        truncated[restarted] = False
        self._done = truncated.tolist()
        return obs, -info["cost"], np.zeros(len(self.systems), bool), truncated, info

    def _results(self, restarted: list[int]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        obs = np.array([system.row for system in self.systems], np.float32)
        prices = np.array([system.prices for system in self.systems]).T
        if restarted:
            prices[:2, restarted] = prices[3:, restarted] = 0.0
        cost, duration, time, waiting, processing = prices
        terms = dict(zip(_TERMS, (waiting, processing, np.zeros(len(cost))), strict=True))
        device, kind = obs[:, 0].astype(np.int32), obs[:, 1].astype(np.int32)
        info = {"cost": cost, "duration": duration, "time": time, "cost_terms": terms, "device": device, "kind": kind}
        return obs, info
