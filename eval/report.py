"""``report.html``: one self-contained page drawn from what the run folder holds.

Everything is inside the file (styles, figures as inline SVG); it opens from disk and asks for nothing. Drawing it again
needs neither the policy nor the environment.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..envs.core.extras import require
from ..train import atomic
from ..train.run_folder import RunFolder, open_run, read_metrics
from . import figures, results
from .results import Estimate, Evaluation, Score

FILE_NAME = "report.html"
_BAR_LIMIT = 3.5  # bars end at this multiple of the learner's age; longer ones are shown as cut
_FIGURE_ROWS = 5  # scripted policies shown in figures: the best ones
_LEVEL = 0.01  # within this relative difference the learner counts as good as a scripted policy
_NOTHING = "–"


@dataclass(frozen=True)
class Figure:
    """One figure of the page: its inline SVG and the caption under it."""

    name: str
    svg: str
    title: str
    caption: str
    wide: bool = False


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
    text: str = environment.get_template("report.html.j2").render(
        run=run,
        config=run.config,
        evaluation=evaluation,
        css=(folder / "report.css").read_text(encoding="utf-8"),
        verdict=verdict(evaluation),
        target_name=target_name(evaluation),
        table=_table(evaluation),
        sections=_sections(evaluation, rows),
        settings=_flatten(run.record.get("config", {})),
        provenance=_provenance(run, evaluation),
    )
    return text


def seconds(value: float | None) -> str:
    """A number of seconds without the unit: four decimals below one second, else four significant digits."""
    if value is None:
        return _NOTHING
    return f"{value:.4f}" if abs(value) < 1 else f"{value:#.4g}"


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return _NOTHING if value is None else f"{100 * value:.1f} %"


def places(shares: list[float | None]) -> str:
    """Shares of the places in percent, at most four of them."""
    shown = " / ".join(_NOTHING if share is None else f"{100 * share:.0f}" for share in shares[:4])
    return shown + (" …" if len(shares) > 4 else "")


def signed(value: float | None) -> str:
    """A relative difference with its sign, finer where it is small."""
    if value is None:
        return _NOTHING
    digits = 2 if abs(value) < 0.1 else 1 if abs(value) < 1 else 0
    return f"{100 * value:+.{digits}f} %".replace("-", "−")


def interval(estimate: Estimate | None, relative: bool = False) -> str:
    """An interval in brackets (percentages share one sign at its end); empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    if not relative:
        return f"[{seconds(estimate.low)}, {seconds(estimate.high)}]"
    low, high = (signed(end).removesuffix(" %") for end in (estimate.low, estimate.high))
    return f"[{low}, {high}] %"


def target_name(evaluation: Evaluation) -> str:
    """What the learner's age is held against: the optimum itself, or only a bound on it."""
    if evaluation.optimum is None:
        return "optimum"
    return "lower bound" if evaluation.optimum.value is None else "optimum"


def gap(evaluation: Evaluation) -> float | None:
    """The learner's mean age over the optimum (or its bound), minus 1; integrated where that is possible."""
    if evaluation.quadrature is not None:
        return evaluation.quadrature.gap
    return None if evaluation.gap is None else evaluation.gap.estimate


def verdict(evaluation: Evaluation) -> dict[str, str]:
    """The result in one sentence, and how it should look: ``good``, ``plain`` or ``bad``."""
    zero = evaluation.baseline(evaluation.zero_wait)
    best = evaluation.baseline(evaluation.best)
    assert zero.relative is not None
    assert best.relative is not None
    if evaluation.worse_than_zero_wait:
        text = f"The learner loses to “{zero.label}”: its mean age is {_compared(zero.relative.estimate)} it."
        return {"tone": "bad", "text": text}
    parts = []
    above = gap(evaluation)
    if above is not None:
        name = "proven lower bound" if target_name(evaluation) == "lower bound" else "optimum"
        parts.append(f"{_compared(above)} the {name}")
    parts.append(f"{_compared(zero.relative.estimate)} “{zero.label}”")
    if best.label != zero.label:
        parts.append(f"{_compared(best.relative.estimate)} the best scripted policy, “{best.label}”")
    tone = "good" if best.relative.estimate <= _LEVEL else "plain"
    return {"tone": tone, "text": f"Mean age {seconds(evaluation.age)} s: {'; '.join(parts)}."}


def _compared(difference: float) -> str:
    """A relative difference in words: ``5.01 % below``."""
    if abs(difference) < 5e-5:
        return "level with"
    return f"{signed(abs(difference)).removeprefix('+')} {'above' if difference > 0 else 'below'}"


def _table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Rows of the comparison, the learner among them, in the order of their age."""
    limit = _BAR_LIMIT * evaluation.learner.mean_age.estimate
    scores = sorted([evaluation.learner, *evaluation.baselines], key=lambda score: score.mean_age.estimate)
    top = max(min(score.mean_age.high or score.mean_age.estimate, limit) for score in scores)
    target = evaluation.target

    def place(value: float) -> float:
        return round(100.0 * min(max(value / top, 0.0), 1.0), 2)

    def row(score: Score) -> dict[str, Any]:
        age = score.mean_age
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


def _series(rows: list[dict[str, Any]], *keys: str) -> tuple[list[float], list[float]]:
    """Steps and values of the first of these metrics that the rows hold; empty if none."""
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float) and "step" in row]
        if points:
            return [float(step) for step, _ in points], [float(value) for _, value in points]
    return [], []


def _sections(evaluation: Evaluation, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures by section; one without data is left out and its place says why."""
    from markupsafe import Markup  # comes with jinja2

    name, target = target_name(evaluation), evaluation.target
    zero = evaluation.baseline(evaluation.zero_wait).mean_age.estimate
    learning: list[Figure] = []
    steps, ages = _series(rows, "evaluation/mean_age")
    subject = "the greedy policy at every checkpoint"
    if not steps:  # checkpoints were not scored
        steps, ages = _series(rows, "measured_ratio", "fractional/measured_ratio")
        subject = "the exploring policy during training"
    if steps:
        learning.append(
            Figure(
                "learning",
                Markup(figures.learning_curve(steps, ages, target, name, zero)),
                "Learning curve",
                f"Mean age (s) of {subject}, against training decisions. Dashed: the {name}; dotted: never waiting.",
            )
        )
    steps, ratios = _series(rows, "ratio", "fractional/ratio")
    if steps:
        learning.append(
            Figure(
                "ratio",
                Markup(figures.ratio_trajectory(steps, ratios, target, name)),
                "Ratio coefficient",
                "The price λ (s) of a second of time in the reward −(cost − λ · duration). Dinkelbach's outer loop "
                f"moves it; at the solution it equals the mean age. Dashed: the {name}.",
            )
        )
    policy = [
        Figure(
            "wait",
            Markup(figures.wait_response(evaluation.response)),
            "Wait",
            "Chosen wait (s) after a completion, against the delay (s) of the completed task"
            + (", at queue lengths met in the episode." if evaluation.response.n_edges else ".")
            + " Dots: decisions of the recorded episode."
            + (" Dashed: the proven optimal rule." if evaluation.response.optimal_waits else ""),
        )
    ]
    if evaluation.response.servers:
        policy.append(
            Figure(
                "server",
                Markup(figures.server_response(evaluation.response)),
                "Server",
                "Where the task goes, by the number of tasks at the edges (L: the device itself). "
                + evaluation.response.note,
            )
        )
        shares = {
            score.label: score.server_shares for score in (evaluation.learner, *evaluation.baselines[:_FIGURE_ROWS])
        }
        policy.append(
            Figure(
                "shares",
                Markup(figures.server_shares(shares)),
                "Server shares",
                "Share of every place in the choices of the learning device, all evaluation seeds.",
            )
        )
    close = [score for score in evaluation.baselines if abs(score.relative.estimate if score.relative else 1.0) < 0.5]
    close = close[:_FIGURE_ROWS] or evaluation.baselines[:_FIGURE_ROWS]  # a far one would squeeze the others
    ours = evaluation.learner.per_seed
    differences = {score.label: [a / b - 1.0 for a, b in zip(ours, score.per_seed, strict=True)] for score in close}
    policy.append(
        Figure(
            "seeds",
            Markup(figures.seed_differences(differences)),
            "Seed by seed",
            "Learner's mean age over each scripted policy's on the same seed, minus 1: one dot per seed, bar at the "
            "mean. Left of zero the learner is better.",
        )
    )
    episode = [
        Figure(
            "sawtooth",
            Markup(figures.sawtooth(evaluation.trace, evaluation.learner.mean_age.estimate)),
            "Age",
            f"Age (s) of device {evaluation.trace.device} over {evaluation.trace.end - evaluation.trace.start:.0f} s: "
            "it falls to the delay of each completed task and grows by one second per second in between.",
            wide=True,
        ),
        Figure(
            "queues",
            Markup(figures.queue_timeline(evaluation.trace)),
            "Queues" if evaluation.response.n_edges else "Activity",
            "Tasks at each edge over the same stretch, the one in service included."
            if evaluation.response.n_edges
            else "The system has no edge and no queue: the device waits (grey) or computes.",
            wide=True,
        ),
    ]
    return [
        {"id": "learning", "title": "Learning", "figures": learning, "empty": "No metrics were recorded."},
        {"id": "policy", "title": "What it learned", "figures": policy, "empty": ""},
        {"id": "episode", "title": "One greedy episode", "figures": episode, "empty": ""},
    ]


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


def _provenance(run: RunFolder, evaluation: Evaluation) -> list[tuple[str, str]]:
    """Where the numbers come from: revisions, seeds, versions, hardware, commands."""
    record = run.record
    pairs = [
        ("trained", str(record.get("created", _NOTHING))),
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
        ("evaluation time", f"{evaluation.seconds:.1f} s"),
    ]
    if evaluation.optimum is not None:
        pairs.append((target_name(evaluation), f"{evaluation.optimum.method} ({evaluation.optimum.seconds:.3g} s)"))
    for group in ("seeds", "hardware", "versions"):
        entries = record.get(group)
        if isinstance(entries, dict):
            pairs.append((group, ", ".join(f"{key} {value}" for key, value in entries.items())))
    return pairs
