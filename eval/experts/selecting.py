"""Selections under many budgets, held against the certified optimum of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.edge_experts.constraints import Constraints, EnergyModel, make_constraints
from ...envs.edge_experts.instance import Budgets, Instance
from ...envs.edge_experts.monotone import mask_of
from ...envs.edge_experts.objective import value_of_quality
from ...envs.edge_experts.optimum import solve
from ...envs.edge_experts.policies import select
from ...envs.edge_experts.selection import ExpertSelectEnv
from ...envs.edge_experts.sources import open_instance
from ...envs.edge_experts.synthetic import CATEGORIES, DELAY_BUDGETS, ENERGY_BUDGETS
from ...train.environments import ExpertsEnvConfig
from ..estimates import estimate
from ..statistics import difference
from .results import BudgetRow, Kind, Point, Row

RULES = ("best_of_two", "greedy_density", "greedy_gain", "single_best", "greenest", "fastest", "random")
_LABELS = {"best_of_two": "better of the two greedy rules"}
GRID_ENERGIES, GRID_DELAYS = 6, ("tight", "mid", "loose")
Subset = tuple[int, ...]
_ROUNDING = 1e-12  # values of one set, summed in another order, differ by less


@dataclass(frozen=True)
class Case:
    """Budgets to select under: those of the grid, then drawn ones.

    Attributes:
        budgets: the budgets.
        grid: place in the heat maps (delay, energy), or None.
    """

    budgets: Budgets
    grid: tuple[int, int] | None


def cases(env: ExpertsEnvConfig, instance: Instance, first_seed: int, drawn: int, grid: bool = True) -> list[Case]:
    """The grid of budgets (the published ones of the synthetic instance) and budgets drawn between them.

    Args:
        env: says where budgets are drawn.
        instance: experts and prompts.
        first_seed: environment seeds ``first_seed + i`` draw the budgets.
        drawn: how many are drawn.
        grid: whether the grid is part of it.
    """
    drawer = _environment(env, instance, None)
    low, high = (float(end) for end in drawer.budget_range.energy)
    strict, lenient = drawer.budget_range.strict, drawer.budget_range.lenient
    energies = ENERGY_BUDGETS if instance.categories == CATEGORIES else np.geomspace(low, high, GRID_ENERGIES).tolist()
    levels: list[Sequence[float]]
    if instance.categories == CATEGORIES:
        levels = [DELAY_BUDGETS[name] for name in GRID_DELAYS]
    else:
        levels = np.geomspace(strict, lenient, len(GRID_DELAYS)).tolist()
    found = [
        Case(instance.budgets.changed(E_max=energy, tau=tuple(tau)), (row, column))
        for row, tau in enumerate(levels)
        for column, energy in enumerate(energies)
        if grid
    ]
    for i in range(drawn):
        drawer.reset(seed=first_seed + i)
        found.append(Case(drawer.budgets, None))
    return found


def _environment(env: ExpertsEnvConfig, instance: Instance, budgets: Budgets | None) -> ExpertSelectEnv:
    return ExpertSelectEnv(**(env.kwargs() | {"instance": instance, "budgets": budgets}))


def selections(policy: Any, env: ExpertsEnvConfig, instance: Instance, budgets: Sequence[Budgets]) -> list[Subset]:
    """What a policy selects under each of these budgets; all episodes advance together.

    Args:
        policy: ``act(obs (m, D), mask (m, A)) -> {"action": (m,)}``.
        env: the environment.
        instance: experts and prompts.
        budgets: one episode for each.
    """
    envs = [_environment(env, instance, each) for each in budgets]
    seen = [each.reset(seed=0)[0] for each in envs]
    open_ = list(range(len(envs)))
    while open_:
        masks = np.stack([envs[i].action_masks() for i in open_])
        actions = policy.act(np.stack([seen[i] for i in open_]), masks)["action"]
        left = []
        for i, action in zip(open_, actions.tolist(), strict=True):
            seen[i], _, terminated, truncated, _ = envs[i].step(action)
            if not (terminated or truncated):
                left.append(i)
        open_ = left
    chosen = [each.layout["selected"] for each in envs]
    return [tuple(np.flatnonzero(obs[part] > 0.5).tolist()) for obs, part in zip(seen, chosen, strict=True)]


def regret(value: float, optimum: float) -> float:
    """Share of the optimum that is missed; 0 where nothing can be had."""
    missed = (optimum - value) / optimum if optimum > 0 else 0.0
    return missed if abs(missed) > _ROUNDING else 0.0


def score_selections(policy: Any, env: ExpertsEnvConfig, first_seed: int, drawn: int) -> dict[str, float]:
    """Mean and worst regret on drawn budgets: the score of a checkpoint."""
    instance = open_instance(env.instance)
    chosen = cases(env, instance, first_seed, drawn, grid=False)
    model: EnergyModel = env.energy_model or "all"
    f = value_of_quality(instance)
    found = [
        regret(f(mask_of(subset)), solve(instance, case.budgets, energy_model=model, objective=f).solution.value)
        for case, subset in zip(
            chosen, selections(policy, env, instance, [case.budgets for case in chosen]), strict=True
        )
    ]
    return {"score": float(np.mean(found)), "regret": float(np.mean(found)), "worst_regret": float(np.max(found))}


class Comparison:
    """Every policy's selections under the same budgets.

    Args:
        instance: experts and prompts.
        chosen: the budgets.
        model: the energy model.
    """

    def __init__(self, instance: Instance, chosen: Sequence[Case], model: EnergyModel) -> None:
        self.instance, self.cases, self.model = instance, chosen, model
        self._f = value_of_quality(instance)
        self._constraints = [make_constraints(instance, case.budgets, model) for case in chosen]
        self.optima = [solve(instance, case.budgets, energy_model=model, objective=self._f).solution for case in chosen]
        self._share = np.array(
            [instance.prompts.weight[instance.prompts.category == c].sum() for c in range(len(instance.categories))]
        )

    def value(self, subset: Subset) -> float:
        """f(S)."""
        return self._f(mask_of(subset))

    def use(self, constraints: Constraints, subset: Subset) -> tuple[float, float]:
        """Energy (J per prompt) and mean delay over the categories (s) of a selection."""
        mask = mask_of(subset)
        delays = [constraints.delay_use(mask, c) for c in range(len(self._share))]
        return constraints.energy_use(mask), float(self._share @ delays)

    def row(self, label: str, kind: Kind, subsets: Sequence[Subset], learner: Row | None) -> Row:
        """A policy's row; the learner's own comes first and is then given to the others'."""
        values = np.array([self.value(subset) for subset in subsets])
        regrets = np.array([regret(v, best.value) for v, best in zip(values, self.optima, strict=True)])
        uses = [self.use(c, subset) for c, subset in zip(self._constraints, subsets, strict=True)]
        energy, delay = np.mean(uses, axis=0).tolist()
        ours = None if learner is None else np.array(learner.per_seed)
        return Row(
            label=label,
            kind=kind,
            value=estimate([values]),
            per_seed=values.tolist(),
            shortfall=estimate([regrets]),
            quality=float(values.mean()),
            energy=energy,
            delay=delay,
            late=None,
            shares=np.mean([self._answers(subset) for subset in subsets], axis=0).tolist(),
            difference=None if ours is None else estimate([ours, values], difference),
        )

    def _answers(self, subset: Subset) -> NDArray[np.float64]:
        """(categories, experts): where a category's prompts find their best selected expert."""
        prompts, found = self.instance.prompts, np.zeros((len(self._share), self.instance.n))
        if subset:
            best = np.array(subset)[prompts.Q[:, list(subset)].argmax(axis=1)]
            np.add.at(found, (prompts.category, best), prompts.weight)
        shares: NDArray[np.float64] = found / np.maximum(self._share, 1e-300)[:, None]
        return shares

    def budget_rows(self, chosen: Sequence[Subset]) -> list[BudgetRow]:
        """Optimum, selection and regret under every pair of budgets."""
        rows = []
        for case, best, subset in zip(self.cases, self.optima, chosen, strict=True):
            value = self.value(subset)
            rows.append(
                BudgetRow(
                    energy=case.budgets.E_max or 0.0,
                    tau=list(case.budgets.tau or ()),
                    grid=case.grid,
                    optimum=best.value,
                    bound=best.bound,
                    best=list(best.subset),
                    value=value,
                    chosen=list(subset),
                    regret=regret(value, best.value),
                )
            )
        return rows

    def points(self, chosen: Sequence[Subset]) -> list[Point]:
        """Experts alone; the selections of learner and optimum over the grid's energies, at its middle delays."""
        found = singles(self.instance, self.value, lambda i: self.use(self._constraints[0], (i,)))
        for case, constraints, best, subset in zip(self.cases, self._constraints, self.optima, chosen, strict=True):
            if case.grid is None or case.grid[0] != len(GRID_DELAYS) // 2:
                continue
            pairs: tuple[tuple[Any, Subset], ...] = (("reference", best.subset), ("learner", subset))
            for kind, picked in pairs:
                energy, delay = self.use(constraints, picked)
                label = f"{case.budgets.E_max:g} J"
                found.append(Point(label=label, kind=kind, quality=self.value(picked), energy=energy, delay=delay))
        return found


def singles(
    instance: Instance, value: Callable[[Subset], float], use: Callable[[int], tuple[float, float]]
) -> list[Point]:
    """Every expert alone."""
    found = []
    for i, expert in enumerate(instance.experts):
        energy, delay = use(i)
        hardware = expert.hardware or expert.device
        found.append(
            Point(label=expert.id, kind="expert", hardware=hardware, quality=value((i,)), energy=energy, delay=delay)
        )
    return found


def compare_selections(policy: Any, env: ExpertsEnvConfig, first_seed: int, drawn: int) -> dict[str, Any]:
    """The parts of an evaluation of selections.

    Args:
        policy: the learner.
        env: the environment.
        first_seed: seeds that draw budgets begin here.
        drawn: how many budgets are drawn beside the grid.
    """
    instance, model = open_instance(env.instance), env.energy_model or "all"
    chosen = cases(env, instance, first_seed, drawn)
    contest = Comparison(instance, chosen, model)
    ours = selections(policy, env, instance, [case.budgets for case in chosen])
    learner = contest.row("learner", "learner", ours, None)
    others = []
    for rule in RULES:
        picked = [select(instance, rule, case.budgets, energy_model=model, seed=i) for i, case in enumerate(chosen)]
        others.append(contest.row(_LABELS.get(rule, rule.replace("_", " ")), "scripted", picked, learner))
    best = [solution.subset for solution in contest.optima]
    others.append(contest.row("certified optimum", "reference", best, learner))
    others.append(
        contest.row("all experts, budgets ignored", "reference", [tuple(range(instance.n))] * len(chosen), learner)
    )
    grid = [case for case in chosen if case.grid is not None]
    energies = [f"{case.budgets.E_max:.4g} J" for case in grid if case.grid and case.grid[0] == 0]
    return {
        "instance": instance,
        "learner": learner,
        "others": others,
        "budgets": contest.budget_rows(ours),
        "energies": energies,
        "delays": list(GRID_DELAYS),
        "points": contest.points(ours),
        "target": None,
    }
