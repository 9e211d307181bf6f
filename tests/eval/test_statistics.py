"""Intervals against closed forms: exact bootstrap distributions of tiny samples, and the normal limit."""

import math

import numpy as np
import pytest
from scipy import stats

from edgewise.envs.core.errors import InvalidInputError
from edgewise.eval.statistics import (
    bootstrap,
    difference,
    interquartile_mean,
    mean,
    nested_bootstrap,
    relative_difference,
    standard_error,
    stretch,
)


def test_interquartile_mean_drops_a_quarter_at_each_end():
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 700]) == 3.5
    assert interquartile_mean([5.0, -100.0, 7.0]) == pytest.approx(
        4.0 - 100.0 / 3
    )  # floor(3 / 4) = 0: nothing is dropped
    rows = np.array([[0, 1, 2, 30], [9, 1, 5, 3]])
    np.testing.assert_array_equal(interquartile_mean(rows), [1.5, 4.0])


def test_two_seeds_have_a_three_point_bootstrap_distribution():
    # Resampling {0, 1}: mean 0, 1/2, 1 with probability 1/4, 1/2, 1/4, so the 95 % percentile interval is [0, 1],
    # which is stretched about 1/2, and the 40 % interval collapses onto the middle point.
    wide = bootstrap([[0.0, 1.0]])
    half = 0.5 * 12.7062 / 1.95996 * math.sqrt(2.0)
    assert (wide.estimate, wide.n) == (0.5, 2)
    assert (wide.low, wide.high) == (pytest.approx(0.5 - half, rel=1e-5), pytest.approx(0.5 + half, rel=1e-5))
    narrow = bootstrap([[0.0, 1.0]], confidence=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_interval_of_the_mean_approaches_the_normal_one():
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    interval = bootstrap([values], resamples=20_000)
    half = 1.959964 * values.std() / math.sqrt(400)  # the bootstrap's variance divides by n
    assert interval.estimate == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03 * half)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(300):
        interval = bootstrap([rng.exponential(1.0, 30)], resamples=600, seed=trial)
        hits += interval.low <= 1.0 <= interval.high
    assert 0.89 <= hits / 300 <= 0.98  # 95 % less the known small-sample shortfall for skewed data


@pytest.mark.parametrize("seeds", [2, 3, 5, 8, 10, 20])
def test_intervals_of_few_seeds_cover_too(seeds):
    rng, hits = np.random.default_rng(seeds), 0
    for trial in range(1000):
        interval = bootstrap([rng.normal(size=seeds)], resamples=400, seed=trial)
        hits += interval.low <= 0.0 <= interval.high
    assert 0.92 <= hits / 1000 <= 0.98


def test_pairing_removes_the_noise_that_both_policies_share():
    shared = np.random.default_rng(1).normal(0.0, 100.0, 24)
    own = np.random.default_rng(2).normal(0.0, 0.1, 24)
    paired = bootstrap([shared + own + 1.0, shared], difference)
    assert paired.estimate == pytest.approx(1.0 + own.mean(), abs=1e-9)
    assert paired.high - paired.low < 0.2  # unpaired it would be about 80 wide
    broken = bootstrap([shared + own + 1.0, shared[::-1]], difference)
    assert broken.high - broken.low > 10


def test_a_constant_difference_has_an_interval_of_width_zero():
    base = np.linspace(1.0, 2.0, 16)
    interval = bootstrap([base + 0.25, base], difference)
    assert interval.low == pytest.approx(0.25, abs=1e-12)
    assert interval.high == pytest.approx(0.25, abs=1e-12)
    ratio = bootstrap([1.5 * base, base], relative_difference)
    assert (ratio.low, ratio.high) == (pytest.approx(0.5, abs=1e-12), pytest.approx(0.5, abs=1e-12))


def test_one_seed_gives_an_estimate_without_an_interval():
    interval = bootstrap([[3.0]])
    assert (interval.estimate, interval.low, interval.high, interval.n) == (3.0, None, None, 1)


def test_the_seed_fixes_the_interval():
    values = np.random.default_rng(5).exponential(size=20)
    assert bootstrap([values], seed=4) == bootstrap([values], seed=4)
    assert bootstrap([values], seed=4) != bootstrap([values], seed=5)


@pytest.mark.parametrize("samples", [[], [[]], [[1.0, math.nan]], [[1.0, 2.0], [1.0]], [np.ones((2, 2))]])
def test_bad_samples_are_refused(samples):
    with pytest.raises(InvalidInputError, match="samples"):
        bootstrap(samples, mean)


def test_confidence_must_be_a_probability():
    with pytest.raises(InvalidInputError, match="confidence"):
        bootstrap([[1.0, 2.0]], confidence=95)


def test_standard_error_of_the_mean():
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)
    assert math.isnan(standard_error([1.0]))


def test_a_nested_bootstrap_holds_the_spread_of_the_runs():
    # Two runs without noise inside: the drawn mean is 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    runs = np.repeat([[0.0], [1.0]], 6, axis=1)
    found = nested_bootstrap([runs])
    assert (found.estimate, found.n) == (0.5, 2)
    assert (found.low, found.high) == pytest.approx((0.5 - 0.5 * stretch(2), 0.5 + 0.5 * stretch(2)))
    # Paired: what all policies share cancels.
    noise = np.random.default_rng(1).normal(size=(4, 50))
    paired = nested_bootstrap([10.0 + noise, 12.0 + noise], difference)
    assert paired.low == pytest.approx(-2.0)
    assert paired.high == pytest.approx(-2.0)


def test_a_nested_bootstrap_of_one_run_is_over_its_episodes():
    values = np.random.default_rng(2).normal(size=30)
    assert nested_bootstrap([values[None]]) == bootstrap([values])


def test_a_nested_bootstrap_reaches_its_coverage():
    rng, inside = np.random.default_rng(3), 0
    for _ in range(60):
        sample = 3.0 + rng.normal(0.0, 1.0, (5, 1)) + rng.normal(0.0, 1.0, (5, 10))
        found = nested_bootstrap([sample], resamples=400)
        inside += found.low <= 3.0 <= found.high
    assert 54 <= inside <= 60


def test_blocks_keep_the_dependence_of_successive_entries():
    # A random walk's steps last: the mean of 400 entries that are equal in runs of 20 varies as that of 20 does.
    rng = np.random.default_rng(6)
    series = np.repeat(rng.normal(size=20), 20)
    single, blocks = nested_bootstrap([series[None]]), nested_bootstrap([series[None]], block=40)
    expected = 1.96 * series.std() / np.sqrt(20)
    assert single.high - single.low < 0.35 * 2 * expected
    assert blocks.high - blocks.low == pytest.approx(2 * expected, rel=0.3)
    assert (blocks.estimate, blocks.n) == (pytest.approx(series.mean()), 400)
    shifted = nested_bootstrap([series[None] + 1.0, series[None]], difference, block=40)
    assert shifted.low == pytest.approx(1.0)
    assert shifted.high == pytest.approx(1.0)
    # One block as long as the sample can only be the sample.
    whole = nested_bootstrap([series[None]], block=400)
    assert whole.low == pytest.approx(whole.estimate)
    assert whole.high == pytest.approx(whole.estimate)


def test_runs_that_passed_over_the_same_slots_do_not_average_their_noise_away():
    series = np.random.default_rng(0).exponential(size=400)
    one, five = (nested_bootstrap([np.tile(series, (runs, 1))], block=20) for runs in (1, 5))
    widths = [(found.high - found.low) / stretch(units) for found, units in ((one, 20), (five, 5))]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_runs_that_differ_and_pass_over_the_same_slots_reach_the_coverage():
    rng, inside = np.random.default_rng(4), 0
    for _ in range(60):
        sample = rng.normal(size=(5, 1)) + rng.normal(size=340)
        found = nested_bootstrap([sample], resamples=300, block=20)
        inside += found.low <= 0.0 <= found.high
    assert 54 <= inside <= 60


def test_the_interval_of_a_biased_statistic_keeps_its_near_end():
    """Resampling raises a maximum of means: its interval may lie above it, and is not moved away."""

    def largest(*samples, axis=-1):
        return np.max([mean(sample, axis) for sample in samples], axis=0)

    beside = 0
    for seed in range(40):
        samples = list(np.random.default_rng(seed).normal(size=(20, 8)))
        plain = stats.bootstrap(
            samples, largest, paired=True, n_resamples=400, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        found = bootstrap(samples, largest, resamples=400)
        assert found.low <= plain.low < plain.high <= found.high
        beside += found.estimate < plain.low
    assert beside > 0


@pytest.mark.parametrize("block", [0, 401, 2.0, True])
def test_a_block_must_fit_into_a_run(block):
    with pytest.raises(InvalidInputError, match="block must be"):
        nested_bootstrap([np.zeros((2, 400))], block=block)


@pytest.mark.parametrize("samples", [[], [[1.0, 2.0]], [np.zeros((2, 3)), np.zeros((3, 2))], [[[1.0], [np.nan]]]])
def test_a_nested_bootstrap_needs_tables_of_one_shape(samples):
    with pytest.raises(InvalidInputError, match="samples must be"):
        nested_bootstrap(samples)
