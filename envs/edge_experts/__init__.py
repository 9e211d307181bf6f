"""Prompts over heterogeneous edge language-model experts (MoE², Jin et al., arXiv 2501.09410).

The Gymnasium ids are registered by ``import edgewise``; `solve` selects experts with a certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .env import ExpertRouteEnv, ExpertRouteVectorEnv
    from .files import load, save
    from .instance import Budgets, Expert, Instance, Prompts
    from .loaders import load_routing_table
    from .optimum import solve
    from .params import RouteParams
    from .policies import RoutingRule, select
    from .selection import (
        ExpertSelectEnv,
        ExpertSelectOnceEnv,
        ExpertSelectOnceVectorEnv,
        ExpertSelectVectorEnv,
    )
    from .sources import open_instance
    from .synthetic import section9, synthetic
    from .two_level import ExpertTwoLevelEnv, ExpertTwoLevelVectorEnv

_HOMES = {
    "Budgets": "instance",
    "Expert": "instance",
    "ExpertRouteEnv": "env",
    "ExpertRouteVectorEnv": "env",
    "ExpertSelectEnv": "selection",
    "ExpertSelectOnceEnv": "selection",
    "ExpertSelectOnceVectorEnv": "selection",
    "ExpertSelectVectorEnv": "selection",
    "ExpertTwoLevelEnv": "two_level",
    "ExpertTwoLevelVectorEnv": "two_level",
    "Instance": "instance",
    "Prompts": "instance",
    "RouteParams": "params",
    "RoutingRule": "policies",
    "load": "files",
    "load_routing_table": "loaders",
    "open_instance": "sources",
    "save": "files",
    "section9": "synthetic",
    "select": "policies",
    "solve": "optimum",
    "synthetic": "synthetic",
}

__all__ = [
    "Budgets",
    "Expert",
    "ExpertRouteEnv",
    "ExpertRouteVectorEnv",
    "ExpertSelectEnv",
    "ExpertSelectOnceEnv",
    "ExpertSelectOnceVectorEnv",
    "ExpertSelectVectorEnv",
    "ExpertTwoLevelEnv",
    "ExpertTwoLevelVectorEnv",
    "Instance",
    "Prompts",
    "RouteParams",
    "RoutingRule",
    "load",
    "load_routing_table",
    "open_instance",
    "save",
    "section9",
    "select",
    "solve",
    "synthetic",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the kernel brings numba, which a look at this package should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
