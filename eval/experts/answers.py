"""Serving rules on multiple-choice answers: gates and mixtures beside voting, cascades and single experts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...envs.edge_experts.policies import select
from ...envs.edge_experts.serving import Served, cascade, mixture, route, vote
from ...envs.edge_experts.synthetic import DELAY_BUDGETS
from ..statistics import bootstrap
from ..study.tables import Line, Table
from .budgets import ends, trained
from .cells import Budget, Part, Record, Settings

ENERGY = 2000.0
CONFIDENCES = (0.5, 0.7, 0.9)
COLUMNS = ("quality", "macro", "cross_entropy", "energy", "delay", "delay_p95", "late")


def cells(budget: Budget) -> dict[str, Settings]:
    """One cell per instance."""
    return {f"answers-{seed}": {"seed": seed, "energy": ENERGY, "delay": "mid"} for seed in range(budget.seeds)}


def run(settings: Settings, budget: Budget) -> Record:
    """Every rule on the same selection and the same test prompts."""
    from ...agents.experts import NeighbourRouter, best, train_gate

    found = trained(settings["seed"], answers=True)
    instance = found.instance.with_budgets(E_max=settings["energy"], tau=DELAY_BUDGETS[settings["delay"]])
    phi, train, n = instance.prompts.phi, found.train, instance.n
    subset = select(instance, "optimum", objective=found.objective)
    single = select(instance, "single_best", objective=found.objective)[0]
    hidden = train_gate(phi[train], found.labels[train], hidden=16, l2=1e-2, steps=100)
    near = NeighbourRouter(phi[train], found.labels[train]).quality(phi)
    weights = np.isin(np.arange(n), subset) / len(subset)

    def one(scores: np.ndarray) -> Served:
        return route(instance, best(scores, subset)[:, 0], answers=True)

    rules = {
        "gate, Top-1": one(found.gate.scores(phi)),
        "gate, Top-2": mixture(instance, found.gate.weights(phi, subset, 2)),
        "gate, Top-3": mixture(instance, found.gate.weights(phi, subset, 3)),
        "perceptron, Top-1": one(hidden.scores(phi)),
        "nearest neighbours": one(near),
        "majority vote": vote(instance, subset),
        "uniform mixture": mixture(instance, weights),
        **{f"cascade, {c:g}": cascade(instance, subset, c) for c in CONFIDENCES},
        "best single expert": route(instance, np.full(len(phi), single), answers=True),
        "uniform routing": one(np.random.default_rng(0).random((len(phi), n))),
        "oracle routing": one(instance.prompts.Q),
    }
    told = {}
    for name, served in rules.items():
        metrics = served.metrics(rows=found.test)
        told[name] = {column: metrics[column] for column in COLUMNS}
    return {"subset": list(subset), "rules": told}


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """Means over instances."""
    if not records:
        return []
    lines = []
    for name in records[0]["result"]["rules"]:
        cells = []
        for column in COLUMNS:
            values = bootstrap([[record["result"]["rules"][name][column] for record in records]])
            digits = 4 if column in ("quality", "macro", "late", "cross_entropy") else 2
            cells.append((f"{values.estimate:.{digits}f}", ends(values, digits=digits)))
        lines.append(Line(name, "", cells, name == "gate, Top-1"))
    settings = records[0]["settings"]
    text = (
        f"Accuracy of multiple-choice answers (four options) on the test prompts of {len(records)} synthetic "
        f"instance{'s' if len(records) > 1 else ''}, with bootstrap intervals over instances: all rules serve the "
        f"optimum's selection for {settings['energy']:g} J and delay {settings['delay']}. Energy and delay count the "
        "experts that a rule runs, without queues; late: share of prompts beyond their category's budget. A cascade "
        "asks the frugal experts first, and stops at an answer of the given probability."
    )
    heads = ["rule", "accuracy", "mean of categories", "cross-entropy (nats)", "J", "s", "p95 (s)", "late"]
    return [("Serving rules", Table(heads, lines, text, (0, 2, 3, 4, 6)))]


PART = Part(cells, run, tables)
