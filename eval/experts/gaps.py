"""What training once and selecting later loses: a gate of its own for every subset, part (d) of the grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ...envs.edge_experts.instance import Instance
from ...envs.edge_experts.serving import mixture
from ...envs.edge_experts.synthetic import synthetic
from ..study.tables import Line, Table
from .cells import Budget, Part, Record, Settings

EXPERTS = (0, 3, 4, 9, 10, 1, 6, 7)
"""Rows of the catalogue, of which the first so many are used."""
TRAIN = 1000
LOSSES = ("bce", "luce", "mixture_ce")


def cells(budget: Budget) -> dict[str, Settings]:
    """One cell per loss and instance."""
    return {
        f"gap-{loss}-{seed}": {"loss": loss, "seed": seed, "experts": list(EXPERTS[: budget.gap_experts])}
        for seed in range(budget.seeds)
        for loss in LOSSES
    }


def run(settings: Settings, budget: Budget) -> Record:
    """Gaps of every subset of two experts or more, in test quality and in the training loss's own terms."""
    from ...agents.experts import train_gate

    loss = settings["loss"]
    instance = synthetic(settings["seed"], answers=loss == "mixture_ce").subset(settings["experts"])
    phi, quality, n = instance.prompts.phi, instance.prompts.Q, instance.n
    graded = (np.random.default_rng([settings["seed"], 2]).random(quality.shape) < quality).astype(float)
    target = quality if loss == "mixture_ce" else graded  # a mixture needs the probability of the right answer
    train, test = np.arange(TRAIN), np.arange(TRAIN, len(phi))
    whole = train_gate(phi[train], target[train], loss=loss)
    found: Record = {"subsets": 0, "quality": [], "entropy": []}
    for size in range(2, n + 1):
        for subset in combinations(range(n), size):
            columns = np.array(subset)
            own = train_gate(phi[train], target[train][:, columns], loss=loss, steps=100)
            retrained = quality[test, columns[own.topk(phi[test])[:, 0]]].mean()
            restricted = quality[test, whole.topk(phi[test], subset)[:, 0]].mean()
            found["quality"].append(float(retrained - restricted))
            if loss == "mixture_ce":
                spread = np.zeros(quality.shape)
                spread[:, columns] = own.weights(phi)
                kept = _entropy(instance, whole.weights(phi, subset), test)
                found["entropy"].append(kept - _entropy(instance, spread, test))
            found["subsets"] += 1
    return found


def _entropy(instance: Instance, weights: np.ndarray, rows: np.ndarray) -> float:
    return float(mixture(instance, weights).metrics(rows=rows)["cross_entropy"])


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """One row per loss, over subsets and instances."""
    groups = defaultdict(list)
    for record in records:
        groups[record["settings"]["loss"]].append(record)
    lines = []
    for loss in (loss for loss in LOSSES if loss in groups):
        gaps = np.concatenate([record["result"]["quality"] for record in groups[loss]])
        worse = np.concatenate([record["result"]["entropy"] for record in groups[loss]])
        count = f"{len(groups[loss])} × {groups[loss][0]['result']['subsets']}"
        cells = [(count, ""), *((f"{value:+.4f}", "") for value in (gaps.mean(), gaps.std(), gaps.min(), gaps.max()))]
        cells.append((f"{worse.mean():+.4f}", f"at most {worse.max():+.4f}") if len(worse) else ("", ""))
        lines.append(Line(loss, "", cells))
    if not lines:
        return []
    n = len(records[0]["settings"]["experts"])
    text = (
        f"Test quality of a gate trained for the subset minus that of the gate trained once on all {n} experts and "
        "restricted to it (Top-1), over instances × all subsets of two experts or more. With logistic heads (bce) the "
        "two are the same gate up to the solver's tolerance; a mixture's cross-entropy (last column: nats that the "
        "restricted mixture is worse on test prompts) has no such property."
    )
    heads = ["loss", "subsets", "mean gap", "sd", "least", "greatest", "cross-entropy"]
    return [("Train once, select later", Table(heads, lines, text))]


PART = Part(cells, run, tables)
