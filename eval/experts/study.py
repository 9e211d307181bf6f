"""The study of edge experts, see `edgewise.eval.studies`: run every missing cell, then all that are there on a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...envs.core.errors import InvalidInputError
from ...train import atomic
from ...train.progress import Progress
from ..formats import Figure, revision
from ..report import require_drawing
from ..study.checks import budget_of, check_seeds
from ..study.page import print_tables, provenance, render, section
from ..study.record import record
from ..study.tables import Table
from . import answers, budgets, gaps, learners, routellm, solvers
from .cells import BUDGETS, Budget, Part, Record, finished, read, run_cell

STUDY = "experts"
RESULTS, PAGE = "results.json", "study.html"
OPTIONS = frozenset({"only", "seeds", "limit", "data"})

PARTS: dict[str, Part] = {
    "budgets": budgets.PART,
    "answers": answers.PART,
    "gap": gaps.PART,
    "learners": learners.PART,
    "routellm": routellm.PART,
    "solvers": solvers.PART,
}


def reproduce(
    budget: str,
    out: Path,
    *,
    only: Sequence[str] = (),
    seeds: int | None = None,
    limit: float | None = None,
    data: Path | None = None,
    make_progress: Callable[[], Progress] | None = None,
    report: Callable[[str], None] = print,
    command: list[str] | None = None,
) -> dict[str, Any]:
    """Run every missing cell of the study and write ``results.json`` and ``study.html``.

    A cell is a small file; a finished one is not run again. The results hold every finished cell in the folder, whoever
    ran it and when; each says with which settings and revision.

    Args:
        budget: ``smoke`` (does it run?) or ``full``.
        out: folder of the cells and of the results.
        only: parts of the study; none for all.
        seeds: instances of every part; None for the budget's.
        limit: seconds of HiGHS per instance; None for the budget's.
        data: folder of RouteLLM's MMLU files; without one that part is left out.
        make_progress: not needed, no cell takes long.
        report: called with one line per cell.
        command: the command line for the record; None takes ``sys.argv``.

    Returns:
        What is in ``results.json``.

    Raises:
        InvalidInputError: unknown budget or part, a number out of range, or no data for a part that was asked for.
        CheckpointError: a cell in the folder has other settings.
        MissingExtraError: a library is not installed.
    """
    spending = _budget(budget, seeds, limit, data)
    for part in only:
        if part not in PARTS:
            raise InvalidInputError.of("only", f"one or more of {', '.join(PARTS)}", part)
    if "routellm" in only and data is None:
        raise InvalidInputError("data: the part routellm needs --data FOLDER, RouteLLM's MMLU files")
    require_drawing()
    for name in only or PARTS:
        if name == "routellm" and data is None:
            report("routellm: left out, no --data FOLDER with RouteLLM's MMLU files")
            continue
        _run_part(name, spending, out, report)
    results = record(STUDY, budget, spending.seeds, sys.argv if command is None else command) | {
        "parts": {name: _stored(out / "cells" / name) for name in PARTS}
    }
    page = as_html(results)
    atomic.write_json(out / RESULTS, results)
    atomic.write_file(out / PAGE, page.encode())
    return results


def _budget(name: str, seeds: int | None, limit: float | None, data: Path | None) -> Budget:
    spending = budget_of(BUDGETS, name)
    check_seeds(seeds)
    if limit is not None and not 0 < limit < float("inf"):
        raise InvalidInputError.of("limit", "a positive number of seconds", limit)
    found = replace(spending, data=data)
    if seeds is not None:
        found = replace(found, seeds=seeds, solver_seeds=seeds)
    return found if limit is None else replace(found, limit=float(limit))


def _run_part(name: str, budget: Budget, out: Path, report: Callable[[str], None]) -> None:
    part, folder = PARTS[name], out / "cells" / name
    cells = part.cells(budget)
    missing = {cell: settings for cell, settings in cells.items() if finished(folder, cell, settings) is None}
    if len(missing) < len(cells):
        report(f"{name}: {len(cells) - len(missing)} of {len(cells)} cells are finished")
    for number, (cell, settings) in enumerate(missing.items(), 1):
        record = run_cell(folder, cell, part, settings, budget)
        report(f"{name} {number}/{len(missing)} {cell}: {record['seconds']:.1f} s")


def _stored(folder: Path) -> list[Record]:
    """Every finished cell, in the order of their names."""
    return [read(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []


def tables(results: dict[str, Any]) -> list[tuple[str, Table]]:
    """Every table of the results with its title."""
    return [pair for name, part in PARTS.items() for pair in part.tables(results["parts"].get(name) or ())]


def show(results: dict[str, Any]) -> None:
    """Print every table.

    Raises:
        MissingExtraError: rich is not installed.
    """
    print_tables(tables(results))


def as_html(results: dict[str, Any]) -> str:
    """The page of the study: every table, with its figure where there is one.

    Args:
        results: as in ``results.json``.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    sections = []
    for name, part in PARTS.items():
        records = results["parts"].get(name) or ()
        drawn = part.figures(records)
        for number, (title, table) in enumerate(part.tables(records)):
            figure = Figure(name, drawn[title], title, table.caption, wide=True) if title in drawn else None
            sections.append(section(f"{name}-{number}", title, table, figure))
    warning = "A smoke run: it shows that everything runs. Its instances are small, and its figures mean little."
    origin = [results[key] for key in ("command", "created", "git", "versions", "hardware")]
    return render(
        title="edge experts",
        subtitle=f"budget {results['budget']}",
        warning=warning if results["budget"] == "smoke" else "",
        sections=sections,
        provenance=[*provenance(*origin), ("revisions of the cells", ", ".join(revisions(results)))],
        origin="the small files in cells/",
    )


def revisions(results: dict[str, Any]) -> list[str]:
    """Revisions of the source under which the cells ran."""
    return sorted({revision(record["git"]) for records in results["parts"].values() for record in records})
