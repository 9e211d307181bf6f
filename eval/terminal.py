"""What evaluations of all families show in the terminal: progress, tables, the colours of a verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..envs.core.extras import require

STYLES = {"good": "green", "plain": "bold", "bad": "bold red"}


@contextlib.contextmanager
def status(doing: str = "evaluating") -> Iterator[Callable[[str], None]]:
    """Show what an evaluation is computing while it runs; silent where the output is not a terminal.

    Args:
        doing: the word in front of what is shown.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = require("rich.console", "cli").Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status(doing) as shown:
        yield lambda text: shown.update(f"{doing} {text}")


def make_table(title: str, headers: tuple[str, ...]) -> Any:
    """An empty ``rich`` table whose first column stands to the left."""
    box = require("rich.box", "cli").SIMPLE_HEAD
    table = require("rich.table", "cli").Table(title=title or None, title_justify="left", box=box, padding=(0, 1, 0, 0))
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=True)
    return table
