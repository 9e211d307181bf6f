"""From a learner's name and hyper-parameters to a model that is ready to learn."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from pydantic import ValidationError
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from ...envs.aoi_offload.state import AGE, DELAY, KIND, SINCE_DONE, STREAM_OFFSET, UPDATE
from ...envs.aoi_offload.stream import AoIOffloadGameVectorEnv
from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...envs.core.vector_wrappers import VectorFlatHybridAction, VectorRateReward
from ..config import FractionalD3QNDDPGConfig, FractionalPPOConfig, HybridPolicyFields, MaskedPPOConfig, PPOConfig
from .callbacks import DinkelbachCallback
from .d3qn_ddpg import FractionalD3QNDDPG
from .d3qn_ddpg_policy import D3QNDDPGPolicy
from .game_d3qn_ddpg import DEVICE_COLUMN, FractionalGameD3QNDDPG
from .policies import HybridActorCriticPolicy
from .ppo import FractionalPPO
from .vec_env import SemiMarkovVecEnv

Config = FractionalPPOConfig | PPOConfig | FractionalD3QNDDPGConfig
CONFIGS: dict[str, type[Config]] = {
    "fractional_ppo": FractionalPPOConfig,
    "ppo": PPOConfig,
    "fractional_d3qn_ddpg": FractionalD3QNDDPGConfig,
}
# At an update the delay equals the age, at an offload the age holds all that past decisions mean for later costs.
_IGNORED = (DELAY, SINCE_DONE)


def build(
    algorithm: str,
    env_id: str = "edgewise/AoIOffload-v0",
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    num_envs: int = 256,
    seed: int = 0,
    **hyper: Any,
) -> BaseAlgorithm:
    """Build a learner on the vector environment of an id.

    Args:
        algorithm: ``fractional_ppo``, ``fractional_d3qn_ddpg`` or ``ppo``.
        env_id: a registered id with the age-of-information observation and action layout; ``fractional_d3qn_ddpg``
            also trains on the event stream of the game.
        env_kwargs: keyword arguments of the environment.
        num_envs: lanes.
        seed: the run's seed; libraries and training lanes get theirs from its seed tree.
        **hyper: fields of the algorithm's configuration.

    Raises:
        InvalidInputError: unknown algorithm or hyper-parameter, one out of range, or one that does not fit the
            environment.
    """
    if algorithm not in CONFIGS:
        raise InvalidInputError.of("algorithm", f"one of {', '.join(CONFIGS)}", algorithm)
    try:
        config = CONFIGS[algorithm](**hyper)
    except ValidationError as error:
        raise InvalidInputError.from_validation(error, CONFIGS[algorithm]) from None
    tree = SeedTree(seed)
    venv: Any = gymnasium.make_vec(
        env_id, num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **(env_kwargs or {})
    )
    game = isinstance(venv.unwrapped, AoIOffloadGameVectorEnv)
    _check_fit(config, game)
    if isinstance(config, PPOConfig) and config.objective == "rate":
        venv = VectorRateReward(venv)
    env = SemiMarkovVecEnv(VectorFlatHybridAction(venv))
    model: BaseAlgorithm
    if isinstance(config, FractionalPPOConfig):
        model = fractional_ppo(env, config, tree.libraries, _hybrid_policy(env, config))
    elif isinstance(config, PPOConfig):
        model = _ppo(env, config, tree.libraries)
    else:
        model = _d3qn_ddpg(env, config, tree.libraries, game)
    env.seed(tree.train)  # after the model, which seeds its environment with the libraries' seed
    return model


def _check_fit(config: Config, game: bool) -> None:
    """Refuse learners that would take an event stream for one device, and choices that only a game offers."""
    if game and not isinstance(config, FractionalD3QNDDPGConfig):
        raise InvalidInputError.of("algorithm", "fractional_d3qn_ddpg on an event stream", config.algorithm)
    if not game and isinstance(config, FractionalD3QNDDPGConfig):
        for name in ("parameters", "shared_ratio"):
            default = type(config).model_fields[name].default
            if getattr(config, name) != default:
                raise InvalidInputError.of(name, f"{default!r} where one device learns", getattr(config, name))


def ppo_arguments(config: FractionalPPOConfig | PPOConfig | MaskedPPOConfig, lanes: int) -> dict[str, Any]:
    """What every PPO takes from its configuration: ours, Stable-Baselines3's and sb3-contrib's."""
    names = ("n_steps", "n_epochs", "clip_range", "ent_coef", "max_grad_norm", "gae_lambda", "gamma")
    rate = config.learning_rate
    return {name: getattr(config, name) for name in names} | {
        "batch_size": min(config.batch_size, config.n_steps * lanes),  # a small rollout is one batch
        "learning_rate": linear_schedule(rate) if config.anneal else rate,
        "device": "cpu",
    }


def fractional_ppo(
    env: SemiMarkovVecEnv, config: FractionalPPOConfig, seed: int, policy: Mapping[str, Any]
) -> FractionalPPO:
    """Fractional PPO and its outer loop.

    Args:
        env: where it learns.
        config: hyper-parameters.
        seed: of the libraries' generators.
        policy: arguments of `HybridActorCriticPolicy` besides the sizes of its networks.
    """
    critic = () if config.critic == "lstd" else config.hidden
    model = FractionalPPO(
        HybridActorCriticPolicy,
        env,
        ratio=config.ratio,
        horizon=config.horizon,
        winsorise=config.winsorise,
        critic=config.critic,
        critic_memory=config.critic_memory,
        fidelity=config.fidelity,
        seed=seed,
        policy_kwargs={**policy, "net_arch": {"pi": list(config.hidden), "vf": list(critic)}},
        **ppo_arguments(config, env.num_envs),
    )
    model.outer_loop = DinkelbachCallback(config.ratio, config.omega)
    return model


def _ppo(env: SemiMarkovVecEnv, config: PPOConfig, seed: int) -> PPO:
    sizes = {"net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)}}
    return PPO(
        HybridActorCriticPolicy,
        env,
        vf_coef=config.vf_coef,
        seed=seed,
        policy_kwargs=_hybrid_policy(env, config) | sizes,
        **ppo_arguments(config, env.num_envs),
    )


def _hybrid_policy(env: SemiMarkovVecEnv, config: HybridPolicyFields) -> dict[str, Any]:
    """Arguments of a policy that chooses servers and waits."""
    assert env.action_space.shape is not None
    return {
        "n_choices": env.action_space.shape[0] - 1,
        "kind_column": KIND,
        "ignored": _IGNORED,
        "family": config.family,
        "init_mean": config.init_mean,
        "init_scale": config.init_scale,
    }


def _d3qn_ddpg(env: SemiMarkovVecEnv, config: FractionalD3QNDDPGConfig, seed: int, game: bool) -> FractionalD3QNDDPG:
    offset = STREAM_OFFSET if game else 0
    ignored = tuple(column + offset for column in _IGNORED)
    model = (FractionalGameD3QNDDPG if game else FractionalD3QNDDPG)(
        D3QNDDPGPolicy,
        env,
        noise=config.noise,
        defects=config.defects,
        fidelity=config.fidelity,
        seed=seed,
        policy_kwargs={
            "kind_column": KIND + offset,
            "ignored": (DEVICE_COLUMN, *ignored) if game else ignored,
            "device_column": DEVICE_COLUMN if config.parameters == "per_device" else None,
            "hidden": config.hidden,
            "critic_hidden": config.critic_hidden,
            "init_mean": config.init_mean,
        },
        **replay_arguments(config),
    )
    assert isinstance(env.observation_space, spaces.Box)
    devices = int(env.observation_space.high[DEVICE_COLUMN]) + 1 if game and not config.shared_ratio else None
    model.outer_loop = DinkelbachCallback(
        config.ratio, config.omega, config.period, model.first_measuring_lane, agents=devices
    )
    return model


def replay_arguments(config: FractionalD3QNDDPGConfig) -> dict[str, Any]:
    """Arguments that do not depend on whether a decision has a wait."""
    names = ["ratio", "horizon", "epsilon", "explore_share", "winsorise", "buffer_size", "learning_starts"]
    names += ["batch_size", "train_freq", "gradient_steps", "tau"]
    rate = config.learning_rate
    return {name: getattr(config, name) for name in names} | {
        "learning_rate": linear_schedule(rate) if config.anneal else rate,
        "device": "cpu",
    }


def linear_schedule(rate: float) -> Callable[[float], float]:
    """A learning rate that falls linearly to 0, as a function of SB3's remaining progress."""

    def schedule(progress_remaining: float) -> float:
        return rate * max(progress_remaining, 0.0)  # the last rollout may end beyond the total

    return schedule


class GreedyPolicy:
    """The deterministic policy of a model, in the environment's own actions.

    Args:
        model: a model on a `SemiMarkovVecEnv` over `VectorFlatHybridAction`; later training changes the policy.

    Raises:
        InvalidInputError: the model's environment is another one.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        env = model.get_env()
        inner = None if env is None else env.unwrapped
        if not isinstance(inner, SemiMarkovVecEnv) or not isinstance(inner.venv, VectorFlatHybridAction):
            raise InvalidInputError("the model's environment must carry its hybrid actions in a Box")
        self._model, self._carrier = model, inner.venv.carrier

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for one observation (4 + N,) or a batch (n, 4 + N): ``{"server", "wait"}``, wait in seconds."""
        batch = np.atleast_2d(np.asarray(observation, np.float32))
        actions, _ = self._model.predict(batch, deterministic=True)
        servers, waits = self._carrier.decode(self._carrier.checked(actions, (len(batch),)))
        if np.ndim(observation) == 1:
            return {"server": int(servers[0]), "wait": waits[0]}
        return {"server": servers, "wait": waits}


def policy_of(model: BaseAlgorithm) -> GreedyPolicy:
    """The deterministic policy of a model (see `GreedyPolicy`).

    Raises:
        InvalidInputError: as for `GreedyPolicy`.
    """
    return GreedyPolicy(model)


def wait_function(
    policy: GreedyPolicy, queues: tuple[float, ...] = ()
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The learned wait as a function of the delay of the task just completed, for scoring by quadrature.

    Args:
        policy: what `policy_of` returned.
        queues: tasks at each edge at the completion, shape (N,).

    Returns:
        A function from delays (any shape) to waits (same shape), in seconds.
    """

    def wait(delay: NDArray[np.float64]) -> NDArray[np.float64]:
        delays = np.asarray(delay, np.float64)
        observation = np.zeros((delays.size, SINCE_DONE + 1 + len(queues)), np.float32)
        observation[:, KIND] = UPDATE
        observation[:, DELAY] = observation[:, AGE] = delays.ravel()
        observation[:, SINCE_DONE + 1 :] = queues
        with torch.no_grad():
            waits = policy.act(observation)["wait"]
        return np.asarray(waits, np.float64).reshape(delays.shape)

    return wait
