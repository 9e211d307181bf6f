"""Plugs into Stable-Baselines3: policy, learners, replay, the outer loop as a callback, the environment adapter.

The names below are imported on first use, so that hyper-parameters (`config`) can be read without the extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...envs.core.extras import require

if TYPE_CHECKING:
    from .buffers import SMDPReplayBuffer
    from .callbacks import DinkelbachCallback
    from .d3qn_ddpg import FractionalD3QNDDPG
    from .policies import HybridActorCriticPolicy
    from .ppo import FractionalPPO
    from .vec_env import SemiMarkovVecEnv

_HOMES = {
    "DinkelbachCallback": "callbacks",
    "FractionalD3QNDDPG": "d3qn_ddpg",
    "FractionalPPO": "ppo",
    "HybridActorCriticPolicy": "policies",
    "SMDPReplayBuffer": "buffers",
    "SemiMarkovVecEnv": "vec_env",
}

__all__ = [
    "DinkelbachCallback",
    "FractionalD3QNDDPG",
    "FractionalPPO",
    "HybridActorCriticPolicy",
    "SMDPReplayBuffer",
    "SemiMarkovVecEnv",
]


def __getattr__(name: str) -> Any:
    """Import on first use.

    Raises:
        AttributeError: there is no such name.
        MissingExtraError: the extra ``sb3`` is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch", "sb3")
    require("stable_baselines3", "sb3")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
