"""Files of an instance: a JSON document and, beside it, an NPZ archive with the prompt table.

The document holds experts, category names and budgets. Both files are data only: nothing in them is executed, and the
archive is read with ``allow_pickle=False``.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ..core.errors import InvalidInputError
from .instance import Budgets, Expert, Instance, Part, Prompts

MAX_ARCHIVE_BYTES = 8 * 2**30
"""Largest uncompressed prompt table that is read."""


class _Document(Part):
    """The JSON half of an instance."""

    format: Literal["edgewise-experts/1"] = "edgewise-experts/1"
    source: str = ""
    categories: tuple[str, ...]
    experts: tuple[Expert, ...] = Field(min_length=1, max_length=64)
    budgets: Budgets = Budgets()
    prompts: str = Field(pattern=r"^[\w][\w.\-]*\.npz$", description="[-] name of the archive beside this file")


def save(instance: Instance, path: str | Path) -> None:
    """Write ``path`` (JSON) and the prompt table beside it (the same name with ``.npz``).

    Raises:
        InvalidInputError: the path does not end in ``.json``.
    """
    target = Path(path)
    if target.suffix != ".json":
        raise InvalidInputError.of("path", "a file name that ends in .json", str(path))
    archive = target.with_suffix(".npz")
    document = _Document(
        source=instance.source,
        categories=instance.categories,
        experts=instance.experts,
        budgets=instance.budgets,
        prompts=archive.name,
    )
    arrays: dict[str, Any] = instance.prompts.arrays()
    np.savez_compressed(archive, **arrays)
    target.write_text(json.dumps(document.model_dump(mode="json"), indent=2, allow_nan=False) + "\n")


def load(path: str | Path) -> Instance:
    """Read an instance.

    Raises:
        InvalidInputError: a file is missing, damaged, too large, or does not fit the schema.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{source}: cannot be read ({error})") from None
    try:
        document = _Document.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInputError(f"{source}: {InvalidInputError.from_validation(error, _Document)}") from None
    arrays = _read_archive(source.with_name(document.prompts))
    try:
        prompts = Prompts.make(n_categories=len(document.categories), **arrays)
        return Instance(document.experts, document.categories, prompts, document.budgets, document.source)
    except InvalidInputError as error:
        raise InvalidInputError(f"{source}: {error}") from None


def _read_archive(path: Path) -> dict[str, NDArray[Any]]:
    required, optional = {"category", "Q", "I", "O"}, {"phi", "weight", "scores", "P", "y"}
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > MAX_ARCHIVE_BYTES:
            raise InvalidInputError(f"{path}: holds {size} bytes, more than {MAX_ARCHIVE_BYTES}")
        with np.load(path, allow_pickle=False) as archive:
            names = set(archive.files)
            if not required <= names <= required | optional:
                wrong = sorted((required - names) | (names - required - optional))
                raise InvalidInputError(f"{path}: arrays missing or unknown: {', '.join(wrong)}")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path}: not a readable archive of plain arrays ({error})") from None
