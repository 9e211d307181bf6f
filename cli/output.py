"""What the commands print: rich tables, and JSON where asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..envs.core.extras import require

if TYPE_CHECKING:
    from ..train.trainer import RunResult
    from ..train.verify import Check


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells are plain text."""
    table_class, text_class = require("rich.table", "cli").Table, require("rich.text", "cli").Text
    table = table_class(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(text_class(cell) for cell in row))
    require("rich.console", "cli").Console().print(table)


def print_json(value: Any) -> None:
    """Print JSON without NaN, for other programs."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_result(result: RunResult) -> None:
    """Say where a run is and what to do next."""
    if result.ran:
        print(f"{result.path}: {result.step} decisions in {result.seconds:.1f} s, weights {result.weights_sha256[:16]}")
    print(f"next: edgewise evaluate {result.path}")


def print_checks(checks: Sequence[Check]) -> None:
    """Print a verification, one line per claim."""
    print_table("verification", ("", "claim", "detail"), [("ok" if c.holds else "FAILED", c.claim, c.detail) for c in checks])
