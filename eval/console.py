"""The console that tables are printed on."""

from __future__ import annotations

import os
from typing import Any

from ..envs.core.extras import require

PIPED_WIDTH = 140
"""Columns of a table that does not go to a terminal, which has no width of its own."""


def stdout_console() -> Any:
    """A ``rich.console.Console`` for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = require("rich.console", "cli").Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console
