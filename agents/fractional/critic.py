"""Least-squares temporal differences for ratio objectives: values of cost and of duration, priced when read."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STATE = ("matrix", "square", "targets", "solution", "weight")


class FractionalLSTD:
    """Linear values N (cost to go) and D (time to go) of the current policy; the value at a ratio is -(N - ratio D).

    Both solve the same projected Bellman equation, sum z (phi - g phi')' w = sum z (x - mean x), x the cost or the
    duration and g the discount of the step (1, with the mean subtracted, for the average criterion). The instruments z
    are the features phi themselves, or their eligibility traces: where the features do not tell the state, traces keep
    the values from trusting those of the next step, which are as wrong. Because the two values are kept apart, a move
    of the ratio reprices every value at once. Moments of past rollouts fade geometrically.

    Args:
        width: number of features.
        memory: number of rollouts that the moments remember.
        ridge: regularisation of each feature relative to its mean square, a number or shape (width,).

    *Source*: Bradtke & Barto, Machine Learning 22, 1996 (LSTD); Boyan, Machine Learning 49, 2002 (with traces); the
    split N - ratio D is that of Jin et al., AAAI-24.
    """

    def __init__(self, width: int, memory: float = 10.0, ridge: FloatArray | float = 1e-4) -> None:
        self.memory, self.ridge = memory, ridge
        self.matrix: FloatArray = np.zeros((width, width))
        self.square, self.weight = np.zeros(width), np.zeros(())
        self.targets: FloatArray = np.zeros((width, 2))
        self.solution: FloatArray = np.zeros((width, 2))

    def update(
        self,
        features: FloatArray,
        next_features: FloatArray,
        cost: FloatArray,
        duration: FloatArray,
        weight: FloatArray,
        discount: FloatArray | None,
        traces: FloatArray | None = None,
        pool: Callable[[FloatArray], FloatArray] = np.asarray,
    ) -> None:
        """Add a rollout and solve.

        Args:
            features: at the start of each step, shape (rows, width).
            next_features: at the end of each step, shape (rows, width); zero where the episode truly ended.
            cost: cost of each step, shape (rows,).
            duration: duration of each step, shape (rows,).
            weight: weight of each row in the projection, shape (rows,).
            discount: weight of what follows each step, shape (rows,); None for the average criterion.
            traces: eligibility traces of the features at each step, shape (rows, width); None: the features.
            pool: sums moments over several learners that have each seen a part of the rollout.
        """
        both = np.stack([cost, duration], axis=1)
        change = features - (next_features if discount is None else discount[:, None] * next_features)
        test = weight[:, None] * (features if traces is None else traces)
        matrix, targets = pool(test.T @ change), pool(test.T @ both)
        total = pool(weight.sum())
        if discount is None:
            # Centred test functions: relative values have a free constant, and the ends of a finite rollout must not
            # set it (they would, at a large value, and collinear features would carry it into the slopes). Each rollout
            # has its own centre, as it has its own policy: the values must not explain why one was dearer than another.
            centre = pool(test.sum(0)) / total
            matrix = matrix - np.outer(centre, pool(weight @ change))
            targets = targets - np.outer(centre, pool(weight @ both))
        keep = 1.0 - 1.0 / self.memory
        self.matrix, self.targets = keep * self.matrix + matrix, keep * self.targets + targets
        self.square, self.weight = keep * self.square + pool(weight @ features**2), keep * self.weight + total
        regular = self.ridge * (self.square + 1e-9 * self.weight)
        solution: NDArray[Any] = np.linalg.lstsq(self.matrix + np.diag(regular), self.targets, rcond=None)[0]
        self.solution = solution

    def values(self, features: FloatArray, ratio: float) -> FloatArray:
        """Values -(N - ratio D) of features (..., width)."""
        return features @ self.weights(ratio)

    def weights(self, ratio: float) -> FloatArray:
        """Weights (width,) of the value at a ratio."""
        return -(self.solution[:, 0] - ratio * self.solution[:, 1])

    def state(self) -> dict[str, FloatArray]:
        """Arrays that `load` takes back."""
        return {name: np.array(getattr(self, name)) for name in _STATE}

    def load(self, state: dict[str, FloatArray]) -> None:
        """Continue from what `state` returned."""
        for name in _STATE:
            setattr(self, name, np.array(state[name], np.float64))
