"""A study as one self-contained page, and as tables in the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...envs.core.extras import require
from ..console import stdout_console
from ..formats import Figure, revision
from ..pages import fill
from .tables import Table


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
    return fill("study.html.j2", **context)


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
    return [
        ("command", shlex.join(command)),
        ("written", created),
        ("revision", revision(git)),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("hardware", ", ".join(f"{name} {value}" for name, value in hardware.items())),
    ]


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
