"""A table of a study, once for the page and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = tuple[str, str]
"""A value, and its interval or a remark."""


@dataclass(frozen=True)
class Line:
    """A row: its name, a remark under it, the cells, and whether it stands out."""

    name: str
    remark: str
    cells: Sequence[Cell]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        headings: of the names and of the cells.
        lines: the rows.
        caption: what it shows, for the page.
        brief: cells that the terminal shows; none for all.
    """

    headings: Sequence[str]
    lines: Sequence[Line]
    caption: str
    brief: Sequence[int] = ()
