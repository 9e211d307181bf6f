"""Run folders: everything needed to continue, evaluate or repeat a run, in plain files.

``run.json`` (configuration, seeds, versions, git revision, hardware, command line), ``metrics.jsonl``, TensorBoard
events, ``checkpoints/``. A run folder appears together with its ``run.json`` by one rename.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..envs.core.errors import CheckpointError, InvalidInputError, StorageError
from ..envs.core.seeding import SeedTree
from . import atomic, checkpoint
from .config import TrainConfig
from .config_io import validate

if TYPE_CHECKING:
    from .learners import Policy

FORMAT_VERSION = 1
_PACKAGES = (
    "edgewise",
    "numpy",
    "numba",
    "gymnasium",
    "pettingzoo",
    "pydantic",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
    "ray",
    "safetensors",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and what its ``run.json`` says.

    Attributes:
        path: the folder.
        record: the content of ``run.json``.
        config: the configuration in it, validated.
    """

    path: Path
    record: dict[str, Any]
    config: TrainConfig

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The metrics file, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard events."""
        return self.path / "tensorboard"

    def checkpoint(self, which: Literal["best", "last"] | int = "best") -> Path:
        """Path of the best (falling back to the last), the last or a given checkpoint.

        Raises:
            CheckpointError: there is no such checkpoint.
        """
        known = checkpoint.steps(self.checkpoints)
        if not known:
            raise CheckpointError(f"{self.checkpoints}: no checkpoint yet")
        if which == "best":
            step = checkpoint.best_step(self.checkpoints)
            return self.checkpoints / checkpoint.folder_name(known[-1] if step is None else step)
        if which != "last" and which not in known:
            raise CheckpointError(f"{self.checkpoints}: no checkpoint of step {which}; there are {known}")
        return self.checkpoints / checkpoint.folder_name(known[-1] if which == "last" else which)

    def with_record(self, **entries: Any) -> RunFolder:
        """Set entries of ``run.json`` atomically."""
        record = self.record | entries
        atomic.write_json(self.path / "run.json", record)
        return RunFolder(self.path, record, self.config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the lock ends with the process, however it ends.

        Raises:
            InvalidInputError: another process is training in this folder.
            StorageError: the folder cannot be written.
        """
        path = self.path / ".lock"
        try:
            file = path.open("w")
        except OSError as error:
            raise atomic.storage_error(path, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidInputError(f"{self.path}: another process is training this run") from None
            yield


def create(path: Path, config: TrainConfig, command: list[str], overwrite: bool = False) -> RunFolder:
    """Make the folder of a new run.

    Args:
        path: where; its parents are made.
        config: the whole configuration.
        command: the command line, for the record.
        overwrite: replace an earlier run at `path`.

    Raises:
        InvalidInputError: `path` has content and `overwrite` is false, or it is not a run folder.
        StorageError: it cannot be written.
    """
    old = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if old and not (path / "run.json").is_file():
        raise InvalidInputError(f"--out {path}: exists and is not a run folder; choose another")
    if old and not overwrite:
        raise InvalidInputError(f"--out {path}: holds a run; continue it with --resume {path}, or add --overwrite")
    record = {"format": FORMAT_VERSION, "config": config.model_dump(mode="json"), **provenance(config, command)}
    with atomic.new_folder(path) as partial:
        atomic.write_synced(partial / "run.json", (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
        (partial / "checkpoints").mkdir()
        if old:
            with RunFolder(path, record, config).lock():
                atomic.remove_folder(path)
    return RunFolder(path, record, config)


def open_run(path: str | Path) -> RunFolder:
    """Read a run folder.

    Raises:
        CheckpointError: no run folder, or its ``run.json`` is corrupt or of another format.
    """
    file = Path(path) / "run.json"
    if not file.is_file():
        raise CheckpointError(f"{path}: not a run folder (no run.json)")
    try:
        record = json.loads(file.read_bytes())
        number, content = record["format"], record["config"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: not a run description ({type(error).__name__}: {error})") from None
    if number != FORMAT_VERSION:
        raise CheckpointError(f"{file}: format {number!r}, this version reads {FORMAT_VERSION}")
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: config must be a mapping")
    try:
        config = validate(TrainConfig, content, str(file))
    except InvalidInputError as error:
        raise CheckpointError(str(error)) from None
    return RunFolder(Path(path), record, config)


def load_policy(run_dir: str | Path, checkpoint: Literal["best", "last"] | int = "best") -> tuple[Policy, TrainConfig]:
    """Rebuild a trained policy from a run folder; nothing in it is executed.

    Args:
        run_dir: the run folder.
        checkpoint: ``"best"`` (lowest evaluated score; the last one if none was evaluated), ``"last"`` or a step.

    Returns:
        A deterministic policy with ``act(obs)`` for one observation or a batch, and the run's configuration. It returns
        the environment's own action: ``{"server", "wait"}``, ``{"cache", "local_share"}``, or, of edge experts, where
        the mask is a second argument, ``{"action"}``. The policy of a game run reads observations of the event stream
        (device's index in column 0), that of one device plain ones.

    Raises:
        CheckpointError: no such run or checkpoint, or a corrupt or foreign one.
        MissingExtraError: the learner's library is not installed.
    """
    from . import learners
    from .checkpoint import load

    run = open_run(run_dir)
    state = load(run.checkpoint(checkpoint), run.config.learner.algorithm)
    return learners.policy_from(run.config, state.snapshot), run.config


def provenance(config: TrainConfig, command: list[str]) -> dict[str, Any]:
    """What a reader needs to repeat the run: seeds, versions, revision, hardware, command line."""
    seeds = SeedTree(config.seed)
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "seeds": {
            "run": config.seed,
            "train": seeds.train,
            "evaluate": seeds.evaluate,
            "outer": seeds.outer,
            "libraries": seeds.libraries,
        },
        "versions": versions(),
        "git": git_revision(),
        "hardware": hardware(),
    }


def versions() -> dict[str, str]:
    """Versions of python and of the packages that training depends on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def git_revision() -> dict[str, Any] | None:
    """Commit of the source checkout and whether it has local changes; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=True).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "changed": bool(status.strip())}


def hardware() -> dict[str, Any]:
    """Processor, usable cores, memory and operating system."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "byte_order": sys.byteorder,
    }


class MetricsFile:
    """Append-only JSON lines whose length is part of every checkpoint.

    Continuing a run first cuts the file to the length at the checkpoint: rows are neither lost nor repeated.

    Args:
        path: the file.
        size: bytes to keep.

    Raises:
        CheckpointError: the file is shorter than that.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        try:
            self._file = path.open("ab")
            if self._file.tell() < size:
                raise CheckpointError(
                    f"{path}: {self._file.tell()} bytes, the checkpoint recorded {size}; rows are missing"
                )
            self._file.truncate(size)
            self._file.seek(size)
        except OSError as error:
            raise atomic.storage_error(path, error) from error

    def write(self, row: dict[str, Any]) -> None:
        """Append one row.

        Raises:
            StorageError: it could not be written.
        """
        try:
            self._file.write((json.dumps(row, allow_nan=False) + "\n").encode())
            self._file.flush()
        except OSError as error:
            raise atomic.storage_error(self._path, error) from error

    def synced_size(self) -> int:
        """Flush to disk and return the length in bytes.

        Raises:
            StorageError: it could not be written.
        """
        try:
            os.fsync(self._file.fileno())
            return self._file.tell()
        except OSError as error:
            raise atomic.storage_error(self._path, error) from error

    def close(self) -> None:
        """Close the file; a failed last flush was reported by `write` already."""
        with contextlib.suppress(OSError):
            self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics file; a last line cut short by a killed process is left out.

    Raises:
        CheckpointError: a complete line is not a JSON object.
        StorageError: the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise CheckpointError(f"{path}: line {number} is not a JSON object")
        rows.append(row)
    return rows
