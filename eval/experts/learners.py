"""Policies trained by the packaged configurations, held against certified optima and the best rule."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...envs.core.errors import InvalidInputError
from ...train.config import load_config
from ...train.trainer import train
from ..evaluate import evaluate_run
from ..formats import NOTHING
from ..statistics import bootstrap
from ..study.tables import Line, Table
from .budgets import ends
from .cells import Budget, Part, Record, Settings
from .results import ExpertsEvaluation, Row

CONFIGS = ("select_masked_ppo", "route_masked_ppo", "route_per_joule", "route_per_joule_d3qn", "route_per_second")
_GOALS = {"sum": "quality per prompt", "per_joule": "quality per joule", "per_second": "quality per second"}


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
    rules = [row for row in found.others if row.kind == "scripted"]
    return {
        "algorithm": config.learner.algorithm,
        "decisions": done.step,
        "training_seconds": done.seconds,
        "mode": found.mode,
        "objective": found.objective,
        "judged_on": len(found.learner.per_seed),
        "learner": _told(found.learner),
        "worst": max((row.regret for row in found.budgets), default=None),
        "rule": _told(max(rules, key=lambda row: row.value.estimate)),
    }


def _told(row: Row) -> Record:
    return {
        "label": row.label,
        "value": row.value.estimate,
        "regret": None if row.shortfall is None else row.shortfall.estimate,
    }


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """One row per configuration, over training seeds."""
    groups = defaultdict(list)
    for record in records:
        groups[record["settings"]["config"]].append(record["result"])
    lines = [_line(config, found) for config, found in groups.items()]
    if not lines:
        return []
    text = (
        "Regret: how far what a policy earns is below the certified optimum, in % of it, as a mean over training seeds "
        "with 95 % bootstrap intervals. Selections are judged on the published budgets and on others drawn between "
        "them, by their value; routing, without queues, by what it earns per prompt, joule or second, against "
        "the fluid linear programme. Worst: the largest regret under any budgets (selections) or of any seed. The best "
        "rule is the best scripted policy on the same budgets or prompts, chosen afterwards."
    )
    heads = ["configuration", "goal", "trained", "regret (%)", "worst (%)", "best rule (%)"]
    return [("Trained policies", Table(heads, lines, text, (1, 2, 3, 4)))]


def _line(config: str, found: Sequence[Record]) -> Line:
    first = found[0]
    regrets = np.array([each["learner"]["regret"] for each in found], float)
    mean = bootstrap([regrets])
    worst = max(each["worst"] for each in found) if first["mode"] == "select" else float(regrets.max())
    rule = first["rule"]
    other = NOTHING if rule["regret"] is None else f"{100 * np.mean([each['rule']['regret'] for each in found]):.2f}"
    goal = "value of the selection" if first["mode"] == "select" else _GOALS[first["objective"]]
    row = [
        (goal, ""),
        (f"{len(found)} × {first['decisions']:,}", "decisions"),
        (f"{100 * mean.estimate:.2f}", ends(mean, 100.0, 2)),
        (f"{100 * worst:.2f}", ""),
        (other, rule["label"]),
    ]
    return Line(config.removeprefix("edge_experts/"), first["algorithm"], row)


PART = Part(cells, run, tables)
