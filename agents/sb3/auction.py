"""The market's learners on stock Stable-Baselines3: DQN for DQMSB's factor, PPO or DQN for the steps of the clocks."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from pydantic import ValidationError
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ..auction.clock_steps import ClockPolicy
from ..auction.config import ClockStepConfig, DQMSBConfig
from ..auction.dqmsb import DQMSB
from ..auction.regret import VectorRegretReward
from ..auction.rounds import BidModel, SecondBidRounds
from .vec_env import SemiMarkovVecEnv


def build_clock_steps(seed: int = 0, env: dict[str, Any] | None = None, **hyper: Any) -> BaseAlgorithm:
    """A learner of the clocks' steps on ``edgewise/DutchClock-v0``; call its ``learn``.

    Args:
        seed: the run's seed.
        env: keyword arguments of the environment.
        **hyper: fields of `ClockStepConfig`.

    Raises:
        InvalidInputError: an unknown field, or one out of range.
    """
    try:
        config = ClockStepConfig(**hyper)
    except ValidationError as error:
        raise InvalidInputError.from_validation(error, ClockStepConfig) from None
    lanes = gymnasium.make_vec(
        "edgewise/DutchClock-v0", num_envs=config.num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **(env or {})
    )
    tree, venv = SeedTree(seed), SemiMarkovVecEnv(VectorRegretReward(lanes) if config.regret else lanes)
    shared: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "gamma": config.gamma,
        "batch_size": config.batch_size,
        "policy_kwargs": {"net_arch": list(config.hidden)},
        "seed": tree.libraries,
        "device": "cpu",
    }
    model: BaseAlgorithm
    if config.algorithm == "ppo":
        model = PPO(
            "MlpPolicy",
            venv,
            n_steps=config.n_steps,
            n_epochs=config.n_epochs,
            ent_coef=config.ent_coef,
            gae_lambda=config.gae_lambda,
            **shared,
        )
    else:
        model = DQN(
            "MlpPolicy",
            venv,
            buffer_size=config.buffer_size,
            learning_starts=1000,
            train_freq=config.train_freq,
            gradient_steps=1,
            target_update_interval=config.target_period,
            exploration_fraction=config.exploration,
            **shared,
        )
    venv.seed(tree.train)  # after the model, which seeds its environment with the libraries' seed
    return model


def clock_policy(model: BaseAlgorithm) -> ClockPolicy:
    """The deterministic policy of a trained model, for `agents.auction.clock_steps.auction_costs`."""

    def act(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        actions, _ = model.predict(observations, deterministic=True)
        return np.asarray(actions, np.int64)

    return act


def build_dqmsb(model: BidModel, seed: int = 0, **hyper: Any) -> DQN:
    """A DQN that learns the factor of the highest bidder; `mechanism` makes an auction of it.

    Args:
        model: draws the values of the rounds.
        seed: the run's seed.
        **hyper: fields of `DQMSBConfig`; ``bidders`` is that of the model.

    Raises:
        InvalidInputError: an unknown field, or one out of range.
    """
    try:
        config = DQMSBConfig(**({"bidders": model.bidders} | hyper))
    except ValidationError as error:
        raise InvalidInputError.from_validation(error, DQMSBConfig) from None
    if config.bidders != model.bidders:
        raise InvalidInputError.of("bidders", f"{model.bidders}, as in the model", config.bidders)
    tree = SeedTree(seed)
    env = DummyVecEnv([lambda: SecondBidRounds(model, config.actions)])
    learner = DQN(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        buffer_size=config.buffer_size,
        batch_size=config.batch_size,
        gamma=config.gamma,
        train_freq=1,
        learning_starts=min(500, config.buffer_size),
        target_update_interval=config.target_period,
        exploration_initial_eps=config.first_epsilon,
        exploration_final_eps=config.last_epsilon,
        exploration_fraction=config.exploration,
        policy_kwargs={"net_arch": list(config.hidden)},
        seed=tree.libraries,
        device="cpu",
    )
    env.seed(tree.train)  # after the model, which seeds its environment with the libraries' seed
    return learner


def mechanism(learner: DQN) -> DQMSB:
    """The auction behind a trained factor; later training changes it."""
    assert isinstance(learner.observation_space, gymnasium.spaces.Box)
    assert isinstance(learner.action_space, gymnasium.spaces.Discrete)
    return DQMSB(learner.q_net, learner.observation_space.shape[0], int(learner.action_space.n))
