"""Taking one lane out of what a vector environment returns, and putting actions together for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.vector.utils import concatenate, create_empty_array


def lane_info(infos: Mapping[str, Any], lane: int) -> dict[str, Any]:
    """Info of one lane: the values whose mask ``_key`` is set for it; a key without a mask holds for all lanes.

    Args:
        infos: info of a vector environment.
        lane: index of the lane.

    Returns:
        What the scalar environment's info would be.
    """
    result: dict[str, Any] = {}
    for key, value in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get(f"_{key}")
        if mask is None or mask[lane]:
            result[key] = lane_info(value, lane) if isinstance(value, Mapping) else value[lane]
    return result


def batch_actions(space: gymnasium.Space[Any], actions: Sequence[Any]) -> Any:
    """Stack one action per lane.

    Args:
        space: the single lane's action space.
        actions: one member of it per lane.

    Returns:
        A fresh batch for ``VectorEnv.step``.
    """
    return concatenate(space, actions, create_empty_array(space, len(actions)))
