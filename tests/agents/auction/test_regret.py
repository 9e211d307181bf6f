"""The regret reward: the same sum per auction but for a constant of the auction, in every autoreset mode."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import edgewise  # noqa: F401  # registers the id
from edgewise.agents.auction.regret import VectorRegretReward
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching import DutchClockVectorEnv


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
@pytest.mark.parametrize("variant", ["sweep", "alternating"])
def test_an_auctions_rewards_add_up_to_its_reward_minus_its_optimal_welfare(mode, variant):
    env = VectorRegretReward(DutchClockVectorEnv(3, "small", variant=variant, autoreset_mode=mode, horizon=12))
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    plain, regret, auctions, resetting = np.zeros(3), np.zeros(3), 0, np.zeros(3, bool)
    for _ in range(150):
        _, reward, terminated, truncated, info = env.step(rng.integers(5, size=3))
        assert not reward[resetting].any()
        plain, regret, over = plain - info["cost"], regret + reward, terminated | truncated
        best = info["optimal_welfare"]
        assert regret[over] == pytest.approx((plain - best)[over], abs=1e-12)
        assert (regret[over] <= 1e-12).all()
        auctions += int(over.sum())
        plain[over] = regret[over] = 0.0
        resetting = over if mode is AutoresetMode.NEXT_STEP else np.zeros(3, bool)
        if mode is AutoresetMode.DISABLED and over.any():
            env.reset(options={"reset_mask": over})
    assert auctions > 20


def test_messages_are_charged_as_they_come_and_welfare_only_at_the_end():
    env = VectorRegretReward(DutchClockVectorEnv(1))
    env.reset(seed=0)
    over = False
    while not over:
        _, reward, terminated, _, info = env.step(np.array([1]))
        over = terminated[0]
        if not over:
            assert reward[0] == -info["cost_terms"]["messages"][0]


def test_the_regret_of_a_free_fine_clock_is_that_of_the_clearing_rule():
    env = VectorRegretReward(DutchClockVectorEnv(200, message_cost=0.0, autoreset_mode="DISABLED", tick=1e-3))
    env.reset(seed=0)
    total, running, info = np.zeros(200), np.ones(200, bool), {}
    while running.any():
        _, reward, terminated, _, info = env.step(np.full(200, 0))
        total += np.where(running, reward, 0.0)
        running &= ~terminated
        if terminated.any() and running.any():
            env.reset(options={"reset_mask": terminated})
    assert (total <= 1e-9).all()
    assert -total.mean() < 0.01 * info["optimal_welfare"].mean()  # McAfee loses 0.5 % at 20 agents a side (11.6)


def test_another_environment_is_refused():
    env = VectorRegretReward(gymnasium.make_vec("edgewise/AoIOffload-v0", num_envs=2))
    env.reset(seed=0)
    with pytest.raises(InvalidInputError, match="optimal_welfare"):
        env.step(env.action_space.sample())
