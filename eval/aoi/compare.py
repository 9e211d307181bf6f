"""Several evaluated runs in one table: learned policies, grouped over training seeds, beside the scripted ones.

Runs of one configuration differ in their seed only and form one row, whose interval resamples the runs. All runs must
have met the same system; the scripted policies of all their evaluations are pooled.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ...envs.core.errors import InvalidInputError
from ...train import atomic
from ...train.environments import AoIEnvConfig
from ...train.run_folder import RunFolder, git_revision, open_run
from ..estimates import FINITE, Estimate, estimate
from ..results import check_checkpoint
from . import results
from .game import drop_name
from .results import Evaluation, Score

JSON_NAME = "comparison.json"

Pair = tuple[RunFolder, Evaluation]


class Row(BaseModel):
    """A policy, learned in one or several runs, or scripted.

    Attributes:
        label: configuration name, or the baseline's.
        kind: ``learned`` or ``scripted``.
        rule: algorithm and objective of a learner; the rules of a scripted policy.
        seeds: training seeds of the runs; empty for a scripted policy.
        runs: their folders.
        age: mean age over the longest horizon, s: mean over runs with a 95 % interval over runs, over evaluation seeds
            for a single run or a scripted policy.
        median: median over runs of the same, s.
        episodes: mean age over the evaluation's episodes, s.
        authors_age, authors_episodes: both by the papers' estimator, s; None where it was not measured.
        worst_age: worst device, s; None for one learning device.
        gain, greatest_gain: of a device that deviates alone, mean and maximum over devices; None if not measured.
        mean_wait: s.
        drop_rate: dropped share of the attempts.
        training_seconds: mean over runs; None for a scripted policy.
        decisions_per_second: of the training, learning included.
    """

    model_config = FINITE
    label: str
    kind: str
    rule: str
    seeds: list[int]
    runs: list[str]
    age: Estimate
    median: float
    episodes: Estimate
    authors_age: Estimate | None
    authors_episodes: Estimate | None
    worst_age: Estimate | None
    gain: Estimate | None
    greatest_gain: Estimate | None
    mean_wait: float | None
    drop_rate: float | None
    training_seconds: float | None
    decisions_per_second: float | None


class Comparison(BaseModel):
    """The table.

    Attributes:
        system: the common system, in words.
        whose: whose age is measured.
        horizon, long_horizon: of episodes and, in games, of the stretch, s.
        optimum: certified optimum or bound, s; None where the runs differ in it or none is known.
        bound_only: whether it is only a bound.
        rows: all policies, lowest age first.
        command: the command line.
        git: revision of the source, where there is a checkout.
    """

    model_config = FINITE
    system: str
    whose: str
    horizon: float
    long_horizon: float | None
    optimum: float | None
    bound_only: bool
    rows: list[Row]
    command: list[str]
    git: dict[str, Any] | None


def compare(runs: Sequence[str | Path], command: list[str] | None = None) -> Comparison:
    """Merge evaluated runs into one table.

    Args:
        runs: run folders with an ``evaluation.json``.
        command: the command line for the record; None takes ``sys.argv``.

    Raises:
        CheckpointError: no run folder, or not evaluated yet.
        InvalidInputError: no run, one given twice (a copy counts), one of another family, or runs of different systems
            or horizons.
    """
    pairs: list[Pair] = []
    for path in runs:
        if any(Path(path).resolve() == run.path.resolve() for run, _ in pairs):
            raise InvalidInputError(f"{path} is given twice")
        run = open_run(path)
        if not isinstance(run.config.env, AoIEnvConfig):
            raise InvalidInputError(
                f"{path}: only runs of age-minimal offloading are compared, got {run.config.env.id}"
            )
        evaluation = results.read(run.path)
        check_checkpoint(run, evaluation.checkpoint)
        pairs.append((run, evaluation))
    if not pairs:
        raise InvalidInputError("RUN is missing: give the folders of evaluated runs")
    for pair in pairs[1:]:
        _check_same(pairs[0], pair)
    first = pairs[0][1]
    rows = [*(_learned(label, group) for label, group in _groups(pairs)), *_scripted(pairs)]
    return Comparison(
        system=_system(pairs[0]),
        whose=first.whose,
        horizon=first.horizon,
        long_horizon=first.game.stretch_horizon if first.game else None,
        optimum=first.target,
        bound_only=first.optimum is not None and first.optimum.value is None,
        rows=sorted(rows, key=lambda row: row.age.estimate),
        command=sys.argv if command is None else command,
        git=git_revision(),
    )


def _identity(pair: Pair) -> dict[str, Any]:
    """What runs must share to stand in one table."""
    run, evaluation = pair
    env, game = run.config.env_as(AoIEnvConfig), evaluation.game
    shared = {"environment": env.id, "evaluation horizon": evaluation.horizon, **env.params().model_dump()}
    if game is not None:
        return shared | {"stretch": game.stretch_horizon}
    names = ("decision", "objective", "background", "background_wait")
    return shared | {name: getattr(env, name) for name in names}


def _check_same(first: Pair, other: Pair) -> None:
    one, two = _identity(first), _identity(other)
    for name in one:
        if one[name] != two.get(name):
            raise InvalidInputError(
                f"{other[0].path} cannot stand beside {first[0].path}: {name} is {two.get(name)!r}, not {one[name]!r}"
            )


def _system(pair: Pair) -> str:
    params = pair[0].config.env_as(AoIEnvConfig).params()
    edges = f"{params.n_edges} edge{'s' if params.n_edges != 1 else ''}"
    devices = f"{params.n_devices} device{'s' if params.n_devices != 1 else ''}"
    return f"{devices}, {edges}, {params.service} service, drop mode {drop_name(params)}"


def _groups(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    """Runs that differ in their seed only, under a label of their own."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        group = groups.setdefault(pair[0].config.model_dump_json(exclude={"seed"}), [])
        twin = next((run for run, _ in group if run.config.seed == pair[0].config.seed), None)
        if twin is not None:
            raise InvalidInputError(f"{pair[0].path} is {twin.path} once more: same configuration, same seed")
        group.append(pair)
    labelled: dict[str, list[Pair]] = {}
    for group in groups.values():
        name = label = group[0][0].config.name
        count = 2
        while label in labelled:
            label, count = f"{name} ({count})", count + 1
        labelled[label] = group
    return list(labelled.items())


def _over_runs(found: Sequence[Estimate | None]) -> Estimate | None:
    """Mean over runs with an interval over runs; a single run keeps its own interval; None if a run lacks it."""
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        return None
    if len(known) == 1:
        return known[0]
    return estimate([np.array([value.estimate for value in known])])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _learned(label: str, group: list[Pair]) -> Row:
    """One row for the runs of a configuration."""
    config = group[0][0].config
    scores = [evaluation.learner for _, evaluation in group]
    checks = [evaluation.game.exploitability if evaluation.game else None for _, evaluation in group]
    outcomes = [run.record.get("result") for run, _ in group]
    costs = [(float(r["seconds"]), float(r["step"])) for r in outcomes if isinstance(r, dict)]
    # a lone device's wait is integrated over the service law, without an interval
    exact = [evaluation.quadrature for _, evaluation in group]
    ages = [
        score.age if q is None else Estimate(estimate=q.mean_age, low=None, high=None, confidence=0.95, n=1)
        for score, q in zip(scores, exact, strict=True)
    ]
    env = config.env_as(AoIEnvConfig)
    objective = f", {env.objective}" if env.params().n_devices > 1 else ""
    return _row(
        label,
        "learned",
        f"{config.learner.algorithm}{objective}",
        scores,
        _over_runs,
        age=_present(_over_runs(ages)),
        median=statistics.median(age.estimate for age in ages),
        seeds=[run.config.seed for run, _ in group],
        runs=[str(run.path) for run, _ in group],
        gain=_over_runs([check.mean if check else None for check in checks]),
        greatest_gain=_over_runs([check.maximum if check else None for check in checks]),
        training_seconds=_mean([seconds for seconds, _ in costs]),
        decisions_per_second=_mean([steps / max(seconds, 1e-9) for seconds, steps in costs]),
    )


def _present(value: Estimate | None) -> Estimate:
    assert value is not None
    return value


def _row(
    label: str,
    kind: str,
    rule: str,
    scores: list[Score],
    over: Callable[[list[Estimate | None]], Estimate | None],
    **own: Any,
) -> Row:
    """A row from the scores of several evaluations."""
    far = [score.stretch for score in scores]
    return Row(
        label=label,
        kind=kind,
        rule=rule,
        episodes=_present(over([score.mean_age for score in scores])),
        authors_age=over([stretch.authors_age if stretch else None for stretch in far]),
        authors_episodes=over([score.authors for score in scores]),
        worst_age=over([stretch.worst_age if stretch else None for stretch in far]),
        mean_wait=_mean([(stretch or score).mean_wait for stretch, score in zip(far, scores, strict=True)]),
        drop_rate=_mean([(stretch or score).drop_rate for stretch, score in zip(far, scores, strict=True)]),
        **own,
    )


def _scripted(pairs: Sequence[Pair]) -> list[Row]:
    """The scripted policies of all evaluations that met different seeds, pooled."""
    distinct = list({evaluation.first_seed: evaluation for _, evaluation in pairs}.values())
    checked = {e.first_seed: e.game.references for _, e in pairs if e.game and e.game.references}
    labels = dict.fromkeys(score.label for evaluation in distinct for score in evaluation.baselines)
    rows = []
    for label in labels:
        having = [e for e in distinct if any(score.label == label for score in e.baselines)]
        scores = [evaluation.baseline(label) for evaluation in having]
        rules = dict.fromkeys(score.rules for score in scores)
        checks = [check for references in checked.values() for check in references if check.label == label]
        pooled = np.concatenate([score.stretch.per_seed if score.stretch else score.per_seed for score in scores])
        rows.append(
            _row(
                label,
                "scripted",
                " or ".join(rules),
                scores,
                _over_runs,
                age=estimate([pooled]),
                median=float(np.median(pooled)),
                seeds=[],
                runs=[],
                gain=_over_runs([check.mean for check in checks]) if checks else None,
                greatest_gain=_over_runs([check.maximum for check in checks]) if checks else None,
                training_seconds=None,
                decisions_per_second=None,
            )
        )
    return rows


def write(comparison: Comparison, out: Path) -> list[Path]:
    """Write the table as JSON, Markdown and a self-contained page, each atomically.

    Args:
        comparison: the table.
        out: folder to write into; it is made.

    Returns:
        The three paths.

    Raises:
        MissingExtraError: jinja2 is not installed.
        StorageError: a file could not be written.
    """
    from .compare_page import as_html, as_markdown

    page = as_html(comparison)  # before the first file: it may lack its library
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / JSON_NAME, out / "comparison.md", out / "comparison.html"]
    atomic.write_json(paths[0], comparison.model_dump(mode="json"))
    atomic.write_file(paths[1], as_markdown(comparison).encode())
    atomic.write_file(paths[2], page.encode())
    return paths
