"""Routers to hold the gate against: k nearest neighbours.

The usual MLP router is a gate with a hidden layer, `train_gate(..., hidden=16)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ...envs.core.errors import InvalidInputError
from .gate import FloatArray, best

_BATCH = 1024


class NeighbourRouter:
    """Expected quality of an expert: its mean quality on the nearest training prompts.

    *Source*: the k-NN router of Hu et al., RouterBench, arXiv 2403.12031 (Euclidean distance here).

    Args:
        phi: (M, d) features of the training prompts.
        quality: (M, n) in [0, 1] on them.
        neighbours: how many count.

    Raises:
        InvalidInputError: shapes that do not fit, or a number of neighbours outside [1, M].
    """

    def __init__(self, phi: ArrayLike, quality: ArrayLike, neighbours: int = 40) -> None:
        features, table = np.asarray(phi, float), np.asarray(quality, float)
        if features.ndim != 2 or table.ndim != 2 or len(features) != len(table) or not len(table):
            raise InvalidInputError(
                f"phi (M, d) and quality (M, n) must have equal length M >= 1, got {features.shape} and {table.shape}"
            )
        if not 1 <= neighbours <= len(table):
            raise InvalidInputError.of("neighbours", f"an integer in [1, {len(table)}]", neighbours)
        self._phi, self._quality, self.neighbours = torch.tensor(features), table, neighbours

    def quality(self, phi: ArrayLike) -> FloatArray:
        """Expected qualities (M, n) of prompts with features (M, d)."""
        parts = []
        for rows in torch.tensor(np.asarray(phi, float)).split(_BATCH):
            near = torch.cdist(rows, self._phi).topk(self.neighbours, largest=False).indices.numpy()
            parts.append(self._quality[near].mean(axis=1))
        return np.concatenate(parts)

    def topk(self, phi: ArrayLike, subset: Sequence[int] | None = None, k: int = 1) -> NDArray[np.int64]:
        """Indices (M, k) of the k experts of a selection that are expected to be best, best first.

        Raises:
            InvalidInputError: the selection is empty, or smaller than k.
        """
        return best(self.quality(phi), subset, k)
