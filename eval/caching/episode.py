"""One recorded episode: what the figures over time are drawn from."""

from __future__ import annotations

import gymnasium
import numpy as np

from ...envs.model_caching.instance import draw_instance
from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.simulate import EpisodePolicy
from ...envs.model_caching.state import TERMS
from ...envs.model_caching.workload import Workload
from .results import Episode

ENV_ID = "edgewise/ModelCaching-v0"


def record(policy: EpisodePolicy, params: CachingParams, seed: int, horizon: float) -> Episode:
    """Play the first episode of a seed.

    Args:
        policy: is reset first; it is not told the demand.
        params: the system.
        seed: of the environment.
        horizon: slots.
    """
    env = gymnasium.make(ENV_ID, params=params, horizon=horizon)
    cache, local = [], []
    terms: dict[str, list[float]] = {name: [] for name in TERMS}
    try:
        policy.reset()
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            action = policy(np.asarray(obs)[None])
            obs, _, _, over, info = env.step({name: value[0] for name, value in action.items()})
            cache.append(info["cache"].astype(int).tolist())
            local.append([float(f"{share:.4g}") for share in info["local_share"]])
            for name in TERMS:
                terms[name].append(float(f"{info['cost_terms'][name]:.6g}"))
    finally:
        env.close()  # type: ignore[no-untyped-call]  # untyped in Gymnasium
    drawn = draw_instance(params)
    return Episode(
        models=[params.models[index] for index in drawn["model"]],
        memory=drawn["memory"].tolist(),
        capacity=params.capacity_gb,
        shift_every=0 if params.workload == "trace" else params.shift_every,
        requests=Workload(params, horizon).episode(seed).requests.tolist(),
        cache=cache,
        local=local,
        terms=terms,
    )
