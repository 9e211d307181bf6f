"""The report of edge experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...train.run_folder import RunFolder
from ..formats import Figure, percent
from ..pages import bar
from ..report import render_page
from . import drawing
from .results import ExpertsEvaluation, Row
from .verdict import number, share, share_span, span, target_name, verdict

_FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "span": span,
    "share": share,
    "share_span": share_span,
    "percent": percent,
}
_WORST = 8  # pairs of budgets in the table of regrets


def render(run: RunFolder, evaluation: ExpertsEvaluation, rows: list[dict[str, Any]]) -> str:
    """The page as text.

    Args:
        run: the run folder (its ``run.json`` is shown).
        evaluation: what to report.
        rows: rows of ``metrics.jsonl``.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return render_page(
        "experts_report.html.j2",
        run,
        evaluation,
        _FILTERS,
        _provenance(evaluation),
        verdict=verdict(evaluation),
        target_name=target_name(evaluation),
        table=_table(evaluation),
        worst=sorted(evaluation.budgets, key=lambda row: -row.regret)[:_WORST],
        sections=_sections(evaluation, rows),
    )


def _sections(evaluation: ExpertsEvaluation, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures by section, in the order of the page."""
    first = _optimality(evaluation) + _learning(evaluation, rows)
    return [
        {"id": "optimality", "title": "Against the certified optimum", "figures": first},
        {"id": "policy", "title": "What it does", "figures": _policy(evaluation)},
    ]


def _optimality(evaluation: ExpertsEvaluation) -> list[Figure]:
    if evaluation.mode != "select":
        caption = (
            "By how much every policy stays below the certified value, as a share of it, with 95 % intervals. Green "
            "policies know or use more than the others."
        )
        return [Figure("shortfall", drawing.shortfalls(evaluation), "Below the certified value", caption)]
    found = [
        Figure(
            "regret",
            drawing.regrets(evaluation),
            "Regret to the certified optimum",
            "Share of the optimal value that a selection misses, one point per pair of budgets, against the energy "
            "budget.",
        )
    ]
    if any(row.grid is not None for row in evaluation.budgets):
        caption = (
            "Under every pair of energy and delay budgets of the grid: the value of the learner's selection, and the "
            "share of the certified optimum that it misses."
        )
        found.append(Figure("budgets", drawing.heat_maps(evaluation), "Over both budgets", caption, wide=True))
    return found


def _learning(evaluation: ExpertsEvaluation, rows: list[dict[str, Any]]) -> list[Figure]:
    selects = evaluation.mode == "select"
    key, label = ("evaluation/regret", "mean regret") if selects else ("evaluation/value", "value")
    points = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float)]
    if not points:
        return []
    steps, values = zip(*points, strict=True)
    level = None if evaluation.target is None else evaluation.target.value
    where = {"select": "budgets", "route": "prompts", "epochs": "episodes"}[evaluation.mode]
    caption = f"{label.capitalize()} of the deterministic policy at every checkpoint, on {where} of their own."
    return [Figure("learning", drawing.learning_curve(steps, values, label, level), "Learning curve", caption)]


def _policy(evaluation: ExpertsEvaluation) -> list[Figure]:
    selects = evaluation.mode == "select"
    best = max((row for row in evaluation.others if _is_optimum(row)), key=lambda row: row.value.estimate)
    lines = (
        "Lines: the learner's and the optimal selections at the middle delay budgets, by energy budget."
        if selects
        else "Learner, rules and references on the evaluation prompts."
    )
    whose = "averaged over all budgets" if selects else f"over {evaluation.n_seeds} seeds"
    return [
        Figure(
            "front",
            drawing.front(evaluation.points, selects),
            "Quality, energy and delay",
            f"Every expert alone, marked by its device, and what no expert alone surpasses (dotted). {lines}",
            wide=True,
        ),
        Figure(
            "answers",
            drawing.answers((evaluation.learner, best), evaluation),
            "Who answers what",
            f"Share (%) of a category's prompts that every expert answers, {whose}.",
            wide=True,
        ),
    ]


def _is_optimum(row: Row) -> bool:
    """Whether a reference keeps budgets and constraints, so that its answers can be compared with the learner's."""
    return row.kind == "reference" and "ignored" not in row.label and not row.exceeded


def _table(evaluation: ExpertsEvaluation) -> list[dict[str, Any]]:
    """Rows of the comparison with their bars."""
    top = max(max(row.value.estimate, row.value.high or 0.0) for row in evaluation.rows)
    target = None if evaluation.target is None else evaluation.target.value
    return [{"row": row, "bar": bar(row.value, top, target)} for row in evaluation.rows]


def _provenance(evaluation: ExpertsEvaluation) -> list[tuple[str, str]]:
    """The instance, and how the optimum came about."""
    pairs = [("instance", evaluation.instance)]
    if evaluation.target is not None:
        target = evaluation.target
        pairs.append((target_name(evaluation), f"{target.method} ({target.seconds:.3g} s)"))
    else:
        proved = sum(row.bound - row.optimum <= 1e-9 for row in evaluation.budgets)
        text = f"exact search, proved under {proved} of {len(evaluation.budgets)} pairs of budgets"
        pairs.append((target_name(evaluation), text))
    return pairs
