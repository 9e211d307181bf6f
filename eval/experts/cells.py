"""What the study's parts share: how much is spent, cells as small files, and the interval over prompts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...envs.core.errors import CheckpointError
from ...train import atomic
from ...train.run_folder import git_revision
from ..statistics import CONFIDENCE, Interval
from ..study.tables import Table

Settings = dict[str, Any]
Record = dict[str, Any]
"""A finished cell: name, settings, result, seconds, git, created."""


@dataclass(frozen=True)
class Budget:
    """How much the study may spend.

    Attributes:
        seeds: synthetic instances of the budget grid, the gap and the serving rules; training seeds of the learners.
        solver_seeds: instances per cell of the comparison of solvers.
        limit: seconds of HiGHS; an instance that takes longer counts as this.
        own_limit: seconds of our solvers.
        compared: experts of the comparison.
        large: experts of the largest instances.
        prompts: numbers of prompts of the comparison, the largest first.
        sizes: numbers of experts along which the solvers' cost is shown.
        gap_experts: experts whose subsets all get a gate of their own.
        folds: cross-fitting folds of the real table.
        training: decisions of a training run; None for the configuration's own.
        data: folder of RouteLLM's MMLU files, or None.
    """

    seeds: int
    solver_seeds: int
    limit: float
    own_limit: float
    compared: int
    large: int
    prompts: tuple[int, ...]
    sizes: tuple[int, ...]
    gap_experts: int
    folds: int
    training: int | None
    data: Path | None = None


BUDGETS = {
    "smoke": Budget(1, 1, 5.0, 5.0, 8, 12, (200,), (4, 8), 4, 2, 2048),
    "full": Budget(5, 20, 120.0, 60.0, 20, 40, (2000, 200), (4, 8, 12, 16, 20, 30, 40), 8, 5, None),
}


@dataclass(frozen=True)
class Part:
    """One part of the study.

    Attributes:
        cells: settings of every cell by name; names are file names.
        run: result of a cell's settings; what is not in them is in the budget (the data's place).
        tables: (title, table) pairs of finished cells.
        figures: SVG by the title of the table that it belongs to, or nothing.
    """

    cells: Callable[[Budget], dict[str, Settings]]
    run: Callable[[Settings, Budget], Record]
    tables: Callable[[Sequence[Record]], list[tuple[str, Table]]]
    figures: Callable[[Sequence[Record]], dict[str, str]] = lambda records: {}


def finished(folder: Path, name: str, settings: Mapping[str, Any]) -> Record | None:
    """The record of a cell, or None where it has not run.

    Raises:
        CheckpointError: the file is damaged, or holds a cell with other settings.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    record = read(path)
    for key, value in settings.items():
        if record["settings"].get(key) != value:
            raise CheckpointError(
                f"{path}: was run with {key} = {record['settings'].get(key)!r}, not {value!r}; choose another folder "
                "or delete it"
            )
    return record


def read(path: Path) -> Record:
    """A record from its file.

    Raises:
        CheckpointError: the file cannot be read as one.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable cell ({error})") from None
    if not isinstance(record, dict) or not {"name", "settings", "result", "seconds", "git"} <= record.keys():
        raise CheckpointError(f"{path}: not a cell of this study")
    return record


def run_cell(folder: Path, name: str, part: Part, settings: Settings, budget: Budget) -> Record:
    """Run a cell and write its file."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    result = part.run(settings, budget)
    record = {
        "name": name,
        "settings": settings,
        "result": result,
        "seconds": round(time.perf_counter() - started, 3),
        "git": git_revision(),
    }
    atomic.write_json(folder / f"{name}.json", record)
    return record


def over_prompts(values: ArrayLike, counts: ArrayLike | None = None, resamples: int = 10_000) -> Interval:
    """Mean with a 95 % percentile bootstrap interval over prompts.

    Resampling n prompts is drawing how often each different value occurs, a multinomial draw: exact, and quick where
    few values differ, as with differences of right and wrong.

    Args:
        values: (n,) one per prompt; with counts the different values.
        counts: how many prompts have each value.
        resamples: number of resamples.
    """
    different, found = np.unique(np.asarray(values, float), return_counts=True)
    if counts is not None:
        different, found = np.asarray(values, float), np.asarray(counts, np.int64)
    total = int(found.sum())
    means = np.random.default_rng(0).multinomial(total, found / total, size=resamples) @ different / total
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return Interval(float(found @ different / total), low, high, CONFIDENCE, total)
