"""How fast the learners train."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...train.config import load_config
from ...train.learners import make_learner
from .timing import Budget

_SKIPPED = 2  # rollouts before the first window: the first one only calibrates


class _Enough(Exception):
    """Leaves the training."""


def training_rates(config_name: str, budget: Budget, changes: dict[str, Any] | None = None) -> NDArray[np.float64]:
    """Decisions per second of processor time while a packaged configuration trains, updates included.

    Args:
        config_name: for example ``aoi_offload/single_fractional``.
        budget: a window is a whole number of rollouts with their updates, and at least as long as it says.
        changes: dotted overrides of the configuration.

    Returns:
        One rate per window.

    Raises:
        MissingExtraError: the learner's library is not installed.
    """
    config = load_config(config_name, changes)
    learner = make_learner(config)
    starts = getattr(config.learner, "learning_starts", 0)
    skipped = 0
    marks: list[tuple[float, int]] = []

    def boundary() -> None:
        nonlocal skipped
        skipped += learner.steps > starts
        if skipped <= _SKIPPED:
            return
        now = time.process_time()
        if not marks or now - marks[-1][0] >= budget.seconds:
            marks.append((now, learner.steps))
        if len(marks) > budget.windows:
            raise _Enough

    try:
        learner.learn(10**12, boundary)
    except _Enough:
        pass
    finally:
        learner.close()
    seconds, decisions = np.diff(np.array(marks), axis=0).T
    return np.asarray(decisions / seconds)
