"""Pages from templates: self-contained HTML, the style sheet inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..envs.core.extras import require

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
