"""The outer loop: its arithmetic, its stopping rule, and its convergence on games with known factors (E1 to E4)."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.agents.fractional.dinkelbach import Dinkelbach
from edgewise.agents.fractional.games import ThresholdCongestionGame
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.envs.core.instances import tiny_instance
from edgewise.envs.core.ratio_mdp import enumerate_policies

OPTIMUM = 1.901201031730
"""Update or wait with exponential service of mean 1: 1 + 2 W(1/sqrt 2)."""


def play(congestion, start, omega=1.0, updates=60):
    game = ThresholdCongestionGame(congestion)
    outer = Dinkelbach(start, agents=2, omega=omega)
    sequence = [outer.ratio]
    for _ in range(updates):
        sequence.append(outer.update(*game.costs_and_durations(game.inner_equilibrium(outer.ratio))))
    return game, np.array(sequence), outer


def tail_factor(errors, size):
    """Factor between consecutive errors, read where they are about `size` (small, yet far above rounding)."""
    index = int(np.argmax(np.abs(errors) < size))
    return errors[index + 1] / errors[index]


def test_e1_single_agent_is_newton():
    _, sequence, _ = play(0.0, 4.0, updates=6)
    assert sequence[1:6, 0] == pytest.approx([2.540812, 1.986491, 1.902850, 1.901201649, 1.901201032], abs=6e-7)
    assert sequence[4:6, 0] == pytest.approx([1.901201649, 1.901201032], abs=6e-10)
    errors = np.abs(sequence[1:6, 0] - OPTIMUM)
    assert errors[:4] == pytest.approx([6.4e-1, 8.5e-2, 1.6e-3, 6.2e-7], rel=0.05)
    assert errors[4] < 1e-12
    # Quadratic: each error is at most a fixed multiple of the square of the one before.
    assert (errors[1:4] / errors[:3] ** 2 < 0.35).all()


def test_e1_damped_is_linear_with_one_half():
    _, sequence, outer = play(0.0, 4.0, omega=0.5)
    assert tail_factor(sequence[:, 0] - OPTIMUM, 1e-6) == pytest.approx(0.5, abs=1e-4)
    assert outer.ratio == pytest.approx([OPTIMUM] * 2, abs=1e-9)


@pytest.mark.parametrize(
    ("congestion", "equilibrium", "undamped", "damped"),
    [(0.5, 2.283674, -0.2103, 0.3948), (1.0, 2.666147, -0.5326, 0.2337), (1.5, 3.048619, -1.0889, -0.0445)],
)
def test_e2_to_e4_equilibria_and_factors(congestion, equilibrium, undamped, damped):
    game, sequence, outer = play(congestion, 4.0, omega=0.5)
    assert game.ratio == pytest.approx(equilibrium, abs=5.1e-7)
    assert game.factors[0] == pytest.approx(undamped, abs=5.1e-5)
    assert tail_factor(sequence[:, 0] - game.ratio, 1e-5) == pytest.approx(damped, abs=2e-4)
    assert outer.ratio == pytest.approx([game.ratio] * 2, abs=1e-12)
    assert outer.converged
    assert game.inner_equilibrium(outer.ratio) == pytest.approx([0.901201] * 2, abs=5.1e-7)


@pytest.mark.parametrize(("congestion", "factor"), [(0.5, -0.2103), (1.0, -0.5326)])
def test_e2_e3_undamped_converge_linearly_with_alternating_sign(congestion, factor):
    game, sequence, outer = play(congestion, 4.0)
    assert tail_factor(sequence[:, 0] - game.ratio, 1e-6) == pytest.approx(factor, abs=2e-4)
    assert outer.ratio == pytest.approx([game.ratio] * 2, abs=1e-12)


def test_e2_errors_from_a_symmetric_start():
    game, sequence, _ = play(0.5, 4.0, updates=5)
    expected = [3.525e-1, -2.920e-2, 6.453e-3, -1.342e-3, 2.828e-4]
    assert sequence[1:, 0] - game.ratio == pytest.approx(expected, rel=2e-4)


def test_opposite_errors_shrink_with_their_own_factor():
    game = ThresholdCongestionGame(1.0)
    start = game.ratio + np.array([1e-4, -1e-4])
    outer = Dinkelbach(start, agents=2)
    after = outer.update(*game.costs_and_durations(game.inner_equilibrium(start)))
    assert (after - game.ratio) / (start - game.ratio) == pytest.approx([game.factors[1]] * 2, rel=1e-3)


def test_e4_undamped_ends_in_a_cycle_of_length_two():
    game, sequence, outer = play(1.5, 4.0, updates=400)
    tail = sequence[-3:, 0]
    assert tail[2] == pytest.approx(tail[0], abs=1e-9)
    errors = np.abs(tail - game.ratio)
    assert (errors > 0.1).all()
    assert (errors < 0.25).all()
    assert not outer.converged
    assert outer.contraction == pytest.approx(-1.0, abs=1e-6)


def test_divergence_threshold():
    assert ThresholdCongestionGame(0.0).divergence_threshold == pytest.approx(1.438740, abs=5.1e-7)
    game = ThresholdCongestionGame(ThresholdCongestionGame(0.0).divergence_threshold)
    assert game.factors[0] == pytest.approx(-1.0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(3.5, 100.0))
def test_b3_inexact_inner_solutions_still_contract(seed, start):
    table, optimum, alpha = enumerate_policies(tiny_instance()), 3.4125, 0.5
    shortest, longest = table.duration.min(), table.duration.max()
    bound = 1 - (1 - alpha) * shortest / ((1 + alpha) * longest)
    assert bound == pytest.approx(0.872054, abs=5.1e-7)
    rng, outer = np.random.default_rng(seed), Dinkelbach(start)
    for _ in range(20):
        before = outer.ratio
        exact = table.cost - before * table.duration
        chosen = int(np.argmin(exact * rng.uniform(1 - alpha, 1 + alpha, exact.size)))
        if before > optimum + 1e-9:
            assert abs(exact[chosen]) >= (1 - alpha) / (1 + alpha) * abs(exact.min()) - 1e-12
        after = outer.update(table.cost[chosen], table.duration[chosen])
        assert optimum - 1e-12 <= after <= before + 1e-12 or before <= optimum + 1e-9
        assert after - optimum <= bound * (before - optimum) + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(3.5, 100.0))
def test_b3_stopping_condition_gives_the_sharper_bound(seed, start):
    table, optimum, alpha = enumerate_policies(tiny_instance()), 3.4125, 0.5
    bound = 1 - table.duration.min() / ((1 + alpha) * table.duration.max())
    assert bound == pytest.approx(0.744108, abs=5.1e-7)
    rng, outer = np.random.default_rng(seed), Dinkelbach(start)
    while outer.ratio > optimum + 1e-6:
        before, exact = outer.ratio, table.cost - outer.ratio * table.duration
        # Any policy whose value is within alpha times itself of the best: what an early stopped learner may return.
        allowed = np.flatnonzero(np.abs(exact - exact.min()) <= alpha * np.abs(exact))
        chosen = int(rng.choice(allowed[exact[allowed] < 0]))
        after = outer.update(table.cost[chosen], table.duration[chosen])
        assert optimum - 1e-12 <= after
        assert after - optimum <= bound * (before - optimum) + 1e-12
    assert outer.updates <= 1 + np.log(1e-6 / 100.0) / np.log(bound)


def test_update_uses_pooled_sums_and_damping():
    outer = Dinkelbach(5.0, omega=0.5)
    assert outer.update(cost=6.0, duration=2.0) == 4.0
    assert outer.measured == 3.0
    each = Dinkelbach(5.0, agents=2)
    assert each.update([2.0, 12.0], [2.0, 3.0]).tolist() == [1.0, 4.0]
    pooled = Dinkelbach([5.0, 7.0], agents=2, shared=True)
    assert pooled.update([2.0, 12.0], [2.0, 3.0]).tolist() == [14 / 5, 14 / 5]
    # Pooled sums need no finished interval of every agent.
    assert pooled.update([0.0, 12.0], [0.0, 3.0]).tolist() == [4.0, 4.0]


def test_stopping_rule_needs_three_settled_updates_in_a_row():
    outer = Dinkelbach(2.0)
    observed = []
    for measured in (1.0, 1.005, 1.0, 1.5, 1.505, 1.5, 1.501):
        outer.update(measured, 1.0)
        observed.append(outer.converged)
    assert observed == [False, False, False, False, False, False, True]
    outer.update(3.0, 1.0)
    assert not outer.converged


def test_stopping_rule_needs_every_agent_and_a_settled_gain():
    outer = Dinkelbach(1.0, agents=2, patience=1)
    outer.update([1.0, 1.1], [1.0, 1.0])
    assert not outer.converged
    outer.update([1.0, 1.1], [1.0, 1.0], gain=[0.0, 0.05])
    assert not outer.converged
    outer.update([1.0, 1.1], [1.0, 1.0], gain=[0.005, -0.005])
    assert outer.converged


def test_contraction_estimate():
    outer = Dinkelbach(1.0, omega=0.5)
    assert outer.contraction is None
    outer.update(0.0, 1.0)
    assert outer.contraction is None
    outer.update(0.0, 1.0)
    assert outer.contraction == pytest.approx(0.5)
    still = Dinkelbach(1.0)
    still.update(1.0, 1.0)
    still.update(1.0, 1.0)
    assert still.contraction is None


@pytest.mark.parametrize("agents", [None, 3])
def test_state_survives_json_and_continues_bit_for_bit(agents):
    rng = np.random.default_rng(1)
    size = () if agents is None else (agents,)
    sums = [(rng.random(size), 1 + rng.random(size)) for _ in range(6)]
    one = Dinkelbach(5.0, agents=agents, omega=0.5, tolerance=0.5)
    for pair in sums[:3]:
        one.update(*pair)
    other = Dinkelbach(9.0, agents=agents, omega=0.5, tolerance=0.5)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for pair in sums[3:]:
        assert np.array_equal(one.update(*pair), other.update(*pair))
        assert (one.converged, one.contraction, one.updates) == (other.converged, other.contraction, other.updates)


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": [1.0, 2.0]},
        {"ratio": "x"},
        {"ratio": [float("nan")]},
        {"steps": [[1.0]] * 3},
        {"steps": 5},
        {"settled": -1},
        {"updates": 1.5},
        {"measured": [[1.0]]},
    ],
)
def test_foreign_state_is_refused_and_changes_nothing(change):
    outer = Dinkelbach(1.0)
    outer.update(2.0, 1.0)
    before = outer.state_dict()
    with pytest.raises(CheckpointError, match="Dinkelbach state"):
        outer.load_state_dict({**before, **change})
    with pytest.raises(CheckpointError, match="lacks the field 'steps'"):
        outer.load_state_dict({key: value for key, value in before.items() if key != "steps"})
    assert outer.state_dict() == before


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"ratio": float("inf")}, "ratio"),
        ({"ratio": [1.0, 2.0]}, "ratio"),
        ({"ratio": [1.0, 2.0], "agents": 3}, "ratio"),
        ({"omega": 0.0}, "omega"),
        ({"omega": float("nan")}, "omega"),
        ({"omega": 1.5}, "omega"),
        ({"agents": 0}, "agents"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"patience": 0}, "patience"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, field):
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        Dinkelbach(**arguments)


@pytest.mark.parametrize(
    ("sums", "field"),
    [
        (([1.0, 1.0], [1.0, 0.0]), "duration"),
        (([1.0, 1.0], [1.0, -1.0]), "duration"),
        (([1.0, float("nan")], [1.0, 1.0]), "cost"),
        ((1.0, [1.0, 1.0]), "cost"),
        (([1.0, 1.0], [1.0, 1.0], [0.0]), "gain"),
    ],
)
def test_bad_sums_are_refused_and_change_nothing(sums, field):
    outer = Dinkelbach(5.0, agents=2)
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        outer.update(*sums)
    assert outer.updates == 0
    assert outer.ratio.tolist() == [5.0, 5.0]
