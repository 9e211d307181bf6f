"""Figures from counters, by hand."""

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.eval.aoi.metrics import measure


@pytest.fixture
def counters():
    """One seed, two devices: 4 cycles in 8 s with area 12, and 1 cycle in 5 s with area 15."""
    return {
        "completions": np.array([[4, 1]]),
        "area": np.array([[12.0, 15.0]]),
        "time": np.array([[8.0, 5.0]]),
        "peak": np.array([[10.0, 6.0]]),
        "paper_area": np.array([[11.0, 9.0]]),
        "last_done": np.array([[10.0, 6.0]]),
        "attempts": np.array([[6, 2]]),
        "drops": np.array([[2, 0]]),
        "waits": np.array([[4, 1]]),
        "wait_sum": np.array([[3.0, 2.0]]),
        "servers": np.array([[[1, 5], [1, 1]]]),
    }


def test_ages_average_the_devices_own_ratios(counters):
    found = measure(counters)
    assert found.mean_age == pytest.approx([(12 / 8 + 15 / 5) / 2])
    assert found.authors_age == pytest.approx([(1.1 + 1.5) / 2])
    assert found.peak_age == pytest.approx([(2.5 + 6.0) / 2])
    assert found.completions == pytest.approx([2.5])


def test_rates_and_shares_pool_the_counts(counters):
    found = measure(counters)
    assert found.drop_rate == pytest.approx([2 / 8])
    assert found.mean_wait == pytest.approx([5 / 5])
    np.testing.assert_allclose(found.server_shares, [[2 / 8, 6 / 8]])


def test_only_the_chosen_devices_count(counters):
    found = measure(counters, devices=[1])
    assert found.mean_age == pytest.approx([3.0])
    assert found.drop_rate == pytest.approx([0.0])
    np.testing.assert_allclose(found.server_shares, [[0.5, 0.5]])


def test_summary_is_ready_for_json(counters):
    counters["waits"] = np.zeros((1, 2))
    summary = measure(counters).summary()
    assert summary["mean_wait"] is None  # nobody was asked: not zero, and not NaN
    assert summary["server_shares"] == pytest.approx([0.25, 0.75])


def test_a_device_without_a_completion_is_an_error_not_a_nan(counters):
    counters["time"] = np.array([[8.0, 0.0]])
    with pytest.raises(InvalidInputError, match="horizon"):
        measure(counters)


def test_missing_counters_are_named(counters):
    del counters["peak"]
    with pytest.raises(InvalidInputError, match="peak"):
        measure(counters)
