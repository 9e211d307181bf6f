"""Budgets drawn anew for every episode, so that one policy can be trained for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.errors import InvalidInputError
from ..core.rng import stream_key, uniform
from ..core.streams import BUDGET_STREAM
from .costs import means
from .instance import Budgets, Instance
from .synthetic import CATEGORIES, DELAY_BUDGETS, ENERGY_BUDGETS
from .systems import check_number

JITTER = 0.15
"""How far the categories' strictness may differ from the common one, on a scale from 0 (strict) to 1 (lenient)."""


@dataclass(frozen=True)
class BudgetRange:
    """Between which budgets an episode's are drawn, both on a logarithmic scale.

    Attributes:
        energy: (least, most), J.
        strict: delay budget of every category at its strictest, s.
        lenient: the same at its most lenient, s.
    """

    energy: tuple[float, float]
    strict: tuple[float, ...]
    lenient: tuple[float, ...]

    @classmethod
    def of(cls, instance: Instance) -> BudgetRange:
        """The published budgets for instances with the synthetic categories; otherwise from what the experts need.

        Energy then goes from the cheapest expert to 1.2 times all of them, delay from the fastest expert alone to all
        experts together.
        """
        if instance.categories == CATEGORIES:
            return cls((ENERGY_BUDGETS[0], ENERGY_BUDGETS[-1]), DELAY_BUDGETS["tight"], DELAY_BUDGETS["loose"])
        energy, delay, _ = means(instance)
        budgets = instance.budgets
        single, everyone = budgets.t_gate + budgets.t_agg, budgets.t_gate + budgets.t_agg * instance.n
        return cls(
            (max(float(energy.min()), 1e-9), max(1.2 * float(energy.sum()), 1e-9)),
            tuple(max(single + low, 1e-9) for low in delay.min(axis=1).tolist()),
            tuple(max(everyone + high, 1e-9) for high in delay.max(axis=1).tolist()),
        )

    def check(self, categories: int) -> None:
        """Check the ranges.

        Raises:
            InvalidInputError: a range is empty, not positive, or has the wrong length.
        """
        if len(self.strict) != categories or len(self.lenient) != categories:
            raise InvalidInputError(f"delay_range: {categories} numbers are needed at each end, one per category")
        delays = (("delay_range", *ends) for ends in zip(self.strict, self.lenient, strict=True))
        for name, low, high in (("energy_range", *self.energy), *delays):
            check_number(f"lower end of {name}", low, 0.0, open_low=True)
            check_number(f"upper end of {name}", high, low)

    def draw(self, budgets: Budgets, seed: int, episode: int) -> Budgets:
        """Budgets of an episode: a pure function of the lane's seed and the episode's number."""
        key = np.uint64(stream_key(np.uint64(seed), episode, BUDGET_STREAM, 0))
        common = float(uniform(key, 1))
        tau = []
        for c, (low, high) in enumerate(zip(self.strict, self.lenient, strict=True)):
            place = common + JITTER * (2.0 * float(uniform(key, 2 + c)) - 1.0)
            tau.append(low * (high / low) ** min(max(place, 0.0), 1.0))
        energy = self.energy[0] * math.pow(self.energy[1] / self.energy[0], float(uniform(key, 0)))
        return budgets.model_copy(update={"E_max": energy, "tau": tuple(tau)})
