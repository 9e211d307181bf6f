"""Selecting experts: masks, telescoping, optima, budgets of an episode (tests E2 and E4 to E7)."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

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


@pytest.mark.parametrize("name", [SELECT, TWO])
def test_before_the_first_reset_the_optimum_is_that_of_seed_0(name, instance):
    env, other = (gymnasium.make(name, instance=instance).unwrapped for _ in range(2))
    other.reset(seed=0)
    assert env.selection().solution.subset == other.selection().solution.subset != ()
    assert env.optimum().value == other.optimum().value
    with pytest.raises(ResetNeeded):  # asking has begun no episode
        env.step(env.action_space.sample())
    env.reset(seed=3)
    other.reset(seed=3)
    assert env.selection().solution.subset == other.selection().solution.subset


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
    other = gymnasium.make(id, instance=instance).unwrapped
    other.reset(seed=5)
    before = other.get_state()
    damaged = state | {name: np.array([bad], state[name].dtype)}
    for wrong in (damaged, {}, {key: value for key, value in state.items() if key != "over"}):
        with pytest.raises(InvalidInputError, match=r"state|E_max"):
            other.set_state(wrong)
        for key, value in other.get_state().items():
            np.testing.assert_array_equal(value, before[key])
