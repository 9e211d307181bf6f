"""The compiled kernel and the plain-Python reference give the same bits on whole episodes of random instances."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.model_caching import Reference

from edgewise.envs.model_caching.instance import draw_instance
from edgewise.envs.model_caching.params import ACCURACY_MODELS, MODES, PRESETS, WINDOW_RULES, CachingParams
from edgewise.envs.model_caching.simulator import Simulator
from edgewise.envs.model_caching.state import COST, LOADS, SWITCHING, TIME


def bits(values):
    """Doubles that compare equal only if every bit is."""
    return [float(v).hex() for v in values]


def play(params, seed=0, lanes=2, horizon=40, whole=0.5):
    """Play the same random actions in kernel and reference and compare every slot; returns what was seen happen."""
    kernel = Simulator(params, lanes, horizon=horizon)
    kernel.seed(np.arange(seed, seed + lanes, dtype=np.uint64))
    buffers = kernel.reset()
    agents = draw_instance(params)
    trace = (kernel.world.trace_count.tolist(), kernel.world.trace_tokens.tolist()) if params.trace else None
    oracles = [Reference(params, agents, seed + i, horizon=float(horizon), trace=trace) for i in range(lanes)]
    rng = np.random.default_rng(seed % 2**32)
    shape = (lanes, params.n_agents)
    seen = np.zeros(4)
    for t in range(horizon):
        compare_observation(oracles, buffers)
        cache = (rng.random(shape) < rng.choice([0.2, 0.6, 1.0])).astype(np.int8)
        share = np.where(rng.random(shape) < whole, 1.0, rng.random(shape))
        buffers = kernel.step(cache, share)
        for i, oracle in enumerate(oracles):
            cost, terms, figures, plan, served = oracle.step(cache[i].tolist(), share[i].tolist())
            out = buffers.out[:, i]
            assert buffers.plan[i].tolist() == plan, t
            assert bits(buffers.served[i]) == bits(served), t
            assert bits(out[SWITCHING : SWITCHING + 5]) == bits(terms), t
            assert bits([out[COST]]) == bits([cost])
            assert bits(out[LOADS:]) == bits(figures), t
            assert out[TIME] == oracle.time == t + 1
            np.testing.assert_allclose(buffers.parts[i], oracle.parts, rtol=1e-12, atol=1e-12)
            assert buffers.parts[i].sum() == pytest.approx(cost)
            assert bits(kernel.world.agent[i]["kappa"]) == bits(oracle.kappa)
            seen += (sum(plan) < cache[i].sum(), figures[1] > 0, figures[3] > 0, min(oracle.kappa) == 0.0)
    compare_observation(oracles, buffers)
    assert kernel.done().all()
    return seen


def compare_observation(oracles, buffers):
    for i, oracle in enumerate(oracles):
        assert buffers.obs[i].tobytes() == np.array(oracle.observation(), np.float32).tobytes()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_in_every_mode(preset, mode):
    seen = play(CachingParams.make(preset, mode=mode), seed=5, horizon=100)
    assert (seen > 0).all()


@pytest.mark.parametrize("rule", WINDOW_RULES)
@pytest.mark.parametrize("law", ACCURACY_MODELS)
@pytest.mark.parametrize("workload", ["poisson", "markov"])
def test_rules_laws_and_workloads(rule, law, workload):
    params = CachingParams.make(window_rule=rule, accuracy_model=law, workload=workload, context_windows=(2048, 8192))
    assert (play(params, seed=9) > 0).all()


@given(
    mode=st.sampled_from(list(MODES)),
    n_agents=st.integers(1, 7),
    n_gpus=st.integers(1, 60),
    rule=st.sampled_from(WINDOW_RULES),
    law=st.sampled_from(ACCURACY_MODELS),
    workload=st.sampled_from(["poisson", "markov"]),
    demand=st.floats(0.1, 20.0),
    zipf=st.floats(0.0, 3.0),
    shift_every=st.integers(0, 7),
    hide=st.booleans(),
    more=st.booleans(),
    shared=st.booleans(),
    watt=st.sampled_from([1e-3, 0.05, 300.0]),
    evict=st.sampled_from([0.0, 1e-5]),
    instance_seed=st.integers(0, 2**63),
    seed=st.integers(0, 2**63),
)
@settings(max_examples=150, deadline=None)
def test_any_instance(mode, n_agents, n_gpus, rule, law, workload, demand, zipf, shift_every, hide, more, shared, watt,
                      evict, instance_seed, seed):  # fmt: skip
    params = CachingParams.make(
        mode=mode, n_agents=n_agents, n_gpus=n_gpus, window_rule=rule, accuracy_model=law, workload=workload,
        total_demand=demand, zipf=zipf, shift_every=shift_every, hide_demand=hide, observe_more=more,
        weights_shared=shared, gpu_watt=watt, lambda_evict=evict, instance_seed=instance_seed,
    )  # fmt: skip
    play(params, seed=seed, horizon=25)


@pytest.mark.parametrize("preset", ["drift", "drift_proactive"])
def test_the_environment_over_several_episodes(preset):
    env = gymnasium.make("edgewise/ModelCaching-v0", preset=preset, horizon=30).unwrapped
    rng = np.random.default_rng(3)
    agents = draw_instance(env.params)
    for episode in range(3):
        obs, info = env.reset(seed=11 if episode == 0 else None)
        oracle = Reference(env.params, agents, 11, episode, 30.0)
        assert info["cost"] == info["duration"] == info["time"] == 0.0
        truncated = False
        while not truncated:
            assert obs.tobytes() == np.array(oracle.observation(), np.float32).tobytes()
            action = {
                "cache": rng.integers(0, 2, env.params.n_agents, dtype=np.int8),
                "local_share": rng.random(env.params.n_agents).astype(np.float32),
            }
            obs, reward, terminated, truncated, info = env.step(action)
            cost, terms, _, plan, served = oracle.step(action["cache"].tolist(), action["local_share"].tolist())
            assert bits([info["cost"], *info["cost_terms"].values()]) == bits([cost, *terms])
            assert (info["cache"].tolist(), info["local_share"].tolist()) == (plan, served)
            np.testing.assert_allclose(info["cost_by_agent"], oracle.parts, rtol=1e-12, atol=1e-12)
            assert reward == -cost
            assert not terminated
        assert oracle.time == 30
