"""Running one cell: train or continue, then evaluate; what is finished is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...envs.core.errors import CheckpointError
from ...train.config import TrainConfig
from ...train.progress import Progress, Silent
from ...train.run_folder import RunFolder, open_run
from ...train.trainer import resume, train
from .. import results
from ..evaluate import evaluate_run, score_checkpoint
from .plan import Cell


def is_finished(cell: Cell, out: Path) -> bool:
    """Whether a cell is trained to the end and evaluated, with the Nash check where it is asked for.

    Raises:
        CheckpointError: its folder holds something else.
    """
    folder = cell.folder(out)
    if not folder.exists():
        return False
    run = same_run(cell.config, folder)
    return "result" in run.record and _is_evaluated(cell, folder)


def run_cell(
    cell: Cell,
    out: Path,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    command: list[str] | None = None,
) -> None:
    """Bring a cell to its end from wherever it is.

    Args:
        cell: what to run.
        out: folder of the study.
        progress: where the training reports; None is silent.
        tell: told, in a few words, what the evaluation is computing.
        command: the command line for the record; None takes ``sys.argv``.

    Raises:
        CheckpointError: its folder holds something else, or is damaged.
        EdgewiseError: what training and evaluation raise.
    """
    folder, shown = cell.folder(out), progress or Silent()
    if folder.exists():
        same_run(cell.config, folder)
        resume(folder, evaluator=score_checkpoint, progress=shown)
    else:
        train(cell.config, folder, evaluator=score_checkpoint, progress=shown, command=command)
    if not _is_evaluated(cell, folder):
        evaluate_run(folder, nash=cell.nash, game=cell.evaluation, command=command, progress=tell)


def same_run(config: TrainConfig, folder: Path) -> RunFolder:
    """The run in a folder, which must have this configuration.

    Raises:
        CheckpointError: it has another one, or there is no run.
    """
    run = open_run(folder)
    if run.config != config:
        field = _first_difference(run.config.model_dump(), config.model_dump())
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


def _is_evaluated(cell: Cell, folder: Path) -> bool:
    if not (folder / results.FILE_NAME).is_file():
        return False
    game = results.read(folder).game
    return game is not None and (game.exploitability is not None or not cell.nash)
