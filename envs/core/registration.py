"""Registration of every environment id of the suite with Gymnasium and PettingZoo."""

import gymnasium
import pettingzoo

_AOI = "edgewise.envs.aoi_offload"
_CACHING = "edgewise.envs.model_caching"
_EXPERTS = "edgewise.envs.edge_experts"

_ENTRY_POINTS = {
    "edgewise/AoIOffload-v0": (f"{_AOI}.env:AoIOffloadEnv", f"{_AOI}.env:AoIOffloadVectorEnv"),
    "edgewise/AoIOffloadGame-v0": (f"{_AOI}.stream:AoIOffloadGameEnv", f"{_AOI}.stream:AoIOffloadGameVectorEnv"),
    "edgewise/DutchClock-v0": (f"{_CACHING}.dutch_clock:DutchClockEnv", f"{_CACHING}.dutch_clock:DutchClockVectorEnv"),
    "edgewise/ExpertSelect-v0": (
        f"{_EXPERTS}.selection:ExpertSelectEnv",
        f"{_EXPERTS}.selection:ExpertSelectVectorEnv",
    ),
    "edgewise/ExpertSelectOnce-v0": (
        f"{_EXPERTS}.selection:ExpertSelectOnceEnv",
        f"{_EXPERTS}.selection:ExpertSelectOnceVectorEnv",
    ),
    "edgewise/ExpertRoute-v0": (f"{_EXPERTS}.env:ExpertRouteEnv", f"{_EXPERTS}.env:ExpertRouteVectorEnv"),
    "edgewise/ExpertTwoLevel-v0": (
        f"{_EXPERTS}.two_level:ExpertTwoLevelEnv",
        f"{_EXPERTS}.two_level:ExpertTwoLevelVectorEnv",
    ),
    "edgewise/ModelCaching-v0": (f"{_CACHING}.env:ModelCachingEnv", f"{_CACHING}.env:ModelCachingVectorEnv"),
}


_GAMES = {
    ("aec", "edgewise/AoIOffloadGame-v0"): f"{_AOI}.game:aec_env",
    ("parallel", "edgewise/AoIOffloadGame-v0"): f"{_AOI}.game:parallel_env",
    ("aec", "edgewise/ModelCaching-v0"): f"{_CACHING}.game:aec_env",
    ("parallel", "edgewise/ModelCaching-v0"): f"{_CACHING}.game:parallel_env",
}


def register_all() -> None:
    """Register every id; calling it again changes nothing."""
    for env_id, (entry_point, vector_entry_point) in _ENTRY_POINTS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=entry_point, vector_entry_point=vector_entry_point)
    for (interface, env_id), entry_point in _GAMES.items():
        registry = pettingzoo.aec_registry if interface == "aec" else pettingzoo.parallel_registry
        if env_id not in registry:
            pettingzoo.register(interface, env_id, entry_point=entry_point)
