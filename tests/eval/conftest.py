"""A synthetic run folder and evaluation: the report's tests need no trained policy."""

import json
import math

import numpy as np
import pytest

from edgewise.eval import results
from edgewise.eval.statistics import bootstrap, difference, relative_difference
from edgewise.train.config import TrainConfig
from edgewise.train.run_folder import create

N_SEEDS = 12


def estimate(samples, statistic=np.mean):
    return results.Estimate(**bootstrap(samples, statistic).as_dict())


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


@pytest.fixture(scope="session")
def build():
    return make_evaluation


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
    results.write(run.path, evaluation)
    return run.path
