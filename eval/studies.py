"""What `edgewise reproduce` needs of a study; one module per study has these names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..envs.core.errors import InvalidInputError

if TYPE_CHECKING:
    from ..train.progress import Progress

_MODULES = {
    "aoi-single": ".aoi.study.single",
    "aoi-game": ".aoi.study.run",
    "caching": ".caching.study.run",
    "experts": ".experts.study",
}
NAMES = tuple(_MODULES)


@dataclass(frozen=True)
class Options:
    """What may be asked of a study beside its budget; no study has all of it.

    Attributes:
        only: parts of the study; none for all.
        seeds: training seeds of every configuration, or instances; None for the budget's.
        workers: runs at the same time on this machine.
        address: HOST:PORT of a running Ray cluster, or ``auto``.
        limit: seconds of a solver per instance; None for the budget's.
        data: folder of data that are not part of the suite.
    """

    only: tuple[str, ...] = ()
    seeds: int | None = None
    workers: int = 1
    address: str | None = None
    limit: float | None = None
    data: Path | None = None

    def given(self) -> dict[str, Any]:
        """Those that differ from their defaults, by name."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


class Study(Protocol):
    """A study: a module with these names."""

    BUDGETS: Mapping[str, Any]
    """How much may be spent, by name."""
    PARTS: Collection[str]
    """What ``only`` may name; empty where the study is one piece."""
    OPTIONS: frozenset[str]
    """The fields of `Options` that `reproduce` takes."""
    RESULTS: str
    """Name of the file that holds the results."""
    PAGE: str | None
    """Name of the page, where there is one."""

    def reproduce(self, budget: str, out: Path, *, make_progress: Callable[[], Progress], **options: Any) -> Any:
        """Run every missing cell and write the results; finished cells are not run again, cut-off ones continue."""

    def show(self, results: Any) -> None:
        """Print what `reproduce` returned."""


def of(name: str) -> Study:
    """A study by name.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if name not in _MODULES:
        raise InvalidInputError.of("study", f"one of {', '.join(NAMES)}", name)
    return cast(Study, importlib.import_module(_MODULES[name], __package__))


def reproduce(
    name: str, budget: str, out: Path, options: Options, *, make_progress: Callable[[], Progress]
) -> dict[str, Path]:
    """Run a study and print its tables.

    Args:
        name: one of `NAMES`.
        budget: ``smoke`` (does it run?) or ``full`` (the documented figures).
        out: folder of the cells and of the results.
        options: what else is asked for.
        make_progress: where each training reports.

    Returns:
        The written files by what they are: ``results``, and ``page`` where the study has one.

    Raises:
        InvalidInputError: unknown study or budget, an option that the study does not have, or one out of range.
        EdgewiseError: what the study raises; its finished cells are kept.
    """
    study, given = of(name), options.given()
    for option in given:
        if option not in study.OPTIONS:
            raise InvalidInputError(f"--{option} is for {', '.join(n for n in NAMES if option in of(n).OPTIONS)}")
    study.show(study.reproduce(budget, out, make_progress=make_progress, **given))
    files = {"results": study.RESULTS, "page": study.PAGE}
    return {what: out / file for what, file in files.items() if file is not None}
