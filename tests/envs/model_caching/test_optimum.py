"""Certified references: no policy beats them, and they agree with each other where two apply."""

from __future__ import annotations

import itertools

import gymnasium
import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.optimum import exhaustive, horizon_bound, run_plan, slot_optimum, solve
from edgewise.envs.model_caching.params import CachingParams
from edgewise.envs.model_caching.policies import POLICIES, ScriptedPolicy
from edgewise.envs.model_caching.simulate import run_policy
from edgewise.envs.model_caching.simulator import Simulator
from edgewise.envs.model_caching.state import COST, EVICTIONS
from edgewise.envs.model_caching.workload import Demand, Workload

TINY = {"n_agents": 3, "n_gpus": 14, "total_demand": 4.0}


@pytest.mark.parametrize("settings", [{}, {"mode": "paper_literal"}, {"accuracy_model": "saturating"},
                                      {"weights_shared": True},
                                      {"accuracy_model": "table", "vanishing": 0.0}])  # fmt: skip
def test_the_knapsack_is_the_best_of_all_subsets_and_shares(settings):
    """Every cache set, with shares on a grid that includes fractions, run in the simulator."""
    for seed in range(4):
        params = CachingParams.make("section14", n_agents=4, n_gpus=20, lambda_MB=5e-6, instance_seed=seed, **settings)
        demand = Workload(params, 1).episode(seed)
        found = slot_optimum(params, demand)
        actions = [
            (cache, share)
            for cache in itertools.product((0, 1), repeat=4)
            for share in itertools.product((0.0, 0.3, 0.7, 1.0), repeat=4)
        ]
        simulator = Simulator(params, len(actions), horizon=1)
        simulator.seed(np.full(len(actions), seed, np.uint64))
        simulator.reset()
        cache, share = (np.array(column) for column in zip(*actions, strict=True))
        best = simulator.step(cache.astype(np.int8), share.astype(np.float64)).out[COST].min()
        assert found.value == pytest.approx(best, rel=1e-9)
        assert found.bound == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("shared", [False, True])
def test_the_knapsack_pays_for_what_it_evicts(shared):
    """Every cache set after one that is held already, run in the simulator."""
    paid = 0
    for seed in range(8):
        fields = {"n_agents": 4, "n_gpus": 14, "total_demand": 6.0, "lambda_MB": 5e-6, "lambda_evict": 5e-6}
        params = CachingParams.make("section14", weights_shared=shared, instance_seed=seed, **fields)
        caches = np.array(list(itertools.product((0, 1), repeat=4)), np.int8)
        simulator = Simulator(params, len(caches), horizon=2)
        simulator.seed(np.full(len(caches), seed, np.uint64))
        simulator.reset()
        first = np.tile(np.array([1, 1, 0, 0], np.int8), (len(caches), 1))
        simulator.step(first, np.ones(first.shape))
        held, kappa = (simulator.world.agent[0][name].copy() for name in ("cache", "kappa"))
        demand = Demand._make(column[1:2] for column in Workload(params, 2).episode(seed))
        found = slot_optimum(params, demand, held > 0, kappa)
        out = simulator.step(caches, np.ones(caches.shape)).out
        assert found.value == pytest.approx(out[COST].min(), rel=1e-9)
        assert found.bound == pytest.approx(out[COST].min(), rel=1e-4)
        paid += out[EVICTIONS, out[COST].argmin()] > 0
        bound = horizon_bound(params, Workload(params, 4).episode(seed)).bound
        assert bound <= exhaustive(params, seed, 4).value + 1e-9
    assert paid > 0


@pytest.mark.parametrize("seed", range(3))
def test_nothing_beats_the_exhaustive_optimum_and_the_programme_bounds_it(seed):
    params = CachingParams.make("section14", instance_seed=seed, **TINY)
    found = exhaustive(params, seed, 4)
    for name in POLICIES:
        policy = f"{name}:3" if name == "lookahead" else name
        cost = run_policy(params, ScriptedPolicy(policy, params), [(seed, 0)], 4)[COST, 0] / 4
        assert cost >= found.value - 1e-9, name
    bound = horizon_bound(params, Workload(params, 4).episode(seed))
    assert bound.bound <= found.value + 1e-9
    assert bound.bound >= 0.8 * found.value
    rng = np.random.default_rng(seed)
    for _ in range(100):
        simulator = Simulator(params, horizon=4)
        simulator.seed(np.array([seed], np.uint64))
        simulator.reset()
        steps = [simulator.step(rng.integers(0, 2, (1, 3), dtype=np.int8), rng.random((1, 3))) for _ in range(4)]
        assert sum(step.out[COST, 0] for step in steps) / 4 >= found.value - 1e-9


def test_a_plan_costs_what_the_environment_says():
    params = CachingParams.make("section14", **TINY)
    found = exhaustive(params, 5, 3)
    env = gymnasium.make("edgewise/ModelCaching-v0", params=params, horizon=3).unwrapped
    env.reset(seed=5)
    costs = [
        env.step({"cache": row.astype(np.int8), "local_share": np.ones(3, np.float32)})[4]["cost"]
        for row in found.details["cache"]
    ]
    assert sum(costs) / 3 == pytest.approx(found.value, rel=1e-12)


def test_exhaustive_search_says_where_its_argument_does_not_hold():
    with pytest.raises(InvalidInputError, match="window_rule"):
        exhaustive(CachingParams.make(**TINY), 0, 2)
    with pytest.raises(InvalidInputError, match="slots"):
        exhaustive(CachingParams.make("section14", **TINY), 0, 40)


@pytest.mark.parametrize("settings", [{"mode": "modern"}, {"mode": "paper_literal"}, {"preset": "drift_proactive"},
                                      {"window_rule": "evict_on_overflow"}])  # fmt: skip
def test_bounds_hold_in_every_mode(settings):
    params = CachingParams.make(**({"preset": "drift"} | settings))
    demand = Workload(params, 20).episode(1)
    bound = horizon_bound(params, demand)
    for name in ("cloud", "lfu", "static", "density_ewma", "lookahead:3"):
        assert run_policy(params, ScriptedPolicy(name, params), [(1, 0)], 20)[COST, 0] / 20 >= bound.bound - 1e-9
    plan = bound.details["cache"]
    assert run_plan(params, 1, 0, plan) >= bound.bound - 1e-9


def test_the_median_gap_on_drift_is_at_most_15_per_cent():
    params = CachingParams.make("drift")
    found = [solve(params, seed) for seed in range(3)]
    gaps = [optimum.details["lookahead"] / optimum.bound - 1 for optimum in found]
    assert np.median(gaps) <= 0.15
    assert all(optimum.seconds < 60 for optimum in found)
    assert all(optimum.value <= optimum.details["lookahead"] for optimum in found)


def test_the_environment_bounds_the_episode_under_way():
    env = gymnasium.make("edgewise/ModelCaching-v0", horizon=15).unwrapped
    env.reset(seed=8)
    first = env.optimum()
    env.reset()
    second = env.optimum()
    assert first.bound == pytest.approx(solve(env.params, 8, 0, horizon=15).bound)
    assert second.bound == pytest.approx(solve(env.params, 8, 1, horizon=15).bound)
    assert first.bound != second.bound
    with pytest.raises(InvalidInputError, match="horizon"):
        gymnasium.make("edgewise/ModelCaching-v0", horizon=1e6).unwrapped.optimum()
