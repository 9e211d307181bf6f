"""Deployment of T2DRL: the test-time variants, measured on the same randomness."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from ...envs.core.errors import InvalidInputError
from ..cache_actions import VectorFlatCacheAction
from .t2drl import T2DRL
from .t2drl_learner import AdaptivePolicy
from .t2drl_policy import TestTime
from .vec_env import SemiMarkovVecEnv, step_arrays

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Deployment:
    """What a deployment cost.

    Attributes:
        cost: cost of every episode, shape (lanes, episodes).
        duration: its duration, same shape.
        milliseconds: per decision of one lane in a batch of all lanes, the environment not counted; for `online_ppo`
            everything counted.
        state: the state after the last slot; None for `online_ppo`.
    """

    cost: FloatArray
    duration: FloatArray
    milliseconds: float
    state: tuple[NDArray[Any], ...] | None

    @property
    def rates(self) -> FloatArray:
        """Cost per unit of time of every episode, shape (lanes, episodes)."""
        rates: FloatArray = self.cost / self.duration
        return rates


def deploy(
    model: T2DRL,
    env: VectorEnv[Any, Any, Any],
    episodes: int,
    seed: int | list[int],
    test_time: TestTime = "episodic",
    state: tuple[NDArray[Any], ...] | None = None,
) -> Deployment:
    """Run the deterministic policy for some episodes per lane.

    Runs with the same seeds meet the same randomness, so their costs can be compared in pairs. The model is not
    changed.

    Args:
        model: a trained model.
        env: a vector environment in SAME_STEP mode with Dict actions.
        episodes: episodes per lane, at least 1.
        seed: seed of the environment.
        test_time: what happens to the state, see `T2DRLPolicy`.
        state: the state to start from, for ``lifelong`` and ``held``; one row serves all lanes. None begins.

    Raises:
        InvalidInputError: no episodes, another autoreset mode, or ``held`` without a state.
    """
    _check(env, episodes)
    policy, before = AdaptivePolicy(model), model.policy.test_time
    if state is not None:
        rows = np.array(state[0], np.float32)
        policy.state = (np.broadcast_to(rows, (env.num_envs, rows.shape[1])).copy(),)
    model.policy.set_test_time(test_time)
    try:
        return _run(policy, env, episodes, seed)
    finally:
        model.policy.set_test_time(before)


def _run(policy: AdaptivePolicy, env: VectorEnv[Any, Any, Any], episodes: int, seed: int | list[int]) -> Deployment:
    sums = _Sums(env.num_envs, episodes)
    observation, _ = env.reset(seed=seed)  # type: ignore[arg-type]  # Gymnasium's hint lacks lists
    starts = np.ones(env.num_envs, np.bool_)
    seconds, decisions = 0.0, 0
    while not sums.complete:
        begun = time.perf_counter()
        action = policy.act(observation, starts)
        seconds, decisions = seconds + time.perf_counter() - begun, decisions + env.num_envs
        observation, _, terminated, truncated, info = env.step(action)
        starts = np.logical_or(terminated, truncated)
        sums.add(np.asarray(info["cost"]), np.asarray(info["duration"]), starts)
    return Deployment(sums.cost, sums.duration, 1e3 * seconds / decisions, policy.state)


def online_ppo(model: T2DRL, env: VectorEnv[Any, Any, Any], episodes: int, seed: int) -> Deployment:
    """Ablation: go on with PPO on the real costs of a deployment, exploring as in training.

    Items are credited as in training (`T2DRL`), and a learning rate that falls starts again from its first value. What
    is returned are costs of the environment.

    Args:
        model: a trained model with as many lanes; it is changed, so give it a restored copy.
        env: a vector environment in SAME_STEP mode with Dict actions.
        episodes: episodes per lane, at least 1.
        seed: seed of the environment; lane i gets seed + i.

    Raises:
        InvalidInputError: no episodes, another autoreset mode, or another number of lanes.
    """
    _check(env, episodes)
    if env.num_envs != model.n_envs:
        raise InvalidInputError.of("env", f"of {model.n_envs} lanes, as the model's", env.num_envs)
    adapter = SemiMarkovVecEnv(VectorFlatCacheAction(env))
    adapter.seed(seed)
    model.set_env(adapter, force_reset=True)
    sums = _Sums(env.num_envs, episodes)
    begun, before = time.perf_counter(), model.num_timesteps
    model.learn(10**9, callback=_Record(sums), log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
    elapsed = time.perf_counter() - begun
    return Deployment(sums.cost, sums.duration, 1e3 * elapsed / (model.num_timesteps - before), None)


def _check(env: VectorEnv[Any, Any, Any], episodes: int) -> None:
    mode = env.metadata.get("autoreset_mode")
    if mode is None or AutoresetMode(mode) is not AutoresetMode.SAME_STEP:
        raise InvalidInputError.of("autoreset_mode", "SAME_STEP", mode)
    if episodes < 1:
        raise InvalidInputError.of("episodes", "at least 1", episodes)


class _Sums:
    """Costs and durations of the first so many episodes of every lane."""

    def __init__(self, lanes: int, episodes: int) -> None:
        self.cost, self.duration = np.zeros((lanes, episodes)), np.zeros((lanes, episodes))
        self._ended = np.zeros(lanes, np.int64)
        self._every = np.arange(lanes)

    @property
    def complete(self) -> bool:
        return bool((self._ended >= self.cost.shape[1]).all())

    def add(self, cost: FloatArray, duration: FloatArray, ends: NDArray[np.bool_]) -> None:
        open_ = self._ended < self.cost.shape[1]
        lanes, places = self._every[open_], self._ended[open_]
        self.cost[lanes, places] += cost[open_]
        self.duration[lanes, places] += duration[open_]
        self._ended += ends


class _Record(BaseCallback):
    """Adds up the slots of a learner and stops it when the episodes are over."""

    def __init__(self, sums: _Sums) -> None:
        super().__init__()
        self._sums = sums

    def _on_step(self) -> bool:
        env, dones = self.locals["env"], self.locals["dones"]
        arrays = step_arrays(env, self.locals["infos"], dones, self.locals["new_obs"].shape[-1])
        self._sums.add(arrays.cost, arrays.duration, dones)
        return not self._sums.complete
