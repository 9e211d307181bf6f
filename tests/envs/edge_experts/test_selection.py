"""Selecting experts, and both time scales: masks, telescoping, optima, drift (tests E2, E4 to E7 and E11)."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

import gymnasium
import numpy as np
import pytest
from oracles.edge_experts import PROMPT, key_of, uniform

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.constraints import make_constraints
from edgewise.envs.edge_experts.dmo import brute_force
from edgewise.envs.edge_experts.drawn_budgets import BudgetRange
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


def episode(env, choose, **reset):
    """(return, selected experts) of an episode."""
    _, info = env.reset(**reset)
    total, chosen, over = 0.0, [], False
    while not over:
        action = choose(info["action_mask"], chosen)
        _, reward, terminated, truncated, info = env.step(action)
        total, over = total + float(reward), terminated or truncated
        chosen += [action] if action < 12 else []
    return total, chosen


@pytest.mark.parametrize("fields", [{}, {"energy_model": "topk"}, {"budgets": MID | {"statistic": "p95"}}])
def test_the_mask_leaves_out_just_what_is_selected_or_does_not_fit(instance, fields):
    """E4, E5 and E6 on random episodes."""
    env = gymnasium.make(SELECT, instance=instance, **fields).unwrapped
    rng, f = np.random.default_rng(0), value_of_quality(instance)
    for seed in range(3):
        env.reset(seed=seed)
        constraints = make_constraints(instance, env.budgets, fields.get("energy_model", "all"))

        def choose(mask, chosen, constraints=constraints):
            subset = mask_of(chosen)
            fits = [not subset >> i & 1 and constraints.feasible(subset | 1 << i) for i in range(12)]
            assert mask.tolist() == [*fits, True]
            assert (env.action_masks() == mask).all()
            return int(rng.choice(np.flatnonzero(mask)))

        total, chosen = episode(env, choose, seed=seed)
        assert total == pytest.approx(f(mask_of(chosen)), abs=1e-9)
        assert total <= env.selection().solution.value + 1e-9


def test_replaying_the_optimum_in_any_order_attains_it(instance):
    env = gymnasium.make(SELECT, instance=instance, budgets=MID).unwrapped
    env.reset(seed=0)
    optimum = env.optimum()
    assert optimum.gap == 0
    best = list(env.selection().solution.subset)
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = [*rng.permutation(best).tolist(), 12]
        total, chosen = episode(env, lambda mask, chosen, order=order: order[len(chosen)], seed=0)
        assert total == pytest.approx(-optimum.value, abs=1e-9)
        assert sorted(chosen) == best


def test_zero_budgets_leave_only_stopping_and_infinite_ones_take_everything(instance):
    """E7."""
    env = gymnasium.make(SELECT, instance=instance, budgets={"E_max": 0.0}).unwrapped
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [False] * 12 + [True]
    _, reward, terminated, _, _ = env.step(12)
    assert (float(reward), terminated) == (0.0, True)
    env = gymnasium.make(SELECT, instance=instance, budgets={}).unwrapped
    total, chosen = episode(env, lambda mask, chosen: int(np.flatnonzero(mask)[0]), seed=0)
    assert chosen == list(range(12))
    assert total == pytest.approx(-env.optimum().value, abs=1e-9)


def test_an_expert_that_does_not_fit_costs_one_and_changes_nothing(instance):
    env = gymnasium.make(SELECT, instance=instance, budgets=MID).unwrapped
    before, info = env.reset(seed=0)
    refused = int(np.flatnonzero(~info["action_mask"])[0])
    obs, reward, terminated, truncated, info = env.step(refused)
    assert float(reward) == -1.0
    assert info["cost_terms"] == {"quality": 0.0, "refused": 1.0}
    assert not terminated
    assert not truncated
    assert (obs == before).all()


def test_the_observation_says_what_it_promises(instance):
    env = gymnasium.make(SELECT, instance=instance, budgets=MID, reveal_gain=True).unwrapped
    env.reset(seed=0)
    obs, *_ = env.step(10)
    f, layout = value_of_quality(instance), env.layout
    assert obs[layout["selected"]].tolist() == [float(i == 10) for i in range(12)]
    gains = [f(1 << 10 | 1 << i) - f(1 << 10) for i in range(12)]
    assert obs[layout["gain"]] == pytest.approx(gains, abs=1e-6)
    constraints = make_constraints(instance, Budgets(**MID))
    slack = [1 - row.use(1 << 10) / row.limit for row in constraints.rows]
    assert obs[layout["slack"]] == pytest.approx(slack, abs=1e-6)
    experts = obs[layout["experts"]].reshape(12, -1)
    assert experts[:, 8] == pytest.approx(constraints.energy / 1000.0, rel=1e-5)
    assert "gain" not in gymnasium.make(SELECT, instance=instance).unwrapped.layout


def test_drawn_budgets_cover_the_golden_ones_and_differ_by_episode():
    ranges = BudgetRange.of(synthetic(0))
    drawn = [ranges.draw(Budgets(), seed, 0) for seed in range(400)]
    energies = np.array([budgets.E_max for budgets in drawn])
    taus = np.array([budgets.tau for budgets in drawn])
    assert 250 <= energies.min() < 300
    assert 6500 < energies.max() <= 8000
    assert (taus >= np.array(DELAY_BUDGETS["tight"]) - 1e-9).all()
    assert (taus <= np.array(DELAY_BUDGETS["loose"]) + 1e-9).all()
    assert ranges.draw(Budgets(), 0, 0) == drawn[0] != ranges.draw(Budgets(), 0, 1)


@pytest.mark.parametrize("fixed", [None, MID])
@pytest.mark.parametrize("id", [SELECT, ONCE])
def test_a_reset_may_bring_the_budgets_of_its_episode(instance, id, fixed):
    env = gymnasium.make(id, instance=instance, budgets=fixed).unwrapped
    usual = [(env.reset(seed=5), env.budgets)[1], (env.reset(), env.budgets)[1]]
    given = {"E_max": 700.0, "tau": (1.0, 4.0, 10.0, 15.0)}
    obs, _ = env.reset(seed=5, options={"budgets": given})
    assert (env.budgets.E_max, env.budgets.tau) == (700.0, given["tau"])
    expected, _ = gymnasium.make(id, instance=instance, budgets=given).unwrapped.reset(seed=0)
    np.testing.assert_array_equal(obs, expected)
    assert env.optimum().value == pytest.approx(-solve(instance, instance.budgets.changed(**given)).solution.value)
    state = env.get_state()  # holds what was given
    env.reset()
    assert env.budgets == usual[1]  # later episodes have what they would have had
    env.set_state(state)
    assert (env.budgets.E_max, env.budgets.tau) == (700.0, given["tau"])
    env.reset(seed=5, options={"budgets": instance.budgets.changed(E_max=None, tau=None)})
    assert env.budgets.E_max is None
    twin = gymnasium.make(id, instance=instance, budgets=fixed).unwrapped
    twin.set_state(env.get_state())
    assert twin.budgets == env.budgets


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": {}}, "options must be budgets, got 'budget'"),
        ({"budgets": 700.0}, "budgets must be Budgets or a dict of its fields"),
        ({"budgets": {"E_min": 1.0}}, "E_min"),
        ({"budgets": {"E_max": -1.0}}, "E_max"),
        ({"budgets": {"tau": (1.0, 2.0)}}, "delay budgets: 4 numbers are needed"),
        ({"budgets": {"max_experts": 2}}, "only E_max and tau"),
    ],
)
def test_bad_options_of_a_reset_are_refused(instance, options, words):
    env = gymnasium.make(SELECT, instance=instance).unwrapped
    env.reset(seed=1)
    before = env.budgets
    with pytest.raises(InvalidInputError, match=words):
        env.reset(seed=1, options=options)
    env.reset(seed=1)
    assert env.budgets == before  # what was refused leaves nothing behind


def test_the_optimum_can_be_reported(instance):
    env = gymnasium.make(SELECT, instance=instance, report_optimum=True).unwrapped
    _, info = env.reset(seed=4)
    assert info["f_opt"] == solve(instance, env.budgets).solution.value
    assert env.step(12)[-1]["f_opt"] == info["f_opt"]


def test_a_whole_subset_is_worth_its_value_or_its_violation(instance):
    env = gymnasium.make(ONCE, instance=instance, budgets=MID).unwrapped
    env.reset(seed=0)
    best = env.selection().solution
    action = np.array([i in best.subset for i in range(12)], np.int8)
    _, reward, terminated, _, info = env.step(action)
    assert terminated
    assert float(reward) == pytest.approx(best.value, abs=1e-9)
    env.reset()
    _, reward, _, _, info = env.step(np.ones(12, np.int8))
    rows = make_constraints(instance, Budgets(**MID)).rows
    excess = sum(max(row.use((1 << 12) - 1) / row.limit - 1, 0) for row in rows)
    assert float(reward) == pytest.approx(-excess)
    assert info["value"] == 0


@pytest.mark.parametrize("name", [SELECT, TWO])
def test_the_optimum_is_that_of_the_environments_value_also_where_groups_could_answer(name):
    """E6 with k = 2 and answer distributions, where `solve` by itself would value groups of two."""
    instance = synthetic(0, prompts=200, answers=True)
    env = gymnasium.make(name, instance=instance, budgets={"E_max": 1000.0, "k": 2}).unwrapped
    env.reset(seed=0)
    found = env.selection().solution
    f = value_of_quality(instance)
    assert found.value == pytest.approx(f(mask_of(found.subset)), abs=1e-12)
    assert found.value == pytest.approx(brute_force(f, env.selection().constraints.rows, 12).value, abs=1e-12)


@pytest.mark.parametrize("name", [SELECT, ONCE])
def test_budgets_of_one_episode_in_every_lane(name, instance):
    vec = gymnasium.make_vec(name, num_envs=3, instance=instance).unwrapped
    drawn, _ = vec.reset(seed=0)
    given, _ = vec.reset(seed=0, options={"budgets": MID})
    env = gymnasium.make(name, instance=instance).unwrapped
    one, _ = env.reset(seed=0, options={"budgets": MID})
    assert (given == one).all()
    assert not (drawn[1] == one).all()
    again, _ = vec.reset(seed=0)
    np.testing.assert_array_equal(again, drawn)


@pytest.mark.parametrize("name", [SELECT, ONCE, TWO, "edgewise/ExpertRoute-v0"])
@pytest.mark.parametrize("many", [False, True])
def test_unknown_options_are_refused(name, many):
    env = gymnasium.make_vec(name, num_envs=2) if many else gymnasium.make(name)
    with pytest.raises(InvalidInputError, match=r"options must be .*, got 'instance'"):
        env.reset(seed=0, options={"instance": "synthetic:1"})


# --- both time scales -----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("id", "fields", "words"),
    [
        (SELECT, {"budgets": {"E_maxx": 1}}, "E_max"),
        (SELECT, {"budgets": 3}, "budgets"),
        (SELECT, {"budgets": {"tau": (1,)}}, "4 numbers"),
        (SELECT, {"energy_range": (5.0, 1.0)}, "energy_range"),
        (SELECT, {"energy_range": 5.0}, "energy_range"),
        (SELECT, {"delay_range": ((1, 1), (2, 2))}, "delay_range"),
        (SELECT, {"energy_model": "some"}, "energy_model"),
        (SELECT, {"horizon": 0}, "horizon"),
        (ONCE, {"instance": "synthetic:-1"}, "SEED"),
        (TWO, {"drift": "jump"}, "drift"),
        (TWO, {"amplitude": -1}, "amplitude"),
        (TWO, {"period": 0}, "period"),
        (TWO, {"epoch_prompts": 0}, "epoch_prompts"),
        (TWO, {"budgets": {"tau": (1, 2, 3, 4)}}, "E_max"),
        (TWO, {"routing": "nobody"}, "routing"),
    ],
)
def test_bad_arguments_are_refused_with_the_field_named(id, fields, words):
    with pytest.raises(InvalidInputError, match=words):
        gymnasium.make(id, disable_env_checker=True, **fields)


@pytest.mark.parametrize(
    ("id", "actions"),
    [
        (SELECT, (-1, 13, 1.0, None, [1], "a")),
        (ONCE, (1, [1] * 11, [2] * 12, [0.5] * 12, None)),
        (TWO, (0, np.zeros((1, 12), int), [-1] * 12)),
    ],
)
def test_bad_actions_are_refused_and_nothing_moves(instance, id, actions):
    env = gymnasium.make(id, instance=instance, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    before = env.get_state()
    for action in actions:
        with pytest.raises(InvalidInputError, match="action"):
            env.step(action)
    assert all((array == before[name]).all() for name, array in env.get_state().items())


@pytest.mark.parametrize(
    ("id", "name", "bad"),
    [(SELECT, "subset", 1 << 40), (SELECT, "energy", -5.0), (TWO, "loaded", 1 << 40), (TWO, "epoch", 999)],
)
def test_damaged_states_are_refused(instance, id, name, bad):
    env = gymnasium.make(id, instance=instance).unwrapped
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(InvalidInputError, match=r"state|E_max"):
        env.set_state(state | {name: np.array([bad], state[name].dtype)})
    with pytest.raises(InvalidInputError, match="state"):
        env.set_state({})
