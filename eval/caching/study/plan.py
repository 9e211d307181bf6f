"""What the study runs: parts, learners, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ....envs.core.errors import InvalidInputError
from ....envs.model_caching.trace_split import TraceSplit, split_trace
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
        trace: the halves of a trace, on the first of which all train; the second is the evaluation.
    """

    name: str
    title: str
    learners: Mapping[str, str]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    once: bool = False
    online: str | None = None
    trace: TraceSplit | None = None


REMEDIES: dict[str, dict[str, Any]] = {
    "inner rate 0.1": {"learner.eta_base": 0.1},
    "inner rate 4": {"learner.eta_base": 4.0},
    # Retention per slot as packaged: forgetting is per mini-batch.
    "a base per slot": {"learner.minibatch": 1, "learner.forgetting": 0.16},
    "compares its views": {"learner.inner_loss": "ttt"},
    "never forgets": {"learner.forgetting": 0.0},
    "outer loss restores the observation": {"learner.predict_next": False},
    "TTT-MLP": {"learner.layer": "mlp"},
}
"""What may be changed where adapting does not pay. All but the last are of the size of T2DRL's network."""
_LARGER = ("TTT-MLP",)

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
        "Other ways to adapt: PAD, T2DRL as published, and PPO that goes on at test time",
        {T2DRL: "proactive_t2drl", "PAD": "proactive_pad", "T2DRL as published": "proactive_published"},
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
TRACES = {
    "trace": ("Replayed requests, split by time", None),
    "trace_minute": ("Replayed requests, split by time, with the energy of a minute per slot", 60.0),
}
"""The parts that need data: title, and what a slot of 2 s lasts at the server, s. In 2 s energy is scarce."""
NAMES = (*(part.name for part in PARTS), *TRACES)


def trace_splits(path: Path) -> dict[str, TraceSplit]:
    """The halves of a trace for each part that needs one.

    Raises:
        InvalidInputError: the file cannot be read or split.
    """
    return {name: split_trace(str(path.resolve()), stretched_s=lasts) for name, (_, lasts) in TRACES.items()}


def trace_part(name: str, split: TraceSplit) -> Part:
    """A part that needs data: the learners of the first table on a trace, split by time."""
    learners = {STATIC: "drift_static", T2DRL: "drift_t2drl", "GRU": "drift_gru"}
    system = {f"env.{name}": value for name, value in split.fields("train").items()}
    changes = {label: {"name": f"{name}_{config.partition('_')[2]}", **system} for label, config in learners.items()}
    return Part(name, TRACES[name][0], learners, changes, trace=split)


@dataclass(frozen=True)
class Budget:
    """How much the study may spend.

    Attributes:
        parts: what is run where nothing is asked for; with data, the trace's, too.
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
    "full": Budget(parts=tuple(part.name for part in PARTS), seeds=5, evaluation="full", online_episodes=7),
}


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation, in a run folder of its own.

    Attributes:
        config: the whole configuration; its name and seed name the folder.
        static: name of the cell whose network, trained without inner steps, it is compared with; None: none.
        trace: evaluate on the second half of this trace.
    """

    config: TrainConfig
    static: str | None = None
    trace: TraceSplit | None = None

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
    return {label: [_cell(part, label, seed, budget) for seed in _seeds(part, budget)] for label in part.learners}


def _seeds(part: Part, budget: Budget) -> range:
    return range(1 if part.once else budget.seeds)


def _cell(part: Part, label: str, seed: int, budget: Budget) -> Cell:
    """One run; a packaged configuration without changes is the same cell whatever part it stands in."""
    name, changes = part.learners[label], part.changes.get(label)
    own = {"name": f"{name}-{label.replace(' ', '-')}", **changes} if changes else {}
    config = load_config(FOLDER + name, {**budget.training, **own, "seed": seed})
    if name != part.learners[T2DRL] or label in _LARGER:
        return Cell(config, trace=part.trace)
    if part.trace is not None:
        return Cell(config, f"{part.changes[STATIC]['name']}-{seed}", part.trace)
    statics = {one.learners[T2DRL]: one.learners[STATIC] for one in PARTS if STATIC in one.learners}
    return Cell(config, f"{statics[name]}-{seed}" if name in statics else None)


def plain_cell(name: str, seed: int, budget: Budget) -> Cell:
    """A run of a packaged configuration that is compared with nothing."""
    return Cell(load_config(FOLDER + name, {**budget.training, "seed": seed}))


def chosen(names: tuple[str, ...], traces: Mapping[str, TraceSplit] = MappingProxyType({})) -> tuple[Part, ...]:
    """Parts by name, in the order of the page.

    Args:
        names: of parts.
        traces: for the parts of these names.

    Raises:
        InvalidInputError: an unknown part, or a trace's without one.
    """
    for name in names:
        if name not in NAMES:
            raise InvalidInputError.of("only", f"one or more of {', '.join(NAMES)}", name)
        if name in TRACES and name not in traces:
            raise InvalidInputError(f"part {name} needs --data: the file of a trace")
    known = (*PARTS, *(trace_part(name, split) for name, split in traces.items()))
    return tuple(part for part in known if part.name in names)


def all_cells(parts: tuple[Part, ...], budget: Budget) -> list[Cell]:
    """Every cell of some parts, each once, networks without inner steps before what is compared with them."""
    cells: dict[str, Cell] = {}
    for part in parts:
        for runs in part_cells(part, budget).values():
            for cell in runs:
                if cell.static is not None and cell.static not in cells:
                    name, _, seed = cell.static.rpartition("-")
                    cells[cell.static] = plain_cell(name, int(seed), budget)
                cells.setdefault(cell.name, cell)
    return list(cells.values())
