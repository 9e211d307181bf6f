"""From measured seeds to the entries of a comparison."""

from __future__ import annotations

from typing import Any

import gymnasium

from ..estimates import estimate
from . import results
from .baselines import Rule
from .metrics import Metrics


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
