"""The study of the game as one self-contained page, and as tables in the terminal."""

from __future__ import annotations

from typing import Any

from ...formats import Figure
from ...study.page import print_tables, render_study, section
from .figures import fidelity_figure, sweep_figure
from .findings import Findings
from .tables import UNREAD, baseline_table, fidelity_table, summary_table, sweep_caption, sweep_table, tables


def as_html(findings: Findings) -> str:
    """The page as text.

    Args:
        findings: what to show.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return render_study(findings, _sections(findings))


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
