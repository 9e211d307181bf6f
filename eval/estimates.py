"""A mean over seeds with its interval, as part of stored results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .statistics import bootstrap, nested_bootstrap

FINITE = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
"""Results are not changed, hold nothing unknown, and no number that JSON lacks."""


class Estimate(BaseModel):
    """A mean over seeds with its 95 % bootstrap interval (no ends for a single seed)."""

    model_config = FINITE
    estimate: float
    low: float | None
    high: float | None
    confidence: float
    n: int

    @property
    def positive(self) -> bool:
        """Whether it is above 0 beyond the noise, as far as that is known."""
        return (self.estimate if self.low is None else self.low) > 0.0


def estimate(
    samples: Sequence[NDArray[np.float64]],
    statistic: Callable[..., Any] = np.mean,
    block: int = 1,
    least: float | None = None,
) -> Estimate:
    """A statistic of samples measured on the same seeds, with its interval (see `statistics.bootstrap`).

    Args:
        samples: one array (n,) per policy.
        statistic: of these samples.
        block: the entries are successive slots, to be resampled in blocks of so many; 1: they are independent seeds.
        least: what is estimated is never below it, and so the interval is not either.
    """
    if block == 1:
        found = bootstrap(samples, statistic)
    else:
        found = nested_bootstrap([values[None] for values in samples], statistic, block=block)
    low = found.low if found.low is None or least is None else max(found.low, least)
    return Estimate(**found.as_dict() | {"low": low})
