"""A synthetic run folder and evaluation: the report's tests need no trained policy."""

import json
import math

import numpy as np
import pytest

from edgewise.eval.aoi import nash_results, results
from edgewise.eval.estimates import Estimate
from edgewise.eval.results import write
from edgewise.eval.statistics import bootstrap, difference, relative_difference
from edgewise.train.config import TrainConfig
from edgewise.train.run_folder import create

N_SEEDS = 12


def estimate(samples, statistic=np.mean):
    return Estimate(**bootstrap(samples, statistic).as_dict())


def score(label, rule, ages, ours=None, n_places=3):
    pair = [] if ours is None else [ours, ages]
    return results.Score(
        label=label,
        server=rule[0],
        wait=rule[1],
        mean_age=estimate([ages]),
        per_seed=list(ages),
        authors_age=float(ages.mean()) - 0.01,
        peak_age=float(ages.mean()) + 0.5,
        drop_rate=0.223,
        mean_wait=None,
        server_shares=[0.2] + [0.8 / (n_places - 1)] * (n_places - 1) if n_places > 1 else [1.0],
        completions=900.0,
        difference=estimate(pair, difference) if pair else None,
        relative=estimate(pair, relative_difference) if pair else None,
    )


def make_evaluation(n_edges=2, learner_age=1.02):
    """An evaluation whose learner has this mean age; the never-waiting policy has 1.75 s."""
    noise = np.random.default_rng(0).normal(0.0, 0.02, N_SEEDS)
    ours, zero, tuned = learner_age + noise, 1.75 + 1.1 * noise, 1.01 + 0.9 * noise
    places = n_edges + 1
    delays = [0.0, 1.0, 2.0]
    corners = [0.0, 2.0, 2.0, 5.0]
    return results.Evaluation(
        checkpoint="step_000000001000",
        created="2026-01-01T00:00:00+00:00",
        command=["edgewise", "evaluate", "runs/<odd name>"],
        git={"commit": "0123456789abcdef", "changed": True},
        seconds=1.5,
        first_seed=2**63 + 7,
        n_seeds=N_SEEDS,
        horizon=1200.0,
        decision="staged",
        objective="selfish",
        learner=score("learner", ("learned", "learned"), ours, n_places=places),
        baselines=[
            score("JSQ, best fixed wait", ("jsq", "fixed:1"), tuned, ours, places),
            score("JSQ, zero wait", ("jsq", "fixed:0"), zero, ours, places),
        ],
        zero_wait="JSQ, zero wait",
        best="JSQ, best fixed wait",
        optimum=results.Reference(value=None, bound=0.4665, method="lower bound: relaxation", seconds=0.01),
        gap=estimate([ours], lambda age, axis: np.mean(age, axis=axis) / 0.4665 - 1.0),
        quadrature=None,
        trace=results.Trace(
            device=0,
            start=0.0,
            end=5.0,
            curve_times=corners,
            curve_ages=[0.0, 2.0, 0.5, 3.5],
            waits=[(2.0, 2.7)],
            queue_times=[0.5, 2.0, 2.7],
            queues=[[1] * n_edges, [2] * n_edges, [0] * n_edges],
        ),
        response=results.Response(
            n_edges=n_edges,
            delays=delays,
            curves=[results.Curve(label="queues 1, 1", queues=[1] * n_edges, waits=[1.0, 0.5, 0.0])],
            optimal_waits=None,
            seen_delays=[0.5],
            seen_waits=[0.7],
            servers=[[0, 1, 1], [2, 1, 1]] if n_edges > 1 else [],
            note="Last delay 1 s.",
        ),
    )


def with_stretch(score, ages, ours=None):
    """The same policy of a game: over a long stretch with these ages, s."""
    stretch = results.Stretch(
        mean_age=estimate([ages]),
        per_seed=list(ages),
        authors_age=estimate([ages - 0.001]),
        worst_age=estimate([ages + 0.05]),
        device_ages=[float(ages.mean()) + 0.01 * m for m in range(-2, 3)],
        peak_age=score.peak_age,
        drop_rate=score.drop_rate,
        mean_wait=0.9,
        server_shares=score.server_shares,
        relative=None if ours is None else estimate([ours, ages], relative_difference),
    )
    update = {"authors": estimate([ages - 0.003]), "worst_age": estimate([ages + 0.1]), "stretch": stretch}
    return score.model_copy(update=update)


def share(value, spread=0.002):
    """A share with an interval around it."""
    return Estimate(estimate=value, low=max(value - spread, 0.0), high=value + spread, confidence=0.95, n=N_SEEDS)


def make_check(gain, n_devices=3):
    """A Nash check with this gain of every device."""
    ages = {"fixed": 0.9, "threshold": 0.88, "scaled": 0.95, "learned": 1.4}
    numbers = {"fixed": "JSQ, wait 0.1 s", "threshold": "JSQ, threshold 0.3 s", "scaled": "own policy, wait × 0.5"}
    return nash_results.Exploitability(
        mean=share(gain),
        maximum=share(1.1 * gain),
        devices=[
            nash_results.DeviceCheck(
                devices=[7 * m],
                age=share(1.0),
                gain=share(gain),
                played=numbers["threshold"],
                deviations=[
                    nash_results.DeviationScore(
                        label=numbers.get(kind, "learned against the others"),
                        kind=kind,
                        age=share(age),
                        gain=Estimate(estimate=1.0 - age, low=0.9 - age, high=1.1 - age, confidence=0.95, n=N_SEEDS),
                    )
                    for kind, age in ages.items()
                ],
            )
            for m in range(n_devices)
        ],
        deviators=1,
        exchangeable=True,
        n_seeds=N_SEEDS,
        horizon=5000.0,
        screening_seeds=4,
        screening_horizon=400.0,
        screened=65,
        decisions=1000,
        curves=[
            nash_results.DeviationCurve(kind=kind, numbers=[0.0, 0.5, 1.0], relative=[-gain, 0.1, 0.4])
            for kind in ("fixed", "threshold")
        ],
        seconds=12.5,
    )


def make_game(objective="team", learner_age=1.02, gain=0.3):
    """The evaluation of a game; without a Nash check where `gain` is None."""
    noise = np.random.default_rng(1).normal(0.0, 0.003, 4)
    ages = {"learner": learner_age + noise, "JSQ, best fixed wait": 1.005 + noise, "JSQ, zero wait": 1.75 + noise}
    base = make_evaluation(learner_age=learner_age)
    game = results.Game(
        drop="authors:1.5",
        n_devices=20,
        n_edges=2,
        stretch_horizon=20_000.0,
        stretch_seeds=4,
        stretch_first_seed=2**63 + 2**17,
        equilibrium="JSQ, zero wait",
        cooperative="JSQ, best fixed wait",
        queue_response=results.QueueResponse(
            totals=[0, 1, 2], delays=[0.1, 0.5, 1.0], waits=[[0.3, 0.6, 0.9], [0.2, 0.5, 0.8], [0.1, 0.4, 0.7]]
        ),
        exploitability=None if gain is None else make_check(gain),
        references=[]
        if gain is None
        else [
            nash_results.ScriptedCheck(label="JSQ, zero wait", mean=share(0.0), maximum=share(0.001)),
            nash_results.ScriptedCheck(label="JSQ, best fixed wait", mean=share(0.32), maximum=share(0.33)),
        ],
    )
    return base.model_copy(
        update={
            "objective": objective,
            "horizon": 300.0,
            "learner": with_stretch(base.learner, ages["learner"]),
            "baselines": [with_stretch(row, ages[row.label], ages["learner"]) for row in base.baselines],
            "game": game,
        }
    )


@pytest.fixture(scope="session")
def build():
    return make_evaluation


@pytest.fixture(scope="session")
def build_game():
    return make_game


@pytest.fixture
def game_dir(tmp_path):
    """The run folder of an evaluated game."""
    return make_game_run(tmp_path / "game", make_game())


def make_game_run(path, evaluation, seed=7, **fields):
    """A run folder with an evaluation in it; `fields` override the configuration."""
    config = TrainConfig.model_validate(
        {
            "name": "synthetic-game",
            "seed": seed,
            "steps": 1000,
            "env": {
                "id": "edgewise/AoIOffloadGame-v0",
                "objective": evaluation.objective,
                "drop": "authors:1.5",
                **fields.pop("env", {}),
            },
            "learner": {"algorithm": "async_fractional"},
            **fields,
        }
    )
    run = create(path, config, ["edgewise", "train", "game.yaml"])
    run = run.with_record(result={"step": 1000, "seconds": 4.0})
    run.metrics.write_text(
        "".join(
            json.dumps({"kind": "evaluation", "step": 100 * k, "evaluation/mean_age": 1.0 + math.exp(-k)}) + "\n"
            for k in range(1, 9)
        )
    )
    write(run.path, evaluation)
    return run.path


@pytest.fixture
def game_run():
    return make_game_run


@pytest.fixture(scope="session")
def evaluation():
    return make_evaluation()


@pytest.fixture
def run_dir(tmp_path, evaluation):
    """A run folder with metrics and an evaluation, named to need escaping."""
    config = TrainConfig.model_validate(
        {
            "name": "synthetic",
            "seed": 7,
            "steps": 1000,
            "env": {"preset": "paper"},
            "learner": {"algorithm": "fractional_ppo"},
        }
    )
    run = create(tmp_path / "run", config, ["edgewise", "train", "a & <b>.yaml"])
    rows = [
        {"kind": "evaluation", "step": 100 * k, "evaluation/mean_age": 1.0 + math.exp(-k), "evaluation/score": 1.0}
        for k in range(1, 9)
    ] + [{"kind": "train", "step": 50 * k, "ratio": 1.0 + 4.0 * 0.5**k} for k in range(1, 17)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write(run.path, evaluation)
    return run.path
