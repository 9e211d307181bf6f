"""Long-context model serving at the edge (Xu et al., arXiv 2501.14205 and 2403.05826): the market for reasoning paths.

The Gymnasium ids are registered by ``import edgewise``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock_params import DutchClockParams
    from .dutch_clock import DutchClockEnv, DutchClockVectorEnv

_HOMES = {"DutchClockEnv": "dutch_clock", "DutchClockParams": "clock_params", "DutchClockVectorEnv": "dutch_clock"}

__all__ = ["DutchClockEnv", "DutchClockParams", "DutchClockVectorEnv"]


def __getattr__(name: str) -> Any:
    """Import on first use: the kernels bring numba, which a look at this package should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
