"""What the study found, as data: ``results.json``, from which page and tables are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ....train.run_folder import open_run
from ...estimates import FINITE, Estimate
from ...formats import interval, signed
from ...results import read_as
from ...statistics import mean, nested_bootstrap, relative_difference
from ...study.record import StudyRecord, record
from ..results import (
    FROZEN_0,
    FROZEN_W,
    LIFELONG,
    LOOKAHEAD,
    STATIC_NET,
    CachingEvaluation,
    Comparison,
    Row,
    TraceEvaluation,
)
from ..trace import FILE_NAME as TRACE_FILE
from .online import Online
from .plan import T2DRL, Budget, Cell, Part, part_cells

TEST_TIME = (FROZEN_0, FROZEN_W, LIFELONG, STATIC_NET)
REFERENCES = (LOOKAHEAD, "density_ewma", "density_memoryless", "lfu", "fifo", "cloud")
SLOTS_PER_SECOND = 1e6 / 1800
"""A million slots of training in half an hour."""


class Against(BaseModel):
    """A policy's cost, and that of what it is held against.

    Attributes:
        label: what it is held against.
        cost: of that, per slot.
        relative: the policy over it, minus 1.
    """

    model_config = FINITE
    label: str
    cost: Estimate
    relative: Estimate


class Line(BaseModel):
    """One learner, all training seeds.

    Attributes:
        label: its name.
        runs: folders of its runs.
        cost: per slot.
        per_run: the same per training seed.
        loads: per slot.
        local_ratio: share of the requests served at the edge.
        against: look-ahead, causal rules and simple heuristics on the same episodes.
        adapted: its own test-time variants, and the network trained without inner steps.
        control: the same where the popularity is never redrawn.
        parameters: of its network.
        slots_per_second: of the training, evaluations included.
        milliseconds: per decision of one server.
    """

    model_config = FINITE
    label: str
    runs: list[str]
    cost: Estimate
    per_run: list[float]
    loads: float
    local_ratio: float
    against: list[Against]
    adapted: list[Against]
    control: list[Against]
    parameters: int
    slots_per_second: float
    milliseconds: float


class Table(BaseModel):
    """One part of the study.

    Attributes:
        name, title: of the part.
        episodes: evaluation episodes per run.
        pass_over: instead of episodes one pass over the test half of a trace: its halves and prices in words.
        lines: the learners, cheapest first.
        learners: T2DRL against the other learners, on the same episodes.
        online: PPO that goes on at test time against the same checkpoint that only adapts.
    """

    model_config = FINITE
    name: str
    title: str
    episodes: int
    pass_over: str | None = None
    lines: list[Line]
    learners: list[Against]
    online: Online | None = None


class Check(BaseModel):
    """A target, what was found, and whether it is met; None where it was not measured."""

    model_config = FINITE
    target: str
    found: str
    met: bool | None


class Findings(StudyRecord):
    """The whole study.

    Attributes:
        tables: the parts that were run.
        checks: the targets.
    """

    tables: list[Table]
    checks: list[Check]


def collect(
    name: str, budget: Budget, parts: Sequence[Part], out: Path, command: list[str], online: dict[str, Online]
) -> Findings:
    """Read the finished cells of some parts.

    Args:
        name: of the budget.
        budget: the budget.
        parts: what to read.
        out: folder of the study.
        command: the command line for the record.
        online: what continuing PPO brought, by part.

    Raises:
        CheckpointError: a cell is missing or damaged.
    """
    tables = [_table(part, budget, out, online.get(part.name)) for part in parts]
    return Findings(
        **record("caching", name, budget.seeds, command),
        tables=tables,
        checks=checks(tables),
    )


def _costs(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Costs per slot, (runs, episodes)."""
    return np.array([row.per_seed for row in rows])


def against(label: str, ours: Sequence[Row], theirs: Sequence[Row], block: int = 1) -> Against:
    """Compare policies run by run and episode by episode, or by blocks of slots of one pass over a trace."""
    a, b = _costs(ours), _costs(theirs)
    return Against(
        label=label,
        cost=Estimate(**nested_bootstrap([b], mean, block=block).as_dict()),
        relative=Estimate(**nested_bootstrap([a, b], relative_difference, block=block).as_dict()),
    )


def read_comparison(cell: Cell, out: Path) -> CachingEvaluation | TraceEvaluation:
    """What the evaluation of a finished cell found.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    folder = cell.folder(out)
    return read_as(CachingEvaluation, folder) if cell.trace is None else read_as(TraceEvaluation, folder, TRACE_FILE)


def _table(part: Part, budget: Budget, out: Path, online: Online | None) -> Table:
    runs = part_cells(part, budget)
    found = {label: [read_comparison(cell, out) for cell in cells] for label, cells in runs.items()}
    folders = {label: [cell.folder(out) for cell in cells] for label, cells in runs.items()}
    lines = [_line(label, folders[label], evaluations) for label, evaluations in found.items()]
    first, ours = found[T2DRL][0], [one.learner for one in found[T2DRL]]
    return Table(
        name=part.name,
        title=part.title,
        episodes=1 if isinstance(first, TraceEvaluation) else first.n_seeds,
        pass_over=first.split if isinstance(first, TraceEvaluation) else None,
        lines=sorted(lines, key=lambda line: line.cost.estimate),
        learners=[
            against(label, ours, [one.learner for one in theirs], _block(first))
            for label, theirs in found.items()
            if label != T2DRL
        ],
        online=online,
    )


def _block(evaluation: Comparison) -> int:
    return evaluation.block if isinstance(evaluation, TraceEvaluation) else 1


def _variants(evaluations: Sequence[Sequence[Row]], block: int = 1) -> list[Against]:
    """The learner of every evaluation against its test-time variants, as far as they were measured."""
    rows = [{row.label: row for row in evaluation} for evaluation in evaluations]
    return [
        against(label, [run["learner"] for run in rows], [run[label] for run in rows], block)
        for label in TEST_TIME
        if all(label in run for run in rows)
    ]


def _line(label: str, folders: Sequence[Path], evaluations: Sequence[CachingEvaluation | TraceEvaluation]) -> Line:
    rows, block = [one.learner for one in evaluations], _block(evaluations[0])
    controls = [[] if isinstance(one, TraceEvaluation) else one.control for one in evaluations]
    seconds = sum(float(open_run(folder).record["result"]["seconds"]) for folder in folders)
    steps = sum(int(open_run(folder).record["result"]["step"]) for folder in folders)
    return Line(
        label=label,
        runs=[str(folder) for folder in folders],
        cost=Estimate(**nested_bootstrap([_costs(rows)], mean, block=block).as_dict()),
        per_run=[row.cost.estimate for row in rows],
        loads=float(np.mean([row.loads for row in rows])),
        local_ratio=float(np.mean([row.local_ratio for row in rows])),
        against=[against(name, rows, [one.row(name) for one in evaluations], block) for name in REFERENCES],
        adapted=_variants([one.rows for one in evaluations], block),
        control=_variants(controls),
        parameters=evaluations[0].parameters,
        slots_per_second=steps / max(seconds, 1e-3),
        milliseconds=float(np.mean([one.speed.single for one in evaluations])),
    )


def checks(tables: Sequence[Table]) -> list[Check]:
    """Hold the tables against the targets."""
    by_name = {table.name: table for table in tables}
    found = []

    def add(target: str, relative: Estimate | None, most: float, whole: bool) -> None:
        """`whole`: the interval, not only the estimate, has to be below `most`."""
        if relative is None:
            found.append(Check(target=target, found="not measured", met=None))
            return
        end = relative.high if whole else relative.estimate
        text = f"{signed(relative.estimate)} {interval(relative, relative=True)}".strip()
        found.append(Check(target=target, found=text, met=None if end is None else end <= most))

    drift, proactive = (_ours(by_name.get(name)) for name in ("drift", "proactive"))
    references = [] if drift is None else drift.against
    causal = [entry for entry in references if entry.label.startswith("density")]
    better = min(causal, key=lambda entry: entry.cost.estimate).relative if causal else None
    add("drift: at most 5 % above the better causal rule", better, 0.05, False)
    add("drift: at most 10 % above look-ahead", _relative(references, LOOKAHEAD), 0.1, False)
    for label in ("fifo", "lfu", "cloud"):
        add(f"drift: below {label}", _relative(references, label), 0.0, True)
    for label in (FROZEN_0, FROZEN_W, STATIC_NET):
        add(f"proactive: below {label}", _relative([] if proactive is None else proactive.adapted, label), 0.0, True)
    control = _relative([] if proactive is None else proactive.control, STATIC_NET)
    add("proactive, no redraws: at most 1 % above static-net", control, 0.01, False)
    speeds = [line.slots_per_second for table in tables for line in table.lines if line.label == T2DRL]
    slowest = min(speeds, default=None)
    found.append(
        Check(
            target="training of T2DRL: a million slots in 30 minutes",
            found="not measured" if slowest is None else f"{1e6 / slowest / 60:.0f} minutes at {slowest:.0f} slots/s",
            met=None if slowest is None else slowest >= SLOTS_PER_SECOND,
        )
    )
    return found


def _ours(table: Table | None) -> Line | None:
    return None if table is None else next(line for line in table.lines if line.label == T2DRL)


def _relative(entries: Sequence[Against], label: str) -> Estimate | None:
    return next((entry.relative for entry in entries if entry.label == label), None)
