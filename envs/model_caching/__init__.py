"""Long-context model serving at the edge (Xu et al., arXiv 2501.14205 and 2403.05826): the market for reasoning paths.

The Gymnasium ids are registered by ``import edgewise``.
"""

from __future__ import annotations

from typing import Any

_HOMES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    """Import on first use: the kernels bring numba, which a look at this package should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
