"""The scripted policies: what to do without learning, by name, for the kernel and for anybody's loop.

A policy is a *server rule* and a *wait rule*:

================= ========================================================================================
server rule       where the task goes
================= ========================================================================================
``local``         the device's own processor
``uniform``       uniformly on {0, ..., N}
``edge-uniform``  uniformly on {1, ..., N}
``jsq``           join the shortest edge queue, ties at random
``jsq-unless:K``  the shortest edge queue if it holds fewer than K tasks, else local
``pgoa[:K]``      potential-game offloading, repaired: least expected delay, exploring in the first K attempts
``server:N``      always place N
================= ========================================================================================

================= ========================================================================================
wait rule         waiting time in seconds, never above Z_max
================= ========================================================================================
``fixed:Z``       always Z
``uniform:A:B``   uniform on [A, B]; ``uniform:B`` is uniform on [0, B]
``threshold:C``   max(0, C - Y), Y being the last delay (the structure of Sun et al., arXiv 1601.02284)
================= ========================================================================================
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .params import AoIParams
from .state import (
    DELAY,
    EDGE_UNIFORM,
    FIXED,
    JOINT,
    JSQ,
    JSQ_UNLESS,
    KIND,
    LOCAL,
    OFFLOAD,
    PGOA,
    QUEUES,
    RULE,
    SCRIPTED,
    SERVER,
    SERVER_RULES,
    THRESHOLD,
    UNIFORM,
    UNIFORM_WAIT,
    UPDATE,
    WAIT_RULES,
)

PGOA_ATTEMPTS = 100
"""Attempts over which the exploration of ``pgoa`` falls from 1 to 0 unless a number is given."""


def _numbers(field: str, text: Any, names: tuple[str, ...]) -> tuple[str, list[float]]:
    name, *rest = text.strip().split(":") if isinstance(text, str) else [""]
    if name not in names:
        raise InvalidInputError.of(field, f"one of {', '.join(names)}", text)
    try:
        numbers = [float(part) for part in rest]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InvalidInputError.of(field, f"{name} followed by finite numbers after colons", text)
    return name, numbers


def _server_rule(text: Any, params: AoIParams, field: str) -> tuple[int, float]:
    name, numbers = _numbers(field, text, SERVER_RULES)
    code = SERVER_RULES.index(name)
    if code == PGOA and not numbers:
        numbers = [PGOA_ATTEMPTS]
    if len(numbers) != (1 if code in (JSQ_UNLESS, PGOA, SERVER) else 0):
        raise InvalidInputError.of(field, f"{name}:NUMBER" if code in (JSQ_UNLESS, SERVER) else name, text)
    number = numbers[0] if numbers else 0.0
    if code == SERVER and number not in range(params.n_edges + 1):
        raise InvalidInputError.of(field, f"server:N with N an integer in [0, {params.n_edges}]", text)
    if number < 0 or (code == PGOA and number == 0):
        raise InvalidInputError.of(field, f"{name} with a positive number", text)
    return code, number


def _wait_rule(text: Any, params: AoIParams, field: str) -> tuple[int, float, float]:
    name, numbers = _numbers(field, text, WAIT_RULES)
    code = WAIT_RULES.index(name)
    if code == UNIFORM_WAIT and len(numbers) == 1:
        numbers = [0.0, *numbers]
    if len(numbers) != (2 if code == UNIFORM_WAIT else 1):
        raise InvalidInputError.of(field, "fixed:Z, uniform:MAX, uniform:MIN:MAX or threshold:C", text)
    low, high = numbers[0], numbers[-1]
    if low < 0 or low > high or (code != THRESHOLD and high > params.z_max):
        raise InvalidInputError.of(field, f"{name} with times in [0, {params.z_max:g}] s, in order", text)
    return code, low, high


def rule(
    params: AoIParams, server: str = "jsq", wait: str = "fixed:0", fields: tuple[str, str] = ("policy", "wait")
) -> NDArray[np.void]:
    """The scripted rule of one device as the kernel reads it.

    Args:
        params: the physics: bounds of servers and waits.
        server: a server rule of the table above.
        wait: a wait rule of the table above.
        fields: what errors call the two rules.

    Returns:
        A zero-dimensional RULE record.

    Raises:
        InvalidInputError: unknown rule, or its number is out of range.
    """
    record = np.zeros((), RULE)
    record["agent"] = SCRIPTED
    record["server"], record["server_number"] = _server_rule(server, params, fields[0])
    record["wait"], record["wait_low"], record["wait_high"] = _wait_rule(wait, params, fields[1])
    return record


class _PotentialGame:
    """Potential-game offloading on observations, one learner per row, as the kernel's scripted devices run it.

    A belief is the mean of delay per task in the queue seen; what was never tried is believed to take no time.
    """

    def __init__(self, rows: int, places: int) -> None:
        self.delay_sum = np.zeros((rows, places))
        self.delays = np.zeros((rows, places), np.int64)
        self.attempts = np.ones(rows, np.int64)  # the first task of an episode is placed without asking
        self.place = np.full(rows, -1)  # of the task under way, if it was placed here
        self.seen = np.ones(rows)  # tasks at that place then, the own one included

    def learn(self, obs: NDArray[np.float64]) -> None:
        """Take in the delays of tasks that have completed."""
        rows = np.flatnonzero(np.isin(obs[:, KIND], (UPDATE, JOINT)) & (self.place >= 0))
        places = self.place[rows]
        self.delay_sum[rows, places] += obs[rows, DELAY] / self.seen[rows]
        self.delays[rows, places] += 1
        self.place[rows] = -1

    def choose(self, obs: NDArray[np.float64], episodes: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) places: the least expected delay, exploring less and less."""
        size, places = self.delay_sum.shape
        queues = np.hstack([np.ones((size, 1)), obs[:, QUEUES:] + 1.0])
        place = np.argmin(self.delay_sum / np.maximum(self.delays, 1) * queues, axis=1)
        explores = rng.random(size) < 1.0 - self.attempts / episodes
        place = np.where(explores, rng.integers(0, places, size), place)
        rows = np.flatnonzero(np.isin(obs[:, KIND], (OFFLOAD, JOINT)))
        self.place[rows] = place[rows]
        self.seen[rows] = queues[rows, place[rows]]
        self.attempts[rows] += 1
        return place


class ScriptedPolicy:
    """A scripted policy that acts on observations, one or a batch at a time.

    It sees what a learner sees, so it fits every loop that a learned policy fits. Compiled simulations use the
    same rules inside the kernel.

    ``pgoa`` learns while it acts, from the delays it observes: one learner per row, so a row must stay the same device.
    `reset` forgets; call it when an episode starts (else what was learned is kept, and the last task of the old
    episode is credited with the first delay of the new one). The other rules remember nothing.

    Args:
        server: a server rule (see the module's table).
        wait: a wait rule.
        params: the physics; None means the ``paper`` preset.
        seed: of its own generator, for ties and random rules.

    Attributes:
        rng: that generator; it may be replaced.

    Raises:
        InvalidInputError: unknown rule, or its number is out of range.
    """

    def __init__(
        self, server: str = "jsq", wait: str = "fixed:0", params: AoIParams | None = None, seed: int = 0
    ) -> None:
        self.params = params or AoIParams.make()
        self.server, self.wait = server, wait
        self._rule = rule(self.params, server, wait)
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Forget what ``pgoa`` has learned; the random generator goes on."""
        self._game = _PotentialGame(0, self.params.n_edges + 1)

    def __call__(self, obs: NDArray[np.float32]) -> dict[str, Any]:
        """Choose an action.

        Args:
            obs: (4 + N,) observation, or (n, 4 + N) for a batch; without a device index.

        Returns:
            ``{"server": int, "wait": (1,) float32}``, or arrays of shapes (n,) and (n, 1) for a batch. A batch of
            another size than before makes ``pgoa`` start anew.
        """
        batch = np.atleast_2d(np.asarray(obs, np.float64))
        server, wait = self._servers(batch), self._waits(batch)
        action_wait = np.minimum(wait, self.params.z_max).astype(np.float32)[:, None]
        if np.ndim(obs) == 1:
            return {"server": int(server[0]), "wait": action_wait[0]}
        return {"server": server, "wait": action_wait}

    act = __call__

    def _servers(self, obs: NDArray[np.float64]) -> NDArray[np.int64]:
        code, number = int(self._rule["server"]), float(self._rule["server_number"])
        size, edges = len(obs), self.params.n_edges
        if code == SERVER:
            return np.full(size, int(number))
        if code == LOCAL or edges == 0:
            return np.zeros(size, np.int64)
        if code == UNIFORM:
            return self.rng.integers(0, edges + 1, size)
        if code == EDGE_UNIFORM:
            return self.rng.integers(1, edges + 1, size)
        if code == PGOA:
            if len(self._game.attempts) != size:
                self._game = _PotentialGame(size, edges + 1)
            self._game.learn(obs)
            return self._game.choose(obs, number, self.rng)
        queues = obs[:, QUEUES:]
        shortest = queues.min(axis=1)
        ties = queues == shortest[:, None]
        place = 1 + np.argmax(ties * self.rng.uniform(0.5, 1.0, queues.shape), axis=1)
        return place if code == JSQ else np.where(shortest < number, place, 0)

    def _waits(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        code, low, high = int(self._rule["wait"]), float(self._rule["wait_low"]), float(self._rule["wait_high"])
        if code == FIXED:
            return np.full(len(obs), low)
        if code == UNIFORM_WAIT:
            return self.rng.uniform(low, high, len(obs))
        return np.maximum(0.0, low - obs[:, DELAY])
