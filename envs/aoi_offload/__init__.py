"""Age-minimal offloading (Jin et al., arXiv 2312.10418 and 2409.16832).

The Gymnasium ids are registered by ``import edgewise``; the PettingZoo environments are made by `aec_env` and
`parallel_env`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .env import AoIOffloadEnv, AoIOffloadVectorEnv
    from .game import aec_env, parallel_env
    from .params import AoIParams
    from .policies import ScriptedPolicy
    from .stream import AoIOffloadGameEnv, AoIOffloadGameVectorEnv

_HOMES = {
    "AoIOffloadEnv": "env",
    "AoIOffloadVectorEnv": "env",
    "AoIOffloadGameEnv": "stream",
    "AoIOffloadGameVectorEnv": "stream",
    "AoIParams": "params",
    "ScriptedPolicy": "policies",
    "aec_env": "game",
    "parallel_env": "game",
}

__all__ = [
    "AoIOffloadEnv",
    "AoIOffloadGameEnv",
    "AoIOffloadGameVectorEnv",
    "AoIOffloadVectorEnv",
    "AoIParams",
    "ScriptedPolicy",
    "aec_env",
    "parallel_env",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the kernel brings numba, which a look at this package should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
