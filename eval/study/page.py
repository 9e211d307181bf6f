"""The study as one self-contained page, and as tables in the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...envs.core.extras import require
from ..console import stdout_console
from ..formats import Figure
from .figures import fidelity_figure, sweep_figure
from .findings import Findings
from .tables import UNREAD, Table, baseline_table, fidelity_table, summary_table, sweep_caption, sweep_table, tables

_TEMPLATES = Path(__file__).parent.parent / "templates"


def as_html(findings: Findings) -> str:
    """The page as text.

    Args:
        findings: what to show.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return render_study(findings, _sections(findings))


def render_study(findings: Any, sections: list[dict[str, Any]]) -> str:
    """Fill the page of a study.

    Args:
        findings: ``study``, ``budget``, ``seeds``, and where the figures come from.
        sections: ``id``, ``title``, ``table`` and ``figure`` (or None) of each.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", "eval")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text: str = environment.get_template("study.html.j2").render(
        findings=findings,
        css=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        sections=sections,
        provenance=_provenance(findings),
    )
    return text


def _sections(findings: Findings) -> list[dict[str, Any]]:
    """Headings with their figures and tables."""
    found = [
        _section(f"baselines-{number}", f"Policies, {comparison.system}", baseline_table(comparison))
        for number, comparison in enumerate(findings.baselines or [])
    ]
    if findings.fidelity is not None:
        table = fidelity_table(findings.fidelity)
        figure = Figure("fidelity", fidelity_figure(findings.fidelity), "Fidelity ablation", table.caption, wide=True)
        found.append(_section("fidelity", "Fidelity ablation", table, figure))
    if findings.sweeps:
        found.append(_section("sweeps", "Sweeps and the published figures", summary_table(findings.sweeps)))
    for sweep in findings.sweeps or []:
        figure = Figure(sweep.name, sweep_figure(sweep), sweep.title, sweep_caption(sweep), wide=True)
        found.append(_section(f"sweep-{sweep.name}", sweep.title, sweep_table(sweep), figure))
    return found


def _section(name: str, title: str, table: Table, figure: Figure | None = None) -> dict[str, Any]:
    return {"id": name, "title": title, "table": table, "figure": figure}


def _provenance(findings: Any) -> list[tuple[str, str]]:
    git = findings.git or {}
    revision = f"{git.get('commit', 'not a source checkout')}{' with local changes' if git.get('changed') else ''}"
    return [
        ("command", shlex.join(findings.command)),
        ("written", findings.created),
        ("revision", revision),
        ("versions", ", ".join(f"{name} {number}" for name, number in findings.versions.items())),
        ("hardware", ", ".join(f"{name} {value}" for name, value in findings.hardware.items())),
    ]


def print_study(findings: Findings, console: Any = None) -> None:
    """Print every table; intervals stand behind their values.

    Args:
        findings: what to print.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = console or stdout_console()
    print_tables(tables(findings), console)
    if findings.sweeps:
        text = require("rich.text", "cli").Text
        console.print(text(f"Brackets: 95 % bootstrap intervals. {UNREAD}"))


def print_tables(found: Sequence[tuple[str, Table]], console: Any = None) -> None:
    """Print tables with their titles.

    Args:
        found: the tables.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = console or stdout_console()
    text, box = require("rich.text", "cli").Text, require("rich.box", "cli").SIMPLE_HEAD
    for title, table in found:
        shown = require("rich.table", "cli").Table(title=title, title_justify="left", box=box, padding=(0, 1, 0, 0))
        kept = table.brief or range(len(table.headings) - 1)
        for number, heading in enumerate([table.headings[0], *(table.headings[1 + index] for index in kept)]):
            shown.add_column(heading, justify="right" if number else "left")
        for line in table.lines:
            cells = [" ".join(filter(None, line.cells[index])) for index in kept]
            shown.add_row(*map(text, [line.name, *cells]), style="bold cyan" if line.strong else "")
        console.print(shown)
