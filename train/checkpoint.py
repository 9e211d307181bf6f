"""Checkpoints that cannot execute code: safetensors for tensors, `.npy` for arrays, JSON for the rest.

A checkpoint is a folder ``step_000000012000`` with a ``manifest.json`` (what it is, size and SHA-256 of every file, the
learner's scalars), at most one ``tensors.safetensors`` and one ``.npy`` per array. It appears by one rename after every
byte is on disk, so a killed process or a full disk never leaves half a checkpoint or harms an earlier one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..agents.snapshot import Snapshot
from ..envs.core.errors import CheckpointError
from ..envs.core.extras import require
from . import atomic

MANIFEST, TENSORS = "manifest.json", "tensors.safetensors"
_MANIFEST_LIMIT = 64 * 2**20  # bytes; the learner's scalars are a few kilobytes
_NPY_KINDS = "biufcSUV"  # V: records, whose fields are checked for objects too


class FileEntry(BaseModel):
    """One file of a checkpoint: its plain name, size in bytes and SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str = Field(pattern=r"^[a-z0-9_]{1,64}\.(npy|safetensors)$")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """The content of ``manifest.json``.

    Attributes:
        step: decisions the learner had taken.
        learner: the algorithm's name; a checkpoint of another one is foreign.
        weights_sha256: `weights_hash` of the snapshot.
        score: the evaluated score at this step (lower is better), if it was evaluated.
        finished: whether training was complete.
        trainer: what the training loop needs to continue (position in ``metrics.jsonl``, seconds, ...).
        meta: the learner's scalars.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["edgewise-checkpoint"]
    version: Literal[1]
    step: int = Field(ge=0)
    learner: str
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    score: float | None
    finished: bool
    trainer: dict[str, Any]
    meta: dict[str, Any]
    tensors: FileEntry | None
    arrays: dict[str, FileEntry]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from disk: its manifest and the learner's state."""

    manifest: Manifest
    snapshot: Snapshot


def weights_hash(snapshot: Snapshot) -> str:
    """SHA-256 over the names, types, shapes and bytes of all tensors (of all arrays if there is no tensor)."""
    values = {name: tensor.detach().cpu().numpy() for name, tensor in snapshot.tensors.items()} or snapshot.arrays
    digest = hashlib.sha256()
    for name in sorted(values):
        array = np.ascontiguousarray(values[name])
        digest.update(f"{name}\0{array.dtype.str}\0{values[name].shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def folder_name(step: int) -> str:
    """Name of the checkpoint of a step; names sort as the steps do."""
    return f"step_{step:012d}"


def save(
    folder: Path,
    snapshot: Snapshot,
    *,
    step: int,
    learner: str,
    score: float | None = None,
    finished: bool = False,
    trainer: dict[str, Any] | None = None,
) -> Manifest:
    """Write ``folder/step_...`` atomically, replacing a checkpoint of the same step.

    Returns:
        The manifest as written.

    Raises:
        StorageError: the disk is full or the folder is not writable; earlier checkpoints are unchanged.
        ValueError: the snapshot holds something that JSON or ``.npy`` without pickle cannot.
    """
    target = folder / folder_name(step)
    with atomic.new_folder(target) as partial:
        tensors = None
        if snapshot.tensors:
            tensors = _write(partial / TENSORS, _tensor_bytes(snapshot.tensors))
        arrays = {
            name: _write(partial / f"array_{index:04d}.npy", _array_bytes(name, snapshot.arrays[name]))
            for index, name in enumerate(sorted(snapshot.arrays))
        }
        manifest = Manifest(
            format="edgewise-checkpoint",
            version=1,
            step=step,
            learner=learner,
            weights_sha256=weights_hash(snapshot),
            score=score,
            finished=finished,
            trainer=trainer or {},
            meta=snapshot.meta,
            tensors=tensors,
            arrays=arrays,
        )
        # Through JSON once, so that the hash sees what a reader will see (lists for tuples, text for integer keys).
        content = json.loads(json.dumps(manifest.model_dump(), allow_nan=False))
        content["sha256"] = _content_hash(content)
        atomic.write_synced(partial / MANIFEST, json.dumps(content, indent=1).encode())
        if target.exists():
            atomic.remove_folder(target)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read and check a checkpoint's manifest without its arrays.

    Raises:
        CheckpointError: it is missing, corrupt, foreign or of another format version.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise CheckpointError(
            f"{path}: not a checkpoint folder; archives and pickles (.zip, .pt, .pkl) are never read, "
            "because loading them can run code"
        )
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint")
    file = path / MANIFEST
    data = _read_bytes(file, _MANIFEST_LIMIT)
    try:
        content = json.loads(data, parse_constant=_no_constant)
        recorded = content.pop("sha256")
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise CheckpointError(f"{file}: not a checkpoint manifest ({_reason(error)})") from None
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise CheckpointError(f"{file}: {field}: {first['msg']}") from None
    if recorded != _content_hash(content):
        raise CheckpointError(f"{file}: its SHA-256 differs from the recorded one; the file was changed or damaged")
    return manifest


def load(path: Path, learner: str | None = None) -> Checkpoint:
    """Read a whole checkpoint, verifying every size and hash before parsing.

    Args:
        path: the checkpoint's folder.
        learner: the algorithm it must come from, if given.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    manifest = read_manifest(path)
    if learner is not None and manifest.learner != learner:
        raise CheckpointError(f"{path / MANIFEST}: written by learner {manifest.learner!r}, this run uses {learner!r}")
    tensors = _parse_tensors(path, manifest.tensors) if manifest.tensors else {}
    arrays = {name: _parse_array(path, entry) for name, entry in manifest.arrays.items()}
    snapshot = Snapshot(tensors=tensors, arrays=arrays, meta=manifest.meta)
    if weights_hash(snapshot) != manifest.weights_sha256:
        raise CheckpointError(f"{path}: the weights do not match the hash in {MANIFEST}")
    return Checkpoint(manifest, snapshot)


def steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in `folder`, ascending."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir() if entry.name.startswith("step_"))
    return sorted(int(name[5:]) for name in names if name[5:].isascii() and name[5:].isdigit())


def best_step(folder: Path) -> int | None:
    """Step of the checkpoint with the lowest score (the earliest of equals); None if none was evaluated."""
    scored = [
        (m.score, m.step)
        for m in (read_manifest(folder / folder_name(s)) for s in steps(folder))
        if m.score is not None
    ]
    return min(scored)[1] if scored else None


def prune(folder: Path, keep: int) -> None:
    """Delete all checkpoints but the last `keep` and the best."""
    retained = {*steps(folder)[-keep:], best_step(folder)}
    for step in steps(folder):
        if step not in retained:
            atomic.remove_folder(folder / folder_name(step))


def _write(path: Path, data: bytes) -> FileEntry:
    atomic.write_synced(path, data)
    return FileEntry(file=path.name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _tensor_bytes(tensors: dict[str, Any]) -> bytes:
    safetensors = require("safetensors.torch", "sb3")
    # Clones, because safetensors refuses tensors that share storage or are not contiguous.
    return bytes(safetensors.save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}))


def _array_bytes(name: str, array: NDArray[Any]) -> bytes:
    array = np.asarray(array)
    if array.dtype.kind not in _NPY_KINDS or array.dtype.hasobject:
        raise ValueError(f"array {name!r} has dtype {array.dtype}, which a checkpoint cannot hold")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _content_hash(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not allowed")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"missing key {error}"
    return "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]


def _read_bytes(path: Path, limit: int) -> bytes:
    """Read a regular file that is not a link and not longer than `limit` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing") from None
    except OSError as error:
        link = " (a link)" if path.is_symlink() else ""
        raise CheckpointError(f"{path}: cannot be opened{link}: {os.strerror(error.errno or 0)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path}: not a regular file")
        if status.st_size > limit:
            raise CheckpointError(f"{path}: {status.st_size} bytes, at most {limit} expected")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _read_entry(folder: Path, entry: FileEntry) -> tuple[Path, bytes]:
    path = folder / entry.file
    data = _read_bytes(path, entry.bytes)
    if len(data) != entry.bytes:
        raise CheckpointError(f"{path}: truncated, {len(data)} of {entry.bytes} bytes")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise CheckpointError(
            f"{path}: its SHA-256 differs from the one in {MANIFEST}; the file was changed or damaged"
        )
    return path, data


def _parse_tensors(folder: Path, entry: FileEntry) -> dict[str, Any]:
    path, data = _read_entry(folder, entry)
    safetensors = require("safetensors.torch", "sb3")
    try:
        return dict(safetensors.load(data))
    except Exception as error:  # the library raises its own type, and others for hostile headers
        raise CheckpointError(f"{path}: not a valid safetensors file ({_reason(error)})") from None


def _parse_array(folder: Path, entry: FileEntry) -> NDArray[Any]:
    path, data = _read_entry(folder, entry)
    buffer = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise ValueError(f"npy version {version}, expected (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
        if dtype.kind not in _NPY_KINDS or dtype.hasobject:
            raise ValueError(f"dtype {dtype} is not allowed (objects would need pickle)")
        # The size is checked before anything is allocated: a header may claim any shape.
        expected = dtype.itemsize
        for length in shape:
            expected *= length
        if expected != len(data) - buffer.tell():
            raise ValueError(f"header says {expected} bytes of data, the file has {len(data) - buffer.tell()}")
        flat = np.frombuffer(data, dtype=dtype, offset=buffer.tell())
        return flat.reshape(shape, order="F" if fortran else "C").copy()
    except Exception as error:  # hostile headers also raise tokenizer, syntax, recursion and memory errors
        raise CheckpointError(f"{path}: not a valid .npy array ({_reason(error)})") from None
