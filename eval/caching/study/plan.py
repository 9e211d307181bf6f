"""What the study runs: parts, learners, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ....envs.core.errors import InvalidInputError
from ....train.config import TrainConfig, load_config

FOLDER = "model_caching/"
T2DRL, STATIC = "T2DRL", "static-net"


@dataclass(frozen=True)
class Part:
    """One table: learners in one system.

    Attributes:
        name: identifier.
        title: for headings.
        learners: label and packaged configuration, without the folder.
        changes: dotted overrides by label.
        once: one training seed whatever the budget.
        online: continue PPO at test time with the first run of T2DRL, of this configuration.
    """

    name: str
    title: str
    learners: Mapping[str, str]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    once: bool = False
    online: str | None = None


REMEDIES: dict[str, dict[str, Any]] = {
    "inner rate 0.1": {"learner.eta_base": 0.1},
    "inner rate 4": {"learner.eta_base": 4.0},
    "a base per slot": {"learner.minibatch": 1},
    "a base per 20 slots": {"learner.minibatch": 20},
    "predicts observations": {"learner.inner_loss": "next_obs_prediction"},
    "restores observations": {"learner.inner_loss": "obs_reconstruction"},
    "TTT-MLP": {"learner.layer": "mlp"},
    "two layers of width 64": {"learner.layers": 2, "learner.width": 64},
}
"""What may be changed where adapting does not pay. All but the last two are of the size of T2DRL's network."""
_LARGER = ("TTT-MLP", "two layers of width 64")

PARTS = (
    Part(
        "drift",
        "Drifting popularity, demand seen",
        {
            STATIC: "drift_static",
            T2DRL: "drift_t2drl",
            "MLP": "drift_mlp",
            "LSTM": "drift_lstm",
            "GRU": "drift_gru",
        },
    ),
    Part(
        "proactive",
        "Drifting popularity, decision before the demand",
        {STATIC: "proactive_static", T2DRL: "proactive_t2drl", "GRU": "proactive_gru"},
    ),
    Part("stationary", "No drift", {T2DRL: "stationary_t2drl", "GRU": "stationary_gru"}),
    Part(
        "ablations",
        "Other ways to adapt: PAD, and PPO that goes on at test time",
        {T2DRL: "proactive_t2drl", "PAD": "proactive_pad"},
        once=True,
        online="proactive_t2drl",
    ),
    Part(
        "remedies",
        "Other inner steps: rate, task, reach, capacity",
        {T2DRL: "proactive_t2drl", **dict.fromkeys(REMEDIES, "proactive_t2drl")},
        REMEDIES,
        once=True,
    ),
)
NAMES = tuple(part.name for part in PARTS)


@dataclass(frozen=True)
class Budget:
    """How much the study may spend.

    Attributes:
        parts: what is run where nothing is asked for.
        seeds: training seeds of every configuration.
        evaluation: budget of the evaluations.
        online_episodes: test episodes per lane of PPO that goes on.
        training: dotted overrides of every configuration.
    """

    parts: tuple[str, ...]
    seeds: int
    evaluation: Literal["full", "smoke"]
    online_episodes: int
    training: Mapping[str, Any] = field(default_factory=dict)


BUDGETS = {
    "smoke": Budget(
        parts=("drift", "proactive", "stationary", "ablations"),
        seeds=1,
        evaluation="smoke",
        online_episodes=2,
        training={
            "steps": 640,
            "log_every": 320,
            "checkpoints.every": 640,
            "checkpoints.evaluate": False,
            "tensorboard": False,
            "env.num_envs": 4,
            "env.horizon": 20,
            "learner.n_steps": 20,
        },
    ),
    "full": Budget(parts=NAMES, seeds=5, evaluation="full", online_episodes=7),
}


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation, in a run folder of its own.

    Attributes:
        config: the whole configuration; its name and seed name the folder.
        static: name of the cell whose network, trained without inner steps, it is compared with; None: none.
    """

    config: TrainConfig
    static: str | None = None

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return f"{self.config.name}-{self.config.seed}"

    def folder(self, out: Path) -> Path:
        """The run folder within a study's folder."""
        return folder_of(out, self.name)


def folder_of(out: Path, name: str) -> Path:
    """The run folder of a cell within a study's folder."""
    return out / "cells" / name


def part_cells(part: Part, budget: Budget) -> dict[str, list[Cell]]:
    """The runs of one part by label, one per seed."""
    return {
        label: [cell_of(name, seed, budget, label, part.changes.get(label)) for seed in _seeds(part, budget)]
        for label, name in part.learners.items()
    }


def _seeds(part: Part, budget: Budget) -> range:
    return range(1 if part.once else budget.seeds)


def cell_of(name: str, seed: int, budget: Budget, label: str = "", changes: Mapping[str, Any] | None = None) -> Cell:
    """One run of a packaged configuration; unchanged it is the same cell whatever part it stands in."""
    own = {"name": f"{name}-{label.replace(' ', '-')}", **changes} if changes else {}
    config = load_config(FOLDER + name, {**budget.training, **own, "seed": seed})
    statics = {part.learners[T2DRL]: part.learners[STATIC] for part in PARTS if STATIC in part.learners}
    other = None if label in _LARGER else statics.get(name)
    return Cell(config, None if other is None else f"{other}-{seed}")


def chosen(names: tuple[str, ...]) -> tuple[Part, ...]:
    """Parts by name, in the order of the page.

    Raises:
        InvalidInputError: an unknown part.
    """
    for name in names:
        if name not in NAMES:
            raise InvalidInputError.of("only", f"one or more of {', '.join(NAMES)}", name)
    return tuple(part for part in PARTS if part.name in names)


def all_cells(parts: tuple[Part, ...], budget: Budget) -> list[Cell]:
    """Every cell of some parts, each once, networks without inner steps before what is compared with them."""
    cells: dict[str, Cell] = {}
    for part in parts:
        for runs in part_cells(part, budget).values():
            for cell in runs:
                if cell.static is not None:
                    name, _, seed = cell.static.rpartition("-")
                    cells.setdefault(cell.static, cell_of(name, int(seed), budget))
                cells.setdefault(cell.name, cell)
    return list(cells.values())
