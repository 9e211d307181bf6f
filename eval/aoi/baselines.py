"""The scripted policies that a learner is compared with, tuned on seeds of their own.

*Source*: the baselines of Jin et al., arXiv 2312.10418 and 2409.16832 (random, local, potential-game offloading), the
join-shortest-queue rules, and the threshold wait of Sun et al., arXiv 1601.02284.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.params import AoIParams
from .metrics import Metrics, measure

GRID_POINTS = 31
_FINALISTS = 3
_FIRST_SEEDS, _KEPT_SHARE, _KEPT_LEAST = 2, 1 / 8, 16

Rule = tuple[str, str]
"""A server rule and a wait rule by name."""
Runner = Callable[[Rule, list[int], float], dict[str, NDArray[Any]]]
"""Runs a rule on seeds up to a horizon (s) and returns the counters."""


@dataclass(frozen=True)
class Baseline:
    """A row of the comparison: one rule, or the best of several.

    Attributes:
        label: name for tables.
        rules: the candidates.
    """

    label: str
    rules: tuple[Rule, ...]


def wait_grid(params: AoIParams) -> list[float]:
    """Waits (s) of the grid search: 31 points from 0 to Z_max, at most three mean local service times.

    The paper's system (Z_max 3 s) gets 0, 0.1, ..., 3.
    """
    top = min(params.z_max, 3.0 * params.law.mean * float(params.scales()[0, 0]))
    return [float(f"{value:.6g}") for value in np.linspace(0.0, top, GRID_POINTS)]


def baselines(params: AoIParams, threshold: float | None = None, whole: bool = True) -> list[Baseline]:
    """Every baseline that fits a system.

    Args:
        params: the physics.
        threshold: the optimal threshold (s) of a lone device, where it is known.
        whole: end with the best of every server rule with every wait rule of the grid.

    Returns:
        The list; some of it never waits, the reference for "worse than zero wait".
    """
    grid = wait_grid(params)
    random_wait = f"uniform:{params.z_max:g}"
    zero = "fixed:0"

    def tuned(server: str, wait: str) -> tuple[Rule, ...]:
        return tuple((server, f"{wait}:{value:g}") for value in grid)

    if params.n_edges == 0:
        rows = [
            Baseline("zero wait", (("local", zero),)),
            Baseline("best fixed wait", tuned("local", "fixed")),
            Baseline("best grid threshold", tuned("local", "threshold")),
            Baseline("random wait", (("local", random_wait),)),
        ]
        if threshold is not None:
            rows.insert(1, Baseline("optimal threshold", (("local", f"threshold:{max(threshold, 0.0):.6g}"),)))
        return rows
    fixed = (f"server:{n}" for n in range(1, params.n_edges + 1))
    places = ["local", "uniform", "edge-uniform", "jsq", "jsq-unless:4", "pgoa", *fixed]
    rows = [
        Baseline("JSQ, zero wait", (("jsq", zero),)),
        Baseline("JSQ, best fixed wait", tuned("jsq", "fixed")),
        Baseline("JSQ, best threshold", tuned("jsq", "threshold")),
        Baseline("JSQ unless 4, zero wait", (("jsq-unless:4", zero),)),
        Baseline("random edge, zero wait", (("edge-uniform", zero),)),
        Baseline("local, zero wait", (("local", zero),)),
        Baseline("random place and wait", (("uniform", random_wait),)),
        Baseline("PGOA, zero wait", (("pgoa", zero),)),
    ]
    if not whole:
        return rows
    # Last: what the rows above measured takes part in it (see `Contest.best`).
    every = tuple(rule for place in places for wait in ("fixed", "threshold") for rule in tuned(place, wait))
    return [*rows, Baseline("best rule × wait", every)]


class Contest:
    """Finds the best of many rules: screened on tuning seeds, decided on the evaluation seeds.

    Args:
        run: runs a rule on seeds up to a horizon (s) and returns the counters.
        devices: the devices that count; None for all.
        tuning: seeds and horizon (s) of the screening.
        evaluation: seeds and horizon (s) of the decision.
    """

    def __init__(
        self,
        run: Runner,
        devices: Sequence[int] | None,
        tuning: tuple[list[int], float],
        evaluation: tuple[list[int], float],
    ) -> None:
        self._run, self._devices = run, devices
        self._tuning, self._evaluation = tuning, evaluation
        self._screened: dict[tuple[Rule, int], float] = {}
        self._measured: dict[Rule, Metrics] = {}

    def finalists(self, rules: Sequence[Rule]) -> list[Rule]:
        """The three rules with the lowest mean age on the tuning seeds, best first.

        Of many rules, all meet the first two tuning seeds, and the best eighth (at least 16) the rest as well: rules
        that far behind on common random numbers are not the best.
        """
        kept = max(round(len(rules) * _KEPT_SHARE), _KEPT_LEAST)
        if len(rules) > kept:
            rules = self._ranked(rules, _FIRST_SEEDS)[:kept]
        return self._ranked(rules, len(self._tuning[0]))[:_FINALISTS]

    def _ranked(self, rules: Sequence[Rule], n_seeds: int) -> list[Rule]:
        """The rules by their mean age on the first tuning seeds, lowest first."""
        seeds, horizon = self._tuning
        for rule in rules:
            if (rule, n_seeds) not in self._screened:
                found = measure(self._run(rule, seeds[:n_seeds], horizon), self._devices)
                self._screened[rule, n_seeds] = float(found.mean_age.mean())
        return sorted(rules, key=lambda rule: self._screened[rule, n_seeds])

    def best(self, rules: Sequence[Rule]) -> tuple[Rule, Metrics]:
        """The best finalist on the evaluation seeds themselves, which favours the rules; and what it measured there.

        Rules that an earlier call measured take part too, so a larger choice is never worse than a smaller one.
        """
        finalists = self.finalists(rules) if len(rules) > 1 else list(rules)
        for rule in finalists:
            if rule not in self._measured:
                self._measured[rule] = measure(self._run(rule, *self._evaluation), self._devices)
        known = [rule for rule in rules if rule in self._measured]
        winner = min(known, key=lambda rule: float(self._measured[rule].mean_age.mean()))
        return winner, self._measured[winner]
