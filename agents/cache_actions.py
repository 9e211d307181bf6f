"""Decisions of the model-caching environments in one Box, for libraries without Dict actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from ..envs.core.errors import InvalidInputError


def cache_items(space: spaces.Space[Any]) -> int:
    """Number I of items in ``Dict({"cache": MultiBinary(I), "local_share": Box(0, 1, (I,))})``.

    Raises:
        InvalidInputError: another space.
    """
    if isinstance(space, spaces.Dict) and set(space.spaces) == {"cache", "local_share"}:
        cache, share = space["cache"], space["local_share"]
        if (
            isinstance(cache, spaces.MultiBinary)
            and isinstance(share, spaces.Box)
            and share.shape == cache.shape == (int(np.prod(cache.shape)),)
            and (share.low == 0.0).all()
            and (share.high == 1.0).all()
        ):
            return int(share.shape[0])
    allowed = "Dict(cache: MultiBinary(I), local_share: Box(0, 1, (I,)))"
    raise InvalidInputError.of("action_space", allowed, space)


class CacheCarrier:
    """Codes decisions as [2 b - 1 for the shares b | one score per item, positive: cache it], width 2 I.

    Args:
        space: the environment's action space, see `cache_items`.

    Raises:
        InvalidInputError: another space.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.items = cache_items(space)
        self.space = spaces.Box(-1.0, 1.0, (2 * self.items,), np.float32)

    def decode(self, carrier: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """``{"cache": int8 (..., I), "local_share": float32 (..., I)}`` of carriers (..., 2 I).

        Raises:
            InvalidInputError: another shape, or a value that is NaN or outside [-1, 1].
        """
        allowed = f"finite numbers in [-1, 1] of shape (..., {2 * self.items})"
        try:
            array = np.asarray(carrier, np.float64)
        except (TypeError, ValueError):
            raise InvalidInputError.of("action", allowed, carrier) from None
        if array.ndim < 1 or array.shape[-1] != 2 * self.items:
            raise InvalidInputError.of("action", allowed, f"shape {array.shape}")
        if not (np.abs(array) <= 1.0).all():
            raise InvalidInputError.of("action", allowed, array.tolist())
        shares = (0.5 * (array[..., : self.items] + 1.0)).astype(np.float32)
        return {"cache": (array[..., self.items :] > 0.0).astype(np.int8), "local_share": shares}

    def encode(self, action: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """Carriers (..., 2 I), float32, of decisions.

        Raises:
            InvalidInputError: bits that are not 0 or 1, or shares outside [0, 1].
        """
        cache, share = np.asarray(action["cache"]), np.asarray(action["local_share"], np.float64)
        if not ((cache == 0) | (cache == 1)).all():
            raise InvalidInputError.of("cache", "0 or 1 for every item", cache.tolist())
        if not ((share >= 0.0) & (share <= 1.0)).all():
            raise InvalidInputError.of("local_share", "finite numbers in [0, 1]", share.tolist())
        return np.concatenate([2.0 * share - 1.0, 2.0 * cache - 1.0], axis=-1).astype(np.float32)


class VectorFlatCacheAction(VectorWrapper, gym.utils.RecordConstructorArgs):
    """Carry decisions in one Box in [-1, 1] per lane, see `CacheCarrier`.

    Args:
        env: a vector environment with the action space of `cache_items`.

    Raises:
        InvalidInputError: another action space.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.carrier = CacheCarrier(env.single_action_space)
        self.single_action_space = self.carrier.space
        self.action_space = batch_space(self.carrier.space, env.num_envs)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Decode the carriers and step."""
        return self.env.step(self.carrier.decode(actions))
