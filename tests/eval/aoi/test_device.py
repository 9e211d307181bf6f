"""Evaluation against things known in closed form: scripted rules in the learner's place."""

import numpy as np
import pytest

from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.policies import ScriptedPolicy
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.seeding import SeedTree
from edgewise.eval.aoi import device
from edgewise.eval.aoi.baselines import Contest, baselines, wait_grid
from edgewise.eval.aoi.device import evaluate_device, score_device
from edgewise.eval.aoi.episodes import can_record_all, record, record_all, run_policy
from edgewise.eval.aoi.metrics import measure
from edgewise.eval.evaluate import score_checkpoint
from edgewise.train.config import TrainConfig

C, AGE = 0.901201031730, 1.901201031730  # optimal threshold and age of the exponential unit device (Sun et al.)
ENV = "edgewise/AoIOffload-v0"


def config(**env):
    return TrainConfig.model_validate(
        {"name": "t", "seed": 3, "steps": 1000, "env": env, "learner": {"algorithm": "fractional_ppo"}}
    )


def scripted(settings, server, wait):
    return ScriptedPolicy(server, wait, params=settings.env.params())


@pytest.fixture(scope="module")
def optimal():
    settings = config(preset="single", horizon=100.0)
    return evaluate_device(scripted(settings, "local", f"threshold:{C}"), settings, seeds=24)


def test_the_optimal_rule_has_no_gap_by_quadrature(optimal):
    assert optimal.quadrature.mean_age == pytest.approx(AGE, rel=1e-6)
    assert optimal.quadrature.gap == pytest.approx(0.0, abs=1e-6)
    assert optimal.age == optimal.quadrature.mean_age
    assert optimal.optimum.value == pytest.approx(AGE, rel=1e-9)
    assert optimal.optimum.threshold == pytest.approx(C, rel=1e-6)
    assert not optimal.worse_than_zero_wait


def test_common_random_numbers_cancel(optimal):
    same = optimal.baseline("optimal threshold")
    # The same rule on the same draws, once through the environment and once compiled, up to float32 observations.
    np.testing.assert_allclose(optimal.learner.per_seed, same.per_seed, rtol=1e-4)
    assert abs(same.relative.estimate) < 1e-5
    own_width = optimal.learner.mean_age.high - optimal.learner.mean_age.low
    assert same.difference.high - same.difference.low < 1e-3 * own_width


def test_zero_wait_is_five_percent_worse_and_within_its_interval(optimal):
    zero = optimal.baseline("zero wait")
    assert optimal.zero_wait == "zero wait"
    assert zero.relative.low <= AGE / 2 - 1 <= zero.relative.high
    assert zero.mean_age.low <= 2.0 <= zero.mean_age.high
    assert zero.mean_wait == 0.0
    assert zero.peak_age == pytest.approx(2.0, rel=0.05)
    assert zero.server_shares == [1.0]


def test_the_figures_data_show_the_rule(optimal):
    curve = optimal.response.curves[0]
    expected = np.clip(C - np.array(optimal.response.delays), 0, None)
    np.testing.assert_allclose(curve.waits, expected, atol=1e-4)
    np.testing.assert_allclose(optimal.response.optimal_waits, expected, atol=1e-4)
    assert optimal.trace.end == 60.0
    assert optimal.response.servers == []
    # Every wait of the shown episode lies inside it.
    assert all(0 <= start <= end <= 60.0 for start, end in optimal.trace.waits)


def test_a_learner_that_waits_too_long_is_flagged():
    settings = config(preset="single", horizon=100.0)
    found = evaluate_device(scripted(settings, "local", "fixed:5"), settings, seeds=4)
    assert found.worse_than_zero_wait
    assert found.quadrature.gap > 0.5


def test_one_seed_gives_numbers_without_intervals():
    settings = config(preset="small", horizon=60.0)
    found = evaluate_device(scripted(settings, "jsq", "fixed:0"), settings, seeds=1, horizon=60.0)
    assert found.learner.mean_age.low is None
    assert found.quadrature is None
    assert found.optimum.value is None
    assert found.gap.estimate == pytest.approx(found.learner.mean_age.estimate / found.optimum.bound - 1)
    assert found.gap.estimate > 0
    assert len(found.response.servers) == 1


def test_joint_decisions_are_evaluated_through_the_environment():
    settings = config(preset="small", decision="joint", horizon=30.0)
    found = evaluate_device(scripted(settings, "server:1", "fixed:0.1"), settings, seeds=2, horizon=30.0)
    assert found.decision == "joint"
    assert "joint" in found.optimum.method
    assert any(score.server == "pgoa" for score in found.baselines)
    tuned = [score for score in found.baselines if score.tuned > 1]
    assert tuned
    assert min(score.mean_age.estimate for score in found.baselines) == found.baseline(found.best).mean_age.estimate


def test_a_team_is_measured_by_all_its_devices():
    settings = config(preset="small", objective="team", horizon=200.0)
    found = evaluate_device(scripted(settings, "jsq", "fixed:0"), settings, seeds=3)
    assert found.whose == "all devices"
    assert "mean over devices" in found.optimum.method
    everyone = simulate(
        settings.env.params(), "jsq", "fixed:0", horizon=800.0, seeds=[found.first_seed + k for k in range(3)]
    )
    np.testing.assert_allclose(found.baseline("JSQ, zero wait").per_seed, everyone.mean_age, rtol=1e-9)
    np.testing.assert_allclose(found.learner.per_seed, everyone.mean_age, rtol=5e-3)


def test_environment_and_compiled_simulation_measure_the_same():
    params = AoIParams.make("small", drop="authors:1.5")
    seeds = [5, 6, 7]
    kwargs = {"params": params, "horizon": 400.0, "background": "jsq", "background_wait": "fixed:0"}
    stepped = run_policy(ScriptedPolicy("server:1", "fixed:0.3", params=params), ENV, kwargs, seeds)
    compiled = simulate(params, "jsq", "fixed:0", horizon=400.0, seeds=seeds, deviator=(0, "server:1", "fixed:0.3"))
    ours, theirs = measure(stepped, [0]), measure(compiled.statistics, [0])
    np.testing.assert_allclose(ours.mean_age, theirs.mean_age, rtol=1e-6)
    np.testing.assert_allclose(ours.peak_age, theirs.peak_age, rtol=1e-6)
    # The episode's last attempt may count on one side only.
    np.testing.assert_allclose(ours.drop_rate, theirs.drop_rate, atol=2 / compiled.statistics["attempts"][:, 0].min())
    np.testing.assert_allclose(ours.mean_wait, [0.3] * 3, rtol=1e-6)


def test_an_episode_that_does_not_end_is_an_error_not_a_row_of_zeros(monkeypatch):
    params = AoIParams.make("single")
    policy = ScriptedPolicy("local", "fixed:0.2", params=params)
    for limit in (3, 36):  # before every episode's end; between the first and the last (20 cycles on average)
        monkeypatch.setattr("edgewise.eval.aoi.episodes.MAX_DECISIONS", limit)
        with pytest.raises(InvalidInputError, match=f"horizon: .* 20.0 s within {limit} decisions"):
            run_policy(policy, ENV, {"params": params, "horizon": 20.0}, list(range(8)))


def test_lanes_that_end_early_keep_their_own_counters():
    params = AoIParams.make("single")
    kwargs = {"params": params, "horizon": 20.0}
    policy = ScriptedPolicy("local", "fixed:0.2", params=params)
    together = run_policy(policy, ENV, kwargs, [1, 2, 3, 4])
    for lane, seed in enumerate([1, 2, 3, 4]):
        alone = run_policy(policy, ENV, kwargs, [seed])
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], together[name][lane], err_msg=name)


def test_two_ways_to_record_an_episode_agree_without_ties():
    params = AoIParams.make("small")
    kwargs = {"horizon": 20.0, "background": "server:1", "background_wait": "fixed:0.05", "decision": "staged"}
    policy = ScriptedPolicy("server:1", "fixed:0.1", params=params)
    alone = record(policy, ENV, {"params": params, **kwargs}, seed=9)
    everyone = record_all(policy, params, kwargs, seed=9)
    assert everyone.n_devices == 3
    one, all_ = ([(d.time, d.kind, d.age) for d in events.decisions if d.device == 0] for events in (alone, everyone))
    shared = min(len(one), len(all_)) - 1
    assert shared > 50
    np.testing.assert_allclose(one[:shared], all_[:shared], rtol=1e-6)
    assert sum(d.device != 0 for d in everyone.decisions) > 100


def test_devices_that_learn_while_they_act_are_recorded_each_with_a_memory_of_its_own():
    params = AoIParams.make("small")
    kwargs = {"horizon": 60.0, "background": "pgoa:10", "background_wait": "fixed:0", "decision": "staged"}
    assert can_record_all(params, kwargs)
    found = record_all(ScriptedPolicy("server:1", "fixed:0.1", params=params), params, kwargs, seed=9)
    chosen = [{d.server for d in found.decisions if d.device == m and d.server is not None} for m in range(3)]
    assert chosen[0] == {1}
    assert all(places == {0, 1} for places in chosen[1:])  # they explored, then settled
    late = [d.server for d in found.decisions if d.device and d.server is not None][-50:]
    assert late.count(1) > 35  # an edge that is seventeen times as fast


def test_tuning_and_checkpoint_scores_use_other_seeds_than_the_evaluation(monkeypatch):
    used = []

    def spy(policy, env_id, kwargs, seeds):
        used.extend(seeds)
        return run_policy(policy, env_id, kwargs, seeds)

    monkeypatch.setattr(device, "run_policy", spy)
    settings = config(preset="small", horizon=20.0)
    policy = scripted(settings, "jsq", "fixed:0")
    found = score_device(policy, settings, seeds=3)
    tree = SeedTree(3)
    assert used == [tree.outer, tree.outer + 1, tree.outer + 2]
    assert found["score"] == found["mean_age"] > 0
    assert score_device(policy, settings, seeds=3) == found
    used.clear()
    evaluation = evaluate_device(policy, settings, seeds=2, horizon=20.0)
    assert used == [tree.evaluate, tree.evaluate + 1]
    assert evaluation.first_seed == tree.evaluate


def test_a_lone_device_is_scored_exactly_during_training():
    settings = config(preset="single")
    assert score_checkpoint(scripted(settings, "local", "fixed:0"), settings)["score"] == pytest.approx(2.0, rel=1e-6)


def test_the_grid_and_the_list_of_baselines():
    paper = AoIParams.make("paper")
    np.testing.assert_allclose(wait_grid(paper), np.arange(31) / 10)
    rows = {row.label: row.rules for row in baselines(paper)}
    assert rows["JSQ, best fixed wait"][10] == ("jsq", "fixed:1")
    assert rows["random place and wait"] == (("uniform", "uniform:3"),)
    assert ("pgoa", "fixed:0") in rows["PGOA, zero wait"]
    places = ["local", "uniform", "edge-uniform", "jsq", "jsq-unless:4", "pgoa", "server:1", "server:2"]
    grid = [f"{wait}:{tenths / 10:g}" for wait in ("fixed", "threshold") for tenths in range(31)]
    assert sorted(rows["best rule × wait"]) == sorted((place, wait) for place in places for wait in grid)
    wide = baselines(AoIParams.make("paper", edge_ghz=(9.0,) * 6))[-1]
    places = [*places, *(f"server:{n}" for n in range(3, 7))]
    assert wide.label == "best rule × wait"
    assert {place for place, _ in wide.rules} == set(places)
    assert [row.label for row in baselines(paper, whole=False)] == list(rows)[:-1]
    heavy = AoIParams.make("single", service="lognormal:1.5")
    assert max(wait_grid(heavy)) > 7.98  # the optimal threshold of this law lies inside
    labels = [row.label for row in baselines(AoIParams.make("single"), threshold=C)]
    assert "optimal threshold" in labels
    assert "zero wait" in labels


def test_the_best_of_the_whole_grid_is_found_cheaply_and_never_worse_than_a_rule_of_it():
    """Against trying each of the 496 rules on the evaluation seeds themselves."""
    params = AoIParams.make("heterogeneous", n_devices=6)
    screened, seeds, horizon = [], list(range(100, 132)), 400.0

    def run(rule, chosen, length):
        screened.append(len(chosen) if chosen != seeds else 0)
        return simulate(params, "jsq", "fixed:0", horizon=length, seeds=chosen, deviator=(0, *rule)).statistics

    contest = Contest(run, [0], (list(range(8)), 300.0), (seeds, horizon))
    found = {row.label: contest.best(row.rules) for row in baselines(params)}
    spent = sum(screened)
    rules = baselines(params)[-1].rules
    ages = {rule: measure(run(rule, seeds, horizon), [0]).mean_age.mean() for rule in rules}
    winner, metrics = found["best rule × wait"]
    assert metrics.mean_age.mean() == ages[winner] < 1.03 * min(ages.values())
    assert all(ages[winner] <= ages[rule] for rule, _ in found.values() if rule in ages)
    assert spent < len(rules) * 8 / 2


def test_a_contest_screens_then_decides():
    params = AoIParams.make("single")
    runs = []

    def run(rule, seeds, horizon):
        runs.append((rule, tuple(seeds), horizon))
        return simulate(params, *rule, horizon=horizon, seeds=seeds).statistics

    contest = Contest(run, [0], ([0, 1, 2, 3], 3000.0), ([7, 8], 500.0))
    rules = [("local", f"threshold:{c}") for c in (0.0, 0.45, 0.9, 1.8, 3.6)]
    finalists = contest.finalists(rules)
    assert finalists[0] == ("local", "threshold:0.9")
    assert len(finalists) == 3
    winner, metrics = contest.best(rules)
    assert winner in finalists
    decided = [rule for rule, seeds, _ in runs if seeds == (7, 8)]
    assert decided == finalists  # nobody else met the evaluation seeds
    assert metrics.mean_age.mean() == min(
        simulate(params, *r, horizon=500.0, seeds=[7, 8]).mean_age.mean() for r in finalists
    )
    # A larger choice that contains a measured rule is never worse, whatever the screening said.
    before = len(runs)
    contest.best([("local", "fixed:0")])
    larger, _ = contest.best([*rules, ("local", "fixed:0")])
    assert larger == winner
    assert len(runs) == before + 2  # one decision and one screening: nothing is run twice


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"seeds": 0}, "seeds"),
        ({"seeds": 2.5}, "seeds"),
        ({"horizon": -1.0}, "horizon"),
        ({"horizon": float("nan")}, "horizon"),
    ],
)
def test_bad_arguments_name_the_field(arguments, field):
    settings = config(preset="single")
    with pytest.raises(InvalidInputError, match=field):
        evaluate_device(scripted(settings, "local", "fixed:0"), settings, **arguments)


def test_a_horizon_without_a_completion_is_one_clear_error():
    settings = config(preset="single")
    with pytest.raises(InvalidInputError, match="horizon"):
        evaluate_device(scripted(settings, "local", "fixed:0"), settings, seeds=8, horizon=0.01)


def test_the_table_turns_red_for_a_learner_that_loses(build):
    console_class = pytest.importorskip("rich.console").Console
    import io

    from edgewise.eval.aoi.terminal import print_evaluation

    for age, red in ((1.02, False), (1.80, True)):
        stream = io.StringIO()
        print_evaluation(build(learner_age=age), console_class(file=stream, force_terminal=True, width=100))
        assert ("\x1b[1;31m" in stream.getvalue()) is red
