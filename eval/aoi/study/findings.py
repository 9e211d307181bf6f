"""What the study found, as data: ``results.json`` in the study's folder, from which page and tables are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from ....train.environments import AoIEnvConfig
from ...estimates import FINITE, Estimate, estimate
from ...statistics import relative_difference
from ...study.record import StudyRecord, record
from .. import results
from ..compare import Comparison, Row, compare
from ..results import Evaluation
from .cells import is_finished
from .plan import (
    BUDGETS,
    CORRECTED,
    LEARNED,
    OBJECTIVES,
    SWEEPS,
    TEAM_NONE,
    Budget,
    Cell,
    Point,
    Sweep,
    fidelity_cells,
    learned_cells,
    point_cells,
)

ZERO_WAIT = "JSQ, zero wait"


class Gain(BaseModel):
    """How far the learner's age is below a scripted policy's, on the same service draws.

    Attributes:
        label: the policy.
        rule: its server rule and wait rule.
        age: its mean age over the long stretch, s.
        share: 1 - learner / policy.
    """

    model_config = FINITE
    label: str
    rule: str
    age: Estimate
    share: Estimate


class SweepPoint(BaseModel):
    """One system of a sweep.

    Attributes:
        label: what was changed.
        value: place on the axis; None stands beside it.
        drop: drop mode.
        comparison: learner and all scripted policies.
        best, zero_wait: gain over the best scripted policy, and over the shortest queue without waiting.
    """

    model_config = FINITE
    label: str
    value: float | None
    drop: str
    comparison: Comparison
    best: Gain
    zero_wait: Gain

    @property
    def learner(self) -> Row:
        """The learner's row."""
        return next(row for row in self.comparison.rows if row.kind == "learned")


class SweepFindings(BaseModel):
    """A sweep: name, title, label of the axis, and its systems in order."""

    model_config = FINITE
    name: str
    title: str
    axis: str
    points: list[SweepPoint]


class Effect(BaseModel):
    """A variant of the ablation: its age over that of the corrected learner, minus 1 (None for that learner)."""

    model_config = FINITE
    variant: str
    row: Row
    relative: Estimate | None


class Fidelity(BaseModel):
    """The ablation: the table's caption as a comparison, and every variant in the order of the defects."""

    model_config = FINITE
    comparison: Comparison
    effects: list[Effect]


class Findings(StudyRecord):
    """The whole study.

    Attributes:
        baselines: one table per drop mode, of the main learner alone where the others were not run; None where neither
            was.
        fidelity: the ablation; None likewise.
        sweeps: all sweeps; None likewise.
    """

    baselines: list[Comparison] | None = None
    fidelity: Fidelity | None = None
    sweeps: list[SweepFindings] | None = None


def collect(name: str, budget: Budget, parts: tuple[str, ...], out: Path, command: list[str]) -> Findings:
    """Read the finished cells of some parts of the study.

    Args:
        name: of the budget.
        budget: the budget.
        parts: what to read.
        out: folder of the study.
        command: the command line for the record.

    Raises:
        CheckpointError: a cell is missing or damaged.
    """
    return Findings(
        **record("aoi-game", name, budget.seeds, command),
        baselines=_tables(budget, parts, BUDGETS[name].seeds, out, command),
        fidelity=_fidelity(budget, out, command) if "fidelity" in parts else None,
        sweeps=[_sweep(sweep, budget, out, command) for sweep in SWEEPS] if "sweeps" in parts else None,
    )


def _compare(cells: list[Cell], out: Path, command: list[str]) -> Comparison:
    return compare([cell.folder(out) for cell in cells], command)


def _tables(
    budget: Budget, parts: tuple[str, ...], most: int, out: Path, command: list[str]
) -> list[Comparison] | None:
    """One table per drop mode: of all learned policies, or of the main learner's objectives alone."""
    if not {"objectives", "baselines"} & set(parts):
        return None
    names = LEARNED if "baselines" in parts else tuple(name for name in OBJECTIVES if name != TEAM_NONE)
    usual = [cell for name in names for cell in _runs(name, budget, most, out)]
    return [_compare(cells, out, command) for cells in (usual, _runs(TEAM_NONE, budget, most, out))]


def _runs(name: str, budget: Budget, most: int, out: Path) -> list[Cell]:
    """The runs of a configuration that were asked for, and those with further seeds that are finished."""
    cells = learned_cells(name, replace(budget, seeds=max(most, budget.seeds)))
    return [cell for cell in cells if cell.config.seed < budget.seeds or is_finished(cell, out)]


def _evaluations(cells: list[Cell], out: Path) -> list[Evaluation]:
    return [results.read(cell.folder(out)) for cell in cells]


def _far(score: results.Score) -> list[float]:
    assert score.stretch is not None
    return score.stretch.per_seed


def relative(ours: list[list[float]], theirs: list[list[float]]) -> Estimate:
    """Ours over theirs, minus 1, paired: over runs, or over the seeds of the evaluation where there is one run.

    Args:
        ours: mean ages by run and evaluation seed, s.
        theirs: the same of another policy on the same draws, s.
    """
    if len(ours) == 1:
        return estimate([np.array(ours[0]), np.array(theirs[0])], relative_difference)
    return estimate([np.array([np.mean(run) for run in side]) for side in (ours, theirs)], relative_difference)


def _fidelity(budget: Budget, out: Path, command: list[str]) -> Fidelity:
    """Every variant against the corrected learner."""
    variants = fidelity_cells(budget)
    comparison = _compare([cell for cells in variants.values() for cell in cells], out, command)
    ages = {
        name: [_far(evaluation.learner) for evaluation in _evaluations(cells, out)] for name, cells in variants.items()
    }
    rows = {row.label: row for row in comparison.rows}
    effects = [
        Effect(
            variant=name,
            row=rows[cells[0].config.name],
            relative=None if name == CORRECTED else relative(ages[name], ages[CORRECTED]),
        )
        for name, cells in variants.items()
    ]
    return Fidelity(comparison=comparison, effects=effects)


def _sweep(sweep: Sweep, budget: Budget, out: Path, command: list[str]) -> SweepFindings:
    points = [_point(point, point_cells(sweep, point, budget), out, command) for point in sweep.chosen(budget)]
    return SweepFindings(name=sweep.name, title=sweep.title, axis=sweep.axis, points=points)


def _point(point: Point, cells: list[Cell], out: Path, command: list[str]) -> SweepPoint:
    """The learner against the best scripted policy, and against never waiting."""
    comparison, evaluations = _compare(cells, out, command), _evaluations(cells, out)
    scripted = [row for row in comparison.rows if row.kind == "scripted"]

    def gain(label: str) -> Gain:
        row = next(row for row in scripted if row.label == label)
        ours = [_far(evaluation.learner) for evaluation in evaluations]
        theirs = [_far(evaluation.baseline(label)) for evaluation in evaluations]
        return Gain(label=label, rule=row.rule, age=row.age, share=_turned(relative(ours, theirs)))

    return SweepPoint(
        label=point.label,
        value=point.value,
        drop=cells[0].config.env_as(AoIEnvConfig).params().drop,
        comparison=comparison,
        best=gain(scripted[0].label),  # rows are in the order of their age
        zero_wait=gain(ZERO_WAIT),
    )


def _turned(share: Estimate) -> Estimate:
    """A relative difference with the other sign: a gain."""
    low, high = (None if end is None else -end for end in (share.high, share.low))
    return share.model_copy(update={"estimate": -share.estimate, "low": low, "high": high})
