"""Registration of every environment id of the suite with Gymnasium."""

import gymnasium

_AOI = "edgewise.envs.aoi_offload"

_ENTRY_POINTS = {
    "edgewise/AoIOffload-v0": (f"{_AOI}.env:AoIOffloadEnv", f"{_AOI}.env:AoIOffloadVectorEnv"),
    "edgewise/AoIOffloadGame-v0": (f"{_AOI}.game:AoIOffloadGameEnv", f"{_AOI}.game:AoIOffloadGameVectorEnv"),
}


def register_all() -> None:
    """Register every id; calling it again changes nothing."""
    for env_id, (entry_point, vector_entry_point) in _ENTRY_POINTS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=entry_point, vector_entry_point=vector_entry_point)
