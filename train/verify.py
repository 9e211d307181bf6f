"""Does a run folder say the truth? Hashes are recomputed and the beginning of the training is run again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..envs.core.errors import CheckpointError
from . import checkpoint
from .progress import Progress
from .run_folder import RunFolder, open_run, read_metrics, versions
from .trainer import train


@dataclass(frozen=True)
class Check:
    """One claim of a run folder and what came of it.

    Attributes:
        claim: what the folder says.
        holds: whether it is so.
        detail: recorded and found values.
    """

    claim: str
    holds: bool
    detail: str


def verify_run(path: str | Path, progress: Progress | None = None) -> list[Check]:
    """Check stored weights against recorded hashes, and repeat the training up to its first checkpoint.

    Training with remote workers is not repeated: what they do when depends on the machines.

    Args:
        path: the run folder; it is only read.
        progress: where the repetition reports.

    Raises:
        CheckpointError: no run folder, nothing saved in it yet, or something unreadable in it.
    """
    run = open_run(path)
    rows = read_metrics(run.metrics) if run.metrics.exists() else []
    recorded = {row["step"]: row["weights_sha256"] for row in rows if row.get("kind") == "checkpoint"}
    if not recorded:
        raise CheckpointError(f"{run.metrics}: no checkpoint was recorded yet, nothing to verify")
    repetition = [] if run.config.cluster.workers else [_repetition(run, recorded, progress)]
    return [*_stored(run, recorded), *_result(run, recorded), *repetition]


def _stored(run: RunFolder, recorded: dict[int, str]) -> list[Check]:
    checks = []
    for step in checkpoint.steps(run.checkpoints):
        name = checkpoint.folder_name(step)
        try:
            found = checkpoint.load(run.checkpoints / name, run.config.learner.algorithm).manifest.weights_sha256
        except CheckpointError as error:
            checks.append(Check(f"{name} is intact", False, str(error)))
            continue
        checks.append(_compare(f"{name} holds the weights recorded in metrics.jsonl", recorded.get(step), found))
    return checks


def _result(run: RunFolder, recorded: dict[int, str]) -> list[Check]:
    result = run.record.get("result")
    if not isinstance(result, dict):
        return []
    return [
        _compare("run.json names the final weights", result.get("weights_sha256"), recorded.get(result.get("step", -1)))
    ]


def _repetition(run: RunFolder, recorded: dict[int, str], progress: Progress | None) -> Check:
    first = min(recorded)
    with tempfile.TemporaryDirectory(prefix="edgewise-verify-") as folder:
        config = run.config.model_copy(update={"tensorboard": False})
        found = train(config, Path(folder) / "run", progress=progress, command=[], stop_at=first).weights_sha256
    check = _compare(f"training again for {first} decisions gives the same weights", recorded[first], found)
    if check.holds or run.record.get("versions") == versions():
        return check
    return Check(check.claim, False, f"{check.detail}; package versions differ from those of the run")


def _compare(claim: str, recorded: object, found: object) -> Check:
    if recorded == found:
        return Check(claim, True, str(found)[:16])
    return Check(claim, False, f"recorded {str(recorded)[:16]}, found {str(found)[:16]}")
