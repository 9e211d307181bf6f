"""Running one cell: train or continue, then evaluate; what is finished is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....train.progress import Progress, Silent
from ...evaluate import evaluate_run
from ...results import FILE_NAME
from ...study.training import same_run, train_cell
from .. import results
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
    folder = cell.folder(out)
    train_cell(cell.config, folder, progress=progress or Silent(), command=command)
    if not _is_evaluated(cell, folder):
        evaluate_run(folder, nash=cell.nash, game=cell.evaluation, command=command, progress=tell)


def _is_evaluated(cell: Cell, folder: Path) -> bool:
    if not (folder / FILE_NAME).is_file():
        return False
    game = results.read(folder).game
    return game is not None and (game.exploitability is not None or not cell.nash)
