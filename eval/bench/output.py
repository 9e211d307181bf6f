"""The speed table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...envs.core.extras import require
from ..console import stdout_console
from . import machine
from .rows import PLAIN, Row
from .timing import Budget

_MARKS = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("", "")}


def print_bench(rows: Sequence[Row], budget: Budget, console: Any = None) -> None:
    """Print the table and how it was measured.

    Args:
        rows: the measurements.
        budget: how much was measured.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = console or stdout_console()
    text = require("rich.text", "cli").Text
    box = require("rich.box", "cli").SIMPLE_HEAD
    table = require("rich.table", "cli").Table(box=box, padding=(0, 1, 0, 0))
    for index, header in enumerate(("what", "measured", f"× {PLAIN}", "target", "met")):
        table.add_column(header, justify="right" if index else "left", no_wrap=index > 0)
    for row in rows:
        mark, style = _MARKS[row.met]
        what = f"{row.what}: {row.note}" if row.note else row.what
        cells = (what, _figure(row.value, row.unit), "" if row.plain is None else _number(row.plain), _target(row))
        table.add_row(*map(text, cells), text(mark, style=style))
    console.print(table)
    console.print(text(_explanation(budget)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figure(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{_number(value)} {unit or '×'}"


def _target(row: Row) -> str:
    return "" if row.target is None else f"{'≤' if row.at_most else '≥'} {_figure(row.target, row.unit)}"


def _explanation(budget: Budget) -> str:
    about = machine()
    load = "" if about["load"] is None else f", load {about['load'][0]:.1f}"
    return (
        f"Processor time of one core, {budget.windows} interleaved windows of {budget.seconds:g} s. Ratios and the "
        f"column × {PLAIN}: median over pairs of neighbouring windows; speeds and times: best window. "
        f"Speeds depend on the machine: --check judges ratios and memory only. "
        f"Python {about['python']}, numba {about['numba']}, {about['cores']} cores{load}."
    )
