"""FractionalPPO: what it stores, how it prices, and that it learns to wait."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from edgewise.agents.fractional.returns import discounted_advantages, time_discount
from edgewise.agents.sb3.build import build, policy_of, wait_function
from edgewise.agents.sb3.callbacks import DinkelbachCallback
from edgewise.agents.sb3.policies import HybridActorCriticPolicy
from edgewise.agents.sb3.ppo import FractionalPPO
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.aoi_offload.state import DELAY
from edgewise.envs.aoi_offload.update_or_wait import wait_rule_value
from edgewise.envs.core.errors import InvalidInputError

Make = Callable[..., Any]
OPTIMUM = {"exponential": 1.901201, "lognormal:1.0": 3.562120, "lognormal:1.5": 11.060685}


def counting_model(counting: Make, **kwargs: Any) -> FractionalPPO:
    settings: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "device": "cpu", "seed": 0, "ratio": 2.0}
    settings["policy_kwargs"] = {"kind_column": None, "net_arch": {"pi": [4], "vf": [4]}}
    return FractionalPPO(HybridActorCriticPolicy, SemiMarkovVecEnv(counting(2)), **(settings | kwargs))


def test_rollouts_hold_raw_costs_durations_and_final_observations(counting: Make) -> None:
    model = counting_model(counting)
    model.learn(8)
    buffer = model.rollout_buffer
    assert buffer.costs.tolist() == [[10.0, 10.0], [20.0, 20.0], [30.0, 30.0], [10.0, 10.0]]
    assert buffer.durations.tolist() == [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [1.0, 2.0]]
    assert buffer.cuts.tolist() == [[False, False], [False, False], [True, True], [False, False]]
    assert buffer.next_observations[2].tolist() == [[3.0, 6.0], [3.0, 9.0]]  # final, not the reset one
    assert buffer.next_observations[3].tolist() == [[1.0, 1.0], [1.0, 2.0]]


def trained_targets(model: FractionalPPO) -> np.ndarray:
    """Targets of the last rollout, in rewards' units, by lane and step."""
    return (model.rollout_buffer.returns * model.value_scale).reshape(2, 4).T


def test_targets_of_an_untrained_critic_are_the_returns_by_hand(counting: Make) -> None:
    # The first rollout calibrates; the network critic then still says 0 everywhere.
    model = counting_model(counting, critic="network", horizon=5.0, gae_lambda=1.0, vf_coef=0.0, learning_rate=0.0)
    model.learn(8)
    model.learn(8)  # starts anew: the same decisions
    duration = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [1.0, 2.0]])
    reward = -(np.array([[10.0], [20.0], [30.0], [10.0]]) - 2.0 * duration)
    g = np.exp(-duration / 5.0)
    expected = np.array([reward[0] + g[0] * (reward[1] + g[1] * reward[2]), reward[1] + g[1] * reward[2], *reward[2:]])
    assert trained_targets(model) == pytest.approx(expected, rel=1e-5)


def test_paper_fidelity_discounts_by_decision(counting: Make) -> None:
    model = counting_model(
        counting, critic="network", fidelity="paper", gamma=0.5, gae_lambda=1.0, vf_coef=0.0, learning_rate=0.0
    )
    model.learn(8)
    model.learn(8)
    reward = np.array([[-8.0, -6.0], [-16.0, -14.0], [-24.0, -22.0], [-8.0, -6.0]])
    expected = np.array([reward[0] + 0.5 * reward[1] + 0.25 * reward[2], reward[1] + 0.5 * reward[2], *reward[2:]])
    assert trained_targets(model) == pytest.approx(expected, rel=1e-5)


def test_a_move_of_the_ratio_reprices_the_rollout_before_it_is_learned(counting: Make) -> None:
    model = counting_model(counting, critic="network", horizon=1e9, gae_lambda=0.0, vf_coef=0.0, learning_rate=0.0)
    model.outer_loop = DinkelbachCallback(2.0, omega=1.0)
    model.learn(8)
    model.learn(8)
    ratio = (60 + 10) * 2 / (6 + 9 + 1 + 2)
    assert model.ratio == pytest.approx(ratio)
    cost = np.array([[10.0], [20.0], [30.0], [10.0]])
    duration = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [1.0, 2.0]])
    assert trained_targets(model) == pytest.approx(-(cost - ratio * duration), rel=1e-5)


def test_value_scale_follows_the_targets_without_changing_predictions(counting: Make) -> None:
    model = counting_model(counting, critic="network", horizon=5.0)
    model.learn(8)
    torch.nn.init.normal_(model.policy.value_net.weight)
    observation = torch.tensor([[0.0, 0.0], [2.0, 5.0]])
    before = model.policy.predict_values(observation).detach() * model.value_scale
    old = model.value_scale
    model._fill(
        discounted_advantages(
            np.full((4, 2), 50.0) * np.arange(8).reshape(4, 2),
            time_discount(np.ones((4, 2)), 5.0),
            np.zeros((4, 2)),
            np.zeros((4, 2)),
            np.zeros((4, 2), np.bool_),
            0.0,
        )
    )
    assert model.value_scale != old
    after = model.policy.predict_values(observation).detach() * model.value_scale
    assert torch.allclose(before, after, rtol=1e-4)


def test_least_squares_critic_knows_what_the_age_costs() -> None:
    # In the lone system an offload ends after a service of mean 1 that does not depend on the age, so a second of age
    # costs E[service] = 1 more at the offload: the slope that decides how long to wait.
    model = build("fractional_ppo", env_kwargs={"preset": "single"}, num_envs=64, seed=1, ratio=2.0, learning_rate=1e-9)
    model.learn(64 * 16 * 20)
    assert isinstance(model, FractionalPPO)
    observations = np.array([[[1.0, 1.0, 1.5, 0.5], [1.0, 1.0, 2.5, 1.5], [1.0, 1.0, 4.5, 3.5]]], np.float32)
    values = model.lstd.values(model._linear_features(observations)[0], 2.0)
    assert np.diff(values) / [1.0, 2.0] == pytest.approx([-1.0, -1.0], abs=0.15)


@pytest.mark.parametrize("family", ["squashed", "beta", "censored"])
def test_predictions_are_valid_decisions_for_every_family(family: str) -> None:
    model = build("fractional_ppo", env_kwargs={"preset": "small"}, num_envs=4, n_steps=8, batch_size=32, family=family)
    model.learn(96)
    policy = policy_of(model)
    batch = np.array([[0, 1.0, 1.0, 0.0, 2.0], [1, 1.0, 3.0, 2.0, 0.0]], np.float32)
    decisions = policy.act(batch)
    assert decisions["server"].shape == (2,)
    assert decisions["wait"].shape == (2, 1)
    assert ((decisions["wait"] >= 0.0) & (decisions["wait"] <= 3.0)).all()
    single = policy.act(batch[0])
    assert single["wait"] == pytest.approx(decisions["wait"][0])
    assert single["server"] == decisions["server"][0]


def test_unknown_settings_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInputError, match="learning_rate"):
        build("fractional_ppo", env_kwargs={"preset": "single"}, learning_rat=0.1)
    with pytest.raises(InvalidInputError, match="fractional_ppo, ppo, fractional_d3qn_ddpg"):
        build("a2c")


def score(service: str, steps: int, seed: int) -> float:
    env_kwargs = {"preset": "single", "service": service}
    model = build("fractional_ppo", env_kwargs=env_kwargs, num_envs=256, seed=seed)
    model.learn(steps)
    return wait_rule_value(wait_function(policy_of(model)), service, z_max=20.0)


@pytest.mark.timeout(900)
def test_learns_to_wait_in_seconds() -> None:
    # Zero wait gives 2; a constant wait cannot do better either. The full accuracy is checked by the slow tests.
    assert score("exponential", 120_000, 0) < 1.95


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("service", "tolerance"), [("exponential", 0.01), ("lognormal:1.0", 0.02), ("lognormal:1.5", 0.05)]
)
def test_reaches_the_optimum_of_a_lone_device(service: str, tolerance: float) -> None:
    assert score(service, 600_000, 0) <= OPTIMUM[service] * (1.0 + tolerance)


def lane_ages(act: Callable[[np.ndarray], dict[str, Any]], lanes: int = 64, length: float = 3000.0) -> np.ndarray:
    """Mean age per lane in the heterogeneous preset; the lanes' service draws are the same for every policy."""
    env = gymnasium.make_vec(
        "edgewise/AoIOffload-v0",
        num_envs=lanes,
        preset="heterogeneous",
        autoreset_mode=AutoresetMode.SAME_STEP,
        horizon=1e9,
    )
    observation, _ = env.reset(seed=10**6)
    cost, duration, running = np.zeros(lanes), np.zeros(lanes), np.ones(lanes, np.bool_)
    while running.any():
        observation, _, _, _, info = env.step(act(observation))
        cost += np.where(running, info["cost"], 0.0)
        duration += np.where(running, info["duration"], 0.0)
        running = duration < length
    return cost / duration


def local_threshold(observation: np.ndarray) -> dict[str, Any]:
    """The best rule of the grid: stay local, wait until the age is 3 s (where the grid ends; the optimum: 3.21)."""
    return {
        "server": np.zeros(len(observation), np.int64),
        "wait": np.clip(3.0 - observation[:, [DELAY]], 0.0, 3.0).astype(np.float32),
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_matches_the_best_rule_beside_saturated_edges() -> None:
    model = build("fractional_ppo", env_kwargs={"preset": "heterogeneous"}, num_envs=256, seed=0)
    model.learn(600_000)
    best = lane_ages(local_threshold)
    excess = (lane_ages(policy_of(model).act) - best) / best.mean()
    assert excess.mean() + 1.96 * excess.std(ddof=1) / np.sqrt(len(excess)) < 0.01


def test_annealing_never_turns_the_learning_rate_negative() -> None:
    model = build("fractional_ppo", env_kwargs={"preset": "single"}, num_envs=8, n_steps=16, batch_size=64)
    model.learn(300)  # three rollouts: 384 decisions
    assert model._current_progress_remaining < 0.0
    assert isinstance(model, FractionalPPO)
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.0
