"""``report.html``: one self-contained page drawn from what the run folder holds.

Everything is inside the file (styles, figures as inline SVG); it opens from disk and asks for nothing. Drawing it again
needs neither the policy nor the environment.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..envs.core.extras import require
from ..train import atomic
from ..train.run_folder import RunFolder, open_run, read_metrics
from . import families, results
from .formats import NOTHING, revision
from .pages import fill
from .results import AnyEvaluation

FILE_NAME = "report.html"


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
    family = families.of(run.config)
    evaluation = results.read_as(family.evaluation, run.path)
    rows = read_metrics(run.metrics) if run.metrics.is_file() else []
    path = run.path / FILE_NAME
    atomic.write_file(path, family.page(run, evaluation, rows).encode())
    return path


def redraw_report(run_dir: str | Path) -> Path:
    """Draw the report of an earlier evaluation again; see `write_report`.

    Raises:
        CheckpointError: the training has left the evaluated checkpoint behind, and as `write_report`.
    """
    run = open_run(run_dir)
    evaluation = results.read_as(families.of(run.config).evaluation, run.path)
    results.check_checkpoint(run, evaluation.checkpoint)
    return write_report(run_dir)


def render_page(
    template: str,
    run: RunFolder,
    evaluation: AnyEvaluation,
    filters: Mapping[str, Callable[..., Any]],
    provenance: list[tuple[str, str]],
    **context: Any,
) -> str:
    """Fill a family's template, which extends ``report.html.j2``.

    Args:
        template: file name.
        run: the run folder (its ``run.json`` is shown).
        evaluation: what to report.
        filters: of the template, by name.
        provenance: what the family adds to where the numbers come from.
        **context: what the template reads besides ``run``, ``config`` and ``evaluation``; ``verdict`` is required, a
            mapping of ``text`` and ``tone`` (good, plain or bad).

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return fill(
        template,
        filters,
        run=run,
        config=run.config,
        evaluation=evaluation,
        settings=_flatten(run.record.get("config", {})),
        provenance=_provenance(run, evaluation, provenance),
        **context,
    )


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names; fields left at the preset's value (None) are skipped."""
    if isinstance(value, dict):
        return [
            pair for key, entry in value.items() for pair in _flatten(entry, f"{prefix}.{key}" if prefix else str(key))
        ]
    if value is None:
        return []
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _provenance(run: RunFolder, evaluation: AnyEvaluation, added: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Where the numbers come from: revisions, seeds, versions, hardware, commands."""
    record, unit = run.record, run.config.env.time_unit
    pairs = [
        ("trained", str(record.get("created", NOTHING))),
        ("training command", shlex.join(map(str, record.get("command", [])))),
        ("training revision", revision(record.get("git"))),
        ("evaluated", evaluation.created),
        ("evaluation command", shlex.join(evaluation.command)),
        ("evaluation revision", revision(evaluation.git)),
        ("checkpoint", evaluation.checkpoint),
        (
            "evaluation seeds",
            f"{evaluation.first_seed} + 0 … {evaluation.n_seeds - 1}, {evaluation.horizon:g} {unit} each",
        ),
        *added,
        ("evaluation time", f"{evaluation.seconds:.1f} s"),
    ]
    for group in ("seeds", "hardware", "versions"):
        entries = record.get(group)
        if isinstance(entries, dict):
            pairs.append((group, ", ".join(f"{key} {value}" for key, value in entries.items())))
    return pairs
