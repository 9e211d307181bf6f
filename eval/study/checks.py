"""Checks of what is asked of a study or an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ...envs.core.errors import InvalidInputError

BudgetT = TypeVar("BudgetT")
_MOST_SEEDS = 1000


def budget_of(budgets: Mapping[str, BudgetT], name: str) -> BudgetT:
    """A budget by name.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if name not in budgets:
        raise InvalidInputError.of("budget", f"one of {', '.join(budgets)}", name)
    return budgets[name]


def check_seeds(seeds: int | None, most: int = _MOST_SEEDS) -> None:
    """Refuse a number of seeds that is none, or too large; None stands for the budget's.

    Raises:
        InvalidInputError: it is.
    """
    if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= most):
        raise InvalidInputError.of("seeds", f"an integer in [1, {most}]", seeds)
