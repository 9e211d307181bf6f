"""The study as one self-contained page, and as tables in the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
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
    """The page of a study that trains: what its findings say of themselves, and its sections.

    Args:
        findings: ``study``, ``budget``, ``seeds``, and where the figures come from.
        sections: see `section`.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    seeds = f"{findings.seeds} training seed{'s' if findings.seeds != 1 else ''} per configuration"
    warning = (
        "A smoke run: it shows that everything runs. Its learners are hardly trained, and its figures mean nothing."
    )
    return render(
        title=findings.study,
        subtitle=f"budget {findings.budget}, {seeds}",
        warning=warning if findings.budget == "smoke" else "",
        sections=sections,
        provenance=provenance(findings.command, findings.created, findings.git, findings.versions, findings.hardware),
        origin="the run folders in cells/",
    )


def render(**context: Any) -> str:
    """A study's page: ``title``, ``subtitle``, ``warning``, ``sections`` (see `section`), ``provenance``, ``origin``.

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
        css=(_TEMPLATES / "report.css").read_text(encoding="utf-8"), **context
    )
    return text


def _sections(findings: Findings) -> list[dict[str, Any]]:
    """Headings with their figures and tables."""
    found = [
        section(f"baselines-{number}", f"Policies, {comparison.system}", baseline_table(comparison))
        for number, comparison in enumerate(findings.baselines or [])
    ]
    if findings.fidelity is not None:
        table = fidelity_table(findings.fidelity)
        figure = Figure("fidelity", fidelity_figure(findings.fidelity), "Fidelity ablation", table.caption, wide=True)
        found.append(section("fidelity", "Fidelity ablation", table, figure))
    if findings.sweeps:
        found.append(section("sweeps", "Sweeps and the published figures", summary_table(findings.sweeps)))
    for sweep in findings.sweeps or []:
        figure = Figure(sweep.name, sweep_figure(sweep), sweep.title, sweep_caption(sweep), wide=True)
        found.append(section(f"sweep-{sweep.name}", sweep.title, sweep_table(sweep), figure))
    return found


def section(name: str, title: str, table: Table, figure: Figure | None = None) -> dict[str, Any]:
    """A heading with its table and, where there is one, its figure."""
    return {"id": name, "title": title, "table": table, "figure": figure}


def provenance(
    command: Sequence[str],
    created: str,
    git: Mapping[str, Any] | None,
    versions: Mapping[str, str],
    hardware: Mapping[str, Any],
) -> list[tuple[str, str]]:
    """Where a study's figures come from."""
    git = git or {}
    revision = f"{git.get('commit', 'not a source checkout')}{' with local changes' if git.get('changed') else ''}"
    return [
        ("command", shlex.join(command)),
        ("written", created),
        ("revision", revision),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("hardware", ", ".join(f"{name} {value}" for name, value in hardware.items())),
    ]


def print_study(findings: Findings, console: Any = None) -> None:
    """Print every table; intervals stand behind their values.

    Args:
        findings: what to print.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    note = f"Brackets: 95 % bootstrap intervals. {UNREAD}" if findings.sweeps else ""
    print_tables(tables(findings), console, note)


def print_tables(pairs: Sequence[tuple[str, Table]], console: Any = None, note: str = "") -> None:
    """Print (title, table) pairs, and a remark under them.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = console or stdout_console()
    text, box = require("rich.text", "cli").Text, require("rich.box", "cli").SIMPLE_HEAD
    for title, table in pairs:
        shown = require("rich.table", "cli").Table(title=title, title_justify="left", box=box, padding=(0, 1, 0, 0))
        kept = table.brief or range(len(table.headings) - 1)
        for number, heading in enumerate([table.headings[0], *(table.headings[1 + index] for index in kept)]):
            shown.add_column(heading, justify="right" if number else "left")
        for line in table.lines:
            cells = [" ".join(filter(None, line.cells[index])) for index in kept]
            shown.add_row(*map(text, [line.name, *cells]), style="bold cyan" if line.strong else "")
        console.print(shown)
    if note:
        console.print(text(note))
