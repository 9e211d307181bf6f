"""The study of one learning device: train and evaluate every configuration over several seeds.

Cells (configuration x seed) are ordinary run folders. A finished cell is not run again and a cut-off one continues, so
the same command carries on after an interruption.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....train import atomic
from ....train.config import load_config
from ....train.progress import Progress
from ....train.run_folder import git_revision, versions
from ...evaluate import evaluate_run
from ...results import FILE_NAME
from ...study.checks import budget_of
from ...study.page import print_tables
from ...study.tables import Line, Table
from ...study.training import train_cell
from ..results import Evaluation, read

STUDY = "aoi-single"
RESULTS, PAGE = "results.json", None
PARTS: tuple[str, ...] = ()
OPTIONS: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """One configuration of a study.

    Attributes:
        config: name of the packaged configuration.
        limit: what its excess may be at most: over the optimum where that is known, otherwise the upper end of the
            paired 95 % interval over the best scripted policy.
    """

    config: str
    limit: float


@dataclass(frozen=True)
class Budget:
    """How much to spend: seeds per configuration, share of its training steps, evaluation seeds."""

    seeds: int
    share: float
    evaluation_seeds: int


TARGETS = (
    Target("aoi_offload/single_fractional", 0.01),
    Target("aoi_offload/single_lognormal_1", 0.02),
    Target("aoi_offload/single_lognormal_1_5", 0.05),
    Target("aoi_offload/heterogeneous", 0.01),
    Target("aoi_offload/single_d3qn_ddpg", 0.01),
)
BUDGETS = {"smoke": Budget(1, 0.05, 8), "full": Budget(3, 1.0, 64)}


def reproduce(
    budget: str,
    out: Path,
    *,
    make_progress: Callable[[], Progress],
    report: Callable[[str], None] = print,
    command: list[str] | None = None,
) -> dict[str, Any]:
    """Run every missing cell of the study and write ``results.json``.

    Args:
        budget: ``smoke`` (does it run?) or ``full`` (the documented figures).
        out: folder of the cells and of the results.
        make_progress: where each training reports.
        report: called with one line per cell.
        command: the command line for the record; None takes ``sys.argv``.

    Returns:
        What was written: command, revision, versions and one row per configuration with the excess of every seed,
        their median, and the training seconds.

    Raises:
        InvalidInputError: unknown budget.
    """
    spending, rows = budget_of(BUDGETS, budget), []
    for target in TARGETS:
        cells = []
        for seed in range(spending.seeds):
            cells.append(_cell(target.config, seed, spending, out, make_progress()))
            report(f"{target.config} seed {seed}: age {cells[-1]['age']:.6g} s, excess {cells[-1]['excess']:+.2%}")
        excess = statistics.median(cell["excess"] for cell in cells)
        rows.append(
            {"config": target.config, "limit": target.limit, "median_excess": excess, "met": excess <= target.limit}
            | {"cells": cells}
        )
    results = {
        "study": STUDY,
        "budget": budget,
        "command": sys.argv if command is None else command,
        "git": git_revision(),
        "versions": versions(),
        "rows": rows,
    }
    atomic.write_json(out / RESULTS, results)
    return results


def show(results: dict[str, Any]) -> None:
    """Print one line per configuration.

    Raises:
        MissingExtraError: rich is not installed.
    """
    headings = ("configuration", "excess per seed", "median", "at most", "met", "training, s")
    lines = []
    for row in results["rows"]:
        cells = (
            ", ".join(f"{cell['excess']:+.2%}" for cell in row["cells"]),
            f"{row['median_excess']:+.2%}",
            f"{row['limit']:+.0%}",
            "yes" if row["met"] else "no",
            ", ".join(f"{cell['seconds']:.0f}" for cell in row["cells"]),
        )
        lines.append(Line(row["config"], "", [(text, "") for text in cells]))
    print_tables([(f"{results['study']}, budget {results['budget']}", Table(headings, lines, ""))])


def _cell(config: str, seed: int, budget: Budget, out: Path, progress: Progress) -> dict[str, Any]:
    settings = load_config(config, {"seed": seed})
    steps = max(int(settings.steps * budget.share), settings.log_every)
    every = min(settings.checkpoints.every, steps)
    settings = load_config(config, {"seed": seed, "steps": steps, "checkpoints.every": every})
    folder = out / f"{settings.name}-{seed}"
    trained = train_cell(settings, folder, progress=progress)
    if not (folder / FILE_NAME).exists():
        evaluate_run(folder, seeds=budget.evaluation_seeds)
    evaluation = read(folder)
    cost = {"seed": seed, "seconds": round(trained.seconds, 1), "weights_sha256": trained.weights_sha256}
    return cost | _score(evaluation)


def _score(evaluation: Evaluation) -> dict[str, Any]:
    """Age, what it is compared with, and the excess over it."""
    optimum = evaluation.optimum
    if optimum is not None and optimum.value is not None:
        against, excess = "optimum", evaluation.age / optimum.value - 1.0
        reference, interval = optimum.value, None
    else:
        best = evaluation.baseline(evaluation.best)
        assert best.relative is not None
        assert best.relative.high is not None
        against, excess = f"{best.server}, {best.wait}", best.relative.high
        reference, interval = best.mean_age.estimate, [best.relative.low, best.relative.high]
    return {
        "age": evaluation.age,
        "against": against,
        "reference": reference,
        "excess": excess,
        "relative_interval": interval,
    }
