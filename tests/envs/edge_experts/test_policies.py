"""The baselines: what they select, how they route, and that none beats the optimum."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
import pytest

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.constraints import make_constraints
from edgewise.envs.edge_experts.costs import costs
from edgewise.envs.edge_experts.instance import Budgets
from edgewise.envs.edge_experts.monotone import mask_of
from edgewise.envs.edge_experts.objective import value_of_quality
from edgewise.envs.edge_experts.policies import RoutingRule, select
from edgewise.envs.edge_experts.synthetic import DELAY_BUDGETS, synthetic

MID = Budgets(E_max=1000.0, tau=DELAY_BUDGETS["mid"])
FEASIBLE = ("random", "single_best", "fastest", "greenest", "greedy_gain", "greedy_density", "best_of_two", "optimum")


@pytest.fixture(scope="module")
def instance():
    return synthetic(0)


def test_reference_points_of_the_middle_budgets(instance):
    f = value_of_quality(instance)
    assert f(mask_of(select(instance, "single_best", MID))) == pytest.approx(0.7239, abs=5e-5)
    assert f(mask_of(select(instance, "greedy_density", MID))) == pytest.approx(0.6359, abs=5e-5)
    random = [f(mask_of(select(instance, "random", MID, seed=seed))) for seed in range(200)]
    assert np.mean(random) == pytest.approx(0.607, abs=0.02)
    assert f(mask_of(select(instance, "optimum", MID))) == pytest.approx(0.759480, abs=1e-6)


@pytest.mark.parametrize("rule", FEASIBLE)
def test_selections_keep_the_budgets_and_never_beat_the_optimum(instance, rule):
    f, constraints = value_of_quality(instance), make_constraints(instance, MID)
    subset = mask_of(select(instance, rule, MID))
    assert constraints.feasible(subset)
    assert f(subset) <= f(mask_of(select(instance, "optimum", MID))) + 1e-12
    assert select(instance, rule, Budgets(E_max=0.0)) == ()


def test_references_ignore_the_budgets(instance):
    assert select(instance, "all", MID) == tuple(range(12))
    assert select(instance, "single:5", MID) == (5,)
    assert select(instance, "fastest") == (9,)
    assert select(instance, "greenest") == (1,)


@pytest.mark.parametrize("rule", ["luck", "single", "single:12", "single:-1", "all:3", 7, None])
def test_unknown_rules_are_refused(instance, rule):
    with pytest.raises(InvalidInputError, match="rule"):
        select(instance, rule)


def mean_quality(rule, steps=150, **fields):
    vec = gymnasium.make_vec("edgewise/ExpertRoute-v0", num_envs=16, autoreset_mode="SAME_STEP", **fields).unwrapped
    obs, info = vec.reset(seed=0)
    choose, total = RoutingRule(rule, vec), 0.0
    for _ in range(steps):
        obs, _, _, _, info = vec.step(choose(obs, vec.action_masks()))
        total += info["quality"].mean()
    return total / steps


def test_better_informed_routing_is_better():
    gate = synthetic(0).with_scores(np.log(synthetic(0).prompts.Q / (1 - synthetic(0).prompts.Q)))
    qualities = [mean_quality(rule, queues=False, instance=gate) for rule in ("uniform", "single:4", "score", "oracle")]
    assert qualities == sorted(qualities)
    assert qualities[2] == qualities[3]  # these scores are the true qualities
    assert qualities[1] == pytest.approx(0.7378, abs=0.03)


def test_the_oracle_tells_prompts_apart_that_look_alike():
    """Observations without features: only category, lengths and scores are seen, and many prompts share them."""
    full = synthetic(0)
    plain = dataclasses.replace(
        full,
        prompts=dataclasses.replace(
            full.prompts, phi=np.zeros_like(full.prompts.phi), I=np.full(2000, 256.0), O=np.full(2000, 64.0)
        ),
    )
    vec = gymnasium.make_vec("edgewise/ExpertRoute-v0", num_envs=64, instance=plain, queues=False).unwrapped
    obs, _ = vec.reset(seed=0)
    for _ in range(5):
        rows = vec._system.state.lane["prompt"].copy()
        chosen = RoutingRule("oracle", vec)(obs, vec.action_masks())
        assert (plain.prompts.Q[rows, chosen] == plain.prompts.Q[rows].max(axis=1)).all()
        obs, *_ = vec.step(chosen)
    with pytest.raises(InvalidInputError, match="those of all 64 lanes"):
        RoutingRule("oracle", vec)(obs[:2], vec.action_masks()[:2])


def test_priced_routing_meets_its_energy_budget():
    gate = synthetic(0).with_scores(np.log(synthetic(0).prompts.Q / (1 - synthetic(0).prompts.Q)))
    fields = {"constraints": "cmdp", "queues": False, "energy_budget": 200 * 250.0, "delay_budget": 1e9}
    vec = gymnasium.make_vec("edgewise/ExpertRoute-v0", num_envs=32, instance=gate, **fields).unwrapped
    obs, info = vec.reset(seed=0)
    choose, joules, quality = RoutingRule("dual_price", vec), [], []
    for _ in range(150):
        obs, _, _, _, info = vec.step(choose(obs, vec.action_masks()))
        joules.append(info["energy_J"].mean())
        quality.append(info["quality"].mean())
    assert np.mean(joules) == pytest.approx(250.0, rel=0.08)
    assert np.mean(quality) > 0.7378 + 0.02  # more than the best single expert, which needs 374 J
    assert np.mean(quality) == pytest.approx(-vec.optimum().bound, abs=0.02)


def test_rules_respect_masks_and_selections():
    env = gymnasium.make("edgewise/ExpertRoute-v0").unwrapped
    obs, _ = env.reset(seed=0)
    rule = RoutingRule("uniform", env, subset=(3, 7))
    mask = np.ones(12, bool)
    assert {int(rule(obs, mask)) for _ in range(40)} == {3, 7}
    mask[3] = False
    assert {int(rule(obs, mask)) for _ in range(10)} == {7}
    mask[7] = False
    assert int(rule(obs, mask)) not in (3, 7)  # none of the selection works
    assert float(costs(env.instance).delay[0, 3]) > 0
    for wrong in ("luck", "single:99"):
        with pytest.raises(InvalidInputError, match="rule"):
            RoutingRule(wrong, env)
    with pytest.raises(InvalidInputError, match="subset"):
        RoutingRule("uniform", env, subset=())
    with pytest.raises(InvalidInputError, match="ExpertRoute"):
        RoutingRule("uniform", gymnasium.make("edgewise/ExpertSelect-v0").unwrapped)


def test_selections_can_maximise_a_value_of_the_callers(instance):
    """A gate's predictions for other prompts: here an expert that the instance's own qualities do not favour."""
    from edgewise.envs.edge_experts.objective import FacilityLocation
    from edgewise.envs.edge_experts.optimum import solve

    favourite = FacilityLocation(np.tile(np.arange(12) == 2, (5, 1)).astype(float))
    for rule in ("optimum", "single_best", "greedy_density", "greedy_gain"):
        assert 2 in select(instance, rule, MID, objective=favourite)
    assert solve(instance, MID, objective=favourite).solution.value == 1.0
    with pytest.raises(InvalidInputError, match="12 columns"):
        solve(instance, MID, objective=FacilityLocation(np.ones((5, 3))))
