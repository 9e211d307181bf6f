"""Budgets of a selection as increasing set functions, and their compiled form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ..core.errors import InvalidInputError
from .costs import costs, means
from .instance import Budgets, FloatArray, Instance, check_budgets
from .monotone import SetFunction, members
from .search import Problem

EnergyModel = Literal["all", "topk"]
SLACK = 1e-12
"""Budgets are met up to this, relative to the budget where it exceeds 1."""


@dataclass(frozen=True)
class Constraint:
    """``use(S) <= limit`` with an increasing ``use``.

    Attributes:
        name: for messages and tables.
        unit: of use and limit.
        use: of a bit mask.
        limit: the budget.
    """

    name: str
    unit: str
    use: SetFunction
    limit: float

    def holds(self, subset: int) -> bool:
        """Whether a subset keeps the budget (up to a relative 1e-12)."""
        return self.use(subset) <= padded(self.limit)


def padded(limit: float) -> float:
    """A budget with its rounding slack."""
    return limit + SLACK * max(1.0, abs(limit))


@dataclass(frozen=True, eq=False)
class Constraints:
    """All budgets of an instance.

    Attributes:
        rows: every budget that is set.
        energy: (n,) dynamic energy per prompt, J.
        idle: (n,) idle energy per prompt, J.
        delay: (C, n) mean delay of every category, s.
        energy_model: ``"all"``: every selected expert runs on every prompt; ``"topk"``: the k costliest ones do.
        budgets: what the rows were made from.
        problem: compiled form for given gains, or None where a budget has none (delay statistics over prompts).
    """

    rows: tuple[Constraint, ...]
    energy: FloatArray
    idle: FloatArray
    delay: FloatArray
    energy_model: EnergyModel
    budgets: Budgets
    problem: Callable[[FloatArray], Problem] | None

    def feasible(self, subset: int) -> bool:
        """Whether a subset keeps every budget."""
        return all(row.holds(subset) for row in self.rows)

    def energy_use(self, subset: int) -> float:
        """Energy per prompt of a subset under the energy model, J."""
        chosen = list(members(subset))
        dynamic = self.energy[chosen]
        if self.energy_model == "topk":
            dynamic = np.sort(dynamic)[::-1][: self.budgets.k]
        return float(dynamic.sum() + self.idle[chosen].sum())

    def delay_use(self, subset: int, category: int) -> float:
        """Delay of a category under a subset in the category-mean form, s; 0 for the empty subset."""
        chosen = list(members(subset))
        if not chosen:
            return 0.0
        slowest = float(self.delay[category, chosen].max())
        return (self.budgets.t_gate + slowest) + self.budgets.t_agg * len(chosen)


def make_constraints(
    instance: Instance, budgets: Budgets | None = None, energy_model: EnergyModel = "all"
) -> Constraints:
    """Constraints of an instance under budgets (default: its own).

    Raises:
        InvalidInputError: the budgets do not fit the instance, or the energy model is unknown.
    """
    budgets = instance.budgets if budgets is None else budgets
    check_budgets(budgets, instance)
    if energy_model not in ("all", "topk"):
        raise InvalidInputError.of("energy_model", "all or topk", energy_model)
    energy, delay, _ = means(instance)
    idle = np.array([expert.P_idle for expert in instance.experts]) * budgets.idle_s
    rows: list[Constraint] = []
    found = Constraints((), energy, idle, delay, energy_model, budgets, None)
    if budgets.E_max is not None:
        rows.append(Constraint("energy", "J", found.energy_use, budgets.E_max))
    rows += _delays(instance, budgets, found)
    for device, size in budgets.MEM.items():
        rows.append(Constraint(f"memory of {device}", "GB", _total(_memory_on(instance, device)), size))
    if budgets.max_experts is not None:
        rows.append(Constraint("experts", "", _size, budgets.max_experts))
    compilable = budgets.tau is None or budgets.statistic == "category_mean"
    problem = _compile(instance, found) if compilable else None
    return Constraints(tuple(rows), energy, idle, delay, energy_model, budgets, problem)


def _memory_on(instance: Instance, device: str) -> FloatArray:
    """Memory (n,) that every expert takes on a device, GB."""
    return np.array([expert.mem_GB if expert.device == device else 0.0 for expert in instance.experts])


# Partial functions, not closures: environments are pickled with their instances.


def _size(subset: int) -> float:
    return float(subset.bit_count())


def _total(column: FloatArray) -> SetFunction:
    return partial(_sum_over, column)


def _sum_over(column: FloatArray, subset: int) -> float:
    return float(column[list(members(subset))].sum())


def _delays(instance: Instance, budgets: Budgets, found: Constraints) -> list[Constraint]:
    """One budget per category."""
    rows = []
    for c, limit in enumerate(budgets.tau or ()):
        here = instance.prompts.category == c
        if budgets.statistic == "category_mean":
            use: SetFunction = partial(found.delay_use, category=c)
        elif here.any():
            use = _over_prompts(costs(instance).delay[here], instance.prompts.weight[here], budgets)
        else:
            continue
        rows.append(Constraint(f"delay of {instance.categories[c]}", "s", use, limit))
    return rows


def _over_prompts(delay: FloatArray, weight: FloatArray, budgets: Budgets) -> SetFunction:
    """Mean or 95th percentile over prompts of the slowest expert's delay: increasing, but with no compiled form."""
    shares = weight / weight.sum() if weight.sum() > 0 else np.full(len(weight), 1.0 / len(weight))
    return partial(_typical_delay, delay, shares, budgets)


def _typical_delay(delay: FloatArray, shares: FloatArray, budgets: Budgets, subset: int) -> float:
    chosen = list(members(subset))
    if not chosen:
        return 0.0
    slowest = delay[:, chosen].max(axis=1)
    if budgets.statistic == "mean":
        typical = float(shares @ slowest)
    else:
        typical = float(np.quantile(slowest, 0.95 - SLACK, weights=shares, method="inverted_cdf"))
    return budgets.t_gate + typical + budgets.t_agg * len(chosen)


def _compile(instance: Instance, found: Constraints) -> Callable[[FloatArray], Problem]:
    """Additive rows, and for the delays the largest subset that may hold each expert."""
    budgets, n = found.budgets, instance.n
    loads, limits, peak_row = [], [], -1
    peak = np.zeros(n)
    if budgets.E_max is not None:
        top = found.energy_model == "topk"
        loads.append(found.idle if top else found.energy + found.idle)
        limits.append(padded(budgets.E_max))
        if top:
            peak_row, peak = 0, found.energy
    for device, size in budgets.MEM.items():
        loads.append(_memory_on(instance, device))
        limits.append(padded(size))
    cap = np.full(n, n if budgets.max_experts is None else min(n, budgets.max_experts), np.int64)
    for c, limit in enumerate(budgets.tau or ()):  # delays increase with the size, so the sizes that fit come first
        delays = (budgets.t_gate + found.delay[c])[:, None] + budgets.t_agg * np.arange(1, n + 1)
        cap = np.minimum(cap, (delays <= padded(limit)).sum(axis=1))
    load = np.array(loads, float).reshape(len(loads), n)
    limit_array = np.array(limits, float)
    peaks = np.array(peak, float)
    return partial(Problem, load=load, limit=limit_array, cap=cap, peak=peaks, peak_row=peak_row, k=budgets.k)
