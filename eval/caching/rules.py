"""The two causal density rules, their numbers chosen by grid on training episodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.policies import ScriptedPolicy
from ...envs.model_caching.simulate import run_policy
from ...envs.model_caching.state import COST

EWMA, MEMORYLESS = "density_ewma", "density_memoryless"
_SLOTS, _DECAYS = (1, 2, 3, 4, 6, 8, 12, 16, 24), (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_FACTORS, _CONSTANTS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12), (0, 0.125, 0.25, 0.5, 1, 2, 4)
GRIDS: dict[str, tuple[str, ...]] = {
    EWMA: tuple(f"{EWMA}:{h:g}:{d:g}" for h, d in itertools.product(_SLOTS, _DECAYS)),
    MEMORYLESS: tuple(f"{MEMORYLESS}:{c:g}:{m:g}" for c, m in itertools.product(_FACTORS, _CONSTANTS)),
}
"""Candidates of every rule: slots that a held model is credited with and decay; factor and constant."""


def tuned(
    params: CachingParams, name: str, episodes: Sequence[tuple[int, int]], horizon: float, share: int = 1
) -> tuple[str, int]:
    """The best member of a rule's grid on some episodes, and how many were tried.

    Args:
        params: the system.
        name: a key of `GRIDS`.
        episodes: (seed, number of the episode).
        horizon: slots.
        share: try every so many-th candidate only, for a smoke run.
    """
    candidates = GRIDS[name][::share]
    costs = [run_policy(params, ScriptedPolicy(rule, params), episodes, horizon)[COST].mean() for rule in candidates]
    return min(zip(costs, candidates, strict=True))[1], len(candidates)
