"""Does the event stream's memory stay flat?"""

from __future__ import annotations

import os
from pathlib import Path

import gymnasium

from ...envs.aoi_offload.params import AoIParams
from .loads import GAME, batched_actions

_STATM = Path("/proc/self/statm")
_SAMPLES = 100


def _resident_mb() -> float:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def rss_drift(params: AoIParams, lanes: int, decisions: int) -> float | None:
    """Largest change of resident memory while a vector event stream runs, resets included.

    Args:
        params: the physics.
        lanes: number of lanes.
        decisions: how many decisions to take, over all lanes, after every lane was reset once.

    Returns:
        The largest distance from the first sample in MB, or None where the system does not tell.
    """
    if not _STATM.exists():
        return None
    env = gymnasium.make_vec(GAME, num_envs=lanes, params=params)
    env.reset(seed=0)
    actions = batched_actions(params, lanes)
    episode = env.unwrapped._system.world.lane["episode"]
    while episode.min() < 1:
        for action in actions:
            env.step(action)
    first, drift = _resident_mb(), 0.0
    for _ in range(_SAMPLES):
        for i in range(-(-decisions // (_SAMPLES * lanes))):
            env.step(actions[i % len(actions)])
        drift = max(drift, abs(_resident_mb() - first))
    return drift
