"""What the training loop needs of a learner, and the learners it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..agents.config import RLLIB_LEARNERS, TORCH_LEARNERS, AsyncFractionalConfig
from ..agents.snapshot import Snapshot
from ..envs.core.extras import require
from .config import TrainConfig


class Policy(Protocol):
    """A deterministic trained policy."""

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for one observation (D,) or a batch (n, D).

        Of age-minimal offloading: ``{"server", "wait"}``, waits (1,) or (n, 1) in seconds; policies of one device read
        plain observations, D = 4 + N, those of a game the event stream's, whose column 0 is the device's index,
        D = 5 + N. Of model caching: ``{"cache", "local_share"}``. Policies on edge experts also take the mask of
        allowed actions and give ``{"action"}``.
        """


class Learner(Protocol):
    """A learner that can be watched, saved and restored where its state is complete."""

    @property
    def steps(self) -> int:
        """Decisions taken so far."""

    def learn(self, total: int, boundary: Callable[[], None]) -> None:
        """Train until `steps` reaches `total`, calling `boundary` between an update and the next rollout.

        The learner after `restore` must behave as if it had never stopped; `boundary` may raise to leave.
        """

    def metrics(self) -> dict[str, float]:
        """Finite metrics gathered since the last call."""

    def snapshot(self) -> Snapshot:
        """The whole state, generators included."""

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot."""

    def policy(self) -> Policy:
        """The deterministic policy of the present weights."""

    def close(self) -> None:
        """Release the environments."""


def make_learner(config: TrainConfig) -> Learner:
    """Build the learner of a configuration, with every library's generator seeded from the run's seed.

    Raises:
        InvalidInputError: the configuration does not fit the environment.
        MissingExtraError: the learner's library is not installed.
    """
    if config.learner.algorithm in RLLIB_LEARNERS:
        return _rllib_learner(config)
    if config.learner.algorithm in TORCH_LEARNERS:
        return _torch_learner(config)
    require("torch", "sb3")
    require("stable_baselines3", "sb3")
    require("safetensors", "sb3")
    settings: dict[str, Any] = {
        "num_envs": config.env.num_envs,
        "seed": config.seed,
        "threads": config.threads,
        **config.learner.model_dump(exclude={"algorithm"}),
    }
    if config.learner.algorithm == "t2drl":
        from ..agents.sb3.t2drl_learner import T2DRLLearner

        return T2DRLLearner(config.env.id, config.env.kwargs(), **settings)
    if config.env.family == "edge_experts":
        from ..agents.sb3.experts import ExpertLearner

        return ExpertLearner(config.learner.algorithm, config.env.id, config.env.kwargs(), **settings)
    from ..agents.sb3.learner import SB3Learner

    return SB3Learner(config.learner.algorithm, config.env.id, config.env.kwargs(), **settings)


def _torch_learner(config: TrainConfig) -> Learner:
    require("torch", "sb3")
    require("safetensors", "sb3")
    from ..agents.asynchronous.learner import RecurrentD3QNPPO

    return RecurrentD3QNPPO(
        config.env.id,
        config.env.kwargs(),
        num_envs=config.env.num_envs,
        seed=config.seed,
        threads=config.threads,
        **config.learner.model_dump(exclude={"algorithm"}),
    )


def _require_rllib() -> None:
    require("torch", "rllib")
    require("ray.rllib", "rllib")
    require("safetensors", "rllib")


def _rllib_learner(config: TrainConfig) -> Learner:
    _require_rllib()
    from ..agents.rllib.learner import RLlibLearner

    assert isinstance(config.learner, AsyncFractionalConfig)
    return RLlibLearner(
        config.learner,
        config.env.id,
        config.env.kwargs(),
        num_envs=config.env.num_envs,
        seed=config.seed,
        total_steps=config.steps,
        threads=config.threads,
        cluster=config.cluster,
    )


def _rllib_policy(config: TrainConfig, snapshot: Snapshot) -> Policy:
    """Without an Algorithm: no workers and no cluster are needed to act."""
    _require_rllib()
    from ..agents.rllib.build import algorithm_config
    from ..agents.rllib.learner import policy_from_snapshot

    assert isinstance(config.learner, AsyncFractionalConfig)
    require("torch", "rllib").set_num_threads(config.threads)
    built = algorithm_config(
        config.learner,
        config.env.id,
        config.env.kwargs(),
        num_envs=config.env.num_envs,
        seed=config.seed,
        total_steps=config.steps,
    )
    return policy_from_snapshot(built, snapshot)


def policy_from(config: TrainConfig, snapshot: Snapshot) -> Policy:
    """The deterministic policy in a snapshot of a run with this configuration.

    Raises:
        CheckpointError: the snapshot does not fit the configuration.
    """
    if config.learner.algorithm in RLLIB_LEARNERS:
        return _rllib_policy(config, snapshot)
    learner = make_learner(config)
    try:
        learner.restore(snapshot)
        return learner.policy()
    finally:
        learner.close()
