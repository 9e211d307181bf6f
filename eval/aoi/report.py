"""The report of age-minimal offloading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...train.run_folder import RunFolder
from ..formats import interval, percent, places, seconds, share_interval, signed
from ..pages import bar
from ..report import render_page
from .results import Evaluation
from .sections import sections
from .verdict import target_name, verdict

_BAR_LIMIT = 3.5  # bars end at this multiple of the learner's age; longer ones are shown as cut
_FILTERS: dict[str, Callable[..., str]] = {
    "seconds": seconds,
    "percent": percent,
    "signed": signed,
    "interval": interval,
    "places": places,
    "shares": share_interval,
}


def render(run: RunFolder, evaluation: Evaluation, rows: list[dict[str, Any]]) -> str:
    """The page as text.

    Args:
        run: the run folder (its ``run.json`` is shown).
        evaluation: what to report.
        rows: rows of ``metrics.jsonl``.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return render_page(
        "age_report.html.j2",
        run,
        evaluation,
        _FILTERS,
        _provenance(evaluation),
        verdict=verdict(evaluation),
        target_name=target_name(evaluation),
        table=_table(evaluation),
        sections=sections(evaluation, rows),
    )


def _table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Rows of the comparison, the learner among them, in the order of their age."""
    limit = _BAR_LIMIT * evaluation.learner.age.estimate
    scores = sorted([evaluation.learner, *evaluation.baselines], key=lambda score: score.age.estimate)
    top = max(min(score.age.high or score.age.estimate, limit) for score in scores)
    return [
        {"score": score, "learner": score is evaluation.learner, "bar": bar(score.age, top, evaluation.target)}
        for score in scores
    ]


def _provenance(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The optimum; the seeds of a game's long stretch, and how its Nash check was done."""
    pairs, game = [], evaluation.game
    if evaluation.optimum is not None:
        pairs.append((target_name(evaluation), f"{evaluation.optimum.method} ({evaluation.optimum.seconds:.3g} s)"))
    if game is None:
        return pairs
    first, count = game.stretch_first_seed, game.stretch_seeds
    pairs.append(("stretch seeds", f"{first} + 0 … {count - 1}, {game.stretch_horizon:g} s each"))
    check = game.exploitability
    if check is not None:
        pairs.append(
            (
                "Nash check",
                f"{check.screened} deviations screened on {check.screening_seeds} tuning seeds per device × "
                f"{check.screening_horizon:g} s, the best of each kind measured on {check.n_seeds} fresh seeds × "
                f"{check.horizon:g} s, one trained for {check.decisions} decisions; {check.seconds:.0f} s",
            )
        )
    return pairs
