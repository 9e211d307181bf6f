"""Control of the clocks' steps: yardsticks, and stock learners that get below them."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.agents.auction.clock_steps import auction_costs, best_constant_step, constant_step
from edgewise.agents.sb3.auction import build_clock_steps, clock_policy
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.market import Clocks, double_dutch
from edgewise.envs.model_caching.market_optimum import expected_optimal_welfare


def test_costs_of_a_constant_step_are_those_of_whole_auctions():
    costs = auction_costs(constant_step(2), 50, seed=7)
    from edgewise.envs.model_caching import DutchClockEnv

    env = DutchClockEnv()
    for lane in range(50):
        env.reset(seed=7 + lane)
        state = env.get_state()
        values, worth = state["value"][0], state["cost"][0]
        whole = double_dutch(values, worth, clocks=Clocks(0.04))
        assert costs[lane] == pytest.approx(1e-3 * whole.polled - whole.welfare(values, worth))


def test_the_best_constant_step_is_neither_the_finest_nor_dear():
    action, cost = best_constant_step(500)
    assert action in (3, 4)
    assert -expected_optimal_welfare(20, 20) < cost < -4.3
    assert best_constant_step(300, message_cost=1e-2)[0] == 4
    assert best_constant_step(300, message_cost=0.0)[0] == 0


def test_policies_are_compared_on_the_same_auctions():
    assert auction_costs(constant_step(4), 20, seed=3).tolist() == auction_costs(constant_step(4), 20, seed=3).tolist()
    with pytest.raises(InvalidInputError, match="action"):
        constant_step(5)


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_stock_learners_train_on_the_environment_as_it_is(algorithm):
    model = build_clock_steps(0, {"preset": "small"}, algorithm=algorithm, num_envs=4, n_steps=64, batch_size=128)
    model.learn(1100)
    costs = auction_costs(clock_policy(model), 20, preset="small")
    assert np.isfinite(costs).all()
    again = build_clock_steps(0, {"preset": "small"}, algorithm=algorithm, num_envs=4, n_steps=64, batch_size=128)
    again.learn(1100)
    assert auction_costs(clock_policy(again), 20, preset="small").tolist() == costs.tolist()


@pytest.mark.slow
def test_ppo_gets_below_every_constant_step():
    model = build_clock_steps(0)
    model.learn(65_000)
    learned = auction_costs(clock_policy(model), 1000, seed=10**6)
    action, _ = best_constant_step(1000, seed=10**6)
    gain = auction_costs(constant_step(action), 1000, seed=10**6) - learned
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


def test_an_unknown_or_wrong_field_is_named():
    for field, hyper in (("algorithm", {"algorithm": "sac"}), ("gamma", {"gamma": 2}), ("n_step", {"n_step": 5})):
        with pytest.raises(InvalidInputError, match=field):
            build_clock_steps(**hyper)
