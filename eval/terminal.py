"""The evaluation as a table in the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..envs.core.extras import require
from .console import stdout_console
from .report import interval, percent, places, seconds, signed, target_name, verdict
from .results import Evaluation, Score

_STYLES = {"good": "green", "plain": "bold", "bad": "bold red"}


@contextlib.contextmanager
def status(doing: str = "evaluating") -> Iterator[Callable[[str], None]]:
    """Show what an evaluation is computing while it runs; silent where the output is not a terminal.

    Args:
        doing: the word in front of what is shown.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = require("rich.console", "cli").Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status(doing) as shown:
        yield lambda text: shown.update(f"{doing} {text}")


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
    scores = sorted([evaluation.learner, *evaluation.baselines], key=lambda score: score.mean_age.estimate)
    ages = _table(
        f"{evaluation.whose}, {evaluation.n_seeds} seeds × {evaluation.horizon:g} s, {evaluation.decision} decisions",
        ("policy", "age, s", "95 %", "learner", "against it"),
    )
    details = _table("", ("rule", "papers'", "peak", "wait, s", "dropped", "places, %"))
    for score in scores:
        ours = score is evaluation.learner
        style = "" if not ours else "bold red" if evaluation.worse_than_zero_wait else "bold cyan"
        ages.add_row(*map(text, _age_cells(score)), style=style)
        details.add_row(*map(text, _detail_cells(score)), style=style)
    if evaluation.optimum is not None:
        ages.add_section()
        ages.add_row(target_name(evaluation), seconds(evaluation.target), "", *_gap_cells(evaluation), style="green")
    console.print(ages)
    console.print(details)
    if evaluation.quadrature is not None:
        line = f"learned wait integrated over the service law: mean age {evaluation.quadrature.mean_age:.6f} s"
        console.print(text(f"{line} ({signed(evaluation.quadrature.gap)} from the optimum)"))
    result = verdict(evaluation)
    console.print(text(result["text"], style=_STYLES[result["tone"]]))


def _table(title: str, headers: tuple[str, ...]) -> Any:
    box = require("rich.box", "cli").SIMPLE_HEAD
    table = require("rich.table", "cli").Table(title=title or None, title_justify="left", box=box, padding=(0, 1, 0, 0))
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=True)
    return table


def _age_cells(score: Score) -> list[str]:
    change = signed(score.relative.estimate) if score.relative else ""
    age = score.mean_age
    return [score.label, seconds(age.estimate), interval(age), change, interval(score.relative, relative=True)]


def _detail_cells(score: Score) -> list[str]:
    return [
        f"{score.server}, {score.wait}" if score.relative else score.label,
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
