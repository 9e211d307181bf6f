"""edgewise/DutchClock-v0: equal to the plain-Python reference and to whole auctions, and honest about its bound."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from oracles import dutch_clock as oracle
from scipy.integrate import quad
from scipy.stats import binom

import edgewise  # noqa: F401  # registers the id
from edgewise.envs.core import RatioReward
from edgewise.envs.model_caching import DutchClockEnv, DutchClockParams
from edgewise.envs.model_caching.clock_params import STEPS, VALUATIONS
from edgewise.envs.model_caching.market import Clocks, double_dutch, optimal_welfare
from edgewise.envs.model_caching.market_optimum import expected_optimal_welfare

VARIANTS = ("sweep", "alternating")
BOTH = pytest.mark.parametrize("variant", VARIANTS)
MARKETS = [
    {},
    {"n_buyers": 3, "n_sellers": 8, "values": "S2"},
    {"n_buyers": 7, "n_sellers": 1, "values": "S3", "tick": 0.03},
    {"n_buyers": 1, "n_sellers": 1, "tick": 0.3, "message_cost": 0.0},
]


def market_of(env):
    """Values and costs of the present auction."""
    state = env.unwrapped.get_state()
    return state["value"][0], state["cost"][0]


@BOTH
@pytest.mark.parametrize("settings", MARKETS, ids=range(len(MARKETS)))
def test_whole_episodes_equal_the_reference(variant, settings):
    env = DutchClockEnv(variant=variant, **settings)
    sizes = {"buyers": env.params.n_buyers, "sellers": env.params.n_sellers}
    rng = np.random.default_rng(0)
    for seed in range(20):
        for episode in range(2):
            slow = oracle.Auction(seed, episode, variant, **sizes, values=env.params.values, tick=env.params.tick)
            observation, info = env.reset(seed=seed if episode == 0 else None)
            assert [list(side) for side in market_of(env)] == [slow.buyers.worth, slow.sellers.worth]
            assert (info["cost"], info["duration"], info["time"], info["polled"]) == (0, 0, 0, 0)
            best = optimal_welfare(slow.buyers.worth, slow.sellers.worth)
            over = False
            while not over:
                assert observation.tolist() == np.float32(slow.observation()).tolist()
                action = rng.integers(len(STEPS))
                observation, reward, over, cut, info = env.step(action)
                polled, gained, expected_over = slow.step(action)
                assert (over, cut, info["polled"], info["time"]) == (expected_over, False, polled, slow.ticks)
                assert info["cost_terms"]["messages"] == env.params.message_cost * polled
                assert info["cost_terms"]["welfare"] == pytest.approx(-gained, abs=1e-12)
                assert reward == -info["cost"] == -sum(info["cost_terms"].values())
                assert info["trades"] == slow.trades
                assert info["optimal_welfare"] == pytest.approx(best, abs=1e-12)
                assert (info["buyer_price"], info["seller_price"]) == slow.prices
            assert observation.tolist() == np.float32(slow.observation()).tolist()


@BOTH
@pytest.mark.parametrize("action", [0, 2])
def test_a_constant_step_is_the_auction_with_a_tick_of_that_size(variant, action):
    env = gymnasium.make("edgewise/DutchClock-v0", variant=variant)
    tick = STEPS[action] * env.unwrapped.params.tick
    for seed in range(40):
        _, info = env.reset(seed=seed)
        values, costs = market_of(env)
        over, welfare, polled = False, 0.0, 0
        while not over:
            *_, over, _, info = env.step(action)
            welfare, polled = welfare - info["cost_terms"]["welfare"], polled + info["polled"]
        whole = double_dutch(values, costs, variant=variant, clocks=Clocks(tick))
        assert welfare == pytest.approx(whole.welfare(values, costs))
        assert polled == whole.polled
        assert info["trades"] == len(whole.trades)
        if len(whole.trades):
            prices = (whole.trades.paid[0], whole.trades.received[0])
            assert (info["buyer_price"], info["seller_price"]) == pytest.approx(prices)


@BOTH
def test_the_horizon_truncates_without_clearing(variant):
    env = DutchClockEnv(variant=variant, horizon=3)
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    assert env.reset()[1]["time"] == 0
    short = DutchClockEnv(variant=variant, preset="small", horizon=1)
    short.reset(seed=0)
    *_, terminated, truncated, _ = short.step(4)
    assert (terminated, truncated) == (False, True)


def test_policies_see_the_same_auctions():
    env = DutchClockEnv()
    env.reset(seed=4)
    env.step(0)
    env.reset()  # episode 1, whatever was done in episode 0
    first = market_of(env)
    env.reset(seed=4)
    over = False
    while not over:
        over = env.step(4)[2]
    env.reset()
    assert [side.tolist() for side in market_of(env)] == [side.tolist() for side in first]


def test_ratio_zero_is_the_return_of_an_auction():
    env = RatioReward(gymnasium.make("edgewise/DutchClock-v0"), 0.0)
    env.reset(seed=1)
    _, reward, *_, info = env.step(3)
    assert reward == -info["cost"]


# --- the bound --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("buyers", "sellers"), [(1, 1), (20, 20), (3, 8), (100, 1), (1000, 1000)])
def test_expected_optimal_welfare_on_equal_ranges_has_a_closed_form(buyers, sellers):
    expected = buyers * sellers / (2 * (buyers + sellers + 1))
    assert expected_optimal_welfare(buyers, sellers) == pytest.approx(expected, rel=1e-9)
    scaled = expected_optimal_welfare(buyers, sellers, (2.0, 5.0), (2.0, 5.0))
    assert scaled == pytest.approx(3 * expected, rel=1e-9)


@pytest.mark.parametrize("name", VALUATIONS)
def test_expected_optimal_welfare_by_quadrature_and_by_sampling(name):
    values, costs = VALUATIONS[name]
    n, m = 6, 4

    def matched(price):
        demand = np.clip((values[1] - price) / (values[1] - values[0]), 0, 1)
        supply = np.clip((price - costs[0]) / (costs[1] - costs[0]), 0, 1)
        return sum(binom.sf(k, n, demand) * binom.sf(k, m, supply) for k in range(m))

    found = expected_optimal_welfare(n, m, values, costs)
    assert found == pytest.approx(quad(matched, 0, 1, points=sorted({*values, *costs}), limit=200)[0], rel=1e-7)
    rng = np.random.default_rng(0)
    drawn = [optimal_welfare(rng.uniform(*values, n), rng.uniform(*costs, m)) for _ in range(4000)]
    assert found == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(len(drawn)))


@BOTH
def test_the_bound_lies_below_every_constant_step_and_not_far(variant):
    lanes = 256
    envs = gymnasium.make_vec("edgewise/DutchClock-v0", num_envs=lanes, variant=variant, autoreset_mode="DISABLED")
    means = {}
    for action in range(len(STEPS)):
        _, info = envs.reset(seed=1000 * action)
        total, running = np.zeros(lanes), np.ones(lanes, bool)
        while running.any():
            _, _, over, _, info = envs.step(np.full(lanes, action))
            total += np.where(running, info["cost"], 0.0)
            running &= ~over
            if over.any() and running.any():
                envs.reset(options={"reset_mask": over})  # these lanes' next auctions are not counted
        means[action] = total.mean()
    bound = envs.unwrapped.optimum()
    assert bound.value is None
    assert bound.details["per"] == "auction"
    assert bound.bound < min(means.values())
    assert min(means.values()) < 0.85 * bound.bound  # the best constant step reaches most of it
    assert bound.details["optimal_welfare"] == pytest.approx(400 / 82)
    assert means[0] > min(means.values())  # the finest clock is not the cheapest: messages cost


def test_presets_and_fields():
    assert DutchClockParams.make("small").n_buyers == 5
    assert DutchClockEnv(preset="dear").params.message_cost == 1e-2
    params = DutchClockParams.make(n_buyers=2)
    assert DutchClockEnv(params=params).params is params
