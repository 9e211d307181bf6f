"""The speed table behind ``edgewise bench``: ratios measured in the same call, on one core."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ...envs.core.errors import InvalidInputError
from .groups import GROUPS
from .rows import Row, failed
from .timing import Budget

__all__ = ["GROUPS", "Budget", "Row", "as_json", "failed", "machine", "run_bench"]


def run_bench(
    budget: Budget | None = None,
    groups: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> list[Row]:
    """Measure.

    Args:
        budget: how much to measure; the full budget by default.
        groups: names in `GROUPS`; all by default.
        progress: called with the name of each group that begins.

    Returns:
        The rows of the table.

    Raises:
        InvalidInputError: an unknown group.
    """
    for name in groups:
        if name not in GROUPS:
            raise InvalidInputError.of("only", f"among {', '.join(GROUPS)}", name)
    rows: list[Row] = []
    for name in groups or GROUPS:
        if progress is not None:
            progress(name)
        rows += GROUPS[name](budget or Budget())
    return rows


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    packages = {name: version(name) for name in ("edgewise", "numpy", "numba", "gymnasium", "pettingzoo")}
    system = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    return system | {"load": load} | packages


def as_json(rows: Sequence[Row], budget: Budget) -> dict[str, Any]:
    """Everything for other programs."""
    return {"machine": machine(), "budget": asdict(budget), "rows": [row.as_dict() for row in rows]}
