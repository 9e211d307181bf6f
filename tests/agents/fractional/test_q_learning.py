"""Fractional Q-learning: its updates against a plain reference, and what it learns on the tiny instance."""

import json

import numpy as np
import pytest

from edgewise.agents.fractional import CostPerCycleQLearning, FractionalQLearning
from edgewise.envs.core import rng
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.envs.core.instances import tiny_instance
from edgewise.envs.core.ratio_mdp import policy_ratio

TINY = tiny_instance()
OPTIMUM, ZERO_WAIT_RATIO = 3.4125, 3.461052631578947
BEST, ZERO_WAIT = (3, 0, 1, 0), (1, 0, 1, 0)


def listing(mdp, ratio, steps, seed, epsilon=0.3, exponent=0.7):
    """Q-learning with Q, N and D in three tables of their own; relative values where not discounted."""
    q, n, d = (np.zeros_like(mdp.cost) for _ in range(3))
    visits = np.zeros_like(mdp.cost)
    keys = [np.uint64(rng.stream_key(np.uint64(seed), 0, stream, 0)) for stream in (0, 1)]
    average = mdp.discount == 1
    state = mdp.start
    for i in range(steps):
        action = int(np.argmin(q[state]))
        if rng.uniform(keys[1], 2 * i) < epsilon:
            action = int(rng.uniform(keys[1], 2 * i + 1) * mdp.actions)
        following = int(
            np.searchsorted(np.cumsum(mdp.transition[state, action]), rng.uniform(keys[0], i), side="right")
        )
        best = int(np.argmin(q[following]))
        priced = mdp.cost[state, action] - ratio * mdp.duration[state, action]
        rate = (1 + visits[state, action]) ** -exponent
        means = [table.mean() if average else 0.0 for table in (q, n, d)]
        for table, gain, own in zip(
            (q, n, d), means, (priced, mdp.cost[state, action], mdp.duration[state, action]), strict=True
        ):
            table[state, action] += rate * (own - gain + mdp.discount * table[following, best] - table[state, action])
        visits[state, action] += 1
        state = following
    return q, n, d


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_numerator_and_denominator_follow_the_listing(discount, seed):
    mdp = TINY.discounted(discount)
    learner = FractionalQLearning(mdp, ratio=5.0, inner_steps=600, seed=seed)
    done = learner.iterate()
    q, n, d = listing(mdp, 5.0, 600, seed)
    assert learner.numerators == pytest.approx(n, abs=1e-9)
    assert learner.denominators == pytest.approx(d, abs=1e-9)
    assert learner.numerators - 5.0 * learner.denominators == pytest.approx(q, abs=1e-9)
    assert done.policy == tuple(np.argmin(q, axis=1))
    if discount == 1:
        expected = n.mean() / d.mean()
    else:
        action = int(np.argmin(q[0]))
        expected = n[0, action] / d[0, action]
        assert done.residual == pytest.approx(q[0].min(), abs=1e-9)
    assert done.next_ratio == learner.ratio == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("coefficient", ["rollout", "values"])
def test_b2_fractional_learner_is_optimal_and_its_cost_per_cycle_twin_is_not(coefficient):
    fractional = FractionalQLearning(TINY, ratio=6.0, coefficient=coefficient, seed=3)
    history = fractional.train(8)
    assert policy_ratio(TINY, fractional.policy) == pytest.approx(OPTIMUM, abs=1e-6)
    assert abs(fractional.ratio - OPTIMUM) < 0.05
    assert all(step.policy == BEST for step in history[1:])
    assert fractional.outer.converged

    twin = CostPerCycleQLearning(TINY, ratio=6.0, coefficient=coefficient, seed=3)
    twin.train(8)
    assert tuple(twin.policy) == ZERO_WAIT
    assert policy_ratio(TINY, twin.policy) == pytest.approx(ZERO_WAIT_RATIO, abs=1e-6)
    # What it believes to have reached is the mean of ratios, 2.85.
    assert abs(twin.ratio - 2.85) < 0.05


def test_b2_holds_for_other_seeds():
    for seed in range(10, 15):
        learner = FractionalQLearning(TINY, coefficient="rollout", seed=seed)
        learner.train(6)
        assert policy_ratio(TINY, learner.policy) == pytest.approx(OPTIMUM, abs=1e-6)
        assert abs(learner.ratio - OPTIMUM) < 0.05


def test_discount_of_the_paper_settles_on_the_zero_wait_policy():
    learner = FractionalQLearning(TINY.discounted(0.9), ratio=10.0, seed=0)
    learner.train(10)
    assert tuple(learner.policy) == ZERO_WAIT
    assert abs(learner.ratio - 3.218731) < 0.05


def test_early_stopping_saves_steps_and_still_contracts():
    learner = FractionalQLearning(TINY, coefficient="rollout", alpha=0.5, seed=0)
    history = learner.train(10)
    assert history[0].steps < 10_000
    assert sum(step.steps for step in history) < 60_000 * len(history)
    assert policy_ratio(TINY, learner.policy) == pytest.approx(OPTIMUM, abs=1e-6)
    for step in history:
        if step.steps < 60_000 and step.ratio > OPTIMUM + 0.05:
            # Factor of the linear rate with this alpha, plus what 40 000 sampled decisions leave.
            assert step.next_ratio - OPTIMUM <= 0.872054 * (step.ratio - OPTIMUM) + 0.02


def test_error_estimate_is_infinite_until_every_pair_was_tried():
    assert FractionalQLearning(TINY, inner_steps=3).iterate().error == np.inf
    assert FractionalQLearning(TINY.discounted(0.9), inner_steps=3).iterate().error == np.inf


def test_residual_tends_to_zero_with_the_ratio_at_the_optimum():
    learner = FractionalQLearning(TINY, ratio=OPTIMUM, seed=1)
    done = learner.iterate()
    assert abs(done.residual) < 0.15
    assert FractionalQLearning(TINY, ratio=6.0, seed=1).iterate().residual == pytest.approx(-7.95, abs=0.3)


@pytest.mark.parametrize("coefficient", ["rollout", "values"])
def test_resumed_learning_equals_uninterrupted_learning_bitwise(coefficient):
    arguments = {"coefficient": coefficient, "inner_steps": 2500, "rollout_steps": 500, "seed": 4}
    whole = FractionalQLearning(TINY, **arguments)
    whole.train(2)
    resumed = FractionalQLearning(TINY, **arguments)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert [whole.iterate() for _ in range(2)] == [resumed.iterate() for _ in range(2)]
    assert whole.numerators.tobytes() == resumed.numerators.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"numerators": [[1.0]]},
        {"denominators": [[float("nan")] * 4] * 4},
        {"numerators": "x"},
        {"policy": [0, 0, 0, 4]},
        {"policy": [0]},
        {"outer": {}},
        {"outer": None},
    ],
)
def test_foreign_state_is_refused_and_changes_nothing(change):
    learner = FractionalQLearning(TINY, inner_steps=50)
    learner.iterate()
    before = learner.state_dict()
    with pytest.raises(CheckpointError, match="state"):
        learner.load_state_dict({**before, **change})
    with pytest.raises(CheckpointError, match="policy"):
        learner.load_state_dict({key: value for key, value in before.items() if key != "policy"})
    assert learner.state_dict() == before


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"coefficient": "guess"}, "coefficient"),
        ({"inner_steps": 0}, "inner_steps"),
        ({"rollout_steps": 0}, "rollout_steps"),
        ({"alpha": 1.0}, "alpha"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"step_exponent": 0.5}, "step_exponent"),
        ({"seed": -1}, "seed"),
        ({"ratio": float("nan")}, "ratio"),
        ({"omega": 2.0}, "omega"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, field):
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        FractionalQLearning(TINY, **arguments)
