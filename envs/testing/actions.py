"""Fast seeded random actions: ``space.sample()`` costs about ten steps of a fast environment."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from .contract import Info, Policy

_PLAN = 1024


def draw_actions(space: gymnasium.Space[Any], generator: np.random.Generator, count: int) -> list[Any]:
    """Draw actions in bulk.

    Bounded boxes return each bound in about a tenth of the draws, so that edge cases (a zero wait) occur.

    Args:
        space: any Gymnasium space.
        generator: where the randomness comes from; the space's own generator is left alone.
        count: how many.

    Returns:
        `count` independent members of `space`.
    """
    match space:
        case spaces.Dict():
            columns = {key: draw_actions(part, generator, count) for key, part in space.spaces.items()}
            return [{key: column[i] for key, column in columns.items()} for i in range(count)]
        case spaces.Tuple():
            return list(zip(*(draw_actions(part, generator, count) for part in space.spaces), strict=True))
        case spaces.Discrete():
            return list(generator.integers(int(space.n), size=count) + np.int64(space.start))
        case spaces.MultiDiscrete():
            draws = generator.random((count, *space.shape)) * space.nvec
            return list((np.floor(draws) + space.start).astype(space.dtype))
        case spaces.MultiBinary():
            return list(generator.integers(2, size=(count, *space.shape)).astype(space.dtype))
        case spaces.Box():
            return list(_draw_boxes(space, generator, count))
    copy = deepcopy(space)
    copy.seed(int(generator.integers(2**31)))
    return [copy.sample() for _ in range(count)]


def _draw_boxes(space: spaces.Box, generator: np.random.Generator, count: int) -> npt.NDArray[Any]:
    shape = (count, *space.shape)
    if np.issubdtype(space.low.dtype, np.integer):
        return generator.integers(space.low, space.high, size=shape, dtype=space.low.dtype.type, endpoint=True)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    below, above = np.isfinite(low), np.isfinite(high)
    spread = generator.standard_exponential(shape)
    draws = np.where(below, low + spread, np.where(above, high - spread, generator.standard_normal(shape)))
    bounded = below & above
    with np.errstate(invalid="ignore"):
        inside = low + generator.random(shape) * (high - low)
    edge = generator.random(shape)
    inside = np.where(edge < 0.1, low, np.where(edge > 0.9, high, inside))
    return np.where(bounded, inside, draws).astype(space.low.dtype).clip(space.low, space.high)


class Actor:
    """Chooses the actions of one lane or agent; `restart` makes it repeat them from the first.

    Args:
        space: action space.
        seed: two actors with the same seed act alike.
        policy: replaces the random actions.
    """

    def __init__(self, space: gymnasium.Space[Any], seed: int | tuple[int, ...], policy: Policy | None = None) -> None:
        self._seed, self._policy = seed, policy
        self._plan = [] if policy else draw_actions(space, np.random.default_rng(seed), _PLAN)
        self.restart()

    def restart(self) -> None:
        """Begin again, as at the start of an episode."""
        self._generator = np.random.default_rng(self._seed)
        self._next = 0

    def __call__(self, observation: Any, info: Info) -> Any:
        """Action for this observation; random plans repeat after 1024 decisions."""
        if self._policy:
            return self._policy(observation, info, self._generator)
        self._next += 1
        return _copy(self._plan[(self._next - 1) % _PLAN])


def _copy(action: Any) -> Any:
    """Shield the plan from an environment that writes into its action."""
    if isinstance(action, np.ndarray):
        return action.copy()
    if isinstance(action, Mapping):
        return {key: _copy(part) for key, part in action.items()}
    return tuple(map(_copy, action)) if isinstance(action, tuple) else action
