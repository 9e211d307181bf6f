"""Plugs into Stable-Baselines3: policy, learners, replay, the outer loop as a callback, the environment adapter.

Importing anything from here without the extra raises `MissingExtraError`; hyper-parameters (`agents.config`) need none.
"""

from ...envs.core.extras import require

# First of all imports, so that each module below, however it is imported, says which extra it needs.
require("torch", "sb3")
require("stable_baselines3", "sb3")

from .buffers import SMDPReplayBuffer  # noqa: E402
from .callbacks import DinkelbachCallback  # noqa: E402
from .d3qn_ddpg import FractionalD3QNDDPG  # noqa: E402
from .game_d3qn_ddpg import FractionalGameD3QNDDPG  # noqa: E402
from .policies import HybridActorCriticPolicy  # noqa: E402
from .ppo import FractionalPPO  # noqa: E402
from .t2drl import T2DRL  # noqa: E402
from .t2drl_policy import T2DRLPolicy  # noqa: E402
from .vec_env import SemiMarkovVecEnv  # noqa: E402

__all__ = [
    "T2DRL",
    "DinkelbachCallback",
    "FractionalD3QNDDPG",
    "FractionalGameD3QNDDPG",
    "FractionalPPO",
    "HybridActorCriticPolicy",
    "SMDPReplayBuffer",
    "SemiMarkovVecEnv",
    "T2DRLPolicy",
]
