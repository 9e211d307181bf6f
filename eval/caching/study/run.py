"""The study of model caching, see `edgewise.eval.studies`: run every missing cell, then the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ....train import atomic
from ....train.progress import Progress
from ...evaluate import evaluate_run
from ...report import require_drawing, write_report
from ...results import FILE_NAME, read_as
from ...study.checks import budget_of, check_seeds
from ...study.training import same_run, train_cell
from ..evaluation import BUDGETS as EVALUATIONS
from ..results import CachingEvaluation
from ..trace import FILE_NAME as TRACE_FILE
from ..trace import evaluate_trace
from . import online
from .findings import Findings, collect, read_comparison
from .page import as_html, print_study
from .plan import BUDGETS, NAMES, TRACES, Budget, Cell, Part, all_cells, chosen, folder_of, plain_cell, trace_splits

PARTS = NAMES
OPTIONS = frozenset({"only", "seeds", "data"})
RESULTS, PAGE = "results.json", "study.html"

show = print_study


def reproduce(
    budget: str,
    out: Path,
    *,
    only: Sequence[str] = (),
    seeds: int | None = None,
    data: Path | None = None,
    make_progress: Callable[[], Progress],
    report: Callable[[str], None] = print,
    command: list[str] | None = None,
) -> Findings:
    """Run every missing cell of the study and write ``results.json`` and ``study.html``.

    A finished cell is not run again and a cut-off one continues. Parts that are not asked for are in the results if all
    their cells are finished.

    Args:
        budget: ``smoke`` (does it run?) or ``full`` (five seeds of 300 000 slots).
        out: folder of the run folders and of the results.
        only: parts of the study; none for those of the budget, and the trace's two where there is one.
        seeds: training seeds of every configuration; None for the budget's. More of them later add to what is there.
        data: the Azure trace for the parts that replay it, split by time; without it those are left out.
        make_progress: where each training reports.
        report: called with one line per cell.
        command: the command line for the record; None takes ``sys.argv``.

    Raises:
        InvalidInputError: unknown budget or part, a number of seeds out of range, or a trace that cannot be split.
        CheckpointError: a cell's folder holds something else.
        MissingExtraError: a library is not installed.
    """
    spending, line = budget_of(BUDGETS, budget), sys.argv if command is None else command
    check_seeds(seeds)
    require_drawing()
    spending = spending if seeds is None else replace(spending, seeds=seeds)
    traces = {} if data is None else trace_splits(data)
    for name, split in traces.items():
        report(f"{name}: {split}")
    asked = chosen(tuple(only) or (*spending.parts, *traces), traces)
    cells = all_cells(asked, spending)
    missing = [cell for cell in cells if not is_finished(cell, out)]
    if len(missing) < len(cells):
        report(f"{len(cells) - len(missing)} of {len(cells)} cells are finished")
    for number, cell in enumerate(missing, 1):
        report(f"{cell.name}:")
        _run(cell, out, spending, make_progress(), line)
        cost = read_comparison(cell, out).learner.cost.estimate
        report(f"{number}/{len(missing)} {cell.name}: cost {cost:.4g} per slot")
    parts = [
        part
        for part in chosen(tuple(name for name in NAMES if name in traces or name not in TRACES), traces)
        if part in asked or all(is_finished(cell, out) for cell in all_cells((part,), spending))
    ]
    going_on = {part.name: _online(part, out, spending) for part in parts if part.online is not None}
    findings = collect(budget, spending, parts, out, line, going_on)
    atomic.write_json(out / RESULTS, findings.model_dump(mode="json"))
    atomic.write_file(out / PAGE, as_html(findings).encode())
    return findings


def is_finished(cell: Cell, out: Path) -> bool:
    """Whether a cell is trained to the end and evaluated, beside the network without inner steps if there is one.

    Raises:
        CheckpointError: its folder holds something else.
    """
    folder = cell.folder(out)
    if not folder.exists():
        return False
    return "result" in same_run(cell.config, folder).record and _is_evaluated(cell, folder)


def _is_evaluated(cell: Cell, folder: Path) -> bool:
    if cell.trace is not None:
        return (folder / TRACE_FILE).is_file()
    if not (folder / FILE_NAME).is_file():
        return False
    return cell.static is None or read_as(CachingEvaluation, folder).static_run is not None


def _run(cell: Cell, out: Path, budget: Budget, progress: Progress, command: list[str]) -> None:
    """Bring a cell to its end from wherever it is."""
    folder = cell.folder(out)
    train_cell(cell.config, folder, progress=progress, command=command)
    if not _is_evaluated(cell, folder):
        static = None if cell.static is None else folder_of(out, cell.static)
        if cell.trace is not None:
            evaluate_trace(folder, cell.trace, EVALUATIONS[budget.evaluation], static=static)
            return
        evaluate_run(folder, budget=budget.evaluation, static=static, command=command)
        write_report(folder)


def _online(part: Part, out: Path, budget: Budget) -> online.Online:
    """What continuing PPO brings to the first run; measured once."""
    assert part.online is not None
    folder = plain_cell(part.online, 0, budget).folder(out)
    file = folder / online.FILE_NAME
    if file.is_file():
        return online.Online.model_validate_json(file.read_bytes())
    found = online.measure_online(folder, budget.online_episodes)
    atomic.write_json(file, found.model_dump(mode="json"))
    return found
