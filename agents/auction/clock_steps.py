"""Policies of the clocks and what they cost: the yardsticks of a learned control of the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError
from ...envs.model_caching.clock_params import STEPS

ClockPolicy = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""Actions (n,) for observations (n, 6)."""


def constant_step(action: int) -> ClockPolicy:
    """Always the same step.

    Args:
        action: index in `STEPS`.

    Raises:
        InvalidInputError: there is no such step.
    """
    if action not in range(len(STEPS)):
        raise InvalidInputError.of("action", f"an integer in [0, {len(STEPS) - 1}]", action)
    return lambda observations: np.full(len(observations), action, np.int64)


def auction_costs(policy: ClockPolicy, auctions: int = 1000, *, seed: int = 0, **kwargs: Any) -> NDArray[np.float64]:
    """Cost of each of some auctions under a policy, (auctions,), in units of value.

    Equal seeds mean equal auctions, so that two policies can be compared auction by auction.

    Args:
        policy: chooses the steps.
        auctions: how many.
        seed: of the first auction; the others follow.
        **kwargs: of ``edgewise/DutchClock-v0``.

    Raises:
        InvalidInputError: an argument of the environment is out of range.
    """
    lanes = gymnasium.make_vec(
        "edgewise/DutchClock-v0", num_envs=auctions, autoreset_mode=AutoresetMode.NEXT_STEP, **kwargs
    )
    observations, _ = lanes.reset(seed=seed)
    total, running = np.zeros(auctions), np.ones(auctions, np.bool_)
    while running.any():
        observations, _, terminated, truncated, info = lanes.step(policy(observations))
        total += np.where(running, info["cost"], 0.0)
        running &= ~(terminated | truncated)
    return total


def best_constant_step(auctions: int = 1000, *, seed: int = 0, **kwargs: Any) -> tuple[int, float]:
    """The cheapest constant step and its mean cost per auction; arguments as in `auction_costs`."""
    means = [float(auction_costs(constant_step(a), auctions, seed=seed, **kwargs).mean()) for a in range(len(STEPS))]
    return int(np.argmin(means)), min(means)
