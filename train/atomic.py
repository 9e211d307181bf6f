"""Files and folders that appear whole or not at all: write beside the target, flush to disk, rename."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..envs.core.errors import StorageError

# Names that a killed process may leave behind; `clean` removes them, readers skip them.
PARTIAL, TRASH = ".partial-", ".trash-"


def storage_error(path: Path, error: OSError) -> StorageError:
    """Build the one sentence a user sees when writing `path` failed."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(f"cannot write {path}: {reason}; what was saved before is unchanged")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (renames, new files) to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and flush it to disk; the caller makes it visible by a rename."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_file(path: Path, data: bytes) -> None:
    """Replace one file atomically.

    Raises:
        StorageError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        try:
            write_synced(partial, data)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically (no NaN, sorted by insertion).

    Raises:
        StorageError: as `write_file`.
    """
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `final` when the block ends without an error.

    An empty folder at `final` is replaced; the files inside must have been flushed (`write_synced`).

    Raises:
        StorageError: writing failed; the temporary folder is gone and nothing else has changed.
    """
    partial = final.with_name(f"{PARTIAL}{final.name}-{uuid.uuid4().hex[:8]}")
    try:
        partial.mkdir(parents=True)
        try:
            yield partial
            sync_folder(partial)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(final.parent)
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(final, error) from error


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a reader sees it whole or not at all."""
    trash = folder.with_name(f"{TRASH}{folder.name}-{uuid.uuid4().hex[:8]}")
    folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def clean(folder: Path) -> None:
    """Delete what killed processes left half-written or half-deleted in `folder`."""
    for entry in folder.iterdir():
        if entry.name.startswith((PARTIAL, TRASH)):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
