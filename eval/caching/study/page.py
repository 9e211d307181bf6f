"""The study as one self-contained page, and as tables in the terminal."""

from __future__ import annotations

from typing import Any

from ...estimates import Estimate
from ...formats import NOTHING, interval, percent, signed
from ...study.page import print_tables, render_study
from ...study.tables import Cell, Line, Table
from ..trace import BLOCK
from .findings import TEST_TIME, Findings
from .findings import Line as Learner
from .findings import Table as Part
from .plan import T2DRL

_ALL = "brackets: 95 % bootstrap intervals over training runs and their evaluation episodes"


def as_html(findings: Findings) -> str:
    """The page as text.

    Args:
        findings: what to show.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    sections = [
        {"id": f"table-{number}", "title": title, "table": table, "figure": None}
        for number, (title, table) in enumerate(tables(findings))
    ]
    return render_study(findings, sections)


def print_study(findings: Findings, console: Any = None) -> None:
    """Print every table.

    Args:
        findings: what to print.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    print_tables(tables(findings), console)


def tables(findings: Findings) -> list[tuple[str, Table]]:
    """Every table with its title, in the order of the page."""
    found = [("Targets", _checks(findings))]
    for part in findings.tables:
        found.append((part.title, _learners(part)))
        if len(part.learners) > 1:
            found.append((f"{part.title}: T2DRL against the other learners", _others(part)))
        for words, chosen in (("what adapting is worth", "adapted"), ("the same without redraws", "control")):
            lines = [line for line in part.lines if getattr(line, chosen)]
            if lines:
                found.append((f"{part.title}: {words}", _variants(lines, chosen)))
        if part.online is not None:
            found.append(("PPO that goes on at test time", _online(part)))
    return found


def _checks(findings: Findings) -> Table:
    words = {True: "met", False: "not met", None: NOTHING}
    lines = [Line(check.target, "", [(check.found, ""), (words[check.met], "")]) for check in findings.checks]
    return Table(["target", "found", ""], lines, "The targets of the study, whatever the sign of what was found.")


def _cost(value: Estimate) -> Cell:
    return f"{value.estimate:.2f}", interval(value)


def _change(value: Estimate | None) -> Cell:
    return (NOTHING, "") if value is None else (signed(value.estimate), interval(value, relative=True))


def _learners(part: Part) -> Table:
    """All learners of a part, with what they are held against."""
    names = [entry.label for entry in part.lines[0].against]
    lines = []
    for line in part.lines:
        cells = [_cost(line.cost), *(_change(entry.relative) for entry in line.against)]
        cells += [(f"{line.loads:.2f}", ""), (percent(line.local_ratio), "")]
        cells += [(f"{line.parameters:,}", ""), (f"{line.slots_per_second:.0f}", ""), (f"{line.milliseconds:.2f}", "")]
        runs = f"{len(line.runs)} run{'s' if len(line.runs) > 1 else ''}"
        lines.append(Line(line.label, runs, cells, line.label == T2DRL))
    own = {entry.label: entry for entry in part.lines[0].against}
    nothing: Cell = (NOTHING, "")
    for name in names:
        blank = [nothing] * (len(names) + 5)
        lines.append(Line(name, "scripted", [_cost(own[name].cost), *blank]))
    headings = ["policy", "cost per slot", *(f"against {name}" for name in names)]
    headings += ["loads", "served locally", "parameters", "slots/s in training", "ms per decision"]
    caption = f"{part.title}: cost per slot over {part.episodes} evaluation episodes per run; {_ALL}."
    if part.pass_over is not None:
        caption = (
            f"{part.title}: cost per slot of one pass over the second half; {part.pass_over}. Brackets: 95 % bootstrap "
            f"intervals over training runs and blocks of {BLOCK} slots."
        )
    return Table(headings, lines, caption, brief=(0, 1, 2, 3, 4, len(headings) - 3, len(headings) - 2))


def _others(part: Part) -> Table:
    lines = [Line(entry.label, "", [_cost(entry.cost), _change(entry.relative)]) for entry in part.learners]
    caption = f"T2DRL against each on the same episodes: below zero T2DRL is cheaper; {_ALL}."
    return Table(["learner", "cost per slot", "T2DRL against it"], lines, caption)


def _variants(learners: list[Learner], chosen: str) -> Table:
    """Every learner that adapts, against itself with other inner steps and the network trained without them."""
    lines = []
    for line in learners:
        entries = {entry.label: entry.relative for entry in getattr(line, chosen)}
        lines.append(Line(line.label, "", [_change(entries.get(label)) for label in TEST_TIME], line.label == T2DRL))
    headings = ["learner", *(f"against {label}" for label in TEST_TIME)]
    caption = f"Every learner as deployed against its own test-time variants: below zero adapting pays; {_ALL}."
    return Table(headings, lines, caption)


def _online(part: Part) -> Table:
    found = part.online
    assert found is not None
    caption = (
        f"The same checkpoint on {found.lanes} servers × {found.episodes} episodes: PPO going on with real costs, and "
        "exploring, against inner steps only; servers are resampled."
    )
    cells = [_cost(found.cost), _cost(found.adapted), _change(found.relative), (f"{found.milliseconds:.2f}", "")]
    headings = ["ablation", "cost per slot", "inner steps only", "against it", "ms per slot"]
    return Table(headings, [Line("online PPO", "", cells)], caption)
