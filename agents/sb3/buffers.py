"""Replay for ratio objectives with semi-Markov steps, for SB3's own SAC, TD3, DDPG and DQN."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from ...envs.core.errors import InvalidInputError
from ..fractional.returns import time_discount


class SMDPReplayBuffer(ReplayBuffer):
    """Keeps raw cost and duration, and prices them when they are sampled.

    A sample's reward is -(cost - ratio * duration) * reward_scale with the present `ratio` (no stale prices), and its
    discount exp(-duration / horizon), which SB3's off-policy learners use in place of their scalar gamma.

    Args:
        *args: as for SB3's `ReplayBuffer`.
        horizon: time over which the weight of the future falls to 1/e, in the unit of `duration`; None: no discount
            (only for a learner that subtracts the gain itself).
        ratio: first ratio (cost per unit of time); `DinkelbachCallback` moves it.
        reward_scale: factor on the priced reward.
        **kwargs: as for SB3's `ReplayBuffer`, without ``optimize_memory_usage``.

    Raises:
        InvalidInputError: `horizon` not above 0, or ``optimize_memory_usage=True``.
    """

    def __init__(
        self, *args: Any, horizon: float | None = 100.0, ratio: float = 0.0, reward_scale: float = 1.0, **kwargs: Any
    ) -> None:
        if horizon is not None and not horizon > 0.0:
            raise InvalidInputError.of("horizon", "None or > 0", horizon)
        # SB3's sixth argument. Its trick keeps no observation at the end of an episode, from which we bootstrap.
        if kwargs.get("optimize_memory_usage", args[5] if len(args) > 5 else False):
            raise InvalidInputError.of("optimize_memory_usage", "False for semi-Markov replay", True)
        super().__init__(*args, **kwargs)
        self.cost_limits: tuple[float, float] | None = None  # costs are pulled in to these when they are priced
        self.horizon, self.reward_scale = horizon, reward_scale
        self.ratio: float | NDArray[np.float64] = ratio
        shape = (self.buffer_size, self.n_envs)
        self.costs, self.durations = np.zeros(shape), np.zeros(shape)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one step of every lane; `infos` hold `cost` and `duration`."""
        # Before super(): it moves the position.
        self.costs[self.pos] = np.fromiter((info["cost"] for info in infos), np.float64, self.n_envs)
        self.durations[self.pos] = np.fromiter((info["duration"] for info in infos), np.float64, self.n_envs)
        super().add(obs, next_obs, action, reward, done, infos)

    def price(
        self,
        cost: NDArray[np.float64],
        duration: NDArray[np.float64],
        ratio: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Rewards at a ratio, by default the present one."""
        if self.cost_limits is not None:
            cost = np.clip(cost, *self.cost_limits)
        return -(cost - (self.ratio if ratio is None else ratio) * duration) * self.reward_scale

    def ratios(self, rows: NDArray[Any], lanes: NDArray[Any]) -> float | NDArray[np.float64]:
        """What prices the transitions at these places: the present ratio."""
        return self.ratio

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        lanes = np.random.randint(0, self.n_envs, size=len(batch_inds))  # noqa: NPY002  # SB3 samples from it too
        cost, duration = self.costs[batch_inds, lanes], self.durations[batch_inds, lanes]
        ended = self.dones[batch_inds, lanes] * (1.0 - self.timeouts[batch_inds, lanes])

        discount = np.ones_like(duration) if self.horizon is None else time_discount(duration, self.horizon)

        def column(values: NDArray[Any]) -> torch.Tensor:
            return self.to_torch(values.astype(np.float32).reshape(-1, 1))

        return ReplayBufferSamples(
            observations=self.to_torch(self._normalize_obs(self.observations[batch_inds, lanes], env)),  # type: ignore[arg-type]
            actions=self.to_torch(self.actions[batch_inds, lanes]),
            next_observations=self.to_torch(self._normalize_obs(self.next_observations[batch_inds, lanes], env)),  # type: ignore[arg-type]
            dones=column(ended),
            rewards=column(self.price(cost, duration, self.ratios(batch_inds, lanes))),
            discounts=column(discount),
        )
