"""How every kernel is compiled: cached, without Python's lock, division by zero as in numpy.

The same source runs uncompiled with ``NUMBA_DISABLE_JIT=1``.

numba counts references to arrays, and a function that takes several in a tuple counts them all, atomically, at its
entry and exit: up to two fifths of a step. Kernels go without. They write into arrays that Python holds for as long as
they run, and allocate none: one that would does not compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.options import DefaultOptions

OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}
# The option is numba's own, for its library: where a version lacks it, kernels are slower, and equal bit for bit.
_UNCOUNTED: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls and that may allocate arrays."""
    return numba.njit(**OPTIONS)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls and that allocates nothing."""
    return numba.njit(**OPTIONS, **_UNCOUNTED)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into the kernels that call it."""
    return numba.njit(forceinline=True, cache=True, error_model="numpy", **_UNCOUNTED)(function)
