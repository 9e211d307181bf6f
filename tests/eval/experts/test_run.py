"""Evaluation of runs on edge experts: regrets, the certified value of routing, and the report."""

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts import open_instance
from edgewise.envs.edge_experts.constraints import make_constraints
from edgewise.envs.edge_experts.monotone import members
from edgewise.eval.evaluate import Request, evaluate_run
from edgewise.eval.experts import family
from edgewise.eval.experts.epochs import RESOLVED
from edgewise.eval.experts.routing import POINTWISE
from edgewise.eval.experts.selecting import cases, selections
from edgewise.eval.experts.verdict import verdict
from edgewise.train.config import TrainConfig, load_config
from edgewise.train.trainer import train

ROUTE = {"id": "edgewise/ExpertRoute-v0", "queues": False, "constraints": "none"}
SELECT = {"id": "edgewise/ExpertSelect-v0"}
EPOCHS = {"id": "edgewise/ExpertTwoLevel-v0", "epoch_prompts": 20, "horizon": 10}
REQUEST = Request(seeds=4, horizon=100)


def config(env, algorithm="masked_ppo"):
    return TrainConfig(name="t", steps=1, env=env, learner={"algorithm": algorithm})


class Fixed:
    """Takes the first allowed action of a ranking."""

    def __init__(self, ranking):
        self.rank = np.empty(len(ranking))
        self.rank[list(ranking)] = np.arange(len(ranking))

    def act(self, obs, mask):
        return {"action": np.where(mask, self.rank[: mask.shape[1]], np.inf).argmin(axis=1)}


def test_selections_are_those_that_the_policy_makes():
    env = config(SELECT).env
    instance = open_instance("synthetic:0")
    chosen = cases(env, instance, 2**62, 2)
    assert len(chosen) == 18 + 2
    ranking = [7, 3, 1, 0, 2, 4, 5, 6, 8, 9, 10, 11, 12]
    found = selections(Fixed(ranking), env, instance, [case.budgets for case in chosen])
    for case, subset in zip(chosen, found, strict=True):
        constraints, picked = make_constraints(instance, case.budgets), 0
        for i in ranking[:-1]:
            picked |= 1 << i if constraints.feasible(picked | 1 << i) else 0
        assert subset == members(picked)


def test_regret_is_that_of_the_golden_optima():
    found = family.evaluate(Fixed(range(13)), config(SELECT), Request(seeds=4))
    golden = {(row.grid, row.energy): row for row in found.budgets if row.grid is not None}
    assert golden[(1, 2), 1000.0].optimum == pytest.approx(0.759480, abs=1e-6)
    assert golden[(2, 5), 8000.0].best == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert min(row.regret for row in found.budgets) >= -1e-9
    mean = np.mean([row.regret for row in found.budgets])
    assert found.learner.shortfall.estimate == pytest.approx(mean)
    assert mean > 0.0
    best = next(row for row in found.others if row.label == "certified optimum")
    assert best.shortfall.estimate == pytest.approx(0.0, abs=1e-12)
    assert np.allclose(np.sum(best.shares, axis=1), 1.0)


@pytest.mark.parametrize(
    ("objective", "algorithm"),
    [("sum", "masked_ppo"), ("per_joule", "fractional_ppo"), ("per_second", "fractional_ppo")],
)
def test_choosing_prompt_by_prompt_reaches_the_certified_value(objective, algorithm):
    found = family.evaluate(Fixed(range(12)), config(ROUTE | {"objective": objective}, algorithm), REQUEST)
    best = next(row for row in found.others if row.label == POINTWISE)
    assert best.shortfall.estimate == pytest.approx(0.0, abs=1e-12)
    # A sample of 400 prompts: the certified value lies near what it reaches there, and nobody does better.
    assert best.value.estimate == pytest.approx(found.target.value, rel=0.1)
    assert found.rows[0].value.estimate <= best.value.estimate * (1 + 1e-3)
    assert found.learner.shortfall.estimate > 0.1
    assert np.allclose(np.sum(found.learner.shares, axis=1), 1.0)


def test_values_of_either_sign_are_compared_without_percentages():
    found = family.evaluate(Fixed(range(12)), config(ROUTE), REQUEST)
    assert "%" in verdict(found)["text"]
    learner = found.learner
    value = learner.value.model_copy(update={"estimate": -3.6})
    shortfall = learner.shortfall.model_copy(update={"estimate": 6.0})
    row = learner.model_copy(update={"value": value, "shortfall": shortfall})
    text = verdict(found.model_copy(update={"learner": row}))["text"]
    assert "%" not in text
    assert f"Far below the certified optimum of {found.target.value:.4g}; its value is −3.6, that of the best" in text


def test_constraints_are_part_of_the_verdict():
    env = ROUTE | {"constraints": "cmdp", "tau": (1, 4, 10, 15), "energy_budget": 60_000.0, "delay_budget": 20.0}
    slow = [one.id for one in open_instance("synthetic:0").experts].index("llama-8b-orin-fp16")
    ranking = [slow, *(i for i in range(12) if i != slow)]
    found = family.evaluate(Fixed(ranking), config(env, "lagrangian_ppo"), Request(seeds=16))
    assert found.horizon == 200  # one episode: what it may use is meant for that
    best = next(row for row in found.others if row.label == POINTWISE)
    assert best.value.estimate == pytest.approx(found.target.value, rel=0.02)
    assert {name: use.estimate for name, use in best.uses.items()} == pytest.approx(
        {"energy": 1.0, "delay": 1.0}, abs=0.1
    )
    free = next(row for row in found.others if row.label == "best true quality")
    assert set(free.exceeded) == {"energy", "delay"}
    assert free.value.estimate > found.target.value
    assert set(found.learner.exceeded) == {"energy", "delay"}
    text = verdict(found)["text"]
    assert text.startswith("Exceeds what it may use in expectation")
    assert not best.exceeded
    kept = verdict(found.model_copy(update={"learner": best}))["text"]
    assert "It uses" in kept
    assert "of the energy and" in kept


def test_with_queues_only_a_bound_is_known():
    found = family.evaluate(Fixed(range(12)), config({"id": "edgewise/ExpertRoute-v0"}), REQUEST)
    assert not found.target.exact
    assert found.learner.value.estimate < found.target.value
    assert any(row.label == "shortest queue" for row in found.others)


class Always:
    """Selects the same experts in every epoch."""

    def __init__(self, *experts):
        self.bits = np.zeros(12, np.int64)
        self.bits[list(experts)] = 1

    def act(self, obs, mask):
        assert mask.shape == (len(obs), 24)
        return {"action": np.tile(self.bits, (len(obs), 1))}


def test_epochs_are_held_against_selections_that_are_solved_anew():
    found = family.evaluate(Always(*range(12)), config(EPOCHS), Request(seeds=3))
    assert (found.mode, found.unit, found.horizon) == ("epochs", "epoch", 10)
    rows = {row.label: row for row in found.rows}
    best = rows[RESOLVED]
    assert best.refused == 0.0
    assert rows["optimum of the strictest budgets"].refused == 0.0
    assert best.value.estimate < found.target.value  # the gate is no oracle, and loading costs
    assert best.value.estimate > rows["single best"].value.estimate
    assert np.allclose(np.sum(best.shares, axis=1), 1.0)
    learner = rows["learner"]
    assert learner.refused > 0.5  # all experts at once exceed nearly every budget
    assert learner.value.estimate < 0.0
    assert best.difference.estimate == pytest.approx(learner.value.estimate - best.value.estimate)


def test_what_an_epoch_earns_is_what_its_selection_is_worth():
    """Without drift and loading costs: the quality of the gate's favourites among the selected, within every budget."""
    still = EPOCHS | {"drift": "none", "loading_price": 0.0}
    found = family.evaluate(Always(9), config(still), Request(seeds=4))
    instance = open_instance("synthetic:0")
    assert found.learner.refused == 0.0
    assert found.learner.value.estimate == pytest.approx(found.learner.quality)
    assert found.learner.quality == pytest.approx(instance.prompts.weight @ instance.prompts.Q[:, 9], abs=0.02)
    shares = np.zeros((4, 12))
    shares[:, 9] = 1.0
    assert found.learner.shares == shares.tolist()


@pytest.mark.parametrize(
    ("name", "env"),
    [("route", ROUTE), ("epochs", EPOCHS), pytest.param("select", SELECT, marks=pytest.mark.slow)],
)
def test_a_run_is_trained_evaluated_and_reported(tmp_path, name, env):
    pytest.importorskip("sb3_contrib", reason="needs the [sb3] extra")
    pytest.importorskip("jinja2", reason="needs the [eval] extra")
    from edgewise.eval.evaluate import evaluate_run, score_checkpoint
    from edgewise.eval.report import write_report
    from edgewise.train.trainer import train

    small = {"algorithm": "masked_ppo", "n_steps": 8, "batch_size": 64, "n_epochs": 1, "hidden": (8,)}
    setup = TrainConfig(name=name, steps=256, env=env | {"num_envs": 8}, learner=small)
    train(setup, tmp_path / name, evaluator=score_checkpoint)
    first = evaluate_run(tmp_path / name, seeds=3)
    again = evaluate_run(tmp_path / name, **family.repeat(first), write=False)
    assert family.result(first) == family.result(again)
    page = write_report(tmp_path / name).read_text()
    assert "Who answers what" in page
    assert ("Over both budgets" in page) == (name == "select")


@pytest.mark.parametrize(
    ("env", "request_", "message"),
    [
        (SELECT, Request(horizon=10), "horizon"),
        (ROUTE, Request(horizon=0.5), "horizon must be a whole number of prompts"),
        (EPOCHS, Request(horizon=0.5), "horizon must be a whole number of epochs"),
        (ROUTE, Request(seeds=0), "seeds"),
        (ROUTE, Request(nash=True), "exploitability"),
    ],
)
def test_what_the_family_lacks_is_refused(env, request_, message):
    with pytest.raises(InvalidInputError, match=message):
        family.check(config(env), request_)


@pytest.mark.parametrize(
    ("env", "algorithm", "message"),
    [
        (SELECT | {"rate": 1.0}, "masked_ppo", "rate: is not for"),
        (ROUTE | {"reveal_gain": True}, "masked_ppo", "reveal_gain: is not for"),
        (ROUTE | {"constraints": "cmdp"}, "masked_ppo", "must be one of lagrangian_ppo"),
        (ROUTE | {"constraints": "cmdp", "objective": "per_joule"}, "lagrangian_ppo", "objective must be sum"),
        (ROUTE, "lagrangian_ppo", "must be one of"),
        (ROUTE | {"objective": "per_joule"}, "masked_ppo", "must be one of fractional_d3qn_ddpg, fractional_ppo"),
        (SELECT, "fractional_ppo", "must be one of masked_ppo"),
        (EPOCHS, "fractional_ppo", "must be one of masked_ppo"),
        (EPOCHS | {"tau": (1.0, 4.0, 10.0, 15.0)}, "masked_ppo", "tau: is not for"),
        (ROUTE | {"drift": "walk"}, "masked_ppo", "drift: is not for"),
        (EPOCHS | {"epoch_prompts": 0}, "masked_ppo", "epoch_prompts"),
    ],
)
def test_sections_that_do_not_fit_are_refused(env, algorithm, message):
    with pytest.raises(ValueError, match=message):
        config(env, algorithm)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["select_masked_ppo", "route_masked_ppo"])
def test_the_packaged_configurations_come_within_two_percent_of_the_optimum(name, tmp_path):
    """68 pairs of budgets for one policy that selects; the fluid linear programme for one that routes."""
    run = train(load_config(f"edge_experts/{name}", {"tensorboard": False}), tmp_path / "run")
    assert run.step <= 500_000
    found = evaluate_run(run.path, checkpoint="last", budget="full", write=False)
    assert found.learner.shortfall.estimate <= 0.02
    assert len(found.budgets) == (68 if found.mode == "select" else 0)
