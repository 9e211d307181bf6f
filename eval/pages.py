"""Pages from templates: self-contained HTML, the style sheet inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..envs.core.extras import require
from .estimates import Estimate

_FOLDER = Path(__file__).parent / "templates"


def fill(template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **context: Any) -> str:
    """Fill a template; text is escaped, and a name that the template lacks is an error.

    Args:
        template: file name.
        filters: of the template, by name.
        **context: what the template reads besides ``css``.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", "eval")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    css = (_FOLDER / "report.css").read_text(encoding="utf-8")
    text: str = environment.get_template(template).render(css=css, **context)
    return text


@dataclass(frozen=True)
class Bar:
    """A bar of a table, drawn by ``bar.html.j2``; places are percentages of its cell's width.

    Attributes:
        end: where it ends.
        low, span: where its interval begins, and how wide that is.
        target: the mark of what it is held against, if anything.
        cut: it is longer than the cell.
    """

    end: float
    low: float
    span: float
    target: float | None
    cut: bool


def bar(value: Estimate, top: float, target: float | None = None) -> Bar:
    """The bar of a value, from 0.

    Args:
        value: the value with its interval.
        top: the value at the end of the cell.
        target: a value to mark.
    """

    def place(at: float) -> float:
        return round(100.0 * min(max(at / top, 0.0), 1.0), 2) if top > 0 else 0.0

    low, high = (value.estimate if end is None else end for end in (value.low, value.high))
    return Bar(
        end=place(value.estimate),
        low=place(low),
        span=round(max(place(high) - place(low), 0.0), 2),
        target=None if target is None else place(target),
        cut=value.estimate > top,
    )
