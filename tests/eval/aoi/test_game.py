"""Evaluation of a game run: scripted rules in the learner's place, on small budgets."""

import numpy as np
import pytest

from edgewise.cli.verification import verify_evaluation
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.seeding import SeedTree
from edgewise.eval import evaluate as evaluation_module
from edgewise.eval.__main__ import main
from edgewise.eval.aoi import game as module
from edgewise.eval.aoi import results
from edgewise.eval.aoi.exploitability import NashBudget
from edgewise.eval.aoi.game import GameBudget, evaluate_game
from edgewise.eval.evaluate import evaluate_run, score_checkpoint
from edgewise.eval.results import write
from edgewise.train.config import TrainConfig
from edgewise.train.run_folder import create

NASH = NashBudget(devices=2, screening_seeds=1, screening_horizon=60.0, seeds=3, horizon=120.0, decisions=0)
BUDGET = GameBudget(seeds=6, stretch_seeds=3, stretch_horizon=400.0, nash=NASH, references=NASH)
VOLATILE = {"created": "", "seconds": 0.0, "optimum": None}


def config(**env):
    fields = {"id": "edgewise/AoIOffloadGame-v0", "drop": "authors:1.5", "horizon": 100.0, "objective": "team"}
    return TrainConfig.model_validate(
        {"name": "g", "seed": 3, "steps": 1000, "env": fields | env, "learner": {"algorithm": "async_fractional"}}
    )


class Shortest:
    """The shortest queue (the first of equals) and a fixed wait; device 0 may have one of its own."""

    def __init__(self, wait=1.0, own=None):
        self.wait, self.own = wait, own

    def act(self, obs):
        queues = obs[..., 5:]
        wait = np.full((*obs.shape[:-1], 1), self.wait, np.float32)
        if self.own is not None:
            wait[obs[..., 0] == 0] = self.own
        return {"server": 1 + queues.argmin(axis=-1), "wait": wait}


@pytest.fixture(scope="module")
def found():
    return evaluate_game(Shortest(), config(), budget=BUDGET, nash=True, checkpoint="step_000000001000")


def test_both_horizons_and_both_estimators_of_every_policy(found):
    params, tree = config().env.params(), SeedTree(3)
    assert found.game.stretch_first_seed != found.first_seed
    for score, wait in ((found.baseline("JSQ, zero wait"), "fixed:0"), (found.learner, "fixed:1")):
        rel = 1e-9 if wait == "fixed:0" else 0.03  # the learner breaks ties by the index
        seeds = [tree.evaluate + k for k in range(6)], [found.game.stretch_first_seed + k for k in range(3)]
        # without the cycles that start at time 0, but for the papers' estimator
        near, far = (
            simulate(params, "jsq", wait, horizon=horizon, seeds=chosen, warmup=1e-9)
            for horizon, chosen in ((100.0, seeds[0]), (400.0, seeds[1]))
        )
        near_whole = simulate(params, "jsq", wait, horizon=100.0, seeds=seeds[0]).mean_age_authors.mean()
        far_whole = simulate(params, "jsq", wait, horizon=400.0, seeds=seeds[1]).mean_age_authors.mean()
        np.testing.assert_allclose(score.per_seed, near.mean_age, rtol=rel)
        np.testing.assert_allclose(score.stretch.per_seed, far.mean_age, rtol=rel)
        assert score.authors.estimate == pytest.approx(near_whole, rel=rel)
        assert score.stretch.authors_age.estimate == pytest.approx(far_whole, rel=rel)
        assert score.stretch.worst_age.estimate == pytest.approx(far.ages.mean(axis=0).max(), rel=max(rel, 1e-9) * 3)
        assert max(score.stretch.device_ages) == pytest.approx(score.stretch.worst_age.estimate, rel=1e-5)
        assert len(score.stretch.device_ages) == 20
        assert score.mean_age.estimate < score.worst_age.estimate
        assert score.mean_age.estimate < score.authors.estimate  # the slow first tasks


def test_the_comparison_is_paired_and_complete(found):
    rows = {row.label: row for row in found.baselines}
    assert set(rows) == {
        "JSQ, zero wait",
        "JSQ, best fixed wait",
        "JSQ, best threshold",
        "JSQ unless 4, zero wait",
        "random edge, zero wait",
        "local, zero wait",
        "random place and wait",
        "PGOA, zero wait",
    }
    best = rows["JSQ, best fixed wait"]
    assert best.tuned == 31
    assert best.wait in ("fixed:0.9", "fixed:1", "fixed:1.1")
    assert abs(best.against.estimate) < 0.03
    assert rows["JSQ, zero wait"].against.estimate == pytest.approx(1.005 / 1.752 - 1, abs=0.03)
    ages = [row.age.estimate for row in found.baselines]
    assert ages == sorted(ages)
    assert found.age == found.learner.stretch.mean_age.estimate
    assert found.whose == "all devices"
    assert (found.game.equilibrium, found.game.cooperative) == ("JSQ, zero wait", "JSQ, best fixed wait")
    assert found.zero_wait == "JSQ, zero wait"


def test_free_numbers_are_tuned_for_each_horizon(found):
    best = found.baseline("JSQ, best threshold")
    assert best.long_wait == best.stretch.wait
    assert best.wait.startswith("threshold:")
    assert best.long_wait.startswith("threshold:")
    told = best.model_copy(update={"wait": "threshold:1"})
    assert told.rules == f"jsq, {best.long_wait} (episodes: threshold:1)"
    assert found.baseline("JSQ, zero wait").rules == "jsq, fixed:0"
    assert found.learner.long_wait == "learned"


def test_the_bound_is_that_of_all_devices_and_below_every_policy(found):
    assert found.optimum.value is None
    assert "mean over devices" in found.optimum.method
    assert found.optimum.bound < min(row.age.estimate for row in [found.learner, *found.baselines])
    assert found.gap.estimate == pytest.approx(found.age / found.optimum.bound - 1.0)


def test_the_nash_check_and_the_pair_that_frames_it(found):
    check = found.game.exploitability
    assert check.mean.estimate == pytest.approx(0.33, abs=0.06)
    assert [row.label for row in found.game.references] == ["JSQ, zero wait", "JSQ, best fixed wait"]
    assert found.game.references[0].mean.estimate < 0.03
    assert found.game.references[1].mean.estimate == pytest.approx(0.33, abs=0.06)


def test_the_figures_data_show_the_rule(found):
    response = found.game.queue_response
    assert len(response.delays) == len(response.waits) == 3
    np.testing.assert_allclose(response.waits, 1.0)
    assert response.totals[0] == 0
    np.testing.assert_allclose(found.response.curves[0].waits, 1.0)
    assert found.response.servers[3][0] == 1  # the edge without tasks
    assert found.response.servers[0][3] == 2
    assert found.trace.end == 60.0
    assert found.trace.queues


def test_an_evaluation_repeats_itself(found):
    again = evaluate_game(Shortest(), config(), budget=BUDGET, checkpoint="step_000000001000")
    plain = found.model_copy(
        update=VOLATILE | {"game": found.game.model_copy(update={"exploitability": None, "references": []})}
    )
    assert again.model_copy(update=VOLATILE) == plain


def test_a_system_without_edges_is_evaluated_too():
    settings = config(edge_ghz=(), n_devices=2, drop="none")

    class Local:
        def act(self, obs):
            rows = np.shape(obs)[:-1]
            return {"server": np.zeros(rows, int), "wait": np.zeros((*rows, 1))}

    found = evaluate_game(Local(), settings, budget=GameBudget(seeds=2, stretch_seeds=2, stretch_horizon=800.0))
    assert found.optimum.value is not None
    assert found.game.cooperative == "best fixed wait"
    assert found.game.equilibrium == "zero wait"
    assert found.game.queue_response.totals == [0]
    assert found.baseline("zero wait").against.estimate == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("budget", "horizon", "field"),
    [
        (GameBudget(seeds=0), None, "seeds"),
        (GameBudget(seeds=1, stretch_seeds=0), None, "stretch_seeds"),
        (GameBudget(seeds=1, stretch_horizon=-1.0), None, "stretch_horizon"),
        (GameBudget(seeds=1), float("nan"), "horizon"),
        (GameBudget(seeds=2), 0.01, "horizon"),
    ],
)
def test_bad_arguments_name_the_field(budget, horizon, field):
    with pytest.raises(InvalidInputError, match=field):
        evaluate_game(Shortest(), config(), budget=budget, horizon=horizon)


def test_a_team_is_scored_by_its_age_on_seeds_of_its_own(monkeypatch):
    used = []
    play = module.play
    monkeypatch.setattr(module, "play", lambda *args, **rest: used.append(args[2:4]) or play(*args, **rest))
    score = score_checkpoint(Shortest(), config())
    assert score["score"] == score["mean_age"] == pytest.approx(1.0, rel=0.1)
    assert score == score_checkpoint(Shortest(), config())
    seeds, horizon = used[0]
    assert seeds[0] == SeedTree(3).outer
    assert horizon == 100.0
    score_checkpoint(Shortest(), config(n_devices=300, edge_ghz=(400.0, 400.0)))
    assert used[-1][1] == 50.0  # more devices, shorter episodes


@pytest.mark.parametrize("objective", ["team", "selfish"])
def test_a_policy_that_completes_nothing_in_time_has_a_finite_score(objective):
    """Training must outlive a bad policy; a device without a cycle counts as old as the episode is long."""
    score = score_checkpoint(Shortest(3.0), config(objective=objective, horizon=3.0))
    assert np.isfinite(list(score.values())).all()
    assert 0.5 < score["mean_age"] <= 3.0


def test_selfish_devices_are_scored_by_what_a_deviation_brings():
    """The equilibrium has the higher age, and must not lose to the policy that is easily exploited."""
    settings = config(objective="selfish", horizon=300.0)
    patient, impatient = (score_checkpoint(Shortest(wait), settings) for wait in (1.0, 0.0))
    assert patient["mean_age"] < 0.7 * impatient["mean_age"]
    assert patient["score"] == patient["regret"] == pytest.approx(0.32, abs=0.05)
    assert impatient["score"] < 0.05
    assert score_checkpoint(Shortest(1.0), settings) == patient


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run folder whose policy is a rule, as if it had been trained."""
    settings = config()
    run = create(tmp_path / "run", settings, ["edgewise", "train", "x.yaml"])
    (run.checkpoints / "step_000000001000").mkdir()
    monkeypatch.setattr(evaluation_module, "load_policy", lambda run_dir, checkpoint: (Shortest(), settings))
    monkeypatch.setattr("edgewise.train.checkpoint.best_step", lambda path: 1000)
    return run.path


def test_a_check_is_kept_until_the_checkpoint_changes(folder, monkeypatch):
    first = evaluate_run(folder, game=BUDGET, nash=True, command=[])
    assert first.game.exploitability is not None
    assert results.read(folder) == first
    again = evaluate_run(folder, game=BUDGET, command=[])
    assert again.game.exploitability == first.game.exploitability
    assert results.read(folder).game == first.game
    other = results.read(folder).model_copy(update={"checkpoint": "step_000000000500"})
    write(folder, other)
    assert evaluate_run(folder, game=BUDGET, command=[]).game.exploitability is None


def test_a_stored_evaluation_is_verified(folder):
    evaluate_run(folder, game=BUDGET, seeds=4, command=[])
    assert results.read(folder).n_seeds == 4
    (check,) = verify_evaluation(folder)
    assert check.holds
    stored = results.read(folder)
    stretch = stored.learner.stretch.mean_age.model_copy(update={"estimate": 0.5})
    forged = stored.learner.model_copy(
        update={"stretch": stored.learner.stretch.model_copy(update={"mean_age": stretch})}
    )
    write(folder, stored.model_copy(update={"learner": forged}))
    assert not verify_evaluation(folder)[0].holds


def test_the_command_does_all_of_it(folder, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(module.BUDGETS, "smoke", BUDGET)
    assert main([str(folder), "--exploitability", "--budget", "smoke", "--seeds", "4"]) == 0
    out = capsys.readouterr().out
    for word in ("learner", "lower bound", "deviating alone", "maximum", "all: JSQ, zero wait", "report.html"):
        assert word in out, word
    assert (folder / "report.html").is_file()
    assert results.read(folder).n_seeds == 4
    assert main([str(folder), "--budget", "huge"]) == 2
    assert "full or smoke" in capsys.readouterr().err


def test_one_learning_device_plays_no_game(tmp_path, capsys):
    settings = TrainConfig.model_validate(
        {"name": "s", "seed": 3, "steps": 10, "env": {"preset": "single"}, "learner": {"algorithm": "fractional_ppo"}}
    )
    run = create(tmp_path / "single", settings, ["x"])
    assert main([str(run.path), "--exploitability"]) == 2
    error = capsys.readouterr().err
    assert "--exploitability needs a game" in error
    assert error.count("\n") == 1


def test_a_policy_may_tell_the_devices_apart():
    """Device 0 does not wait: it is the only one below the others' age."""
    budget = GameBudget(seeds=2, stretch_seeds=2, stretch_horizon=600.0, nash=NASH)
    found = evaluate_game(Shortest(1.0, own=0.0), config(), budget=budget)
    ages = found.learner.stretch.device_ages
    assert int(np.argmin(ages)) == 0
    assert ages[0] < 0.75 * np.mean(ages[1:])


def test_the_smoke_budget_is_smaller_in_every_way():
    full, smoke = module.BUDGETS["full"], module.BUDGETS["smoke"]
    for name in ("seeds", "stretch_seeds", "stretch_horizon"):
        assert getattr(smoke, name) < getattr(full, name)
    assert smoke.nash.horizon * smoke.nash.seeds * smoke.nash.devices < full.nash.horizon
    assert full.nash.devices >= 5
    assert full.nash.seeds >= 10
    assert full.stretch_horizon * full.stretch_seeds >= 2e5
