"""A comparison of runs as Markdown, as a page and in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...envs.core.extras import require
from ..console import stdout_console
from ..estimates import Estimate
from ..formats import NOTHING, interval, percent, seconds, share_interval
from ..pages import bar, fill
from ..terminal import make_table
from .compare import Comparison, Row

_BAR_LIMIT = 3.5  # bars end at this multiple of the lowest age


def _age(value: Estimate | None) -> tuple[str, str]:
    return (NOTHING, "") if value is None else (seconds(value.estimate), interval(value))


def _share(value: Estimate | None) -> tuple[str, str]:
    return (NOTHING, "") if value is None else (percent(value.estimate), share_interval(value))


def _count(row: Row) -> tuple[str, str]:
    if row.kind == "scripted":
        return NOTHING, ""
    return str(len(row.runs)), "seed" + ("s " if len(row.seeds) > 1 else " ") + ", ".join(map(str, row.seeds))


def _rate(row: Row) -> tuple[str, str]:
    if row.training_seconds is None or row.decisions_per_second is None:
        return NOTHING, ""
    return f"{row.training_seconds:.0f} s", f"{row.decisions_per_second:,.0f}/s"


def columns(comparison: Comparison) -> list[tuple[str, Callable[[Row], tuple[str, str]]]]:
    """Titles and cells (value, interval or remark) of the columns that hold anything."""
    near = f"episodes of {comparison.horizon:g} s"
    far = f"{comparison.long_horizon:g} s" if comparison.long_horizon is not None else "best estimate"
    every: list[tuple[str, Callable[[Row], tuple[str, str]]]] = [
        ("runs", _count),
        (f"age, {far} (s)", lambda row: _age(row.age)),
        (f"age, {near} (s)", lambda row: _age(row.episodes)),
        ("median run (s)", lambda row: (seconds(row.median) if row.kind == "learned" else NOTHING, "")),
        ("papers’ estimator (s)", lambda row: _age(row.authors_age)),
        ("papers’, episodes (s)", lambda row: _age(row.authors_episodes)),
        ("worst device (s)", lambda row: _age(row.worst_age)),
        ("gain by deviating", lambda row: _share(row.gain)),
        ("greatest gain", lambda row: _share(row.greatest_gain)),
        ("wait (s)", lambda row: (seconds(row.mean_wait), "")),
        ("dropped", lambda row: (percent(row.drop_rate), "")),
        ("training", _rate),
    ]
    if all(row.age == row.episodes for row in comparison.rows):
        del every[1]  # one horizon only
    return [column for column in every if any(column[1](row)[0] != NOTHING for row in comparison.rows)]


def caption(comparison: Comparison) -> str:
    """What the table shows, in a few sentences."""
    text = (
        f"Mean age of {comparison.whose}: {comparison.system}. Learned rows: mean over runs, 95 % bootstrap interval "
        "over runs (over evaluation seeds where there is one run). Scripted rows: the evaluation seeds of all runs."
    )
    if comparison.optimum is not None:
        name = "lower bound" if comparison.bound_only else "optimum"
        text += f" Certified {name}: {seconds(comparison.optimum)} s."
    if any(row.gain for row in comparison.rows):
        text += " Gain: by how much a device lowers its age by deviating alone, mean and maximum over sampled devices."
    return text


def as_markdown(comparison: Comparison) -> str:
    """The table in Markdown."""
    shown = columns(comparison)
    lines = [caption(comparison), ""]
    lines.append("| policy | " + " | ".join(title for title, _ in shown) + " |")
    lines.append("| --- | " + " | ".join("---:" for _ in shown) + " |")
    for row in comparison.rows:
        cells = [" ".join(filter(None, cell(row))) for _, cell in shown]
        name = f"**{row.label}**" if row.kind == "learned" else row.label
        lines.append("| " + " | ".join([f"{name} ({row.rule})", *cells]).replace("\n", " ") + " |")
    return "\n".join(lines) + "\n"


def as_html(comparison: Comparison) -> str:
    """The table as a self-contained page.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    shown = columns(comparison)
    top = min(_BAR_LIMIT * comparison.rows[0].age.estimate, comparison.rows[-1].age.estimate)
    rows = [
        {
            "row": row,
            "cells": [cell(row) for _, cell in shown],
            "bar": bar(row.age, top),
        }
        for row in comparison.rows
    ]
    return fill(
        "comparison.html.j2",
        comparison=comparison,
        caption=caption(comparison),
        titles=[title for title, _ in shown],
        rows=rows,
    )


def print_comparison(comparison: Comparison, console: Any = None) -> None:
    """Print the table; learned rows stand out.

    Args:
        comparison: the table.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = console or stdout_console()
    text = require("rich.text", "cli").Text
    titles = ("policy", "runs", "age, s", "95 %", "median", "episodes", "gain", "95 %", "at most", "training")
    table = make_table(comparison.system, titles)
    for row in comparison.rows:
        learned = row.kind == "learned"
        cells = [row.label, str(len(row.runs)) if learned else "", *_age(row.age)]
        cells += [seconds(row.median) if learned else "", seconds(row.episodes.estimate)]
        cells += [*_share(row.gain), _share(row.greatest_gain)[0], _rate(row)[0]]
        table.add_row(*map(text, cells), style="bold cyan" if learned else "")
    console.print(table)
    console.print(text(caption(comparison)))
