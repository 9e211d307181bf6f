"""A two-player game in closed form, on which the multi-agent outer loop can be watched converge, cycle or be damped."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class ThresholdCongestionGame:
    """Two devices that wait up to a threshold and slow each other down.

    Player m waits until its age since generation is c_m >= 0; its own delay is Exp(1). Its mean cycle is
    D(c) = c + exp(-c), its own part of the age h(c) = (c² + (2c + 2) exp(-c)) / (2 D(c)), and the congestion that the
    other causes m(c) = 1 + congestion / D(c): the more often it generates, the longer the queue. Player m's age is
    h(c_m) + m(c_other). At coefficients (ratio_1, ratio_2) the additive game has the equilibrium
    c_m = max(0, ratio_m - m(c_other)).

    The ratio game's equilibrium is c* = 2 W(1/√2) = 0.901201 for both, with age 1.901201 + congestion / D(c*). One
    undamped update multiplies an error common to both players by m'/(1 + m') and an opposite one by -m'/(1 - m'), where
    m' = m'(c*) < 0. Above `divergence_threshold` the first is beyond -1: the loop ends in a cycle of length two.

    Args:
        congestion: strength of the interaction, >= 0; 0 gives two independent single-agent problems.

    *Source*: the own part is Sun et al., *Update or wait*, arXiv 1601.02284; the game is derived here.
    """

    def __init__(self, congestion: float) -> None:
        self.congestion = float(congestion)
        threshold = 0.9
        for _ in range(60):  # c = √2 exp(-c/2), a contraction
            threshold = math.sqrt(2.0) * math.exp(-0.5 * threshold)
        self.threshold = threshold
        self.ratio = threshold + self._slowdown(threshold)

    @property
    def factors(self) -> tuple[float, float]:
        """Local factors of an undamped update, for symmetric and for opposite errors."""
        slope = -self.congestion * (1 - math.exp(-self.threshold)) / self.cycle(self.threshold) ** 2
        return slope / (1 + slope), -slope / (1 - slope)

    @property
    def divergence_threshold(self) -> float:
        """Congestion above which the undamped loop no longer converges."""
        return self.cycle(self.threshold) ** 2 / (2 * (1 - math.exp(-self.threshold)))

    @staticmethod
    def cycle(threshold: float) -> float:
        """Mean time between generations D(c)."""
        return threshold + math.exp(-threshold)

    def inner_equilibrium(self, ratios: npt.ArrayLike) -> Floats:
        """Thresholds (2,) in equilibrium of the additive game at coefficients (2,)."""
        price = np.asarray(ratios, dtype=np.float64)
        thresholds = np.maximum(price - 1.0, 0.0)
        for _ in range(500):  # best responses: slopes stay below 0.36 * congestion
            answer = np.array([max(0.0, price[m] - self._slowdown(float(thresholds[1 - m]))) for m in (0, 1)])
            if np.abs(answer - thresholds).max() <= 1e-15:
                break
            thresholds = answer
        return answer

    def costs_and_durations(self, thresholds: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Expected cost and duration of one cycle of each player, (2,) each; their ratio is the age."""
        values = [float(c) for c in np.asarray(thresholds)]
        cycles = np.array([self.cycle(c) for c in values])
        ages = np.array([self._own_age(values[m]) + self._slowdown(values[1 - m]) for m in (0, 1)])
        return ages * cycles, cycles

    def _own_age(self, c: float) -> float:
        return (c * c + (2 * c + 2) * math.exp(-c)) / (2 * self.cycle(c))

    def _slowdown(self, c: float) -> float:
        return 1.0 + self.congestion / self.cycle(c)
