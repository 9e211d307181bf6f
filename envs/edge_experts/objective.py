"""What a selection is worth: the facility-location value and its relatives, as functions of a bit mask."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ..core.errors import InvalidInputError
from .instance import FloatArray, Instance
from .monotone import members

LEAST_PROBABILITY = 1e-6
"""Answer probabilities are raised to this before their logarithm is taken."""
MOST_COLUMNS = 5000
"""Largest number of small subsets that `best_of_k` tabulates."""


class FacilityLocation:
    """``f(S) = sum_x w_x max_{i in S} Q[x, i]``: the value of a pointwise optimal choice among S, f of nothing being 0.

    Increasing and submodular. Values are remembered.

    Args:
        quality: (M, n), >= 0.
        weight: (M,) prompt weights; default equal.

    Attributes:
        evaluations: subsets computed so far, repeats not counted.
    """

    def __init__(self, quality: FloatArray, weight: FloatArray | None = None) -> None:
        table = np.asarray(quality, float)
        if table.ndim != 2 or not table.size or not np.isfinite(table).all() or table.min() < 0:
            raise InvalidInputError("quality must be a finite (M, n) array of numbers >= 0")
        shares = np.full(len(table), 1.0 / len(table)) if weight is None else np.asarray(weight, float)
        if shares.shape != (len(table),) or not np.isfinite(shares).all() or shares.min() < 0:
            raise InvalidInputError(f"weight must be {len(table)} finite numbers >= 0")
        self.quality, self.weight, self.n = table, shares, table.shape[1]
        self.evaluations = 0
        self._known: dict[int, float] = {0: 0.0}

    def __call__(self, subset: int) -> float:
        """Value of a subset."""
        found = self._known.get(subset)
        if found is None:
            self.evaluations += 1
            found = self._known[subset] = float(self.weight @ self.quality[:, list(members(subset))].max(axis=1))
        return found

    def gains(self) -> FloatArray:
        """(n, M') weighted qualities with equal rows merged: f(S) is the sum over columns of the maximum over S."""
        kept = self.weight > 0
        table, weight = self.quality[kept], self.weight[kept]
        _, first, group = np.unique(table, axis=0, return_index=True, return_inverse=True)
        merged = np.bincount(group.ravel(), weight)
        return np.ascontiguousarray((table[first] * merged[:, None]).T)


def value_of_quality(instance: Instance) -> FacilityLocation:
    """Expected quality under a pointwise optimal Top-1 choice."""
    return FacilityLocation(instance.prompts.Q, instance.prompts.weight)


def value_of_likelihood(instance: Instance) -> FacilityLocation:
    """Log-likelihood of the right answer under the best expert, shifted so that `LEAST_PROBABILITY` counts 0, nats.

    Raises:
        InvalidInputError: the instance has no answer distributions.
    """
    prompts = instance.prompts
    if prompts.P is None or prompts.y is None:
        raise InvalidInputError("the likelihood needs the answer distributions prompts.P and labels prompts.y")
    right = prompts.P[np.arange(len(prompts)), :, prompts.y]
    return FacilityLocation(np.log(np.maximum(right, LEAST_PROBABILITY) / LEAST_PROBABILITY), prompts.weight)


class BestOfK:
    """Quality if up to k experts of S answer together and the best such group is asked: increasing, not submodular.

    A group's answer is the option with the largest mean probability (the first of equals).

    Args:
        instance: with answer distributions.
        k: largest group.

    Raises:
        InvalidInputError: no answer distributions, or too many groups to tabulate.
    """

    def __init__(self, instance: Instance, k: int) -> None:
        prompts = instance.prompts
        if prompts.P is None or prompts.y is None:
            raise InvalidInputError(f"k = {k}: groups of experts need the answer distributions prompts.P and prompts.y")
        groups = [group for size in range(1, k + 1) for group in combinations(range(instance.n), size)]
        if len(groups) > MOST_COLUMNS:
            raise InvalidInputError(f"k = {k}: {len(groups)} groups of {instance.n} experts are too many")
        answers, right = prompts.P, prompts.y
        columns = [answers[:, list(group)].mean(axis=1).argmax(axis=1) == right for group in groups]
        self.table = np.stack(columns, axis=1).astype(float)
        self.weight, self.n, self.evaluations = prompts.weight, instance.n, 0
        self._masks = np.array([sum(1 << i for i in group) for group in groups], np.uint64)
        self._known: dict[int, float] = {0: 0.0}

    def __call__(self, subset: int) -> float:
        """Value of a subset."""
        found = self._known.get(subset)
        if found is None:
            self.evaluations += 1
            inside = (self._masks & ~np.uint64(subset)) == 0
            found = self._known[subset] = float(self.weight @ self.table[:, inside].max(axis=1))
        return found
