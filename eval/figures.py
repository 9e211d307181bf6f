"""Figures of reports and studies: inline SVG whose colours are the page's, so that they follow its light or dark theme.

matplotlib draws with placeholder colours; each is replaced by a CSS variable of the page. Nothing in the result refers
to an external address: namespace declarations and metadata, useless inside HTML, are removed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..envs.core.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VARIABLES = ("ink", "muted", "grid", "panel", "learner", "accent", "good", "s0", "s1", "s2", "s3", "s4", "s5")
_PLACEHOLDERS = {name: f"#{3 * f'{index:02x}'}" for index, name in enumerate(_VARIABLES, start=1)}
INK, MUTED, GRID, PANEL = (_PLACEHOLDERS[name] for name in ("ink", "muted", "grid", "panel"))
LEARNER, ACCENT, GOOD = (_PLACEHOLDERS[name] for name in ("learner", "accent", "good"))
SERIES = tuple(_PLACEHOLDERS[f"s{index}"] for index in range(6))
"""Colours of the places: 0 local, then the edges, in turn."""

_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}
HALF, WIDE = (5.6, 3.3), (11.4, 3.0)  # inches: one column of the page, or both


def draw(
    name: str, size: tuple[float, float], paint: Callable[[Figure], None], alt: str, layout: str = "constrained"
) -> str:
    """Let `paint` fill a figure and return it as an inline ``<svg>`` element.

    Args:
        name: prefix of the element ids, unique within the page.
        size: width and height in inches (72 units each).
        paint: draws into the figure.
        alt: what the figure shows, for those who cannot see it.
        layout: matplotlib's layout engine.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    require("matplotlib", "eval")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        fig = Figure(figsize=size, layout=layout)  # type: ignore[arg-type]
        paint(fig)
        fig.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(buffer.getvalue(), name, alt)


def _inline(text: str, name: str, alt: str) -> str:
    """Make matplotlib's document a fragment of the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"font: (?:\w+ )?([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for variable, colour in _PLACEHOLDERS.items():
        text = text.replace(colour, f"var(--{variable})")
    label = alt.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', text, count=1
    )


def legend_above(ax: Axes, columns: int = 3) -> None:
    """Put the legend between title and axes."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.6,
    )


def decisions_axis(ax: Axes) -> None:
    """Label the horizontal axis with training decisions."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlabel("training decisions")
