"""What is measured: each function builds something, warms it up and returns a `Load` that steps it.

Actions are uniform and drawn beforehand. Episodes have the default horizon, and resets are part of the work.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from pettingzoo import AECEnv

from ...envs.aoi_offload import kernel
from ...envs.aoi_offload.game import AoIOffloadAEC, AoIOffloadParallel
from ...envs.aoi_offload.params import AoIParams
from ...envs.aoi_offload.simulator import Buffers
from .heap import HeapGame
from .idle import IdleAEC
from .timing import Load

GAME = "edgewise/AoIOffloadGame-v0"
DEVICE = "edgewise/AoIOffload-v0"
_DRAWS = 64  # different actions of a lane, used in turn
Actions = list[dict[str, Any]]


def no_drop(devices: int = 20) -> AoIParams:
    """The physics of the event stream's rows: the preset ``paper`` without drops."""
    return AoIParams.make("paper", drop="none", n_devices=devices)


def batched_actions(params: AoIParams, lanes: int) -> Actions:
    """Uniform actions of a vector environment."""
    rng = np.random.default_rng(0)
    server = rng.integers(params.n_edges + 1, size=(_DRAWS, lanes))
    wait = rng.uniform(0.0, params.z_max, (_DRAWS, lanes, 1)).astype(np.float32)
    return [{"server": s, "wait": w} for s, w in zip(server, wait, strict=True)]


def scalar_actions(params: AoIParams) -> Actions:
    """Uniform actions of one system."""
    batches = batched_actions(params, 16)
    return [
        {"server": int(batch["server"][i]), "wait": batch["wait"][i].copy()} for batch in batches for i in range(16)
    ]


def _stepper(env: Any, actions: Actions, lanes: int, warmup: int) -> Load:
    turn = count()

    def load(steps: int) -> int:
        step = env.step
        for i in range(steps):
            step(actions[(next(turn) + i) % _DRAWS])
        return steps * lanes

    load(warmup)
    return load
