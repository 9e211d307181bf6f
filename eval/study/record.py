"""What every study that trains says of itself in its ``results.json``."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel

from ...train.run_folder import git_revision, hardware, versions
from ..estimates import FINITE


class StudyRecord(BaseModel):
    """Where a study's figures come from.

    Attributes:
        format: version of the file.
        study, budget: as on the command line.
        seeds: training seeds per configuration.
        created: when, UTC.
        command, git, versions, hardware: what made the figures.
    """

    model_config = FINITE
    format: Literal[1] = 1
    study: str
    budget: str
    seeds: int
    created: str
    command: list[str]
    git: dict[str, Any] | None
    versions: dict[str, str]
    hardware: dict[str, Any]


def record(study: str, budget: str, seeds: int, command: list[str]) -> dict[str, Any]:
    """The fields of a `StudyRecord`, as of now and on this machine."""
    return {
        "study": study,
        "budget": budget,
        "seeds": seeds,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "git": git_revision(),
        "versions": versions(),
        "hardware": hardware(),
    }
