"""The evaluation of age-minimal offloading as tables in the terminal."""

from __future__ import annotations

from typing import Any

from ...envs.core.extras import require
from ..console import stdout_console
from ..formats import interval, percent, places, seconds, share_interval, signed
from ..terminal import STYLES, make_table
from .nash_results import Exploitability
from .results import Evaluation, Game, Score
from .verdict import target_name, verdict


def print_evaluation(evaluation: Evaluation, console: Any = None) -> None:
    """Print the comparison with every baseline and the verdict; red where the learner loses to never waiting.

    Args:
        evaluation: what to print.
        console: a ``rich.console.Console``; None makes one for the standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = console or stdout_console()
    text = require("rich.text", "cli").Text
    for table in _device_tables(evaluation) if evaluation.game is None else _game_tables(evaluation, evaluation.game):
        console.print(table)
    if evaluation.quadrature is not None:
        line = f"learned wait integrated over the service law: mean age {evaluation.quadrature.mean_age:.6f} s"
        console.print(text(f"{line} ({signed(evaluation.quadrature.gap)} from the optimum)"))
    result = verdict(evaluation)
    console.print(text(result["text"], style=STYLES[result["tone"]]))


def _ranked(evaluation: Evaluation) -> list[tuple[Score, str]]:
    """All policies in the order of their age, with the style of their rows."""
    lost = "bold red" if verdict(evaluation)["tone"] == "bad" else "bold cyan"
    scores = sorted([evaluation.learner, *evaluation.baselines], key=lambda score: score.age.estimate)
    return [(score, lost if score is evaluation.learner else "") for score in scores]


def _device_tables(evaluation: Evaluation) -> list[Any]:
    """Ages, and details, of one learning device's run."""
    text = require("rich.text", "cli").Text
    ages = make_table(
        f"{evaluation.whose}, {evaluation.n_seeds} seeds × {evaluation.horizon:g} s, {evaluation.decision} decisions",
        ("policy", "age, s", "95 %", "learner", "against it"),
    )
    details = make_table("", ("rule", "papers'", "peak", "wait, s", "dropped", "places, %"))
    for score, style in _ranked(evaluation):
        ages.add_row(*map(text, _age_cells(score)), style=style)
        details.add_row(*map(text, _detail_cells(score)), style=style)
    if evaluation.optimum is not None:
        ages.add_section()
        ages.add_row(target_name(evaluation), seconds(evaluation.target), "", *_gap_cells(evaluation), style="green")
    return [ages, details]


def _game_tables(evaluation: Evaluation, game: Game) -> list[Any]:
    """Ages over both horizons, details, and the Nash check of a game."""
    text = require("rich.text", "cli").Text
    ages = make_table(
        f"all {game.n_devices} devices, drop {game.drop}: {game.stretch_seeds} seeds × {game.stretch_horizon:g} s, and "
        f"{evaluation.n_seeds} episodes × {evaluation.horizon:g} s",
        ("policy", "age, s", "95 %", "learner", "against it", "episodes, s", "95 %"),
    )
    details = make_table(
        "", ("rule", "papers'", "in episodes", "worst device", "peak", "wait, s", "dropped", "places, %")
    )
    for score, style in _ranked(evaluation):
        far = score.stretch
        assert far is not None
        near = [seconds(score.mean_age.estimate), interval(score.mean_age)]
        ages.add_row(*map(text, [*_age_cells(score), *near]), style=style)
        rule = score.rules if score.relative else score.label
        authors = None if score.authors is None else score.authors.estimate
        numbers = [far.authors_age.estimate, authors, far.worst_age.estimate, far.peak_age, far.mean_wait]
        cells = [rule, *map(seconds, numbers), percent(far.drop_rate), places(far.server_shares)]
        details.add_row(*map(text, cells), style=style)
    if evaluation.optimum is not None:
        ages.add_section()
        ages.add_row(target_name(evaluation), seconds(evaluation.target), "", *_gap_cells(evaluation), style="green")
    return [ages, details, *([] if game.exploitability is None else [_nash_table(game, game.exploitability)])]


def _nash_table(game: Game, check: Exploitability) -> Any:
    """What every sampled device could gain, and what the scripted pair offers."""
    text = require("rich.text", "cli").Text
    table = make_table(
        f"deviating alone: {check.n_seeds} fresh seeds × {check.horizon:g} s after a screening of {check.screened}",
        ("device", "age, s", "95 %", "gain", "95 %", "what it plays"),
    )
    for row in check.devices:
        gain = [percent(row.gain.estimate), share_interval(row.gain)]
        name = ", ".join(map(str, row.devices))
        table.add_row(*map(text, [name, seconds(row.age.estimate), interval(row.age), *gain, row.played]))
    table.add_section()
    for name, found in (("mean", check.mean), ("maximum", check.maximum)):
        table.add_row(*map(text, [name, "", "", percent(found.estimate), share_interval(found), ""]), style="bold cyan")
    for reference in game.references:
        gain = [percent(reference.mean.estimate), share_interval(reference.mean)]
        table.add_row(*map(text, [f"all: {reference.label}", "", "", *gain, ""]))
    return table


def _age_cells(score: Score) -> list[str]:
    change = signed(score.against.estimate) if score.against else ""
    age = score.age
    return [score.label, seconds(age.estimate), interval(age), change, interval(score.against, relative=True)]


def _detail_cells(score: Score) -> list[str]:
    return [
        score.rules if score.relative else score.label,
        seconds(score.authors_age),
        seconds(score.peak_age),
        seconds(score.mean_wait),
        percent(score.drop_rate),
        places(score.server_shares),
    ]


def _gap_cells(evaluation: Evaluation) -> list[str]:
    if evaluation.gap is None:
        return []
    return [signed(evaluation.gap.estimate), interval(evaluation.gap, relative=True)]
