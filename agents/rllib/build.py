"""From a learner's section of a configuration to RLlib's configuration of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium import spaces

from ...envs.aoi_offload.state import DELAY, SINCE_DONE
from ..config import AsyncFractionalConfig, ClusterConfig
from .algorithm import AsyncFractionalAlgorithmConfig
from .module import game_shape

_SAME_NAMES = (
    *("parameters", "hidden", "family", "init_mean", "init_scale", "averaging", "learn", "server_rule"),
    *("critic", "critic_memory", "critic_lambda", "gru_width", "chain", "winsorise"),
    *("fractional", "ratio", "shared_ratio", "omega", "horizon", "gamma"),
)
# At an update the delay equals the age, at an offload the age holds all that past decisions mean for later costs.
_IGNORED = (DELAY, SINCE_DONE)


def algorithm_config(
    section: AsyncFractionalConfig,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    *,
    num_envs: int,
    seed: int,
    total_steps: int,
    cluster: ClusterConfig | None = None,
) -> AsyncFractionalAlgorithmConfig:
    """RLlib's configuration of a learner.

    Args:
        section: the learner's hyper-parameters.
        env_id: ``edgewise/AoIOffloadGame-v0``, or ``edgewise/AoIOffload-v0`` for one device.
        env_kwargs: keyword arguments of the environment.
        num_envs: lanes in all; env runners share them.
        seed: the run's seed.
        total_steps: decisions of the whole training, over which the learning rate falls.
        cluster: where it runs; None: in this process.
    """
    cluster = cluster or ClusterConfig()
    _, n_devices, in_game = game_shape(*spaces_of(env_id, env_kwargs), None)
    fragment = section.n_steps * n_devices
    rate, batch = section.learning_rate, fragment * num_envs // max(cluster.num_learners, 1)
    config = AsyncFractionalAlgorithmConfig()
    # a rollout is a third of an episode: were all lanes reset together, every third batch would hold the transient
    stagger = {"stagger": True} if in_game else {}
    config.environment(env_id, env_config={**env_kwargs, **stagger}, disable_env_checking=True)
    config.env_runners(
        num_env_runners=cluster.num_env_runners,
        num_envs_per_env_runner=num_envs // max(cluster.num_env_runners, 1),
        rollout_fragment_length=fragment,
        episode_lookback_horizon=section.lookback,
    )
    config.learners(num_learners=cluster.num_learners)
    config.training(
        lr=[[0, rate], [total_steps, 0.0]] if section.anneal else rate,
        train_batch_size_per_learner=batch,
        minibatch_size=min(section.batch_size, batch),
        num_epochs=section.n_epochs,
        clip_param=section.clip_range,
        entropy_coeff=section.ent_coef,
        grad_clip=section.max_grad_norm,
        critic_lr=section.critic_learning_rate,
        lambda_=_linear(section.gae_lambda, section.gae_lambda_final, total_steps),
        min_scale=_linear(section.min_scale, section.min_scale_final, total_steps),
        fixed_wait=f"fixed:{section.fixed_wait}",
        ignored=_IGNORED,
        critic_hidden=section.hidden,
        **{name: getattr(section, name) for name in _SAME_NAMES},
    )
    config.debugging(seed=seed, log_level="ERROR")
    return config


def _linear(first: float, last: float | None, total_steps: int) -> Any:
    """A number, or a linear schedule over the training."""
    return first if last is None else [[0, first], [total_steps, last]]


def spaces_of(env_id: str, env_kwargs: Mapping[str, Any]) -> tuple[spaces.Box, spaces.Dict]:
    """Observation and action space of one lane of an environment."""
    env = gymnasium.make_vec(env_id, num_envs=1, vectorization_mode="vector_entry_point", **env_kwargs)
    observation, action = env.single_observation_space, env.single_action_space
    env.close()
    assert isinstance(observation, spaces.Box)
    assert isinstance(action, spaces.Dict)
    return observation, action
