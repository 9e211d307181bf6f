"""RouteLLM's MMLU table on hypothetical devices: selection and routing over a grid of budgets, realised out of sample.

Cross-fitting: every question is answered once, by a gate that has not seen its fold. Within the other folds, a quarter
calibrates the gate, picks its penalty, and is what selections are valued on. Features are hashed n-grams of questions
(their singular vectors see all questions, no answers) and the subject, which a service knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError
from ...envs.edge_experts.constraints import make_constraints
from ...envs.edge_experts.instance import Instance
from ...envs.edge_experts.loaders import HYPOTHETICAL_ROUTELLM, load_routellm
from ...envs.edge_experts.monotone import mask_of
from ...envs.edge_experts.objective import FacilityLocation
from ...envs.edge_experts.policies import select
from ..statistics import Interval
from ..study.tables import Line, Table
from .cells import Budget, Part, Record, Settings, over_prompts

ENERGIES = (10.0, 20.0, 30.0, 40.0, 50.0, 65.0, 100.0, 200.0)
DELAYS = (0.1, 0.2, 0.4, 1.2)
PENALTIES = (1e-2, 1e-3, 1e-4)
RULES = ("optimum", "single_best", "greedy_density", "greedy_gain", "random")
DIFFERENCES = (-1, 0, 1)


@dataclass(frozen=True, eq=False)
class _Data:
    """The table: instance, features, model of every expert, correctness of every model."""

    instance: Instance
    phi: NDArray[np.float64]
    column: NDArray[np.int64]
    correct: NDArray[np.float64]


@lru_cache(maxsize=1)
def _load(path: Path) -> _Data:
    table = load_routellm(path)
    if set(table.models) != set(HYPOTHETICAL_ROUTELLM):
        raise InvalidInputError(f"{path}: the study needs the models {', '.join(HYPOTHETICAL_ROUTELLM)}")
    instance = table.merged("mmlu").instance()
    phi = np.concatenate([instance.prompts.phi, np.eye(len(table.tasks))[table.task]], axis=1)
    column = np.array([table.models.index(expert.model) for expert in instance.experts])
    return _Data(instance, phi, column, table.quality)


def cells(budget: Budget) -> dict[str, Settings]:
    """One cell per fold."""
    return {f"fold-{fold}": {"fold": fold, "folds": budget.folds} for fold in range(budget.folds)}


def run(settings: Settings, budget: Budget) -> Record:
    """Train, select under every budget, and answer the questions of one fold."""
    assert budget.data is not None
    data = _load(budget.data)
    count = len(data.correct)
    order = np.random.default_rng(0).permutation(count)
    test = order[settings["fold"] :: settings["folds"]]
    rest = np.setdiff1d(order, test)
    rest = np.random.default_rng([0, settings["fold"]]).permutation(rest)
    calibration, train = np.split(rest, [len(rest) // 4])
    gate, penalty = _gate(data, train, calibration)
    objective = FacilityLocation(gate.quality(data.phi[calibration])[:, data.column])
    scores, correct = gate.scores(data.phi[test])[:, data.column], data.correct[test][:, data.column]
    rows = [_row(data, objective, scores, correct, *budgets) for budgets in product(DELAYS, ENERGIES)]
    accuracy = data.correct[test].mean(axis=0)
    return {
        "test": len(test),
        "penalty": penalty,
        "accuracy": dict(zip((expert.model for expert in _first(data)), accuracy.tolist(), strict=True)),
        "oracle": float(data.correct[test].max(axis=1).mean()),
        "rows": rows,
    }


def _first(data: _Data) -> list[Any]:
    """One expert of every model, in the order of the table's columns."""
    return [data.instance.experts[int(np.argmax(data.column == c))] for c in range(data.correct.shape[1])]


def _gate(data: _Data, train: NDArray[np.int64], calibration: NDArray[np.int64]) -> tuple[Any, float]:
    """A calibrated gate over the models, with the penalty that predicts the calibration rows best."""
    from ...agents.experts import train_gate

    found: list[tuple[float, float, Any]] = []
    for penalty in PENALTIES:
        gate = train_gate(data.phi[train], data.correct[train], l2=penalty)
        guess = 1.0 / (1.0 + np.exp(-gate.scores(data.phi[calibration])))
        right = np.where(data.correct[calibration] > 0, guess, 1.0 - guess)
        found.append((float(-np.log(np.maximum(right, 1e-12)).mean()), penalty, gate))
    _, penalty, gate = min(found, key=lambda entry: entry[:2])
    gate.calibrate(data.phi[calibration], data.correct[calibration])
    return gate, penalty


def _row(
    data: _Data, objective: FacilityLocation, scores: np.ndarray, correct: np.ndarray, delay: float, energy: float
) -> Record:
    """Promised and realised accuracy of every rule under one pair of budgets, and paired differences."""
    from ...agents.experts import best

    budgets = data.instance.budgets.changed(E_max=energy, tau=(delay,))
    feasible = make_constraints(data.instance, budgets).feasible
    rows = np.arange(len(scores))
    told: dict[str, Record] = {}
    realised: dict[str, np.ndarray] = {}
    for rule in RULES:
        subset = select(data.instance, rule, budgets, objective=objective)
        realised[rule] = correct[rows, best(scores, subset)[:, 0]] if subset else np.zeros(len(rows))
        told[rule] = {
            "subset": list(subset),
            "value": objective(mask_of(subset)),
            "right": int(realised[rule].sum()),
        }
    experts = range(data.instance.n)
    pairs = ((i, j) for i in experts for j in experts if data.column[i] != data.column[j])
    better = int(data.correct.mean(axis=0).argmax())
    fits = any(feasible(1 << i) for i in experts if data.column[i] == better)
    return {
        "energy": energy,
        "delay": delay,
        "rules": told,
        "both_fit": any(feasible(1 << i | 1 << j) for i, j in pairs),
        "blocked": fits and better not in data.column[told["greedy_density"]["subset"]],
        "differences": {
            rule: [int((realised["optimum"] - realised[rule] == d).sum()) for d in DIFFERENCES]
            for rule in RULES
            if rule != "optimum"
        },
    }


# --- tables -----------------------------------------------------------------------------------------------------------


def pooled(records: Sequence[Record], row: int, rule: str) -> Interval:
    """Realised accuracy of the optimum less that of another rule, over all folds' questions."""
    counts = np.sum([record["result"]["rows"][row]["differences"][rule] for record in records], axis=0)
    return over_prompts(DIFFERENCES, counts)


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """One row per pair of budgets."""
    if not records:
        return []
    questions = sum(record["result"]["test"] for record in records)
    lines = []
    for row, entry in enumerate(records[0]["result"]["rows"]):

        def share(rule: str, row: int = row) -> str:
            right = sum(record["result"]["rows"][row]["rules"][rule]["right"] for record in records)
            return f"{right / questions:.4f}"

        values = [
            np.mean([record["result"]["rows"][row]["rules"][rule]["value"] for record in records]) for rule in RULES
        ]
        remark = ", ".join(
            text
            for text, holds in (("both models fit", entry["both_fit"]), ("density blocked", entry["blocked"]))
            if holds
        )
        cells = [(f"{value:.4f}", "") for value in values[:3]]
        cells += [(share(rule), "") for rule in RULES]
        cells += [_points(pooled(records, row, rule)) for rule in ("single_best", "greedy_density")]
        lines.append(Line(f"{entry['energy']:g} J, {entry['delay']:g} s", remark, cells, entry["both_fit"]))
    first = records[0]["result"]
    oracle, *alone = (
        sum(record["result"]["test"] * value for record, value in zip(records, values, strict=True)) / questions
        for values in (
            [record["result"]["oracle"] for record in records],
            *([record["result"]["accuracy"][model] for record in records] for model in first["accuracy"]),
        )
    )
    text = (
        f"RouteLLM's MMLU answers, {questions} questions, {len(records)} of {records[0]['settings']['folds']} folds. "
        f"The devices are hypothetical: {' and '.join(first['accuracy'])} borrow rates and power of the catalogue's "
        f"rows {' and '.join(', '.join(map(str, HYPOTHETICAL_ROUTELLM[model])) for model in first['accuracy'])}. "
        "Promised: value of the selection by the calibrated gate, which is what the rules maximise. Realised: accuracy "
        "of gate and selection on questions that the gate has not seen. Differences: percentage points with paired 95 "
        f"% bootstrap intervals over questions. Best model alone {max(alone):.4f}, oracle {oracle:.4f}."
    )
    heads = ["budgets", "promised", "single best", "density", "realised", "single best ", "density ", "gain", "random"]
    heads += ["over single best", "over density"]
    return [("RouteLLM MMLU on hypothetical devices", Table(heads, lines, text, (0, 3, 4, 5, 8, 9)))]


def _points(found: Interval) -> tuple[str, str]:
    assert found.low is not None
    assert found.high is not None
    return f"{100 * found.estimate:+.2f}", f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


PART = Part(cells, run, tables)
