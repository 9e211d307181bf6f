"""The training loop around a learner: metrics, evaluation, checkpoints, exact continuation.

The learner calls back where its state is complete (between an update and the next rollout). All that happens there
depends only on the number of decisions, never on the clock, so a run that was killed and continued does the same things
at the same places as one that was not.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agents.config import RLLIB_LEARNERS
from ..envs.core.errors import CheckpointError
from ..envs.core.extras import require
from . import atomic, checkpoint
from .config import TrainConfig
from .learners import Learner, Policy, make_learner
from .progress import Progress, Silent
from .run_folder import MetricsFile, RunFolder, create, open_run, versions

Evaluator = Callable[[Policy, TrainConfig], dict[str, float]]
"""Evaluation during training: deterministic in its arguments, draws from no global generator. The entry ``score``
(lower is better) selects the best checkpoint; all entries become metrics ``evaluation/...``."""


@dataclass(frozen=True)
class RunResult:
    """What a finished run reports.

    Attributes:
        path: the run folder.
        step: decisions taken.
        weights_sha256: hash of the final weights.
        seconds: training time, interruptions not counted.
        ran: False if the run was complete already.
    """

    path: Path
    step: int
    weights_sha256: str
    seconds: float
    ran: bool


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    overwrite: bool = False,
    evaluator: Evaluator | None = None,
    progress: Progress | None = None,
    command: list[str] | None = None,
    stop_at: int | None = None,
) -> RunResult:
    """Train from the beginning in a new run folder.

    Args:
        config: the whole configuration.
        out: the run folder to make.
        overwrite: replace an earlier run there.
        evaluator: called at every checkpoint; None scores nothing, and the best checkpoint is the last.
        progress: where to report; None is silent.
        command: the command line for the record; None takes ``sys.argv``.
        stop_at: end at the first checkpoint at or after this step, as if interrupted there.

    Raises:
        InvalidInputError: `out` has content, or the configuration does not fit the environment.
        StorageError: writing failed.
        MissingExtraError: the learner's library is not installed.
    """
    # first what can fail for want of something, so that a configuration that cannot run leaves no folder behind
    if config.tensorboard:
        _require_tensorboard(config)
    learner = make_learner(config)
    try:
        run = create(Path(out), config, sys.argv if command is None else command, overwrite)
        with run.lock():
            return _Loop(run, learner, evaluator, progress or Silent(), None).run(stop_at)
    finally:
        learner.close()


def resume(
    path: str | Path,
    *,
    evaluator: Evaluator | None = None,
    progress: Progress | None = None,
    stop_at: int | None = None,
) -> RunResult:
    """Continue a run exactly where its last checkpoint is; a finished run is left as it is.

    Raises:
        CheckpointError: no run folder, or its last checkpoint is corrupt or foreign.
        InvalidInputError: another process is training there.
        StorageError: writing failed.
    """
    run, progress = open_run(path), progress or Silent()
    with run.lock():
        atomic.clean(run.path)
        if run.checkpoints.is_dir():
            atomic.clean(run.checkpoints)
        state = None
        if known := checkpoint.steps(run.checkpoints):
            try:
                state = checkpoint.load(run.checkpoint("last"), run.config.learner.algorithm)
            except CheckpointError as error:
                others = f"; delete it to continue from step {known[-2]}" if len(known) > 1 else ""
                raise CheckpointError(f"{error}{others}") from None
        if state is not None and state.manifest.finished:
            progress.message(f"{run.path}: finished at {state.manifest.step} decisions, nothing to do")
            return _result(run, state.manifest, ran=False)
        if run.record.get("versions") != versions():
            progress.message(
                f"{run.path}: package versions differ from those in run.json; exact repetition is not assured"
            )
        if run.config.tensorboard:
            _require_tensorboard(run.config)
        learner = make_learner(run.config)
        try:
            return _Loop(run, learner, evaluator, progress, state).run(stop_at)
        finally:
            learner.close()


def _result(run: RunFolder, manifest: checkpoint.Manifest, ran: bool) -> RunResult:
    """Record the end of a run in ``run.json``; repeated after a kill between the last checkpoint and this line."""
    seconds = float(manifest.trainer["seconds"])
    result = {
        "step": manifest.step,
        "weights_sha256": manifest.weights_sha256,
        "score": manifest.score,
        "best_step": checkpoint.best_step(run.checkpoints),
        "seconds": seconds,
    }
    if manifest.finished and run.record.get("result") != result:
        run.with_record(result=result)
    return RunResult(run.path, manifest.step, manifest.weights_sha256, seconds, ran)


class _Stopped(Exception):
    """Leaves the learner's loop."""


class _Loop:
    """One process's part of a run."""

    def __init__(
        self,
        run: RunFolder,
        learner: Learner,
        evaluator: Evaluator | None,
        progress: Progress,
        state: checkpoint.Checkpoint | None,
    ) -> None:
        self._run, self._learner, self._evaluator, self._progress = run, learner, evaluator, progress
        self._config = run.config
        self._stop_at: int | None = None
        self._seconds = 0.0
        size = 0
        self._logged = self._saved = 0
        self._manifest: checkpoint.Manifest | None = None
        if state is not None:
            learner.restore(state.snapshot)
            self._manifest = state.manifest
            self._logged = self._saved = state.manifest.step
            self._seconds = float(state.manifest.trainer["seconds"])
            size = int(state.manifest.trainer["metrics_bytes"])
        self._metrics = MetricsFile(run.metrics, size)
        self._board = _tensorboard(run.tensorboard, learner.steps) if self._config.tensorboard else None
        self._started = time.monotonic()

    def run(self, stop_at: int | None) -> RunResult:
        """Train to the end (or to `stop_at`)."""
        self._stop_at = stop_at
        self._progress.start(self._config.steps, self._learner.steps)
        try:
            self._learner.learn(self._config.steps, self._boundary)
            self._save(finished=True)
        except _Stopped:
            pass
        finally:
            self._progress.stop()
            self._metrics.close()
            if self._board is not None:
                with contextlib.suppress(OSError):  # a full disk was reported by the row that did not fit
                    self._board.close()
        assert self._manifest is not None
        return _result(self._run, self._manifest, ran=True)

    def _boundary(self) -> None:
        """Called by the learner where its state is complete."""
        step = self._learner.steps
        if step // self._config.checkpoints.every > self._saved // self._config.checkpoints.every:
            self._save(finished=False)
            if self._stop_at is not None and step >= self._stop_at:
                raise _Stopped
        elif step // self._config.log_every > self._logged // self._config.log_every:
            self._progress.update(step, self._log())
        else:
            self._progress.update(step, {})

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._started

    def _log(self) -> dict[str, float]:
        """Write the learner's metrics since the last row."""
        step, values = self._learner.steps, self._learner.metrics()
        self._logged = step
        self._row({"kind": "train", "step": step, "seconds": round(self._elapsed(), 3), **values})
        return values

    def _save(self, finished: bool) -> None:
        """Log, evaluate, checkpoint and prune, in this order: the checkpoint then starts with nothing pending."""
        step = self._learner.steps
        values = self._log()
        score = None
        if self._evaluator is not None and self._config.checkpoints.evaluate:
            evaluation = self._evaluator(self._learner.policy(), self._config)
            score = evaluation["score"]
            values = values | ({name: value for name, value in evaluation.items() if name != "score"} or evaluation)
            self._row({"kind": "evaluation", "step": step, **{f"evaluation/{k}": v for k, v in evaluation.items()}})
        snapshot = self._learner.snapshot()
        self._row({"kind": "checkpoint", "step": step, "weights_sha256": checkpoint.weights_hash(snapshot)})
        trainer = {"metrics_bytes": self._metrics.synced_size(), "seconds": round(self._elapsed(), 3)}
        self._manifest = checkpoint.save(
            self._run.checkpoints,
            snapshot,
            step=step,
            learner=self._config.learner.algorithm,
            score=score,
            finished=finished,
            trainer=trainer,
        )
        self._saved = step
        checkpoint.prune(self._run.checkpoints, self._config.checkpoints.keep)
        self._progress.update(step, values)

    def _row(self, row: dict[str, Any]) -> None:
        self._metrics.write(row)
        if self._board is None:
            return
        try:
            for name, value in row.items():
                if isinstance(value, float) and name != "seconds":
                    self._board.add_scalar(name, value, row["step"])
        except OSError as error:
            raise atomic.storage_error(self._run.tensorboard, error) from error


def _tensorboard(folder: Path, step: int) -> Any:
    """A TensorBoard writer whose readers discard what an interrupted process wrote after `step`, all of it at 0."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _require_tensorboard(config: TrainConfig) -> None:
    """Name the extra of the learner that is used."""
    if config.learner.algorithm in RLLIB_LEARNERS:
        require("tensorboard", "rllib")
    else:
        require("tensorboard", "sb3")
