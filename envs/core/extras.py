"""Lazy imports of optional dependencies."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingExtraError


def require(module_name: str, extra: str) -> ModuleType:
    """Import an optional module, or say how to get it.

    Args:
        module_name: dotted name, for example ``"stable_baselines3"``.
        extra: the extra of this package that installs it, for example ``"sb3"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the module (or a parent of it) is not installed. A module that is
            installed but fails inside with another missing import raises its own error.
    """
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise MissingExtraError(
                f'{missing} is not installed; run: pip install "edgewise[{extra}]"', name=missing
            ) from error
        raise
