"""Stable-Baselines3 learners as the training loop sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from ..agents.sb3.build import build
from ..agents.sb3.state import restore, snapshot
from ..agents.snapshot import Snapshot
from .config import TrainConfig


class _Boundary(BaseCallback):
    """Calls back when a rollout starts: the last update is complete, nothing of the next one has happened."""

    def __init__(self, boundary: Callable[[], None]) -> None:
        super().__init__()
        self._boundary = boundary

    def _on_rollout_start(self) -> None:
        self._boundary()

    def _on_step(self) -> bool:
        return True


class SB3Policy:
    """The deterministic policy of a model, decoded to the environment's own actions.

    Args:
        model: the model; later training changes the policy.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model = model

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for one plain observation (4 + N,) or a batch (n, 4 + N): ``{"server", "wait"}``, wait in seconds."""
        batch = np.atleast_2d(np.asarray(observation, np.float32))
        actions, _ = self._model.predict(batch, deterministic=True)
        carrier = self._model.get_env().venv.carrier
        servers, waits = carrier.decode(carrier.checked(actions, (len(batch),)))
        if np.ndim(observation) == 1:
            return {"server": int(servers[0]), "wait": waits[0]}
        return {"server": servers, "wait": waits}


class SB3Learner:
    """A model of Stable-Baselines3 that can be watched, saved and continued.

    Args:
        config: the whole configuration; the libraries' generators are seeded from its seed.
    """

    def __init__(self, config: TrainConfig) -> None:
        torch.set_num_threads(config.threads)
        hyperparameters = config.learner.model_dump(exclude={"algorithm"})
        self._model = build(
            config.learner.algorithm,
            config.env.id,
            config.env.kwargs(),
            num_envs=config.env.num_envs,
            seed=config.seed,
            **hyperparameters,
        )
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
            values["ratio"] = float(ratio)
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}

    def snapshot(self) -> Snapshot:
        """The whole state, generators included."""
        return snapshot(self._model)

    def restore(self, state: Snapshot) -> None:
        """Continue from a snapshot."""
        restore(self._model, state)
        self._restored = True

    def policy(self) -> SB3Policy:
        """The deterministic policy of the present weights."""
        return SB3Policy(self._model)

    def close(self) -> None:
        """Close the environments."""
        env = self._model.get_env()
        if env is not None:
            env.close()
