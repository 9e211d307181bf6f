"""Both time scales: selections under a drifting budget, loading, routing by gate and agent (test E11)."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

import gymnasium
import numpy as np
import pytest
from oracles.edge_experts import PROMPT, key_of, uniform

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.edge_experts.constraints import make_constraints
from edgewise.envs.edge_experts.instance import Budgets
from edgewise.envs.edge_experts.monotone import mask_of
from edgewise.envs.edge_experts.objective import value_of_quality
from edgewise.envs.edge_experts.optimum import solve
from edgewise.envs.edge_experts.synthetic import DELAY_BUDGETS, synthetic

SELECT, ONCE, TWO = "edgewise/ExpertSelect-v0", "edgewise/ExpertSelectOnce-v0", "edgewise/ExpertTwoLevel-v0"
MID = {"E_max": 1000.0, "tau": DELAY_BUDGETS["mid"]}


@pytest.fixture(scope="module")
def instance():
    return synthetic(0, prompts=300)


def test_tightening_the_budget_never_raises_the_value_and_forces_a_change(instance):
    """E11."""
    env = gymnasium.make(TWO, instance=instance).unwrapped
    env.reset(seed=0)
    energy = make_constraints(instance).energy
    solved = {}
    for _ in range(25):
        found = env.selection()
        solved[env._system.budgets_of(0).E_max] = found.solution
        env.step(np.array([i in found.solution.subset for i in range(12)], np.int8))
    budgets = sorted(solved)
    assert len(budgets) > 10
    values = [solved[budget].value for budget in budgets]
    assert values == sorted(values)
    for budget in budgets:
        assert energy[list(solved[budget].subset)].sum() <= budget
    top = solved[budgets[-1]]
    below = float(energy[list(top.subset)].sum()) * 0.999
    tighter = solve(instance, Budgets(E_max=below, tau=DELAY_BUDGETS["mid"])).solution
    assert tighter.subset != top.subset
    assert tighter.value <= top.value


@pytest.mark.parametrize("drift", ["sinusoid", "walk", "none"])
def test_drifts_stay_within_their_amplitude(instance, drift):
    env = gymnasium.make(TWO, instance=instance, drift=drift, amplitude=0.5, epoch_prompts=1).unwrapped
    _, info = env.reset(seed=1)
    levels = [np.log(info["energy_budget"] / 1000.0)]
    for _ in range(40):
        obs, *_ = env.step(np.zeros(12, np.int8))
        levels.append(float(obs[env.layout["budget"]][0]))
    assert max(map(abs, levels)) <= 0.5 + 1e-6
    assert (np.ptp(levels) > 0.3) == (drift != "none")


def test_loading_is_paid_once_and_refused_selections_load_nothing(instance):
    env = gymnasium.make(TWO, instance=instance, drift="none", epoch_prompts=20).unwrapped
    env.reset(seed=0)
    one = np.array([1] + [0] * 11, np.int8)
    *_, info = env.step(one)
    memory = instance.experts[0].mem_GB
    assert info["loading_s"] == pytest.approx(memory / 2.0)
    assert info["loading_J"] == pytest.approx(20.0 * memory / 2.0)
    *_, info = env.step(one)
    assert info["loading_J"] == 0
    assert info["quality"] > 0
    obs, reward, _, _, info = env.step(np.ones(12, np.int8))
    assert info["quality"] == 0
    assert info["cost_terms"]["violation"] > 0
    assert float(reward) == -info["cost_terms"]["violation"]
    assert not obs[env.layout["loaded"]].any()


def test_no_policy_beats_the_bound_of_the_lenient_budgets(instance):
    env = gymnasium.make(TWO, instance=instance, horizon=40).unwrapped
    env.reset(seed=0)
    costs = []
    for _ in range(40):
        best = env.selection().solution.subset
        *_, info = env.step(np.array([i in best for i in range(12)], np.int8))
        costs.append(info["cost"])
    assert np.mean(costs) >= env.optimum().bound - 3 * np.std(costs) / np.sqrt(40)


def test_the_gate_of_an_instance_routes(instance):
    perfect = instance.with_scores(instance.prompts.Q)
    means = []
    for gate in (instance, perfect):
        env = gymnasium.make(TWO, instance=gate, drift="none", budgets={"E_max": 1e9}, epoch_prompts=2000).unwrapped
        env.reset(seed=0)
        *_, info = env.step(np.ones(12, np.int8))
        means.append(float(info["quality"]))
    assert means[1] > means[0]
    assert means[1] == pytest.approx(value_of_quality(instance)((1 << 12) - 1), abs=0.02)


def test_an_agent_that_routes_as_the_gate_does_gets_what_the_gate_gets(instance):
    """Epoch by epoch, over drifting budgets, with a refused selection among them."""
    gate = instance.with_scores(instance.prompts.Q + np.random.default_rng(0).normal(0, 0.3, instance.prompts.Q.shape))
    fields = {"instance": gate, "epoch_prompts": 7, "horizon": 6}
    fixed = gymnasium.make(TWO, **fields).unwrapped
    free = gymnasium.make(TWO, routing="agent", **fields).unwrapped
    fixed.reset(seed=5)
    obs, info = free.reset(seed=5)
    layout, done = free.layout, False
    for epoch in range(6):
        subset = np.ones(12, np.int8)
        if epoch != 3:
            subset = np.array([i in free.selection().solution.subset for i in range(12)], np.int8)
        _, reward, _, done_fixed, expected = fixed.step(subset)
        total, duration = 0.0, 0.0
        for decision in range(8):
            assert obs[layout["selecting"]] == (decision == 0)
            scores = np.where(obs[layout["loaded"]] > 0, obs[layout["score"]], -np.inf)
            assert not done
            obs, part, _, done, info = free.step(np.array([*subset, scores.argmax()]))
            total, duration = total + float(part), duration + float(info["duration"])
            assert info["energy_budget"] == expected["energy_budget"]
        assert info["time"] == expected["time"]
        assert total == pytest.approx(float(reward), abs=1e-12)
        assert duration == pytest.approx(1.0)
        assert done == done_fixed == (epoch == 5)


def test_where_the_agent_routes_prompts_are_those_of_the_stream_and_masks_name_what_counts(instance):
    """Random decisions against plain Python."""
    env = gymnasium.make(TWO, instance=instance, routing="agent", epoch_prompts=4, horizon=5).unwrapped
    rng, prompts = np.random.default_rng(1), instance.prompts
    obs, info = env.reset(seed=3)
    cumulative = list(accumulate(prompts.weight.tolist()))
    key, layout, time = key_of(3, 0, PROMPT, 0), env.layout, 0.0
    for epoch in range(5):
        constraints = make_constraints(instance, env._system.budgets_of(0))
        for decision in range(5):
            mask = info["action_mask"]
            bits, route = mask[:24].reshape(12, 2), mask[24:]
            loaded = obs[layout["loaded"]]
            if decision == 0:
                assert bits.all()
                assert route.tolist() == [True] + [False] * 11
                chosen = (rng.random(12) < 0.15).astype(int)
                fits = constraints.feasible(mask_of(np.flatnonzero(chosen).tolist()))
                action, worth = [*chosen, 0], 0.0
                assert not obs[layout["phi"].start :].any()
            else:
                assert bits.tolist() == [[not each, bool(each)] for each in loaded]
                assert route.tolist() == [bool(each) or not loaded.any() for each in loaded]
                row = min(bisect_left(cumulative, uniform(key, 4 * epoch + decision - 1)), len(prompts) - 1)
                assert obs[layout["phi"]] == pytest.approx(prompts.phi[row], abs=1e-6)
                assert obs[layout["category"]].tolist() == [float(c == prompts.category[row]) for c in range(4)]
                expert = int(rng.integers(12))
                action = [*rng.integers(2, size=12), expert]  # the subset is not asked for now
                worth = float(prompts.Q[row, expert]) if loaded[expert] else 0.0
            obs, _, _, _, info = env.step(np.array(action))
            time += 0.2
            assert info["time"] == pytest.approx(time)
            assert info["quality"] == worth
            assert info["cost_terms"]["quality"] == pytest.approx(-worth / 4)
            if decision == 0:
                assert (info["cost_terms"]["violation"] == 0) == fits
                assert obs[layout["loaded"]].tolist() == (chosen.tolist() if fits else [0] * 12)
            else:
                assert (obs[layout["loaded"]] == loaded).all()
