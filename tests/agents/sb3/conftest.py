"""Environments for the learners' tests: a toy vector environment with known transitions, and the real one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

import edgewise  # noqa: F401  # registers the ids


class CountingEnv(VectorEnv[Any, Any, Any]):
    """Lane i: decision k lasts k + i + 1 and costs 10 (k + 1); the episode is cut after 3 decisions."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int = 2, action_space: spaces.Space[Any] | None = None) -> None:
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0.0, np.inf, (2,), np.float32)
        self.single_action_space = action_space or spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.count = np.zeros(num_envs, np.int64)
        self.time = np.zeros(num_envs)
        self.seeds: Any = None

    def _observation(self) -> np.ndarray:
        return np.stack([self.count, self.time], axis=1).astype(np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.seeds = seed
        self.count[:], self.time[:] = 0, 0.0
        zero = np.zeros(self.num_envs)
        return self._observation(), {"cost": zero, "duration": zero, "time": zero}

    def step(self, actions: Any) -> tuple[Any, ...]:
        duration = self.count + np.arange(self.num_envs) + 1.0
        cost = 10.0 * (self.count + 1.0)
        self.count += 1
        self.time += duration
        cut = self.count == 3
        final = np.full(self.num_envs, None, object)
        for lane in np.flatnonzero(cut):
            final[lane] = self._observation()[lane]
        info = {"cost": cost, "duration": duration, "time": self.time.copy()}
        if cut.any():
            info |= {"final_obs": final, "_final_obs": cut.copy()}
        self.count[cut], self.time[cut] = 0, 0.0
        return self._observation(), -cost, np.zeros(self.num_envs, np.bool_), cut, info


@pytest.fixture
def counting() -> Callable[..., CountingEnv]:
    return CountingEnv


@pytest.fixture
def age_env() -> Callable[..., VectorEnv[Any, Any, Any]]:
    def make(num_envs: int = 4, **kwargs: Any) -> VectorEnv[Any, Any, Any]:
        settings = {"preset": "single", "horizon": 30.0, "autoreset_mode": AutoresetMode.SAME_STEP} | kwargs
        return gymnasium.make_vec("edgewise/AoIOffload-v0", num_envs=num_envs, **settings)

    return make


@pytest.fixture(scope="session")
def t2drl_trained_once() -> Any:
    from .t2drl_models import ROLLOUT, make

    model = make(learning_rate=0.01, eta_base=4.0)
    model.learn(10 * ROLLOUT)
    return model


@pytest.fixture
def trained_t2drl(t2drl_trained_once: Any) -> Any:
    """A trained model of T2DRL, as it acts by default; no test changes its weights."""
    t2drl_trained_once.policy.set_test_time("episodic")
    return t2drl_trained_once
