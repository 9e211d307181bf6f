"""Policies trained by the packaged configurations, held against certified optima and the best rule."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...envs.core.errors import InvalidInputError
from ...train.config import load_config
from ...train.trainer import train
from ..evaluate import evaluate_run
from ..formats import NOTHING
from ..statistics import bootstrap
from ..study.tables import Cell, Line, Table
from .budgets import ends
from .cells import Budget, Part, Record, Settings
from .results import ExpertsEvaluation, Row

CONFIGS = (
    "select_masked_ppo",
    "route_masked_ppo",
    "route_lagrangian",
    "route_per_joule",
    "route_per_joule_d3qn",
    "route_per_second",
    "two_level",
)
_GOALS = {"sum": "quality per prompt", "per_joule": "quality per joule", "per_second": "quality per second"}
_MODES = {"select": "value of the selection", "epochs": "value per epoch"}


def cells(budget: Budget) -> dict[str, Settings]:
    """One cell per configuration and training seed."""
    return {
        f"{name}-{seed}": {"config": f"edge_experts/{name}", "seed": seed, "steps": budget.training}
        for seed in range(budget.seeds)
        for name in CONFIGS
    }


def run(settings: Settings, budget: Budget) -> Record:
    """Train and evaluate; the run folder is not kept."""
    changes: dict[str, Any] = {"seed": settings["seed"], "tensorboard": False}
    if settings["steps"] is not None:
        changes["steps"] = settings["steps"]
    config = load_config(settings["config"], changes)
    with tempfile.TemporaryDirectory() as folder:
        done = train(config, Path(folder) / "run")
        effort: Literal["full", "smoke"] = "full" if settings["steps"] is None else "smoke"
        found = evaluate_run(done.path, checkpoint="last", budget=effort, write=False)
    if not isinstance(found, ExpertsEvaluation):
        raise InvalidInputError(f"{settings['config']}: is not of the family edge_experts")
    return {
        "algorithm": config.learner.algorithm,
        "decisions": done.step,
        "training_seconds": done.seconds,
        "mode": found.mode,
        "objective": found.objective,
        "judged_on": len(found.learner.per_seed),
        "learner": _told(found.learner),
        "worst": max((row.regret for row in found.budgets), default=None),
        "rule": _told(found.best_rule),
        "rules": [_told(row) for row in found.others],
    }


def _told(row: Row) -> Record:
    return {
        "label": row.label,
        "kind": row.kind,
        "value": row.value.estimate,
        "exceeded": row.exceeded,
        "regret": None if row.shortfall is None else row.shortfall.estimate,
    }


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """One row per configuration, over training seeds, and the rules under the same budgets and on the same prompts."""
    groups = defaultdict(list)
    for record in records:
        groups[record["settings"]["config"]].append(record["result"])
    if not groups:
        return []
    lines = [_line(config, found) for config, found in groups.items()]
    text = (
        "Regret: how far what a policy earns is below the certified optimum, in % of it, as a mean over training seeds "
        "with 95 % bootstrap intervals. Selections are judged on the published budgets and on others drawn between "
        "them, by their value; routing, without queues, by what it earns per prompt, joule or second, against "
        "the fluid linear programme, with constraints on energy and delay in route_lagrangian; selections under "
        "drifting budgets by what an epoch earns, against the optima of the epochs' budgets. Worst: the largest regret "
        "under any budgets (selections) or of any seed. The best rule is the best scripted policy on the same budgets "
        "or prompts, chosen afterwards."
    )
    heads = ["configuration", "goal", "trained", "regret (%)", "worst (%)", "best rule (%)"]
    return [("Trained policies", Table(heads, lines, text, (1, 2, 3, 4))), _rules(groups)]


def _rules(groups: Mapping[str, Sequence[Record]]) -> tuple[str, Table]:
    """The regret of every rule beside every configuration."""
    kinds = {rule["label"]: rule["kind"] for found in groups.values() for rule in found[0]["rules"]}
    cells: dict[str, list[Cell]] = {label: [] for label in kinds}
    for found in groups.values():
        beside = [{rule["label"]: rule for rule in each["rules"]} for each in found]
        for label, row in cells.items():
            row.append(_regret([rules[label] for rules in beside if label in rules]))
    lines = [Line(label, "reference" if kinds[label] == "reference" else "", row) for label, row in cells.items()]
    text = (
        "Regret (%) of rules that are not trained, each beside the configuration whose budgets or prompts it met, mean "
        "over the same seeds. References know more than a policy may. In brackets: constraints whose use is above what "
        "is allowed, in expectation."
    )
    names = [config.removeprefix("edge_experts/") for config in groups]
    return "Rules beside the trained policies", Table(["rule", *names], lines, text, tuple(range(len(names))))


def _regret(told: Sequence[Record]) -> Cell:
    """Mean regret in %, and the constraints that are not kept."""
    if not told or any(each["regret"] is None for each in told):
        return NOTHING, ""
    names = sorted({name for each in told for name in each["exceeded"]})
    return f"{100 * np.mean([each['regret'] for each in told]):.2f}", f"({', '.join(names)})" if names else ""


def _line(config: str, found: Sequence[Record]) -> Line:
    first = found[0]
    regrets = np.array([each["learner"]["regret"] for each in found], float)
    mean = bootstrap([regrets])
    worst = max(each["worst"] for each in found) if first["mode"] == "select" else float(regrets.max())
    other, _ = _regret([each["rule"] for each in found])
    goal = _MODES.get(first["mode"], _GOALS[first["objective"]])
    _, exceeded = _regret([each["learner"] for each in found])
    row = [
        (goal, ""),
        (f"{len(found)} × {first['decisions']:,}", "decisions"),
        (f"{100 * mean.estimate:.2f}", f"{ends(mean, 100.0, 2)} {exceeded}".strip()),
        (f"{100 * worst:.2f}", ""),
        (other, first["rule"]["label"]),
    ]
    return Line(config.removeprefix("edge_experts/"), first["algorithm"], row)


PART = Part(cells, run, tables)
