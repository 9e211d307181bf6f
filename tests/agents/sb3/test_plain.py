"""SB3's own learners train through the wrappers, and the replay buffer prices what they sample."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.sb3.buffers import SMDPReplayBuffer
from edgewise.agents.sb3.callbacks import DinkelbachCallback
from edgewise.agents.sb3.d3qn_ddpg import FractionalD3QNDDPG
from edgewise.agents.sb3.policies import DecisionFeatures, HybridActorCriticPolicy
from edgewise.agents.sb3.ppo import FractionalPPO
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.core.errors import InvalidInputError
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


class DiscreteChoices(VectorWrapper):
    """Pairs (server, wait) as one number, for learners without continuous actions."""

    def __init__(self, env: Any, waits: list[float]) -> None:
        super().__init__(env)
        self.waits = np.array(waits, np.float32)
        self.single_action_space = spaces.Discrete(int(env.single_action_space["server"].n) * len(waits))
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def step(self, actions: Any) -> Any:
        server, wait = np.divmod(actions, len(self.waits))
        return self.env.step({"server": server, "wait": self.waits[wait][:, None]})


def measured_age(model: Any, env: SemiMarkovVecEnv, steps: int = 2000) -> float:
    """Mean age of the deterministic policy: cost over time, s."""
    env.seed(10**6)
    obs, cost, duration = env.reset(), 0.0, 0.0
    for _ in range(steps):
        obs = env.step(model.predict(obs, deterministic=True)[0])[0]
        assert env.last_arrays is not None
        cost, duration = cost + env.last_arrays.cost.sum(), duration + env.last_arrays.duration.sum()
    return cost / duration


# Joint decisions of a lone device with exponential service of mean 1 s and waits up to 5 s: the age is 1.90 s at best,
# 2 s without waiting, 2.89 s for a constant wait of 2.5 s. A wait does not change later cycles: gamma can be 0.
JOINT = {"decision": "joint", "z_max": 5.0}


def test_plain_ppo_learns_on_the_box_carrier(age_env: Make) -> None:
    env = SemiMarkovVecEnv(VectorFlatHybridAction(VectorRatioReward(age_env(8, **JOINT), 2.0)))
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=128, n_epochs=5, gamma=0.0, device="cpu", seed=0)
    before = measured_age(model, env)
    model.learn(10_000, callback=DinkelbachCallback(ratio=2.0, omega=0.1))
    assert measured_age(model, env) < 2.15 < 2.5 < before
    assert (model.rollout_buffer.rewards > 0.0).any()  # priced: -cost alone is negative


def test_plain_sac_learns_from_replayed_costs(age_env: Make) -> None:
    env = SemiMarkovVecEnv(VectorFlatHybridAction(age_env(8, **JOINT)))
    model = SAC(
        "MlpPolicy",
        env,
        learning_rate=3e-3,
        replay_buffer_class=SMDPReplayBuffer,
        replay_buffer_kwargs={"horizon": 0.5, "ratio": 2.0},
        learning_starts=400,
        buffer_size=20_000,
        batch_size=128,
        device="cpu",
        seed=0,
        policy_kwargs={"net_arch": [32, 32]},
    )
    before = measured_age(model, env)
    model.learn(6000, callback=DinkelbachCallback(ratio=2.0, period=2000))
    assert measured_age(model, env) < 2.15 < 2.5 < before
    assert model.replay_buffer is not None
    assert 1.9 < model.replay_buffer.ratio < 3.5  # type: ignore[attr-defined]


def test_plain_dqn_learns_discrete_servers_and_waits(age_env: Make) -> None:
    """A device that works at 2.5 GHz next to an edge node of 41.8 GHz: the edge and short waits are better."""
    lanes = age_env(8, preset="small", decision="joint")
    env = SemiMarkovVecEnv(VectorRatioReward(DiscreteChoices(lanes, [0.0, 0.5, 1.0, 3.0]), 1.0))
    model = DQN(
        "MlpPolicy",
        env,
        learning_rate=3e-3,
        gamma=0.0,
        learning_starts=400,
        buffer_size=20_000,
        batch_size=128,
        train_freq=1,
        gradient_steps=2,
        exploration_fraction=0.5,
        device="cpu",
        seed=0,
        policy_kwargs={"net_arch": [32, 32]},
    )
    model.learn(6000)
    assert measured_age(model, env) < 1.15  # the edge with waits of 0, 0.5, 1, 3 s: 1.04, 1.25, 1.47, 2.43; local: 6.3
    assert model.replay_buffer is not None
    assert (model.replay_buffer.rewards > 0.0).any()  # priced: -cost alone is negative


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
    with pytest.raises(InvalidInputError, match="action_space must be Discrete or a one-dimensional Box"):
        PPO(HybridActorCriticPolicy, env, device="cpu")
    with pytest.raises(InvalidInputError, match=r"n_choices must be in \[0, 2\], got 3"):
        PPO(HybridActorCriticPolicy, SemiMarkovVecEnv(counting(2)), device="cpu", policy_kwargs={"n_choices": 3})
    with pytest.raises(InvalidInputError, match="observation_space must be a one-dimensional Box"):
        DecisionFeatures(spaces.Box(0.0, 1.0, (2, 2)))


@pytest.mark.parametrize("policy", ["MlpPolicy", ActorCriticPolicy, "D3QNPolicy"])
def test_our_learners_name_the_policies_they_work_with(counting: Make, policy: Any) -> None:
    env = SemiMarkovVecEnv(counting(2))
    with pytest.raises(InvalidInputError, match=r"policy must be HybridActorCriticPolicy, .*'HybridPolicy', got"):
        FractionalPPO(policy, env)
    with pytest.raises(InvalidInputError, match=r"policy must be D3QNDDPGPolicy, .*'D3QNDDPGPolicy', got"):
        FractionalD3QNDDPG(policy, env)


def test_our_learners_take_their_policies_by_name_and_no_unknown_variant(counting: Make) -> None:
    env = SemiMarkovVecEnv(counting(2))
    assert isinstance(FractionalPPO("HybridPolicy", env, device="cpu").policy, HybridActorCriticPolicy)
    with pytest.raises(InvalidInputError, match="critic must be lstd or network, got 'mlp'"):
        FractionalPPO("HybridPolicy", env, critic="mlp")  # type: ignore[arg-type]
    for learner, name in ((FractionalPPO, "HybridPolicy"), (FractionalD3QNDDPG, "D3QNDDPGPolicy")):
        with pytest.raises(InvalidInputError, match="fidelity must be corrected or paper, got 'exact'"):
            learner(name, env, fidelity="exact")


def test_replay_refuses_what_it_cannot_keep(counting: Make) -> None:
    env = SemiMarkovVecEnv(counting(2))
    for more in ({}, {"replay_buffer_kwargs": {"handle_timeout_termination": False}}):
        with pytest.raises(InvalidInputError, match="optimize_memory_usage must be False"):
            SAC("MlpPolicy", env, replay_buffer_class=SMDPReplayBuffer, optimize_memory_usage=True, **more)
    with pytest.raises(InvalidInputError, match="optimize_memory_usage must be False"):
        SMDPReplayBuffer(30, env.observation_space, env.action_space, "cpu", 2, True, False)
    with pytest.raises(InvalidInputError, match=r"horizon must be None or > 0, got 0.0"):
        SMDPReplayBuffer(30, env.observation_space, env.action_space, horizon=0.0)


def test_discount_of_the_buffer_is_exact() -> None:
    from edgewise.agents.fractional.returns import time_discount

    assert time_discount(np.array([0.5, 2.0, 7.0]), 2.0).tolist() == [math.exp(-0.25), math.exp(-1.0), math.exp(-3.5)]


@pytest.mark.filterwarnings("ignore:.*render_mode")
@pytest.mark.parametrize("name", sorted(name for name in gymnasium.registry if name.startswith("edgewise/")))
def test_every_environment_is_made_by_stable_baselines_helper(name: str) -> None:
    """It asks for `rgb_array` first, and goes without where a constructor takes no such keyword."""
    env = make_vec_env(name, n_envs=2, seed=0)
    assert env.num_envs == 2
    env.close()
    assert gymnasium.make(name, render_mode=None).render_mode is None
