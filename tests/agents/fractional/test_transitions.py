"""Regrouping by device, and returns along each device's own decisions."""

import numpy as np
import pytest

from edgewise.agents.fractional.transitions import (
    Transitions,
    advantages,
    cycle_rates,
    eligibility_traces,
    transitions,
)


def test_decisions_are_paired_with_the_same_devices_next_one() -> None:
    chain = np.array([0, 1, 0, 2, 1, 0, -1, 3])
    found = transitions(chain)
    assert list(zip(found.start.tolist(), found.end.tolist(), strict=True)) == [(0, 2), (2, 5), (1, 4)]
    assert found.last.tolist() == [False, True, True]


def test_leaving_one_out_cuts_its_chain() -> None:
    found = transitions(np.zeros(5, np.int64)).select(np.array([True, False, True, True]))
    assert found.start.tolist() == [0, 2, 3]
    assert found.last.tolist() == [True, False, True]


def test_no_transitions_at_all() -> None:
    found = transitions(np.array([0, 1, 2, -1]))
    assert len(found.start) == 0
    assert advantages(np.zeros(0), np.zeros(0), found.last).shape == (0,)


def test_sums_run_along_chains_only() -> None:
    delta = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    carry = np.array([0.5, 0.5, 0.5, 0.25, 0.5])
    last = np.array([False, False, True, False, True])
    result = advantages(delta, carry, last)
    assert result.tolist() == [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4.0, 8 + 0.25 * 16, 16.0]


def test_traces_are_the_transpose_of_sums_along_chains() -> None:
    """Sum of z delta = sum of phi advantage: a trace gathers what an advantage looks ahead to."""
    rng = np.random.default_rng(1)
    found = transitions(rng.integers(0, 5, 200))
    rows = len(found.start)
    features, carry, delta = rng.normal(size=(rows, 3)), rng.random(rows), rng.normal(size=rows)
    traces = eligibility_traces(features, carry, found.last)
    assert traces[0].tolist() == features[0].tolist()
    assert traces.T @ delta == pytest.approx(features.T @ advantages(delta, carry, found.last), rel=1e-10)
    assert not np.allclose(traces, features)


def test_regrouped_advantages_equal_those_of_each_device_alone() -> None:
    rng = np.random.default_rng(0)
    chain = rng.integers(0, 7, 300)
    found = transitions(chain)
    delta, carry = rng.normal(size=len(found.start)), rng.random(len(found.start))
    together = advantages(delta, carry, found.last)
    for device in range(7):
        own = np.flatnonzero(chain[found.start] == device)
        running, expected = 0.0, []
        for row in own[::-1]:
            running = delta[row] + carry[row] * running
            expected.append(running)
        assert together[own] == pytest.approx(expected[::-1], rel=1e-12)


def test_cost_per_time_of_a_cycle_by_hand() -> None:
    # Device 0: completion (Y = 1), waits 2 s, offloads, completes after Y = 3; device 1 decides in between.
    chain = np.array([0, 1, 0, 0])
    completion = np.array([True, False, False, True])
    delay = np.array([1.0, 9.0, 1.0, 3.0])
    area = np.array([0.0, 5.0, 1.0 * 2 + 2.0, 3.0 * 3 + 4.5])  # age grows from 1, then from 3
    time = np.array([0.0, 5.0, 2.0, 3.0])
    between_completions = cycle_rates(chain, completion, delay, area, time, trapezoid=False)
    between_generations = cycle_rates(chain, completion, delay, area, time, trapezoid=True)
    assert np.isnan(between_completions[0])  # its cycle began before the window
    assert between_completions[1:].tolist() == [0.0, 0.0, (4.0 + 13.5) / 5.0]
    # A = (Y + Z)^2 / 2 + (Y + Z) Y', over Y + Z = 3 s
    assert between_generations[3] == pytest.approx((0.5 * 9 + 3 * 3) / 3.0, rel=1e-15)


def test_transitions_are_a_view_of_events_not_of_their_order() -> None:
    found = Transitions(np.array([3, 1]), np.array([5, 2]), np.array([True, True]))
    assert found.select(np.array([False, True])).start.tolist() == [1]
