"""Least-squares temporal differences for ratio objectives: values of cost and of duration, priced when read."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STATE = ("matrix", "square", "test_sum", "change_sum", "targets", "solution", "target_sum", "weight")


class FractionalLSTD:
    """Linear values N (cost to go) and D (time to go) of the current policy; the value at a ratio is -(N - ratio D).

    Both solve the same projected Bellman equation, sum phi (phi - g phi')' w = sum phi (x - mean x), x the cost or the
    duration and g the discount of the step (1, with the mean subtracted, for the average criterion). Because the two
    are kept apart, a move of the ratio reprices every value at once. Moments of past rollouts fade geometrically.

    Args:
        width: number of features.
        memory: number of rollouts that the moments remember.
        ridge: regularisation of each feature relative to its mean square, a number or shape (width,).

    *Source*: Bradtke & Barto, Machine Learning 22, 1996 (LSTD); the split N - ratio D is that of Jin et al., AAAI-24.
    """

    def __init__(self, width: int, memory: float = 10.0, ridge: FloatArray | float = 1e-4) -> None:
        self.memory, self.ridge = memory, ridge
        self.matrix: FloatArray = np.zeros((width, width))
        self.square, self.test_sum, self.change_sum = (np.zeros(width) for _ in range(3))
        self.targets: FloatArray = np.zeros((width, 2))
        self.solution: FloatArray = np.zeros((width, 2))
        self.target_sum, self.weight = np.zeros(2), np.zeros(())

    def update(
        self,
        features: FloatArray,
        next_features: FloatArray,
        cost: FloatArray,
        duration: FloatArray,
        weight: FloatArray,
        discount: FloatArray | None,
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
            pool: sums moments over several learners that have each seen a part of the rollout.
        """
        both = np.stack([cost, duration], axis=1)
        change = features - (next_features if discount is None else discount[:, None] * next_features)
        test = weight[:, None] * features
        keep = 1.0 - 1.0 / self.memory
        for name, value in (
            ("matrix", test.T @ change),
            ("square", (test * features).sum(0)),
            ("targets", test.T @ both),
            ("test_sum", test.sum(0)),
            ("change_sum", weight @ change),
            ("target_sum", weight @ both),
            ("weight", weight.sum()),
        ):
            setattr(self, name, keep * getattr(self, name) + pool(value))
        left: NDArray[Any] = self.matrix
        right: NDArray[Any] = self.targets
        if discount is None:
            # Centred test functions: relative values have a free constant, and the ends of a finite rollout must not
            # set it (they would, at a large value, and collinear features would carry it into the slopes).
            centre = self.test_sum / self.weight
            left = left - np.outer(centre, self.change_sum)
            right = right - np.outer(centre, self.target_sum)
        regular = self.ridge * (self.square + 1e-9 * self.weight)
        self.solution = np.linalg.lstsq(left + np.diag(regular), right, rcond=None)[0]

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
