"""Hyper-parameters of the learners, readable without torch, SB3 and Ray; and which learners train what."""

from .async_fractional import AsyncFractionalConfig
from .base import HybridPolicyFields, LearnerSection
from .cluster import ClusterConfig
from .d3qn_ddpg import FractionalD3QNDDPGConfig
from .ppo import FractionalPPOConfig, LagrangianPPOConfig, MaskedPPOConfig, PPOConfig
from .recurrent_d3qn_ppo import RECURRENT_DEFECTS, RecurrentD3QNPPOConfig
from .t2drl import BACKBONES, BackboneName, CacheNetworkFields, T2DRLConfig

__all__ = [
    "BACKBONES",
    "CACHING_LEARNERS",
    "EXPERT_LEARNERS",
    "GAME_LEARNERS",
    "RECURRENT_DEFECTS",
    "RLLIB_LEARNERS",
    "SINGLE_DEVICE_LEARNERS",
    "TORCH_LEARNERS",
    "AsyncFractionalConfig",
    "BackboneName",
    "CacheNetworkFields",
    "ClusterConfig",
    "FractionalD3QNDDPGConfig",
    "FractionalPPOConfig",
    "HybridPolicyFields",
    "LagrangianPPOConfig",
    "LearnerSection",
    "MaskedPPOConfig",
    "PPOConfig",
    "RecurrentD3QNPPOConfig",
    "T2DRLConfig",
]

RLLIB_LEARNERS = frozenset({"async_fractional"})
"""Learners that run on RLlib and take the section ``cluster``."""

TORCH_LEARNERS = frozenset({"recurrent_d3qn_ppo"})
"""Learners with a loop of their own."""

GAME_LEARNERS = frozenset({"async_fractional", "fractional_d3qn_ddpg", "recurrent_d3qn_ppo"})
"""Learners that regroup the event stream of a game by device."""

SINGLE_DEVICE_LEARNERS = frozenset({"async_fractional", "fractional_d3qn_ddpg", "fractional_ppo", "ppo"})
"""Learners that train one device among others that do not learn."""

CACHING_LEARNERS = frozenset({"t2drl"})
"""Learners that cache models."""

EXPERT_LEARNERS = frozenset({"fractional_d3qn_ddpg", "fractional_ppo", "lagrangian_ppo", "masked_ppo"})
"""Learners that select experts or route prompts."""
