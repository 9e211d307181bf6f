"""A Stable-Baselines3 model as a training loop sees it: watched, saved and continued between two rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from ..snapshot import Snapshot
from .build import GreedyPolicy, build, policy_of
from .state import restore, snapshot


class _Boundary(BaseCallback):
    """Calls back when a rollout starts: the last update is complete, nothing of the next one has happened."""

    def __init__(self, boundary: Callable[[], None]) -> None:
        super().__init__()
        self._boundary = boundary

    def _on_rollout_start(self) -> None:
        self._boundary()

    def _on_step(self) -> bool:
        return True


class SB3Learner:
    """A model of Stable-Baselines3 that can be watched, saved and continued.

    Args:
        algorithm: a learner's name, see `build`.
        env_id: the environment's id.
        env_kwargs: its keyword arguments.
        num_envs: lanes.
        seed: the run's seed; the libraries' generators are seeded from it.
        threads: torch threads; sums depend on their number.
        **hyper: the learner's hyper-parameters.

    Raises:
        InvalidInputError: unknown algorithm or hyper-parameter, or one out of range.
    """

    _build: Callable[..., BaseAlgorithm] = staticmethod(build)

    def __init__(
        self,
        algorithm: str,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        *,
        num_envs: int,
        seed: int,
        threads: int = 1,
        **hyper: Any,
    ) -> None:
        torch.set_num_threads(threads)
        self._model = self._build(algorithm, env_id, env_kwargs, num_envs=num_envs, seed=seed, **hyper)
        # Our loop writes the metrics: SB3's own schedule counts iterations since the process began.
        self._model.set_logger(Logger(folder=None, output_formats=[]))
        self._restored = False

    @property
    def steps(self) -> int:
        """Decisions taken so far."""
        return int(self._model.num_timesteps)

    def learn(self, total: int, boundary: Callable[[], None]) -> None:
        """Train until `total` decisions; a restored learner continues within the same schedules."""
        self._model.learn(
            total - self.steps,
            callback=_Boundary(boundary),
            log_interval=None,  # type: ignore[arg-type]  # SB3 tests for None
            reset_num_timesteps=not self._restored,
        )

    def metrics(self) -> dict[str, float]:
        """What SB3's logger gathered since the last call, and the present ratio."""
        logger = self._model.logger
        values = {name: value for name, value in logger.name_to_value.items() if isinstance(value, int | float)}
        logger.name_to_value.clear()
        logger.name_to_count.clear()
        ratio = getattr(self._model, "ratio", None)
        if ratio is not None:
            values["ratio"] = float(np.mean(ratio))
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}

    def snapshot(self) -> Snapshot:
        """The whole state, generators included."""
        return snapshot(self._model)

    def restore(self, state: Snapshot) -> None:
        """Continue from a snapshot."""
        restore(self._model, state)
        self._restored = True

    def policy(self) -> GreedyPolicy:
        """The deterministic policy of the present weights."""
        return policy_of(self._model)

    def close(self) -> None:
        """Close the environments."""
        env = self._model.get_env()
        if env is not None:
            env.close()
