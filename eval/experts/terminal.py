"""The evaluation of edge experts as tables in the terminal."""

from __future__ import annotations

from typing import Any

from ...envs.core.extras import require
from ..formats import percent
from ..terminal import STYLES, make_table
from .results import ExpertsEvaluation, Row
from .verdict import number, share, share_span, span, target_name, verdict

_STYLES = {"learner": "bold cyan", "reference": "green", "scripted": ""}


def print_evaluation(evaluation: ExpertsEvaluation, console: Any) -> None:
    """Print values, shortfalls, the worst budgets and the verdict.

    Raises:
        MissingExtraError: rich is not installed.
    """
    text = require("rich.text", "cli").Text
    values = make_table(
        title(evaluation),
        ("policy", f"value per {evaluation.unit}", "95 %", _missing(evaluation), "95 %", "learner minus it"),
    )
    details = make_table(
        "", ("policy", "quality", "J per prompt", "delay, s", _share_name(evaluation), *_uses(evaluation))
    )
    for row in evaluation.rows:
        values.add_row(*map(text, _value_cells(row)), style=_STYLES[row.kind])
        details.add_row(*map(text, _detail_cells(row)), style=_STYLES[row.kind])
    console.print(values)
    console.print(details)
    if evaluation.budgets:
        console.print(_worst(evaluation))
    if evaluation.target is not None:
        target = evaluation.target
        console.print(text(f"{target_name(evaluation)} {number(target.value)} per {evaluation.unit}: {target.method}"))
    result = verdict(evaluation)
    console.print(text(result["text"], style=STYLES[result["tone"]]))


def title(evaluation: ExpertsEvaluation) -> str:
    """What was evaluated."""
    if evaluation.mode == "select":
        return f"{evaluation.instance}: {len(evaluation.budgets)} pairs of budgets, {evaluation.n_seeds} of them drawn"
    what = "epochs" if evaluation.mode == "epochs" else "prompts"
    return f"{evaluation.instance}: {evaluation.n_seeds} seeds × {evaluation.horizon:g} {what}"


def _share_name(evaluation: ExpertsEvaluation) -> str:
    return "epochs refused" if evaluation.mode == "epochs" else "late"


def _uses(evaluation: ExpertsEvaluation) -> list[str]:
    """Headings of the used shares of the constraints."""
    return [f"{name} used" for name in evaluation.learner.uses]


def _missing(evaluation: ExpertsEvaluation) -> str:
    return "regret" if evaluation.mode == "select" else f"below the {target_name(evaluation).split()[1]}"


def _value_cells(row: Row) -> list[str]:
    missing = [share(row.shortfall), share_span(row.shortfall)]
    return [row.label, number(row.value.estimate), span(row.value), *missing, span(row.difference)]


def _detail_cells(row: Row) -> list[str]:
    part = row.late if row.refused is None else row.refused
    late = "" if part is None else percent(part)
    uses = [percent(use.estimate) for use in row.uses.values()]
    return [row.label, f"{row.quality:.4f}", f"{row.energy:.1f}", f"{row.delay:.2f}", late, *uses]


def _worst(evaluation: ExpertsEvaluation) -> Any:
    """The five pairs of budgets with the largest regret."""
    text = require("rich.text", "cli").Text
    table = make_table("largest regrets", ("energy, J", "delays, s", "value", "optimum", "regret", "chosen", "optimal"))
    for row in sorted(evaluation.budgets, key=lambda row: -row.regret)[:5]:
        cells = [f"{row.energy:.4g}", ", ".join(f"{tau:.3g}" for tau in row.tau)]
        cells += [f"{row.value:.4f}", f"{row.optimum:.4f}", percent(row.regret)]
        table.add_row(*map(text, [*cells, ", ".join(map(str, row.chosen)), ", ".join(map(str, row.best))]))
    return table
