"""A reward for the clocks without the luck of the draw: what the auctioneer lost, not what the market was worth."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from ...envs.core.errors import InvalidInputError


class VectorRegretReward(VectorWrapper, gymnasium.utils.RecordConstructorArgs):
    """Reward: minus this tick's messages, and at an auction's end minus the welfare lost against the optimum.

    Over an auction these rewards add up to the environment's own minus the optimal welfare of the drawn values, which
    no step of the clocks can change: the best policies are the same. But what the values were worth, nearly all of the
    variance of the plain reward, is gone. It needs ``info["optimal_welfare"]``, so true values: for training only.

    Args:
        env: a vector ``edgewise/DutchClock-v0``, in any autoreset mode.

    Raises:
        InvalidInputError: in `step`, the environment's info is another one's.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._welfare = np.zeros(env.num_envs)

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all lanes, or those of ``options["reset_mask"]``."""
        mask = (options or {}).get("reset_mask")
        self._welfare[slice(None) if mask is None else mask] = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all lanes; the rewards of the environment itself are ignored."""
        obs, _, terminated, truncated, info = self.env.step(actions)
        try:
            terms, best = info["cost_terms"], info["optimal_welfare"]
            self._welfare -= terms["welfare"]
            over = terminated | truncated
            reward = -terms["messages"] - np.where(over, best - self._welfare, 0.0)
        except KeyError as error:
            raise InvalidInputError(f"info must hold {error.args[0]!r}, as DutchClock's does") from None
        self._welfare[over] = 0.0
        return obs, reward, terminated, truncated, info
