"""The slot by hand: equations 12-20 with the corrections of the calibrated mode, and the projection's invariants."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.model_caching.catalogue import ACCURACY, DATASETS, FITS, PATHS_MEASURED
from edgewise.envs.model_caching.instance import draw_instance
from edgewise.envs.model_caching.optimum import slot_optimum
from edgewise.envs.model_caching.params import MODES, WINDOW_RULES, CachingParams
from edgewise.envs.model_caching.simulator import Simulator
from edgewise.envs.model_caching.state import (
    CLOUD,
    COST,
    ENERGY,
    EVICTIONS,
    LOADS,
    LOCAL,
    MEMORY,
    REQUESTS,
    SWITCHING,
)
from edgewise.envs.model_caching.workload import Workload


class Hand:
    """One server with two agents whose demand is set by hand; agent 0 has the small model, agent 1 the large one."""

    def __init__(self, **overrides):
        seeds = (s for s in range(99) if draw_instance(self.params(s, overrides))["model"].tolist() == [0, 1])
        self.p = self.params(next(seeds), overrides)
        self.simulator = Simulator(self.p, horizon=10)
        self.simulator.seed(np.zeros(1, np.uint64))
        self.simulator.reset()
        self.d = self.simulator.world.static["input"].tolist()

    @staticmethod
    def params(seed, overrides):
        return CachingParams.make("section14", **({"n_agents": 2, "instance_seed": seed} | overrides))

    def slot(self, demand, cache, share=(1.0, 1.0)):
        self.simulator.world.agent[0]["demand"] = demand
        buffers = self.simulator.step(np.array([cache], np.int8), np.array([share]))
        return buffers.out[:, 0]

    def state(self, name):
        return self.simulator.world.agent[0][name].tolist()


def test_three_slots_of_two_agents_by_hand():
    hand = Hand()
    d0, d1 = hand.d
    edge, cloud = 10 * 1e-4, 10 * 7.5e-3  # J paths times the price per token
    first = hand.slot((2, 1), (1, 0))  # load the small model, serve both its requests; the other goes to the cloud
    compute = 2 * 10 * (200 + d0) * (2 * 137 / 810) / 312_000
    assert hand.state("kappa") == pytest.approx([0.1 * 2 * 10 - 1.0, 0.0])  # zeta b R J - Delta
    assert hand.state("context") == [2 * 10 * 200, 0.0]
    gain = 1.0 * math.log(1 / 0.6)
    assert gain < 1  # the floor: a cold model costs 1 - alpha
    expected = [3e-5 * 274_000, 2 * edge * d0, compute, 2.5 * 0.6 * 2, cloud * d1]
    assert first[SWITCHING : CLOUD + 1].tolist() == pytest.approx(expected, rel=1e-12)
    assert first[COST] == pytest.approx(sum(expected), rel=1e-12)
    assert (first[LOADS], first[EVICTIONS], first[LOCAL], first[REQUESTS], first[MEMORY]) == (1, 0, 2, 3, 274)

    second = hand.slot((5, 0), (1, 1), (0.5, 1.0))  # the large model is loaded although nobody asks
    kappa = 1.0 + 0.1 * 2.5 * 10 - 1.0
    assert hand.state("kappa") == pytest.approx([kappa, 0.0])
    assert second[CLOUD] == pytest.approx(2.5 * cloud * d0)
    accuracy = 2.5 * 0.6 / (kappa * math.log(1 / 0.6)) * 2.5
    assert second[SWITCHING : CLOUD + 1].tolist() == pytest.approx(
        [3e-5 * 1_080_000, 2.5 * edge * d0, 2.5 * 10 * (200 + d0) * (2 * 137 / 810) / 312_000, accuracy, second[CLOUD]]
    )

    third = hand.slot((1, 2), (0, 1))  # evicting is free and zeroes the context; the large model starts cold
    assert (third[LOADS], third[EVICTIONS]) == (0, 1)
    assert third[SWITCHING] == 0.0
    assert hand.state("kappa") == pytest.approx([0.0, 0.1 * 2 * 10 - 1.0])
    assert hand.state("context") == [0.0, 4000.0]
    assert third[CLOUD] == pytest.approx(cloud * d0)


def test_an_idle_model_forgets_until_nothing_is_left():
    hand = Hand(vanishing=0.6)
    hand.slot((3, 0), (1, 0))
    ages = []
    for _ in range(6):
        hand.slot((0, 0), (1, 0))
        ages.append(hand.state("kappa")[0])
    assert ages == pytest.approx([1.8, 1.2, 0.6, 0.0, 0.0, 0.0], abs=1e-12)


def test_literal_prices_are_those_printed():
    hand = Hand(mode="paper_literal")
    out = hand.slot((3, 2), (1, 0))
    d0, _ = hand.d
    work = 3 * 10 * 10 * 200  # J counts twice
    kappa = 0.1 * work - 1.0
    expected = [1e-5, 3 * 1e-4 * d0, work * (2 * 137 / 810) / 312_000,
                2.5 * 3 * 0.6 / (kappa * math.log(1 / 0.6)), 2 * 10 * 7.5e-3]  # fmt: skip
    assert out[SWITCHING : CLOUD + 1].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rule", "kappa", "context", "served"), [
    ("none", 0.1 * 20 - 1 + 0.1 * 30 - 1, 10_000, 3.0),
    ("slide", (0.1 * 20 - 1 + 0.1 * 30 - 1) * 8192 / 10_000, 8192, 3.0),
    ("clip", 1.0 + 0.1 * 10 * (4192 / 2000) - 1, 8192, 4192 / 2000),
    ("evict_on_overflow", 0.0, 0.0, 0.0),
])  # fmt: skip
def test_window_rules(rule, kappa, context, served):
    hand = Hand(window_rule=rule, context_windows=(8192, 32768))
    hand.slot((2, 0), (1, 0))
    out = hand.slot((3, 0), (1, 0))
    assert hand.state("kappa")[0] == pytest.approx(kappa)
    assert hand.state("context")[0] == pytest.approx(context)
    assert out[LOCAL] == pytest.approx(served)
    assert out[EVICTIONS] == (rule == "evict_on_overflow")
    again = hand.slot((0, 0), (1, 0))
    assert again[LOADS] == (rule == "evict_on_overflow")  # the next use pays a reload


def test_accuracy_laws():
    def cost(law, requests):
        hand = Hand(accuracy_model=law, accuracy_limit=(0.6, 0.8))
        out = hand.slot((requests, 0), (1, 0))
        return out[SWITCHING + 3] / 2.5 / requests, hand.state("kappa")[0]

    unit, kappa = cost("saturating", 5)
    assert unit == pytest.approx(1 - (0.4 + 0.2 * (1 - 0.6**kappa)))
    unit, kappa = cost("saturating", 1)
    assert (unit, kappa) == (0.6, 0.0)  # alpha at no age of thoughts
    unit, kappa = cost("table", 5)
    hand = Hand(accuracy_model="table")
    tau = hand.simulator.world.static["tau"][0]
    assert unit == pytest.approx(1 - (0.6 - 0.2 * math.exp(-10 * kappa / (kappa + 2) / tau)))
    assert cost("paper", 40)[0] < cost("paper", 20)[0] < cost("paper", 1)[0] == 0.6


def test_the_energy_budget_cuts_the_hungriest_model_first():
    free = Hand()
    free.slot((3, 3), (1, 1))
    joules = [3 * 10 * (200 + d) * 2 * p / 810 for d, p in zip(free.d, (137, 540), strict=True)]
    tight = Hand(gpu_watt=(joules[0] + 0.25 * joules[1]) / (40 * 60))
    out = tight.slot((3, 3), (1, 1))
    assert out[LOCAL] == pytest.approx(3 + 0.25 * 3)
    assert out[ENERGY] == pytest.approx(tight.p.energy_budget)


def test_modern_servers_share_weights_and_pay_for_contexts_and_load_times():
    p = CachingParams.make("stationary", mode="modern", models=("llama-3.1-8b",), n_agents=3, n_gpus=1, slot_s=600)
    simulator = Simulator(p, horizon=10)
    simulator.seed(np.zeros(1, np.uint64))
    simulator.reset()
    simulator.world.agent[0]["demand"] = (2, 1, 0)
    out = simulator.step(np.ones((1, 3), np.int8), np.ones((1, 3)))
    ready = 1 - 16.1 / 25 / 600
    assert out.served[0].tolist() == pytest.approx([ready, ready, 0.0])
    assert out.out[LOADS, 0] == 1
    assert out.out[SWITCHING, 0] == pytest.approx(3e-5 * 16_100)
    assert out.out[MEMORY, 0] == pytest.approx(16.1 + 128 * 1024 / 1e9 * 3 * ready * 2000)
    joule_per_token = 300 * 16.1 / (0.6 * 1935)
    d = simulator.world.static["input"]
    expected = sum(r * ready * 10 * (200 * joule_per_token + t * 300 * 2 * 8.03 / (0.4 * 312_000)) for r, t in
                   zip((2, 1), d, strict=False))  # fmt: skip
    assert out.out[ENERGY, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("model", "bandwidth", "tokens_per_second"),
    [
        ("llama-3.1-8b", 1935, 72),
        ("qwen2.5-7b", 1935, 76),
        ("qwen2.5-14b", 1935, 39),
        ("qwen2.5-32b", 1935, 18),
        ("llama-3.1-70b", 1935, 8),
        ("llama-3.1-8b", 204.8, 7.7),
        ("qwen2.5-3b", 204.8, 20),
    ],
)
def test_decoding_reaches_the_rates_of_the_roofline(model, bandwidth, tokens_per_second):
    """Section 16: an A100's memory bandwidth, and a small box's; a rate is power over energy per token."""
    p = CachingParams.make("stationary", mode="modern", models=(model,), n_agents=1, gpu_bandwidth=bandwidth)
    rate = p.gpu_watt / draw_instance(p)["energy_out"][0]
    assert rate == pytest.approx(tokens_per_second, rel=0.04)


def test_cloud_only_costs_all_requests_at_the_clouds_price():
    env = gymnasium.make("edgewise/ModelCaching-v0").unwrapped
    env.reset(seed=4)
    demand = Workload(env.params).episode(4)
    nothing = {"cache": np.zeros(20, np.int8), "local_share": np.ones(20, np.float32)}
    for t in range(100):
        info = env.step(nothing)[4]
        assert info["cost"] == pytest.approx(10 * 7.5e-3 * (demand.requests[t] * demand.input[t]).sum())
        assert info["cost_terms"]["cloud"] == info["cost"]


@st.composite
def systems(draw):
    return CachingParams.make(
        mode=draw(st.sampled_from(list(MODES))),
        n_agents=draw(st.integers(1, 12)),
        n_gpus=draw(st.integers(1, 60)),
        window_rule=draw(st.sampled_from(WINDOW_RULES)),
        weights_shared=draw(st.booleans()),
        gpu_watt=draw(st.sampled_from([1e-3, 0.02, 300.0])),
        total_demand=draw(st.floats(0.5, 30.0)),
    )


@given(systems(), st.integers(0, 2**32))
def test_the_projection_is_feasible_idempotent_and_conserves_requests(params, seed):
    lanes = 100
    simulator = Simulator(params, lanes, horizon=10)
    simulator.seed(seed + np.arange(lanes, dtype=np.uint64))
    simulator.reset()
    rng = np.random.default_rng(seed)
    shape = (lanes, params.n_agents)
    static = simulator.world.static
    for _ in range(4):
        before = simulator.get_state()
        out = simulator.step(rng.integers(0, 2, shape, dtype=np.int8), rng.random(shape))
        demand = before["agent"]["demand"]
        assert (out.served[(out.plan == 0) | (demand == 0)] == 0).all()
        assert ((out.served >= 0) & (out.served <= 1)).all()
        assert (out.out[MEMORY] <= params.capacity_gb * (1 + 1e-12)).all()
        assert (out.out[ENERGY] <= params.energy_budget * (1 + 1e-9)).all()
        if params.window_rule != "none":
            grown = before["agent"]["context"] + out.served * demand * before["agent"]["growth"]
            limit = static["window"] * (1 + 1e-12) if params.window_rule != "slide" else np.inf
            assert (grown[out.plan == 1] <= np.broadcast_to(limit, shape)[out.plan == 1]).all()
            assert (simulator.world.agent["context"] <= static["window"] * (1 + 1e-12)).all()
        local = (out.served * demand).sum(1)
        assert out.out[LOCAL] == pytest.approx(local)
        after = simulator.get_state()
        simulator.set_state(before)
        again = simulator.step(out.plan, out.served)
        np.testing.assert_array_equal(again.plan, out.plan)
        np.testing.assert_allclose(again.served, out.served, rtol=0, atol=1e-9)
        np.testing.assert_allclose(again.out, out.out, rtol=1e-9, atol=1e-9)
        simulator.set_state(after)


def test_without_scores_the_smaller_then_the_resident_then_the_earlier_entry_stays():
    params = CachingParams.make("section14", n_agents=6, models=("lamda-137b",), alpha=(0.4,), context_windows=None,
                                n_gpus=7)  # fmt: skip
    simulator = Simulator(params, horizon=10)  # 560 GB: two of the six copies fit
    simulator.seed(np.zeros(1, np.uint64))
    simulator.reset()
    share = np.zeros((1, 6))
    assert simulator.step(np.array([[0, 0, 0, 0, 1, 0]], np.int8), share).plan[0].tolist() == [0, 0, 0, 0, 1, 0]
    assert simulator.step(np.ones((1, 6), np.int8), share).plan[0].tolist() == [1, 0, 0, 0, 1, 0]


def test_more_gpus_never_raise_the_single_slot_optimum():
    for seed in range(5):
        costs = []
        for gpus in (5, 15, 40, 80, 160):
            params = CachingParams.make("section14", n_gpus=gpus, lambda_MB=1e-6)
            demand = Workload(params, 1).episode(seed)
            found = slot_optimum(params, demand)
            assert found.gap == pytest.approx(0.0, abs=1e-6 * found.value)
            costs.append(found.value)
        assert costs == sorted(costs, reverse=True)
        assert costs[0] > costs[-1]


def test_the_fits_of_the_accuracy_tables():
    from scipy.optimize import least_squares

    j = np.array(PATHS_MEASURED, float)
    for tier, rows in ACCURACY.items():
        for name, row, fit in zip(DATASETS, rows, FITS[tier], strict=True):
            y = np.array(row) / 100
            found = least_squares(lambda q, y=y: q[1] - (q[1] - q[0]) * np.exp(-j / q[2]) - y, fit).x
            assert found == pytest.approx(fit, rel=0.02), (tier, name)


def test_instances_are_drawn_from_their_own_seed_and_spread_evenly():
    for seed in range(4):
        agents = draw_instance(CachingParams.make(n_agents=20, instance_seed=seed))
        assert np.bincount(agents["model"]).tolist() == [10, 10]
        assert ((agents["input"] >= 100) & (agents["input"] <= 200)).all()
        for model in (0, 1):
            assert agents["input"][agents["model"] == model].mean() == pytest.approx(150, abs=4)
    one, two = (draw_instance(CachingParams.make(instance_seed=s)) for s in (0, 1))
    assert (one["input"] != two["input"]).any()
    env = gymnasium.make("edgewise/ModelCaching-v0").unwrapped
    env.reset(seed=123)
    assert env.unwrapped._system.world.static.tobytes() == one.tobytes()


def test_equal_states_are_equal_byte_by_byte() -> None:
    for array in Simulator(CachingParams.make("drift")).get_state().values():
        fields = array.dtype.names or ()
        assert not fields or array.dtype.itemsize == sum(array.dtype[name].itemsize for name in fields)
