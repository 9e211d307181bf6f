"""The evaluation of model caching as tables in the terminal."""

from __future__ import annotations

from typing import Any

from ...envs.core.extras import require
from ...envs.model_caching.state import TERMS
from ..formats import NOTHING, interval, percent, signed
from ..terminal import STYLES, make_table
from .results import CachingEvaluation, Row
from .verdict import verdict

_STYLES = {"learner": "bold cyan", "test_time": "cyan", "static": "cyan", "clairvoyant": "green"}


def print_evaluation(evaluation: CachingEvaluation, console: Any) -> None:
    """Print costs, their parts, the control without drift and the verdict.

    Raises:
        MissingExtraError: rich is not installed.
    """
    text = require("rich.text", "cli").Text
    costs = make_table(
        f"{evaluation.preset}, {evaluation.mode}: {evaluation.n_seeds} episodes × {evaluation.horizon:g} slots",
        ("policy", "cost/slot", "95 %", "learner", "against it", "loads", "local"),
    )
    parts = make_table("", ("rule", *TERMS, "accuracy here"))
    for row in evaluation.rows:
        style = _STYLES.get(row.kind, "")
        costs.add_row(*map(text, cost_cells(row)), style=style)
        accuracy = NOTHING if row.accuracy is None else f"{row.accuracy:.3f}"
        parts.add_row(*map(text, [_rule(row), *(f"{row.terms[name]:.2f}" for name in TERMS), accuracy]), style=style)
    bound = evaluation.bound
    costs.add_section()
    gap = [signed(bound.gap.estimate), interval(bound.gap, relative=True)]
    costs.add_row(*map(text, [f"bound, {bound.episodes} episodes", f"{bound.bound:.2f}", "", *gap]), style="green")
    console.print(costs)
    console.print(parts)
    if evaluation.control:
        control = make_table(
            "without redraws of the popularity", ("policy", "cost/slot", "95 %", "learner", "against it")
        )
        for row in evaluation.control:
            control.add_row(*map(text, cost_cells(row)[:5]), style=_STYLES.get(row.kind, ""))
        console.print(control)
    speed = evaluation.speed
    console.print(
        text(
            f"{evaluation.backbone}, {evaluation.parameters:,} parameters: {speed.single:.2f} ms per decision, "
            f"{speed.batch:.3f} ms in a batch of {speed.batch_size}"
        )
    )
    result = verdict(evaluation)
    console.print(text(result["text"], style=STYLES[result["tone"]]))


def cost_cells(row: Row) -> list[str]:
    """Cells of one policy."""
    return [
        row.label,
        f"{row.cost.estimate:.2f}",
        interval(row.cost),
        signed(row.relative.estimate) if row.relative else "",
        interval(row.relative, relative=True),
        f"{row.loads:.2f}",
        percent(row.local_ratio),
    ]


def _rule(row: Row) -> str:
    """Label, and the numbers of a scripted policy."""
    return row.label if row.kind in ("learner", "test_time", "static") else row.rule
