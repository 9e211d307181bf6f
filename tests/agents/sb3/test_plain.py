"""SB3's own learners train through the wrappers, and the replay buffer prices what they sample."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC

from edgewise.agents.sb3.buffers import SMDPReplayBuffer
from edgewise.agents.sb3.callbacks import DinkelbachCallback
from edgewise.agents.sb3.policies import HybridActorCriticPolicy
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.core.vector_wrappers import VectorFlatHybridAction, VectorRatioReward

Make = Callable[..., Any]


def filled(horizon: float | None, env: Any) -> SMDPReplayBuffer:
    buffer = SMDPReplayBuffer(
        30, env.observation_space, env.action_space, device="cpu", n_envs=env.num_envs, horizon=horizon, ratio=2.0
    )
    last = env.reset()
    for _ in range(9):
        action = np.zeros((env.num_envs, 2), np.float32)
        new, reward, done, infos = env.step(action)
        following = new.copy()
        for lane in np.flatnonzero(done):
            following[lane] = infos[lane]["terminal_observation"]
        buffer.add(last, following, action, reward, done, infos)
        last = new
    return buffer


def test_samples_are_priced_when_drawn_and_discounted_by_their_duration(counting: Make) -> None:
    np.random.seed(0)  # noqa: NPY002
    buffer = filled(4.0, SemiMarkovVecEnv(counting(3)))
    for ratio in (2.0, 5.0):
        buffer.ratio = ratio
        batch = buffer.sample(500)
        decision = batch.observations[:, 0]  # k: the cost is 10 (k + 1), the duration k + lane + 1
        duration = batch.next_observations[:, 1] - batch.observations[:, 1]
        assert torch.allclose(batch.rewards[:, 0], -(10.0 * (decision + 1.0) - ratio * duration))
        assert batch.discounts is not None
        assert torch.allclose(batch.discounts[:, 0], torch.exp(-duration / 4.0))
        assert not batch.dones.any()  # truncations bootstrap
        assert set(duration.tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_without_horizon_nothing_is_discounted_and_costs_can_be_limited(counting: Make) -> None:
    buffer = filled(None, SemiMarkovVecEnv(counting(2)))
    buffer.cost_limits = (0.0, 15.0)
    buffer.ratio = 0.0
    batch = buffer.sample(200)
    assert batch.discounts is not None
    assert (batch.discounts == 1.0).all()
    assert set(batch.rewards[:, 0].tolist()) == {-10.0, -15.0}


def test_callback_moves_the_ratio_everywhere(counting: Make) -> None:
    venv = VectorRatioReward(counting(2), 9.0)
    model = SAC(
        "MlpPolicy",
        SemiMarkovVecEnv(venv),
        replay_buffer_class=SMDPReplayBuffer,
        learning_starts=10**6,
        train_freq=3,
        device="cpu",
        buffer_size=100,
        policy_kwargs={"net_arch": [4]},
    )
    outer = DinkelbachCallback(ratio=9.0, omega=0.5, period=6)
    model.learn(6, callback=outer)
    measured = 2 * (10 + 20 + 30) / (1 + 2 + 3 + 2 + 3 + 4)
    ratio = 9.0 + 0.5 * (measured - 9.0)
    assert outer.dinkelbach is not None
    assert outer.dinkelbach.ratio == pytest.approx(ratio)
    assert venv.ratio == pytest.approx(ratio)
    assert model.replay_buffer is not None
    assert model.replay_buffer.ratio == pytest.approx(ratio)  # type: ignore[attr-defined]
    fresh = DinkelbachCallback(omega=0.5, period=6)
    fresh.load_state_dict(outer.state_dict())
    assert fresh.state_dict() == outer.state_dict()


def test_callback_can_leave_exploring_lanes_out(counting: Make) -> None:
    model = PPO("MlpPolicy", SemiMarkovVecEnv(counting(2)), n_steps=3, batch_size=6, n_epochs=1, device="cpu")
    outer = DinkelbachCallback(first_lane=1)
    model.learn(6, callback=outer)
    assert outer.dinkelbach is not None
    assert outer.dinkelbach.ratio == pytest.approx(60 / 9)


def changed(before: dict[str, torch.Tensor], model: Any) -> bool:
    after = model.policy.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    return any(not torch.equal(value, after[name]) for name, value in before.items())


def copy(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def test_plain_ppo_trains_on_the_box_carrier(age_env: Make) -> None:
    env = SemiMarkovVecEnv(VectorFlatHybridAction(VectorRatioReward(age_env(4), 2.0)))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=2, device="cpu", seed=0)
    before = copy(model)
    model.learn(512, callback=DinkelbachCallback(omega=0.5))
    assert changed(before, model)


def test_plain_sac_trains_on_replayed_costs(age_env: Make) -> None:
    env = SemiMarkovVecEnv(VectorFlatHybridAction(age_env(4)))
    model = SAC(
        "MlpPolicy",
        env,
        replay_buffer_class=SMDPReplayBuffer,
        replay_buffer_kwargs={"horizon": 50.0},
        learning_starts=100,
        buffer_size=2000,
        batch_size=32,
        device="cpu",
        seed=0,
        policy_kwargs={"net_arch": [16]},
    )
    before = copy(model)
    model.learn(600, callback=DinkelbachCallback(period=200))
    assert changed(before, model)
    assert model.replay_buffer is not None
    assert 1.0 < model.replay_buffer.ratio < 30.0  # type: ignore[attr-defined]


def test_plain_dqn_trains_on_discrete_choices(counting: Make) -> None:
    env = SemiMarkovVecEnv(counting(4, spaces.Discrete(3)))
    model = DQN(
        "MlpPolicy",
        env,
        replay_buffer_class=SMDPReplayBuffer,
        learning_starts=40,
        buffer_size=400,
        batch_size=16,
        device="cpu",
        seed=0,
        policy_kwargs={"net_arch": [8]},
    )
    before = copy(model)
    model.learn(400, callback=DinkelbachCallback(period=40))
    assert changed(before, model)
    assert model.replay_buffer is not None
    assert model.replay_buffer.ratio > 0.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.Box(-2.0, 6.0, (2,), np.float32)])
def test_hybrid_policy_serves_plain_spaces_on_plain_ppo(counting: Make, space: spaces.Space[Any]) -> None:
    env = SemiMarkovVecEnv(counting(4, space))
    model = PPO(
        HybridActorCriticPolicy,
        env,
        n_steps=16,
        batch_size=32,
        n_epochs=2,
        device="cpu",
        seed=0,
        policy_kwargs={"kind_column": None},
    )
    before = copy(model)
    model.learn(256)
    assert changed(before, model)
    actions, _ = model.predict(env.reset(), deterministic=True)
    assert all(space.contains(action) for action in actions)
    one, _ = model.predict(env.reset()[0])
    assert space.contains(one)


def test_hybrid_policy_refuses_other_spaces(counting: Make) -> None:
    env = SemiMarkovVecEnv(counting(2, spaces.MultiDiscrete([2, 3])))
    with pytest.raises(ValueError, match="Discrete or a one-dimensional Box"):
        PPO(HybridActorCriticPolicy, env, device="cpu")


def test_discount_of_the_buffer_is_exact() -> None:
    from edgewise.agents.sb3.returns import time_discount

    assert time_discount(np.array([0.5, 2.0, 7.0]), 2.0).tolist() == [math.exp(-0.25), math.exp(-1.0), math.exp(-3.5)]
