"""The outer loop of fractional learning as an RLlib callback."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.learner.learner import Learner

from .torch_learner import AsyncFractionalTorchLearner


class DinkelbachCallback(RLlibCallback):
    """Moves the ratios after every training iteration, from sums of raw cost and duration over all learners.

    The loops themselves live in the learners' state, so a checkpoint holds them and a restored run goes on with them.
    """

    def on_train_result(self, *, algorithm: Algorithm, metrics_logger: Any = None, result: Any, **kwargs: Any) -> None:
        """Gather the sums, and take one step in every learner."""
        group = algorithm.learner_group
        assert group is not None
        sums = np.sum(_values(group.foreach_learner(_take)), axis=0)
        ratio = _values(group.foreach_learner(_Move(sums)))[0]
        result["ratio"] = float(ratio.mean())
        result["ratios"] = ratio.tolist()


def outer_step(learner: AsyncFractionalTorchLearner) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The same for a single learner that no Algorithm drives; returns the new ratios (M,)."""
    return _Move(_take(learner))(learner)


class _Move:
    """Step of the outer loop with given sums (2, M)."""

    def __init__(self, sums: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self._sums = sums

    def __call__(self, learner: Learner, *_: Any, **__: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        assert isinstance(learner, AsyncFractionalTorchLearner)
        learner.pricing.move(*self._sums)
        return learner.pricing.ratio


def _take(learner: Learner, *_: Any, **__: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    assert isinstance(learner, AsyncFractionalTorchLearner)
    return learner.pricing.take_sums()


def _values(results: Any) -> list[Any]:
    """Results of learners: remote ones come wrapped."""
    return [result.get() if hasattr(result, "get") else result for result in results]
