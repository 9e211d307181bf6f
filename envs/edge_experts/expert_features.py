"""What observations tell of every expert, beside the budgets."""

from __future__ import annotations

import numpy as np

from .constraints import Constraints
from .costs import means
from .instance import FloatArray, Instance

MOST_SHARE = 10.0
"""Shares of a budget are shown up to this."""


def expert_features(instance: Instance, constraints: Constraints) -> FloatArray:
    """Per expert: quality and delay over budget of every category, energy over budget, idle W, GB, 10⁹ weights.

    Shape (n, 2 C + 4). Energy is what a constraint counts, idle power included; 0 where there is no budget.
    """
    budgets = constraints.budgets
    _, delay, quality = means(instance)
    categories = len(instance.categories)
    table = np.zeros((instance.n, 2 * categories + 4))
    table[:, :categories] = quality.T
    if budgets.tau is not None:
        alone = budgets.t_gate + delay + budgets.t_agg
        table[:, categories : 2 * categories] = _share(alone.T, np.array(budgets.tau))
    if budgets.E_max is not None:
        table[:, 2 * categories] = _share(constraints.energy + constraints.idle, np.array(budgets.E_max))
    for i, expert in enumerate(instance.experts):
        table[i, 2 * categories + 1 :] = expert.P_idle, expert.mem_GB, expert.params_B
    return table


def _share(use: FloatArray, limit: FloatArray) -> FloatArray:
    """Use over budget, at most `MOST_SHARE`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: FloatArray = np.nan_to_num(use / limit, nan=0.0, posinf=MOST_SHARE)
    return np.minimum(ratio, MOST_SHARE)
