"""Long-context model serving at the edge (Xu et al., arXiv 2501.14205 and 2403.05826): caching, and a market for paths.

The Gymnasium ids are registered by ``import edgewise``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock_params import DutchClockParams
    from .dutch_clock import DutchClockEnv, DutchClockVectorEnv
    from .env import ModelCachingEnv, ModelCachingVectorEnv
    from .game import aec_env, parallel_env
    from .params import CachingParams
    from .slot_market import MarketParams

_HOMES = {
    "CachingParams": "params",
    "DutchClockEnv": "dutch_clock",
    "DutchClockParams": "clock_params",
    "DutchClockVectorEnv": "dutch_clock",
    "MarketParams": "slot_market",
    "ModelCachingEnv": "env",
    "ModelCachingVectorEnv": "env",
    "aec_env": "game",
    "parallel_env": "game",
}

__all__ = [
    "CachingParams",
    "DutchClockEnv",
    "DutchClockParams",
    "DutchClockVectorEnv",
    "MarketParams",
    "ModelCachingEnv",
    "ModelCachingVectorEnv",
    "aec_env",
    "parallel_env",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the kernels bring numba, which a look at this package should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
