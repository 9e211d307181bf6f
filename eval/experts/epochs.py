"""Selections that follow a drifting budget, epoch by epoch, held against those that are solved anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ...envs.edge_experts.costs import costs
from ...envs.edge_experts.instance import Instance
from ...envs.edge_experts.monotone import mask_of
from ...envs.edge_experts.policies import select
from ...envs.edge_experts.sources import open_instance
from ...envs.edge_experts.two_level import ExpertTwoLevelVectorEnv
from ...envs.edge_experts.two_level_system import TwoLevelSystem
from ...train.environments import ExpertsEnvConfig
from ..estimates import estimate
from ..statistics import difference
from .results import Kind, Point, Row, Target
from .selecting import singles

EPOCHS = 50
"""Of an evaluation episode where the configuration names no horizon."""
RESOLVED = "certified optimum, every epoch"
_RULES = ("best_of_two", "greedy_density", "single_best", "random")
_LABELS = {"best_of_two": "better of the two greedy rules"}

Decide = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.int64]]
"""Selections (n, experts) from observations (n, D) and masks (n, 2 experts)."""


class Contest:
    """Every policy under the same drift, on the same prompts.

    Args:
        env: the environment.
        first_seed: lane i has the seed ``first_seed + i``.
        lanes: how many seeds.
        epochs: of an episode.
    """

    def __init__(self, env: ExpertsEnvConfig, first_seed: int, lanes: int, epochs: int) -> None:
        self.instance = open_instance(env.instance)
        fields = env.kwargs() | {"instance": self.instance, "horizon": float(epochs)}
        self.venv = ExpertTwoLevelVectorEnv(lanes, autoreset_mode=AutoresetMode.DISABLED, **fields)
        self._first, self._epochs = first_seed, epochs
        self._delay = costs(self.instance).delay

    @property
    def system(self) -> TwoLevelSystem:
        """The simulated system, which knows the current budgets."""
        system = self.venv._system
        assert isinstance(system, TwoLevelSystem)
        return system

    def play(self, decide: Decide) -> dict[str, NDArray[np.float64]]:
        """Run a policy: sums over the epochs (lanes,) of ``value``, ``quality``, ``energy``, ``delay`` and ``refused``.

        ``answers`` (categories, experts) counts prompts by who answered them.
        """
        lanes, prompts = self.venv.num_envs, self.instance.prompts
        names = ("value", "quality", "energy", "delay", "refused")
        sums = {name: np.zeros(lanes) for name in names}
        sums["answers"] = np.zeros((len(self.instance.categories), self.instance.n))
        obs, _ = self.venv.reset(seed=self._first)
        for _ in range(self._epochs):
            asked = [self.system.prompts_of(lane) for lane in range(lanes)]
            constraints = [self.system.constraints_of(lane) for lane in range(lanes)]
            obs, _, _, _, info = self.venv.step(decide(obs, self.venv.action_masks()))
            sums["value"] -= info["cost"]
            sums["quality"] += info["quality"]
            sums["refused"] += info["cost_terms"]["violation"] > 0.0
            for lane, rows in enumerate(asked):
                loaded = self.system.loaded(lane)
                if loaded:
                    chosen = self.system.favourites(rows, loaded)
                    sums["delay"][lane] += self._delay[rows, chosen].mean()
                    sums["energy"][lane] += constraints[lane].energy_use(mask_of(loaded))
                    np.add.at(sums["answers"], (prompts.category[rows], chosen), 1.0)
        return sums

    def row(self, label: str, kind: Kind, decide: Decide, target: float, ours: NDArray[np.float64] | None) -> Row:
        """Play a policy and compare the learner, whose values per epoch are `ours`, with it."""
        sums = self.play(decide)
        values, answers = sums["value"] / self._epochs, sums["answers"]
        quality, energy, delay, refused = (
            float(sums[name].mean() / self._epochs) for name in ("quality", "energy", "delay", "refused")
        )
        return Row(
            label=label,
            kind=kind,
            value=estimate([values]),
            per_seed=values.tolist(),
            shortfall=estimate([(target - values) / target]) if target > 0.0 else None,
            quality=quality,
            energy=energy,
            delay=delay,
            refused=refused,
            late=None,
            shares=(answers / np.maximum(answers.sum(axis=1, keepdims=True), 1.0)).tolist(),
            difference=None if ours is None else estimate([ours, values], difference),
        )

    def solved(self, rule: str) -> Decide:
        """Select by a rule of `policies.select` under the budgets of every epoch."""
        known: dict[float | None, tuple[int, ...]] = {}  # only the energy budget drifts

        def decide(obs: Any, mask: Any) -> NDArray[np.int64]:
            found = np.zeros((self.venv.num_envs, self.instance.n), np.int64)
            for lane in range(self.venv.num_envs):
                budgets = self.system.budgets_of(lane)
                if rule == "random" or budgets.E_max not in known:
                    model = self.system.energy_model
                    known[budgets.E_max] = select(self.instance, rule, budgets, energy_model=model, seed=lane)
                found[lane, list(known[budgets.E_max])] = 1
            return found

        return decide

    def fixed(self) -> Decide:
        """The certified optimum under the strictest budgets of the drift, which no epoch refuses."""
        subset = self.system.strictest().solution.subset
        found = np.zeros((self.venv.num_envs, self.instance.n), np.int64)
        found[:, list(subset)] = 1
        return lambda obs, mask: found

    def bound(self) -> Target:
        """Mean over the visited epochs of the certified value under their budgets: no policy's expectation is above."""
        self.venv.reset(seed=self._first)
        nothing, solutions = np.zeros((self.venv.num_envs, self.instance.n), np.int64), []
        for _ in range(self._epochs):
            solutions += [self.system.selection(lane).solution for lane in range(self.venv.num_envs)]
            self.venv.step(nothing)
        return Target(
            value=float(np.mean([solution.bound for solution in solutions])),
            exact=False,
            method=f"{solutions[0].method}, mean over the visited budgets; loading free, routing perfect",
            seconds=round(sum(solution.seconds for solution in {id(s): s for s in solutions}.values()), 6),
        )


def _learned(policy: Any) -> Decide:
    return lambda obs, mask: np.asarray(policy.act(obs, mask)["action"], np.int64)


def score_epochs(policy: Any, env: ExpertsEnvConfig, first_seed: int, lanes: int) -> dict[str, float]:
    """What a policy earns per epoch, negated: the score of a checkpoint."""
    contest = Contest(env, first_seed, lanes, _epochs(env))
    found = contest.play(_learned(policy))
    value, refused = (float(found[name].mean() / _epochs(env)) for name in ("value", "refused"))
    return {"score": -value, "value": value, "refused": refused}


def _epochs(env: ExpertsEnvConfig) -> int:
    return EPOCHS if env.horizon is None else max(1, int(env.horizon))


def compare_epochs(
    policy: Any, env: ExpertsEnvConfig, first_seed: int, lanes: int, epochs: int | None = None
) -> dict[str, Any]:
    """The parts of an evaluation of selections under drifting budgets.

    Args:
        policy: the learner.
        env: the environment.
        first_seed: lane i has the seed ``first_seed + i``.
        lanes: how many episodes.
        epochs: of each; None takes the training's.
    """
    contest = Contest(env, first_seed, lanes, epochs or _epochs(env))
    target = contest.bound()
    learner = contest.row("learner", "learner", _learned(policy), target.value, None)
    ours = np.array(learner.per_seed)
    others = [
        contest.row(_LABELS.get(rule, rule.replace("_", " ")), "scripted", contest.solved(rule), target.value, ours)
        for rule in _RULES
    ]
    others.append(contest.row("optimum of the strictest budgets", "scripted", contest.fixed(), target.value, ours))
    others.append(contest.row(RESOLVED, "reference", contest.solved("optimum"), target.value, ours))
    return {
        "instance": contest.instance,
        "learner": learner,
        "others": others,
        "budgets": [],
        "energies": [],
        "delays": [],
        "points": _points(contest.instance, [learner, *others]),
        "target": target,
    }


def _points(instance: Instance, rows: list[Row]) -> list[Point]:
    """Experts alone, and what every policy comes to on average."""
    weight, table = instance.prompts.weight, costs(instance)
    quality, energy, delay = (weight @ part for part in (instance.prompts.Q, table.energy, table.delay))
    found = singles(instance, lambda only: float(quality[only[0]]), lambda i: (float(energy[i]), float(delay[i])))
    return found + [
        Point(label=row.label, kind=row.kind, quality=row.quality, energy=row.energy, delay=row.delay) for row in rows
    ]
