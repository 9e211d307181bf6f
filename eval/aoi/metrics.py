"""What a run of the age-of-information system is measured by.

All figures come from the counters of `statistics()` (or of the compiled simulation): arrays of shape (seeds, devices)
that sum over the cycles completed since the reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError

COUNTERS = (
    "completions",
    "area",
    "time",
    "peak",
    "paper_area",
    "last_done",
    "attempts",
    "drops",
    "waits",
    "wait_sum",
    "servers",
)


@dataclass(frozen=True)
class Metrics:
    """Measured figures, one value per seed, averaged over the devices that count.

    Attributes:
        mean_age: time-average age, sum of areas over sum of cycle lengths of each device, s; shape (seeds,).
        authors_age: the papers' episode estimator, whose first cycle has time but no area (biased low), s.
        peak_age: mean age just before a completion, s.
        drop_rate: dropped share of all offloading attempts.
        mean_wait: mean chosen wait, s.
        server_shares: share of every place in the choices (place 0 local); shape (seeds, N + 1).
        completions: completed tasks per device.
        device_age: time-average age of every counted device, s; shape (seeds, devices).
    """

    mean_age: NDArray[np.float64]
    authors_age: NDArray[np.float64]
    peak_age: NDArray[np.float64]
    drop_rate: NDArray[np.float64]
    mean_wait: NDArray[np.float64]
    server_shares: NDArray[np.float64]
    completions: NDArray[np.float64]
    device_age: NDArray[np.float64]

    @property
    def worst_age(self) -> NDArray[np.float64]:
        """Time-average age of the device that fares worst over all seeds, s; shape (seeds,)."""
        worst: NDArray[np.float64] = self.device_age[:, int(np.argmax(self.device_age.mean(axis=0)))]
        return worst

    def summary(self) -> dict[str, Any]:
        """Means over the seeds, ready for JSON (a figure without data is None)."""
        scalars = ("authors_age", "peak_age", "drop_rate", "mean_wait", "completions")
        result: dict[str, Any] = {name: _finite_mean(getattr(self, name)) for name in scalars}
        result["server_shares"] = [_finite_mean(column) for column in self.server_shares.T]
        return result


def _finite_mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    """Quotient that is nan where nothing was counted."""
    top, bottom = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    quotient: NDArray[np.float64] = np.divide(
        top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom > 0
    )
    return quotient


def without_first_cycles(statistics: Mapping[str, NDArray[Any]], first: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Counters without every device's first cycle, whose task was placed before anybody was asked.

    Args:
        statistics: counters since the reset, without a warm-up.
        first: when each device's first task completed, s; 0 where it did not; shape (seeds, devices).

    Returns:
        The counters; those of the papers' estimator, which starts at time 0, are left as they are.
    """
    left = {
        "area": statistics["area"] - 0.5 * first**2,
        "time": statistics["time"] - first,
        "peak": statistics["peak"] - first,
        "completions": statistics["completions"] - (first > 0),
    }
    return {**statistics, **left}


def device_ages(statistics: Mapping[str, NDArray[Any]], otherwise: float = np.nan) -> NDArray[np.float64]:
    """Mean age of every device, s, shape (seeds, devices).

    Args:
        statistics: the counters ``area`` and ``time``, shape (seeds, devices).
        otherwise: stands for a device that completed no task that counts. Scores during training take the episode's
            length, as a policy that is still bad must not end its training; evaluations refuse to judge it.
    """
    area, time = np.asarray(statistics["area"]), np.asarray(statistics["time"])
    ages = np.full(area.shape, otherwise, np.float64)
    np.divide(area, time, out=ages, where=time > 0)
    return ages


def measure(statistics: Mapping[str, NDArray[Any]], devices: Sequence[int] | None = None) -> Metrics:
    """Turn counters into figures.

    Args:
        statistics: the counters named in `COUNTERS`, shape (seeds, devices), ``servers`` (seeds, devices, N + 1).
        devices: the devices that count; None for all.

    Returns:
        Ages are averaged over devices (each device's own ratio counts once, as in the papers); rates and shares pool
        the devices' counts.

    Raises:
        InvalidInputError: a counter is missing, or a counted device completed no task (the horizon is too short).

    *Source*: Jin et al., arXiv 2312.10418, the time-average age; their released code for `authors_age`.
    """
    missing = [name for name in COUNTERS if name not in statistics]
    if missing:
        raise InvalidInputError.of("statistics", f"holding the counters {', '.join(COUNTERS)}", sorted(statistics))
    chosen = slice(None) if devices is None else list(devices)
    counter = {name: np.asarray(statistics[name])[:, chosen] for name in COUNTERS}
    if not (counter["time"] > 0).all():
        raise InvalidInputError("horizon is too short: a device completed no task that counts; give a longer one")
    servers = counter["servers"].sum(axis=1)
    ages = _ratio(counter["area"], counter["time"])
    return Metrics(
        mean_age=ages.mean(axis=1),
        authors_age=_ratio(counter["paper_area"], counter["last_done"]).mean(axis=1),
        peak_age=_ratio(counter["peak"], counter["completions"]).mean(axis=1),
        drop_rate=_ratio(counter["drops"].sum(axis=1), counter["attempts"].sum(axis=1)),
        mean_wait=_ratio(counter["wait_sum"].sum(axis=1), counter["waits"].sum(axis=1)),
        server_shares=_ratio(servers, servers.sum(axis=-1, keepdims=True)),
        completions=counter["completions"].astype(float).mean(axis=1),
        device_age=ages,
    )
