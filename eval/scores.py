"""From measured seeds to the entries of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from . import results
from .baselines import Rule
from .metrics import Metrics
from .statistics import bootstrap


def estimate(samples: Sequence[NDArray[np.float64]], statistic: Callable[..., Any] = np.mean) -> results.Estimate:
    """A statistic of samples measured on the same seeds, with its interval (see `statistics.bootstrap`)."""
    return results.Estimate(**bootstrap(samples, statistic).as_dict())


def score(label: str, rule: Rule, metrics: Metrics) -> results.Score:
    """What one policy did on the evaluation seeds."""
    return results.Score(
        label=label,
        server=rule[0],
        wait=rule[1],
        mean_age=estimate([metrics.mean_age]),
        per_seed=[float(age) for age in metrics.mean_age],
        **metrics.summary(),
    )


def reference(env_id: str, kwargs: dict[str, Any]) -> results.Reference:
    """The environment's certified optimum."""
    env: Any = gymnasium.make(env_id, **kwargs)
    try:
        optimum = env.unwrapped.optimum()
    finally:
        env.close()
    threshold = optimum.details.get("threshold")
    return results.Reference(
        value=optimum.value,
        bound=optimum.bound,
        method=optimum.method,
        seconds=round(optimum.seconds, 6),
        threshold=float(threshold) if isinstance(threshold, int | float) else None,
    )
