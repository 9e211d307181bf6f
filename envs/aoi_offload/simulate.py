"""Compiled simulation of a fully scripted system: the baselines' numbers at kernel speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .params import AoIParams
from .policies import rule
from .simulator import Simulator

Deviator = tuple[int, str, str]


@dataclass(frozen=True)
class Simulation:
    """Statistics of S seeds; arrays are (S, M) unless said otherwise.

    Attributes:
        statistics: the arrays of `Simulator.statistics`.
        decisions: (S,) decisions taken, waits and servers each counting one.
        seconds: wall-clock time spent simulating; compiling the kernel, once per process, is not in it.
    """

    statistics: dict[str, NDArray[Any]]
    decisions: NDArray[np.int64]
    seconds: float

    @property
    def ages(self) -> NDArray[np.float64]:
        """Mean age of each device by the ratio estimator, area / time, in seconds."""
        return np.asarray(self.statistics["area"] / self.statistics["time"])

    @property
    def mean_age(self) -> NDArray[np.float64]:
        """(S,) mean age over the devices, in seconds."""
        return np.asarray(self.ages.mean(axis=1))

    @property
    def mean_age_authors(self) -> NDArray[np.float64]:
        """(S,) mean age by the papers' estimator: trapezoids from the second cycle on over the last completion time.

        Biased low in short episodes: the first cycle's time counts, its area does not. NaN with a warm-up: the
        estimator is that of whole episodes.
        """
        return np.asarray((self.statistics["paper_area"] / self.statistics["time"]).mean(axis=1))

    @property
    def drop_rate(self) -> float:
        """Dropped attempts per attempt."""
        return float(self.statistics["drops"].sum() / max(self.statistics["attempts"].sum(), 1))

    @property
    def mean_wait(self) -> float:
        """Mean chosen wait of the completed cycles, in seconds."""
        return float(self.statistics["wait_sum"].sum() / max(self.statistics["waits"].sum(), 1))

    @property
    def peak_age(self) -> float:
        """Mean age just before a completion, in seconds."""
        return float(self.statistics["peak"].sum() / max(self.statistics["completions"].sum(), 1))

    @property
    def server_shares(self) -> NDArray[np.float64]:
        """(N + 1,) shares of the places among all choices."""
        counts = self.statistics["servers"].sum(axis=(0, 1))
        return np.asarray(counts / max(counts.sum(), 1))


def simulate(
    params: AoIParams,
    policy: str = "jsq",
    wait: str = "fixed:0",
    *,
    horizon: float = 20_000.0,
    seeds: int | Sequence[int] = 1,
    warmup: float = 0.0,
    deviator: Deviator | Sequence[Deviator] | None = None,
) -> Simulation:
    """Run scripted devices for a while, one independent system per seed.

    Args:
        params: the physics.
        policy: server rule of every device (see `policies`).
        wait: wait rule of every device.
        horizon: simulated time in seconds.
        seeds: the seeds, or how many (then 0, 1, ...).
        warmup: cycles that start before it are not counted, in seconds.
        deviator: (device, server rule, wait rule) of one device that does something else, or a list of them.

    Returns:
        The statistics per seed and device.

    Raises:
        InvalidInputError: an argument is out of range, or the horizon is too short for every device to complete a
            counted cycle.
    """
    try:
        chosen = np.array([index(s) for s in (range(seeds) if isinstance(seeds, int) else seeds)], np.uint64)
    except (TypeError, OverflowError):
        chosen = np.zeros(0, np.uint64)
    if len(chosen) == 0:
        raise InvalidInputError.of("seeds", "a positive number or a list of integers in [0, 2^64)", seeds)
    if not (isinstance(horizon, float | int) and 0 < horizon < np.inf):
        raise InvalidInputError.of("horizon", "a finite positive number of seconds", horizon)
    rules = np.repeat(rule(params, policy, wait)[None], params.n_devices)
    for device, other_policy, other_wait in _deviators(deviator):
        if device not in range(params.n_devices):
            raise InvalidInputError.of("deviator", f"a device in [0, {params.n_devices - 1}]", device)
        rules[device] = rule(params, other_policy, other_wait)
    simulator = Simulator(params, rules, len(chosen), warmup=warmup)
    simulator.seed(chosen)
    simulator.until[:] = horizon
    simulator.reset(np.zeros(len(chosen), bool))  # moves no lane, but compiles the kernel
    start = time.perf_counter()
    simulator.reset()
    seconds = time.perf_counter() - start
    statistics = simulator.statistics()
    if not statistics["completions"].all():
        raise InvalidInputError.of("horizon", "long enough for every device to complete a cycle after warmup", horizon)
    return Simulation(statistics, simulator.world.lane["decisions"].copy(), seconds)


def _deviators(deviator: Deviator | Sequence[Deviator] | None) -> list[Deviator]:
    """The devices that do something else, as a list."""
    if deviator is None:
        return []
    several = [deviator] if len(deviator) == 3 and isinstance(deviator[1], str) else list(deviator)
    for entry in several:
        if not (isinstance(entry, tuple) and len(entry) == 3):
            raise InvalidInputError.of("deviator", "(device, server rule, wait rule), or a list of such", deviator)
    return several  # type: ignore[return-value]  # the entries have been looked at
