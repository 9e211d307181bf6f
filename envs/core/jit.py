"""How every kernel is compiled: cached, without Python's lock, division by zero as in numpy.

The same source runs uncompiled with ``NUMBA_DISABLE_JIT=1``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls."""
    return numba.njit(**OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into the compiled ones that call it."""
    return numba.njit(forceinline=True, cache=True, error_model="numpy")(function)
