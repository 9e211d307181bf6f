"""Advantages of semi-Markov decisions: discounts by elapsed time, or differential values for the average criterion."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Advantages(NamedTuple):
    """What `differential_advantages` and `discounted_advantages` return.

    Attributes:
        advantage: generalised advantage estimates, shape (steps, lanes).
        target: regression targets of the values, shape (steps, lanes).
        gain: mean reward per decision that was subtracted (0 for the discounted criterion).
    """

    advantage: FloatArray
    target: FloatArray
    gain: float


def time_discount(duration: FloatArray, horizon: float) -> FloatArray:
    """Discount of a step that lasts `duration`: exp(-duration / horizon).

    Args:
        duration: elapsed time of each step, any shape, same unit as `horizon`.
        horizon: time over which the weight of the future falls to 1/e.
    """
    return np.exp(-np.asarray(duration, np.float64) / horizon)


def accumulate(delta: FloatArray, carry: FloatArray, cut: NDArray[np.bool_]) -> FloatArray:
    """Backward sum delta[t] + carry[t] * sum[t + 1], not across a cut.

    Args:
        delta: temporal differences, shape (steps, lanes).
        carry: discount times lambda of each step, shape (steps, lanes).
        cut: steps after which the lane was reset, shape (steps, lanes).
    """
    total = np.empty_like(delta)
    running = np.zeros(delta.shape[1])
    for step in range(delta.shape[0] - 1, -1, -1):
        running = delta[step] + carry[step] * np.where(cut[step], 0.0, running)
        total[step] = running
    return total


def discounted_advantages(
    reward: FloatArray,
    discount: FloatArray,
    value: FloatArray,
    next_value: FloatArray,
    cut: NDArray[np.bool_],
    lam: float,
) -> Advantages:
    """Generalised advantages with one discount per step.

    Args:
        reward: reward of each step, shape (steps, lanes), earned over the step and not discounted within it.
        discount: weight of what follows the step, shape (steps, lanes).
        value: value at the start of each step, shape (steps, lanes).
        next_value: value at the end of each step: of the final observation where the lane was truncated there, 0 where
            it terminated, shape (steps, lanes).
        cut: steps after which the lane was reset, shape (steps, lanes).
        lam: factor per decision.
    """
    delta = reward + discount * next_value - value
    advantage = accumulate(delta, lam * discount, cut)
    return Advantages(advantage, advantage + value, 0.0)


def differential_advantages(
    reward: FloatArray,
    value: FloatArray,
    next_value: FloatArray,
    cut: NDArray[np.bool_],
    lam: float,
    winsorise: float = 0.0,
) -> Advantages:
    """Generalised advantages of the average criterion: relative values, mean reward subtracted.

    Differential values are only defined up to a constant; the targets are centred, which fixes it and stops the drift
    that an error of the gain would cause (relative value iteration).

    Args:
        reward: reward of each step, shape (steps, lanes).
        value: relative value at the start of each step, shape (steps, lanes).
        next_value: relative value at the end of each step, shape (steps, lanes).
        cut: steps after which the lane was reset, shape (steps, lanes).
        lam: factor per decision.
        winsorise: share of the temporal differences on either side that is pulled in to the share's quantile. With
            heavy-tailed costs a few of them would otherwise decide a whole fit; the ratio itself is never clipped.
    """
    delta = reward + next_value - value
    if winsorise > 0.0:
        delta = np.clip(delta, *np.quantile(delta, [winsorise, 1.0 - winsorise]))
    # The textbook gain is the mean reward; the mean difference stays consistent when differences are clipped.
    gain = float(delta.mean())
    advantage = accumulate(delta - gain, np.full_like(delta, lam), cut)
    target = advantage + value
    return Advantages(advantage, target - target.mean(), gain)


def standardise(advantage: FloatArray, group: NDArray[np.int64]) -> FloatArray:
    """Zero mean and unit deviation within each group (kind of decision): their scales have nothing in common.

    Args:
        advantage: advantages, any shape.
        group: group of each, same shape.
    """
    result = np.zeros_like(advantage)
    for label in np.unique(group):
        members = group == label
        values = advantage[members]
        result[members] = (values - values.mean()) / (values.std() + 1e-8)
    return result
