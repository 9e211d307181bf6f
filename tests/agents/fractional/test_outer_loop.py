"""The outer loop on solved games: where it ends, through which equilibria, and how fast (G1, E1 to E4)."""

import numpy as np
import pytest

from edgewise.agents.fractional.dinkelbach import Dinkelbach
from edgewise.agents.fractional.games import ThresholdCongestionGame
from edgewise.agents.fractional.outer_loop import iteration_matrix, local_contraction, run_outer_loop
from edgewise.agents.fractional.two_device_game import TwoDeviceGame


def loop(congestion, omega=1.0, start=4.0, updates=500):
    game = ThresholdCongestionGame(congestion)
    return game, run_outer_loop(game, Dinkelbach(start, agents=2, omega=omega), updates)


@pytest.mark.parametrize("preferred", [("LL", "LL"), ("LE", "EE"), ("EE", "LE"), ("EE", "EE")], ids="-".join)
def test_g1_ends_at_the_same_ratio_whatever_is_selected(preferred):
    game = TwoDeviceGame(select=lambda found: preferred if preferred in found else found[0])
    trace = run_outer_loop(game, Dinkelbach(5.0, agents=2))
    assert (trace.status, trace.period) == ("converged", 1)
    assert trace.equilibria[0] == preferred
    assert trace.equilibria[-1] == ("EE", "EE")
    assert trace.ratios[-1] == pytest.approx([1.75, 1.75], abs=1e-12)
    assert trace.ratios[1] == pytest.approx([2.0, 2.0] if preferred == ("LL", "LL") else [1.75, 1.75], abs=1e-12)
    assert trace.amplitude.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("choice", "end", "ages"),
    [
        (0, ("LL", "EE"), [5 / 3, 1.0]),
        (1, ("EL", "EE"), [5 / 3, 1.0]),
        (2, ("EE", "LL"), [1.0, 5 / 3]),
        (3, ("EE", "EL"), [1.0, 5 / 3]),
    ],
)
def test_g1_with_fast_local_processors_the_selection_decides(choice, end, ages):
    game = TwoDeviceGame(local_rates=(1.2, 1.2), select=lambda found: found[min(choice, len(found) - 1)])
    trace = run_outer_loop(game, Dinkelbach(5.0, agents=2))
    assert trace.status == "converged"
    assert trace.equilibria[-1] == end
    assert end in game.equilibria()
    assert trace.ratios[-1] == pytest.approx(ages, abs=1e-12)
    assert trace.measured[-1] == pytest.approx(ages, abs=1e-12)


def test_g1_damped_and_shared_loops():
    damped = run_outer_loop(TwoDeviceGame(), Dinkelbach([5.0, 3.0], agents=2, omega=0.5))
    assert damped.status == "converged"
    assert damped.ratios[-1] == pytest.approx([1.75, 1.75], abs=1e-11)
    assert damped.contraction == pytest.approx(0.5, abs=1e-6)  # one policy throughout: only the damping is left
    game = TwoDeviceGame(local_rates=(1.2, 1.2))
    shared = run_outer_loop(game, Dinkelbach(5.0, agents=2, shared=True))
    assert shared.status == "converged"
    area, time = game.costs_and_durations(shared.equilibria[-1])
    assert shared.ratios[-1] == pytest.approx([area.sum() / time.sum()] * 2)


@pytest.mark.parametrize(
    ("congestion", "omega", "equilibrium", "factor"),
    [
        (0.0, 1.0, 1.901201, 0.0),
        (0.0, 0.5, 1.901201, 0.5),
        (0.5, 1.0, 2.283674, -0.2103),
        (0.5, 0.5, 2.283674, 0.3948),
        (1.0, 1.0, 2.666147, -0.5326),
        (1.0, 0.5, 2.666147, 0.2337),
        (1.5, 0.5, 3.048619, -0.0445),
    ],
)
def test_e1_to_e4_measured_contraction(congestion, omega, equilibrium, factor):
    _, trace = loop(congestion, omega)
    assert trace.status == "converged"
    assert trace.ratios[-1] == pytest.approx([equilibrium] * 2, abs=5.1e-7)
    assert trace.contraction == pytest.approx(factor, abs=5.1e-5)
    # Between the first steps and rounding, each update measured it too.
    steps = np.abs(np.diff(trace.ratios[:, 0]))[:-1]
    linear = (steps < 1e-3) & (steps > 1e-9)
    assert linear.any()
    assert trace.factors[1:][linear] == pytest.approx(factor, abs=2e-3)


def test_e4_undamped_cycles_with_period_two():
    game, trace = loop(1.5)
    assert (trace.status, trace.period) == ("cycle", 2)
    assert (trace.amplitude > 0.15).all()
    assert (trace.amplitude < 0.2).all()
    assert trace.ratios[-1] == pytest.approx(trace.ratios[-3], abs=1e-11)
    assert trace.contraction == pytest.approx(-1.0, abs=1e-6)
    # It leaves the equilibrium even from very near, at the predicted rate.
    near = run_outer_loop(game, Dinkelbach(game.ratio + 1e-7, agents=2), updates=30)
    assert near.status == "open"
    assert np.isnan(near.amplitude).all()
    assert near.contraction == pytest.approx(-1.0889, abs=5.1e-5)
    assert np.abs(near.ratios[-1] - game.ratio).max() > 1e-6


def test_threshold_of_divergence():
    assert ThresholdCongestionGame(0.0).divergence_threshold == pytest.approx(1.438740, abs=5.1e-7)
    below, above = 1.438740 - 0.01, 1.438740 + 0.01
    assert loop(below, updates=6000)[1].status == "converged"
    game, trace = loop(above, updates=6000)
    assert (trace.status, trace.period) == ("cycle", 2)
    for congestion, least, most in ((below, 0.98, 1.0), (above, 1.0, 1.02)):
        game = ThresholdCongestionGame(congestion)
        radius = np.abs(np.linalg.eigvals(iteration_matrix(game, [game.ratio] * 2))).max()
        assert least < radius < most


@pytest.mark.parametrize("omega", [1.0, 0.5])
def test_iteration_matrix_has_both_local_factors(omega):
    game = ThresholdCongestionGame(1.0)
    found = np.sort(np.linalg.eigvals(iteration_matrix(game, [game.ratio] * 2, omega)))
    assert found == pytest.approx([1 - omega + omega * factor for factor in game.factors], abs=1e-6)


def test_opposite_errors_have_their_own_factor():
    game = ThresholdCongestionGame(1.0)
    start = game.ratio + np.array([1e-5, -1e-5])
    trace = run_outer_loop(game, Dinkelbach(start, agents=2), updates=3)
    assert trace.contraction == pytest.approx(game.factors[1], abs=1e-4)


def test_local_contraction_of_plain_sequences():
    assert local_contraction(3.0 - 0.7 ** np.arange(100)) == pytest.approx(0.7, abs=1e-6)
    assert local_contraction(3.0 + (-0.7) ** np.arange(100)) == pytest.approx(-0.7, abs=1e-6)
    assert local_contraction([5.0, 2.0, 2.0]) == 0.0
    assert np.isnan(local_contraction([5.0, 5.0, 5.0]))
    assert np.isnan(local_contraction([5.0, 4.0]))


def test_a_slowly_alternating_sequence_is_no_cycle():
    class Alternating:
        """The error changes sign and shrinks by 1 % in each update."""

        def inner_equilibrium(self, ratios):
            return float(np.asarray(ratios).item())

        def costs_and_durations(self, profile):
            return np.array([2.0 - 0.99 * (profile - 2.0)]), np.ones(1)

    trace = run_outer_loop(Alternating(), Dinkelbach(3.0), updates=300)
    assert (trace.status, trace.period) == ("open", 0)
    assert trace.ratios.shape == (301, 1)
    assert np.isnan(trace.factors[0])
    assert trace.factors[1:] == pytest.approx(-0.99, abs=1e-9)
    assert run_outer_loop(Alternating(), Dinkelbach(3.0), updates=5000).status == "converged"
