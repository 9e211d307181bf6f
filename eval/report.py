"""``report.html``: one self-contained page drawn from what the run folder holds.

Everything is inside the file (styles, figures as inline SVG); it opens from disk and asks for nothing. Drawing it again
needs neither the policy nor the environment.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..envs.core.extras import require
from ..train import atomic
from ..train.run_folder import RunFolder, open_run, read_metrics
from . import results
from .formats import NOTHING, interval, percent, places, seconds, share_interval, signed
from .report_sections import sections
from .results import Evaluation, Score
from .verdicts import target_name, verdict

FILE_NAME = "report.html"
_BAR_LIMIT = 3.5  # bars end at this multiple of the learner's age; longer ones are shown as cut


def require_drawing() -> None:
    """Make sure that a report can be drawn; called before an evaluation, which takes much longer.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    require("jinja2", "eval")
    require("matplotlib", "eval")


def write_report(run_dir: str | Path) -> Path:
    """Draw the report of an evaluated run from its stored data.

    Args:
        run_dir: a run folder that holds ``evaluation.json``.

    Returns:
        Path of ``report.html``.

    Raises:
        CheckpointError: no run folder, or not evaluated yet, or a damaged file.
        MissingExtraError: jinja2 or matplotlib is not installed.
        StorageError: the report could not be written; an earlier one is unchanged.
    """
    run = open_run(run_dir)
    evaluation = results.read(run.path)
    rows = read_metrics(run.metrics) if run.metrics.is_file() else []
    path = run.path / FILE_NAME
    atomic.write_file(path, render(run, evaluation, rows).encode())
    return path


def render(run: RunFolder, evaluation: Evaluation, rows: list[dict[str, Any]]) -> str:
    """The page as text.

    Args:
        run: the run folder (its ``run.json`` is shown).
        evaluation: what to report.
        rows: rows of ``metrics.jsonl``.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    jinja2 = require("jinja2", "eval")
    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=seconds, percent=percent, signed=signed, interval=interval, places=places)
    environment.filters.update(shares=share_interval)
    text: str = environment.get_template("report.html.j2").render(
        run=run,
        config=run.config,
        evaluation=evaluation,
        css=(folder / "report.css").read_text(encoding="utf-8"),
        verdict=verdict(evaluation),
        target_name=target_name(evaluation),
        table=_table(evaluation),
        sections=sections(evaluation, rows),
        settings=_flatten(run.record.get("config", {})),
        provenance=_provenance(run, evaluation),
    )
    return text


def _table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Rows of the comparison, the learner among them, in the order of their age."""
    limit = _BAR_LIMIT * evaluation.learner.age.estimate
    scores = sorted([evaluation.learner, *evaluation.baselines], key=lambda score: score.age.estimate)
    top = max(min(score.age.high or score.age.estimate, limit) for score in scores)
    target = evaluation.target

    def place(value: float) -> float:
        return round(100.0 * min(max(value / top, 0.0), 1.0), 2)

    def row(score: Score) -> dict[str, Any]:
        age = score.age
        low, high = (age.estimate if end is None else end for end in (age.low, age.high))
        return {
            "score": score,
            "learner": score is evaluation.learner,
            "bar": place(age.estimate),
            "low": place(low),
            "span": round(max(place(high) - place(low), 0.0), 2),
            "cut": age.estimate > top,
            "target": None if target is None else place(target),
        }

    return [row(score) for score in scores]


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names; fields left at the preset's value (None) are skipped."""
    if isinstance(value, dict):
        return [
            pair for key, entry in value.items() for pair in _flatten(entry, f"{prefix}.{key}" if prefix else str(key))
        ]
    if value is None:
        return []
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _revision(git: Any) -> str:
    if not isinstance(git, dict) or "commit" not in git:
        return "not a source checkout"
    return f"{git['commit']}{' with local changes' if git.get('changed') else ''}"


def _game_provenance(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The seeds of a game's long stretch, and how its Nash check was done."""
    game = evaluation.game
    if game is None:
        return []
    first, count = game.stretch_first_seed, game.stretch_seeds
    pairs = [("stretch seeds", f"{first} + 0 … {count - 1}, {game.stretch_horizon:g} s each")]
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


def _provenance(run: RunFolder, evaluation: Evaluation) -> list[tuple[str, str]]:
    """Where the numbers come from: revisions, seeds, versions, hardware, commands."""
    record = run.record
    pairs = [
        ("trained", str(record.get("created", NOTHING))),
        ("training command", shlex.join(map(str, record.get("command", [])))),
        ("training revision", _revision(record.get("git"))),
        ("evaluated", evaluation.created),
        ("evaluation command", shlex.join(evaluation.command)),
        ("evaluation revision", _revision(evaluation.git)),
        ("checkpoint", evaluation.checkpoint),
        (
            "evaluation seeds",
            f"{evaluation.first_seed} + 0 … {evaluation.n_seeds - 1}, {evaluation.horizon:g} s each",
        ),
        *_game_provenance(evaluation),
        ("evaluation time", f"{evaluation.seconds:.1f} s"),
    ]
    if evaluation.optimum is not None:
        pairs.append((target_name(evaluation), f"{evaluation.optimum.method} ({evaluation.optimum.seconds:.3g} s)"))
    for group in ("seeds", "hardware", "versions"):
        entries = record.get(group)
        if isinstance(entries, dict):
            pairs.append((group, ", ".join(f"{key} {value}" for key, value in entries.items())))
    return pairs
