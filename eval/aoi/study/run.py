"""The study of the game, see `edgewise.eval.studies`: run every missing cell, then the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ....envs.core.errors import InvalidInputError
from ....envs.core.extras import require
from ....train import atomic
from ....train.progress import Progress
from ...report import require_drawing
from ...study.checks import budget_of, check_seeds
from .. import results
from .cells import is_finished, run_cell
from .findings import Findings, collect
from .page import as_html, print_study
from .plan import BUDGETS, PARTS, Cell, all_cells

OPTIONS = frozenset({"only", "seeds", "workers", "address"})
RESULTS, PAGE = "results.json", "study.html"
_MOST_WORKERS = 10_000

show = print_study


def reproduce(
    budget: str,
    out: Path,
    *,
    only: Sequence[str] = (),
    seeds: int | None = None,
    workers: int = 1,
    address: str | None = None,
    make_progress: Callable[[], Progress],
    report: Callable[[str], None] = print,
    command: list[str] | None = None,
) -> Findings:
    """Run every missing cell of the study and write ``results.json`` and ``study.html``.

    A finished cell is not run again and a cut-off one continues, whoever runs them. Parts that are not asked for are in
    the results if all their cells are finished.

    Args:
        budget: ``smoke`` (does it run?) or ``full`` (all points, ten seeds).
        out: folder of the run folders and of the results; all machines of a cluster must see it.
        only: parts of the study; none for all.
        seeds: training seeds of every configuration; None for the budget's. More of them later add to what is there,
            and the policies' tables show all that are finished.
        workers: cells that run at the same time on this machine; more than one needs Ray.
        address: HOST:PORT of a running Ray cluster, or ``auto``.
        make_progress: where each training reports, as long as they run one by one.
        report: called with one line per cell.
        command: the command line for the record; None takes ``sys.argv``.

    Raises:
        InvalidInputError: unknown budget or part, or a number of seeds or workers out of range.
        CheckpointError: a cell's folder holds something else.
        MissingExtraError: a library is not installed.
        EdgewiseError: what a cell raises; the finished ones are kept.
    """
    spending, line = budget_of(BUDGETS, budget), sys.argv if command is None else command
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= _MOST_WORKERS:
        raise InvalidInputError.of("workers", f"an integer in [1, {_MOST_WORKERS}]", workers)
    check_seeds(seeds)
    require_drawing()
    spending = spending if seeds is None else replace(spending, seeds=seeds)
    cells = all_cells(spending, tuple(only) or PARTS)
    missing = [cell for cell in cells if not is_finished(cell, out)]
    if len(missing) < len(cells):
        report(f"{len(cells) - len(missing)} of {len(cells)} cells are finished")
    finished = _parallel(missing, out, line, workers, address) if workers > 1 or address else None
    for number, cell in enumerate(finished or _in_turn(missing, out, line, make_progress, report), 1):
        age = results.read(cell.folder(out)).age
        report(f"{number}/{len(missing)} {cell.name}: age {age:.6g} s")
    asked = set(only) or set(PARTS)
    parts = tuple(
        part for part in PARTS if part in asked or all(is_finished(cell, out) for cell in all_cells(spending, (part,)))
    )
    findings = collect(budget, spending, parts, out, line)
    page = as_html(findings)
    atomic.write_json(out / RESULTS, findings.model_dump(mode="json"))
    atomic.write_file(out / PAGE, page.encode())
    return findings


def _in_turn(
    cells: Sequence[Cell],
    out: Path,
    command: list[str],
    make_progress: Callable[[], Progress],
    report: Callable[[str], None],
) -> Iterator[Cell]:
    """One cell after the other in this process, without Ray's daemons."""
    for cell in cells:
        report(f"{cell.name}:")
        run_cell(cell, out, progress=make_progress(), command=command)
        yield cell


def _parallel(
    cells: Sequence[Cell], out: Path, command: list[str], workers: int, address: str | None
) -> Iterator[Cell]:
    """Several cells at once."""
    require("ray.rllib", "rllib")
    from .parallel import run_cells

    return run_cells(cells, out, command, workers=workers, address=address)
