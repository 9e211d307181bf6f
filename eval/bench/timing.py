"""Fair timing on a machine that does other things too: processor time of interleaved windows."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Load = Callable[[int], int]
"""Does so many steps and returns how many units (decisions, events, resets) that were."""

Rates = dict[str, NDArray[np.float64]]
"""Units per second of processor time by load, one number per window."""


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Attributes:
        windows: number of windows per load.
        seconds: processor time of a window.
        lanes: lanes of the large vector environments.
        devices: devices of the largest system.
        warmup: decisions per lane before the first window.
        memory: decisions over which memory must stay flat.
        unit_agents: unit agents of the largest auction.
    """

    windows: int = 15
    seconds: float = 0.1
    lanes: int = 1024
    devices: int = 10_000
    warmup: int = 200
    memory: int = 100_000_000
    unit_agents: int = 1_000_000

    @classmethod
    def quick(cls) -> Budget:
        """A smoke run: the same table, with figures that mean little."""
        return cls(windows=3, seconds=0.01, lanes=64, devices=1_000, warmup=20, memory=1_000_000, unit_agents=20_000)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out of a window, as `timeit` does: one load would pay for the objects of another."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _timed(load: Load, steps: int) -> tuple[float, int]:
    start = time.process_time()
    units = load(steps)
    return time.process_time() - start, units


def _steps_for(load: Load, seconds: float) -> int:
    """How many steps take about that long (also the last of the warm-up)."""
    steps = 1
    while (spent := _timed(load, steps)[0]) < 0.3 * seconds:
        steps *= 2
    return max(1, round(steps * seconds / spent))


def measure(loads: Mapping[str, Load], budget: Budget) -> Rates:
    """Run all loads by turns, a window each, so that whatever else the machine does slows all of them alike.

    Args:
        loads: what to run, warmed up already.
        budget: number and length of the windows.

    Returns:
        Units per second of processor time, (windows,) for each load.
    """
    with _no_collection():
        steps = {name: _steps_for(load, budget.seconds) for name, load in loads.items()}
        rates: Rates = {name: np.empty(budget.windows) for name in loads}
        for window in range(budget.windows):
            for name, load in loads.items():
                spent, units = _timed(load, steps[name])
                rates[name][window] = units / spent
    return rates


def ratio(rates: Rates, numerator: str, denominator: str) -> float:
    """How many times faster one load is than another: the median over pairs of neighbouring windows."""
    return float(np.median(rates[numerator] / rates[denominator]))


def speed(rates: Rates, name: str) -> float:
    """Units per second in the least disturbed window."""
    return float(rates[name].max())
