"""What the study of the game runs: its cells, each a configuration and a seed.

*Source*: the baselines and the switches of the sweeps are those of Jin et al., arXiv 2312.10418 and 2409.16832, and of
their released code; the values along the sweeps are ours.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....agents.asynchronous.variants import ablation_variants
from ....envs.core.errors import InvalidInputError
from ....train.config import TrainConfig, load_config
from ..exploitability import NashBudget
from ..game import BUDGETS as EVALUATIONS
from ..game import GameBudget

PARTS = ("objectives", "baselines", "fidelity", "sweeps")
"""The objectives are the main learner's three: the team's under both drop modes, and the selfish one. The baselines'
tables hold them, too."""
FOLDER = "aoi_offload/game/"
MAIN = "team_authors"
TEAM_NONE = "team_none"
SELFISH = "selfish_authors"
OBJECTIVES = (MAIN, SELFISH, TEAM_NONE)
CHECKED = (SELFISH,)
"""Configurations whose runs get a Nash check: those that claim to have found an equilibrium."""
LEARNED = (
    MAIN,
    SELFISH,
    "non_fractional",
    "offload_only",
    "update_only",
    "recurrent",
    "without_recurrence",
    "synchronous",
    "hybrid_ppo",
    "mappo",
    "d3qn_ddpg",
    "recurrent_d3qn_ppo",
    "released",
)
"""Learned policies of the table with drop mode ``authors:1.5``: packaged configurations, without the folder."""
ABLATED = "recurrent_d3qn_ppo"
CORRECTED = "corrected"


@dataclass(frozen=True)
class Budget:
    """How much the study may spend.

    Attributes:
        seeds: training seeds of every configuration.
        every_point: all points of a sweep, or the usual system and one other.
        evaluation: of the runs in the baselines' tables.
        brief: of the ablation and the sweeps, hundreds of runs: as many seconds in all, in shorter stretches.
        training: dotted overrides of every configuration.
        learner: dotted overrides by algorithm.
    """

    seeds: int
    every_point: bool
    evaluation: GameBudget
    brief: GameBudget
    training: Mapping[str, Any] = field(default_factory=dict)
    learner: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_SMOKE_CHECK = NashBudget(devices=1, screening_seeds=1, screening_horizon=30.0, seeds=4, horizon=60.0, decisions=0)
_SMOKE = GameBudget(seeds=4, stretch_seeds=3, stretch_horizon=90.0, nash=_SMOKE_CHECK, references=_SMOKE_CHECK)
BUDGETS = {
    "smoke": Budget(
        seeds=1,
        every_point=False,
        evaluation=_SMOKE,
        brief=_SMOKE,
        training={
            "steps": 6000,
            "log_every": 2000,
            "checkpoints.every": 6000,
            "checkpoints.evaluate": False,
            "tensorboard": False,
            "env.num_envs": 4,
            "env.horizon": 60.0,
        },
        learner={
            "fractional_d3qn_ddpg": {"learner.learning_starts": 1000},
            "recurrent_d3qn_ppo": {"steps": 2000},
        },
    ),
    "full": Budget(
        seeds=10,
        every_point=True,
        evaluation=EVALUATIONS["full"],
        brief=replace(EVALUATIONS["full"], stretch_seeds=64, stretch_horizon=3000.0),
    ),
}


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation, in a run folder of its own.

    Attributes:
        config: the whole configuration; its name and seed name the folder.
        evaluation: seeds and horizons.
        nash: measure what a device gains by deviating.
    """

    config: TrainConfig
    evaluation: GameBudget
    nash: bool = False

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return f"{self.config.name}-{self.config.seed}"

    def folder(self, out: Path) -> Path:
        """The run folder within a study's folder."""
        return out / "cells" / self.name


@dataclass(frozen=True)
class Point:
    """One system of a sweep.

    Attributes:
        label: what changes, for tables.
        value: place on the axis; None stands beside it.
        overrides: dotted overrides of the configuration; none for a system of the baselines' tables.
        smoke: whether a small budget includes it.
        config: packaged configuration, without the folder.
    """

    label: str
    value: float | None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    smoke: bool = False
    config: str = MAIN


@dataclass(frozen=True)
class Sweep:
    """One parameter of the system, and the values it takes.

    Attributes:
        name: identifier.
        title: what is varied, for headings.
        axis: label of the axis, with the unit.
        points: the systems.
    """

    name: str
    title: str
    axis: str
    points: tuple[Point, ...]

    def chosen(self, budget: Budget) -> tuple[Point, ...]:
        """The points that a budget pays for: all, or the usual system and one other."""
        return tuple(p for p in self.points if budget.every_point or p.smoke or not p.overrides)


def _numbers(field_path: str, values: tuple[float, ...], usual: float, smoke: float) -> tuple[Point, ...]:
    """Points along one numeric field of the environment."""
    return tuple(
        Point(f"{value:g}", value, {} if value == usual else {f"env.{field_path}": value}, smoke=value == smoke)
        for value in values
    )


def _edges(values: tuple[float, ...], usual: float, smoke: float) -> tuple[Point, ...]:
    """Points with two equal edges, and the released code's unequal pair."""
    equal = (Point(f"2 × {v:g}", v, {} if v == usual else {"env.edge_ghz": (v, v)}, smoke=v == smoke) for v in values)
    return (*equal, Point("3 and 8", None, {"env.edge_ghz": (3.0, 8.0)}))


def _drops(values: tuple[float, ...], usual: float) -> tuple[Point, ...]:
    """Points along the drop coefficient, and no drop at all."""
    finite = (Point(f"{v:g}", v, {} if v == usual else {"env.drop": f"authors:{v:g}"}) for v in values)
    return (*finite, Point("none", None, config=TEAM_NONE))


SWEEPS = (
    Sweep(
        "devices",
        "Number of devices",
        "devices M",
        _numbers("n_devices", (5, 10, 15, 20, 25, 30, 40), usual=20, smoke=5),
    ),
    Sweep(
        "edge_capacity",
        "Capacity of the edges",
        "capacity of each of two edges (GHz)",
        _edges((20.9, 31.35, 41.8, 52.25, 62.7), usual=41.8, smoke=62.7),
    ),
    Sweep(
        "device_capacity",
        "Capacity of the devices",
        "capacity of a device (GHz)",
        _numbers("local_ghz", (1.5, 2.0, 2.5, 3.0, 3.5), usual=2.5, smoke=3.5),
    ),
    Sweep(
        "density",
        "Processing density",
        "processing density (Gcycle/Mbit)",
        _numbers("density", (0.15, 0.297, 0.45), usual=0.297, smoke=0.15),
    ),
    Sweep(
        "task_size",
        "Task size",
        "task size (Mbit)",
        _numbers("task_mbit", (10.0, 20.0, 30.0, 40.0, 50.0), usual=30.0, smoke=10.0),
    ),
    Sweep(
        "drop",
        "Drop coefficient",
        "drop coefficient (mean service times)",
        _drops((0.5, 1.0, 1.5, 2.0, 3.0), usual=1.5),
    ),
    Sweep(
        "service",
        "Service law",
        "service law",
        (
            Point("exponential", None),
            Point("log-normal, σ = 0.5", None, {"env.service": "lognormal:0.5"}, smoke=True),
            Point("log-normal, σ = 1", None, {"env.service": "lognormal:1"}),
        ),
    ),
)
"""The sweeps, all around the usual system with drop mode ``authors:1.5``."""


def learned_cells(name: str, budget: Budget) -> list[Cell]:
    """The runs of one packaged configuration, one per seed."""
    return _cells(name, budget)


def point_cells(sweep: Sweep, point: Point, budget: Budget) -> list[Cell]:
    """The main learner's runs in one system of a sweep; those of the baselines' tables are not run twice."""
    if not point.overrides:
        return learned_cells(point.config, budget)
    value = "-".join(f"{part:g}" if isinstance(part, float) else str(part) for part in _values(point))
    name = f"sweep-{sweep.name}-{value.replace(':', '_')}"
    return _cells(point.config, budget, {"name": name, **point.overrides})


def _values(point: Point) -> list[Any]:
    return [part for value in point.overrides.values() for part in (value if isinstance(value, tuple) else (value,))]


def fidelity_cells(budget: Budget) -> dict[str, list[Cell]]:
    """The runs of the ablation by name: the corrected learner, it with every single defect, and the released one."""
    cells = {}
    for variant, settings in ablation_variants().items():
        section = settings.model_dump(mode="json", exclude_unset=True)
        overrides = {f"learner.{name}": value for name, value in section.items()}
        cells[variant] = _cells(ABLATED, budget, {"name": f"fidelity-{variant.replace('+', '-')}", **overrides})
    return cells


def _cells(name: str, budget: Budget, overrides: Mapping[str, Any] | None = None) -> list[Cell]:
    own = budget.learner.get(_algorithm(name), {})
    config = load_config(FOLDER + name, {"name": name, **budget.training, **own, **(overrides or {})})
    evaluation = budget.brief if overrides else budget.evaluation
    nash = name in CHECKED and not overrides
    return [Cell(config.model_copy(update={"seed": seed}), evaluation, nash) for seed in range(budget.seeds)]


@functools.cache
def _algorithm(name: str) -> str:
    return load_config(FOLDER + name).learner.algorithm


def all_cells(budget: Budget, parts: tuple[str, ...] = PARTS) -> list[Cell]:
    """Every cell of some parts of the study, each once.

    Raises:
        InvalidInputError: an unknown part.
    """
    for part in parts:
        if part not in PARTS:
            raise InvalidInputError.of("only", f"one or more of {', '.join(PARTS)}", part)
    cells: list[Cell] = []
    if "objectives" in parts:
        cells += [cell for name in OBJECTIVES for cell in learned_cells(name, budget)]
    if "baselines" in parts:
        cells += [cell for name in (*LEARNED, TEAM_NONE) for cell in learned_cells(name, budget)]
    if "fidelity" in parts:
        cells += [cell for group in fidelity_cells(budget).values() for cell in group]
    if "sweeps" in parts:
        cells += [c for sweep in SWEEPS for point in sweep.chosen(budget) for c in point_cells(sweep, point, budget)]
    return list({cell.name: cell for cell in cells}.values())
