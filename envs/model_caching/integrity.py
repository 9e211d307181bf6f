"""Is a saved state one that the simulator can have written? Compiled code follows its indices unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import InvalidInputError
from .state import STATE_FIELDS, World


def _require(holds: ArrayLike, what: str) -> None:
    if not np.all(holds):
        raise InvalidInputError(f"state: {what}; no state of get_state() is like that")


def check_state(state: Mapping[str, NDArray[Any]], world: World) -> None:
    """Check a state against the arrays that it would replace.

    Args:
        state: the arrays of `STATE_FIELDS`.
        world: the simulator's arrays.

    Raises:
        InvalidInputError: an array is missing or has another type or shape, a number is not finite, or out of range.
    """
    if not isinstance(state, Mapping) or set(state) != set(STATE_FIELDS):
        raise InvalidInputError.of("state", f"a dict with the keys {', '.join(STATE_FIELDS)}", state)
    for name in STATE_FIELDS:
        own, other = getattr(world, name), state[name]
        if not isinstance(other, np.ndarray) or other.dtype != own.dtype or other.shape != own.shape:
            shown = f"{getattr(other, 'dtype', type(other))} {getattr(other, 'shape', '')}"
            raise InvalidInputError.of(f"state.{name}", f"an array {own.dtype} of shape {own.shape}", shown)
    lane, agent, resident = (state[name] for name in STATE_FIELDS)
    for column in ("context", "kappa", "input", "thought", "growth", "seen_input"):
        _require(np.isfinite(agent[column]) & (agent[column] >= 0), f"agent.{column} must be finite and >= 0")
    for column in ("demand", "seen"):
        _require((agent[column] >= 0) & (agent[column] < 2**31 - 1), f"agent.{column} must be a count")
    count = agent.shape[1]
    for column in ("cache", "burst"):
        _require(np.isin(agent[column], (0, 1)), f"agent.{column} must be 0 or 1")
    ranks = np.sort(agent["rank"], axis=1)
    fixed = world.trace_count.shape[0] > 0
    _require((ranks == np.arange(count)).all() or (fixed and not ranks.any()), "agent.rank must be a permutation")
    _require(lane["time"] >= 0, "lane.time must be >= 0")
    _require((lane["first"] >= 0) & (lane["first"] <= world.params[0]["last_start"]), "lane.first must be a start")
    _require(np.isin(lane["done"], (0, 1)), "lane.done must be 0 or 1")
    models = np.arange(resident.shape[1])
    held = (world.static["model"][None, :, None] == models) & (agent["cache"][:, :, None] == 1)
    counted = held.sum(1) if world.params[0]["shared"] else 0
    _require(resident == counted, "resident must count the agents that hold each shared model")
