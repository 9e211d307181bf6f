"""Training one cell of a study, from wherever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...envs.core.errors import CheckpointError
from ...train.config import TrainConfig
from ...train.progress import Progress
from ...train.run_folder import RunFolder, open_run
from ...train.trainer import RunResult, resume, train
from ..evaluate import score_checkpoint


def train_cell(config: TrainConfig, folder: Path, *, progress: Progress, command: list[str] | None = None) -> RunResult:
    """Train a configuration to its end; what is there of it continues, and a finished run is left as it is.

    Args:
        config: what to train.
        folder: the run folder.
        progress: where the training reports.
        command: the command line for the record of a new run; None takes ``sys.argv``.

    Raises:
        CheckpointError: the folder holds something else, or is damaged.
        EdgewiseError: what training raises.
    """
    if folder.exists():
        same_run(config, folder)
        return resume(folder, evaluator=score_checkpoint, progress=progress)
    return train(config, folder, evaluator=score_checkpoint, progress=progress, command=command)


def same_run(config: TrainConfig, folder: Path) -> RunFolder:
    """The run in a folder, which must have this configuration.

    Raises:
        CheckpointError: it has another one, or there is no run.
    """
    run = open_run(folder)
    old, new = run.config.model_dump(), config.model_dump()
    if old != new:
        field = _first_difference(old, new)
        raise CheckpointError(
            f"{folder}: holds a run with another configuration ({field}); choose another folder or delete it"
        )
    return run


def _first_difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    """Path of the first field in which two configurations differ, with both values."""
    name = next(name for name in (*old, *new) if old.get(name) != new.get(name))
    one, two = old.get(name), new.get(name)
    if isinstance(one, dict) and isinstance(two, dict):
        return _first_difference(one, two, f"{prefix}{name}.")
    return f"{prefix}{name}: {one!r} there, {two!r} now"
