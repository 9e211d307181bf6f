"""What every evaluation says of itself, and ``evaluation.json`` in the run folder, from which the report is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from ..envs.core.errors import CheckpointError, StorageError
from ..train import atomic
from ..train.checkpoint import folder_name, steps
from ..train.run_folder import RunFolder
from .estimates import FINITE

FILE_NAME = "evaluation.json"
EvaluationT = TypeVar("EvaluationT", bound=BaseModel)


class AnyEvaluation(BaseModel):
    """What evaluations of all families say of themselves.

    Attributes:
        format: version of this file.
        checkpoint: name of the evaluated checkpoint folder.
        created: when, UTC.
        command: the command line.
        git: revision of the source, where there is a checkout.
        seconds: how long it took.
        first_seed, n_seeds: the evaluation seeds are first_seed + 0 ... n_seeds - 1 (disjoint from training's).
        horizon: length of each evaluation episode, in the environment's unit of time.
    """

    model_config = FINITE
    format: Literal[1] = 1
    checkpoint: str
    created: str
    command: list[str]
    git: dict[str, Any] | None
    seconds: float
    first_seed: int
    n_seeds: int
    horizon: float


def write(run_dir: Path, evaluation: AnyEvaluation) -> Path:
    """Write ``evaluation.json`` atomically and return its path.

    Raises:
        StorageError: it could not be written; an earlier one is unchanged.
    """
    path = run_dir / FILE_NAME
    atomic.write_json(path, evaluation.model_dump(mode="json"))
    return path


def check_checkpoint(run: RunFolder, name: str) -> None:
    """Refuse an evaluation of a checkpoint that a run no longer keeps: its training went on after it.

    Raises:
        CheckpointError: so it is.
    """
    kept = [folder_name(step) for step in steps(run.checkpoints)]
    if kept and name not in kept:
        raise CheckpointError(
            f"{run.path / FILE_NAME}: is of {name}, but the training went on and keeps {', '.join(kept)}; "
            f"run  edgewise evaluate {run.path}  again"
        )


def read_as(kind: type[EvaluationT], run_dir: Path, file_name: str = FILE_NAME) -> EvaluationT:
    """Read ``evaluation.json`` of a family, or another file of results.

    Raises:
        CheckpointError: there is none yet, or it is damaged.
        StorageError: it cannot be read.
    """
    path = run_dir / file_name
    if not path.is_file():
        raise CheckpointError(f"{path}: not evaluated yet; run  edgewise evaluate {run_dir}  first")
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise CheckpointError(f"{path}: {field}: {first['msg']}; evaluate the run again") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from None
