"""Clocks and clearing: equal to the tick-by-tick reference, to closed forms, and to published series."""

from __future__ import annotations

import time

import numpy as np
import pytest
from oracles import market as oracle

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.iterative_auction import iterative
from edgewise.envs.model_caching.market import Clocks, clear, double_dutch, optimal_welfare

SETS = {"S1": ((0, 1), (0, 1)), "S2": ((0.5, 1), (0.3, 1)), "S3": ((0, 0.6), (0, 0.4))}
"""Ranges of values and of costs of the specification's stress sets (11.1)."""


def draw(rng, name, buyers, sellers=None):
    (low, high), (least, most) = SETS[name]
    return rng.uniform(low, high, buyers), rng.uniform(least, most, buyers if sellers is None else sellers)


def small_market(seed):
    """Up to 8 agents a side, some exactly on the grid, some beyond the range, with any tick."""
    rng = np.random.default_rng(seed)
    tick = rng.choice([0.01, 0.02, 0.05, 0.1, 0.3, 0.07, 2.0])
    low, high = (0.0, 1.0) if seed % 3 else (-0.7, 2.3)
    values, costs = (rng.uniform(low - 0.1, high + 0.1, rng.integers(0, 9)) for _ in range(2))
    for side in (values, costs):
        on_grid = rng.random(len(side)) < 0.4
        side[on_grid] = low + tick * np.round((side[on_grid] - low) / tick)
    return values, costs, Clocks(float(tick), low, high), oracle.Clock(float(tick), low, high)


def listed(reports):
    return [None if np.isnan(report) else report for report in reports.tolist()]


@pytest.mark.parametrize("variant", ["sweep", "crossing"])
def test_stops_prices_and_trades_equal_the_tick_by_tick_reference(variant):
    cases = set()
    for seed in range(1000):
        values, costs, clocks, slow = small_market(seed)
        found = double_dutch(values, costs, variant=variant, clocks=clocks)
        bids, asks, ticks, polled = oracle.synchronized(values, costs, slow, variant == "crossing")
        pairs, pay, get, k = oracle.mcafee(bids, asks, slow.low)
        trades = found.trades
        assert (listed(found.bids), listed(found.asks)) == (bids, asks), seed
        assert (found.ticks, found.polled) == (ticks, polled), seed
        assert list(zip(trades.buyers.tolist(), trades.sellers.tolist(), strict=True)) == pairs, seed
        assert trades.efficient == k
        assert set(trades.paid) <= {pay}
        assert set(trades.received) <= {get}
        cases.add((trades.case, min(len(trades), 1)))
    assert cases == {("none", 0), ("A", 1), ("B", 0), ("B", 1)}


def test_alternating_clocks_equal_the_tick_by_tick_reference():
    for seed in range(1000):
        values, costs, clocks, slow = small_market(seed)
        found = double_dutch(values, costs, variant="alternating", clocks=clocks)
        pairs, price, buyers, sellers, moves, polled = oracle.alternating(values, costs, slow)
        trades = found.trades
        assert list(zip(trades.buyers.tolist(), trades.sellers.tolist(), strict=True)) == pairs, seed
        assert set(trades.paid) | set(trades.received) <= {price}, seed
        assert sorted(np.flatnonzero(~np.isnan(found.bids)).tolist()) == sorted(buyers)
        assert sorted(np.flatnonzero(~np.isnan(found.asks)).tolist()) == sorted(sellers)
        assert (found.ticks, found.polled) == (moves, polled), seed
        assert trades.surplus == 0.0


def test_a_million_unit_agents_clear_in_half_a_second():
    rng = np.random.default_rng(0)
    values, costs = draw(rng, "S1", 500_000)
    clocks = Clocks(0.001)
    double_dutch(values[:10], costs[:10], clocks=clocks)  # compiles
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = double_dutch(values, costs, clocks=clocks)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    assert found.welfare(values, costs) == pytest.approx(optimal_welfare(values, costs), rel=1e-4)
    half = np.count_nonzero(values >= 0.5)
    assert abs(len(found.trades) - half) < 2000  # the market price of S1 is one half


def test_a_hand_computed_market():
    bids, asks = [0.9, 0.8, 0.3, 0.6], [0.2, 0.7, 0.1, 0.95]
    trades = clear(bids, asks)  # merit order 0.9/0.1, 0.8/0.2, 0.6/0.7: k = 2, price (0.6 + 0.7) / 2
    assert (trades.efficient, trades.case, len(trades)) == (2, "A", 2)
    assert trades.buyers.tolist() == [0, 1]
    assert trades.sellers.tolist() == [2, 0]
    assert trades.paid == pytest.approx([0.65, 0.65])
    assert trades.payments(4) == pytest.approx([0.65, 0.65, 0, 0])
    assert trades.receipts(4) == pytest.approx([0.65, 0, 0.65, 0])
    reduced = clear([0.9, 0.8], [0.1, 0.2, 0.3])  # next bid 0, next ask 0.3: 0.15 is below the ask 0.2, so case B
    assert (reduced.efficient, reduced.case, len(reduced)) == (2, "B", 1)
    assert (reduced.paid.tolist(), reduced.received.tolist()) == ([0.8], [0.2])
    assert reduced.surplus == pytest.approx(0.6)
    assert clear([0.9, 0.8], [0.1, 0.2], rule="uniform", weight=0.25).paid == pytest.approx([0.35, 0.35])


SERIES = {2: 77.18, 3: 88.08, 4: 92.45, 5: 94.61, 10: 98.37, 15: 99.22, 25: 99.71, 50: 99.92, 100: 99.98}
WITHOUT_SURPLUS = {2: 69.01, 3: 80.05, 4: 83.90, 5: 86.08, 10: 91.78, 15: 94.18, 25: 96.35, 50: 98.08, 100: 99.01}
"""Welfare shares, %, of McAfee's rule with integers 1..1000: erelsgl/auctions, experiment_comparing_mcafee_to_sbb."""


@pytest.mark.parametrize("n", SERIES)
def test_mcafee_welfare_series(n):
    rng = np.random.default_rng(n)
    best = total = kept = 0.0
    for _ in range(10_000 // n + 1500):
        values, costs = rng.integers(1, 1001, n).astype(float), rng.integers(1, 1001, n).astype(float)
        trades = clear(values, costs)
        best += optimal_welfare(values, costs)
        total += trades.welfare(values, costs)
        kept += trades.surplus
    tolerance = 0.5 if n >= 5 else 2.0
    assert 100 * total / best == pytest.approx(SERIES[n], abs=tolerance)
    assert 100 * (total - kept) / best == pytest.approx(WITHOUT_SURPLUS[n], abs=2 * tolerance)


TABLE = {  # 11.6: % of optimal welfare, tick 0.01, (full sweep + McAfee, stopped at crossing) for S1, S2, S3
    5: ((94.6, 95.3, 95.3), (61.7, 34.8, 27.2)),
    10: ((98.3, 98.5, 98.5), (84.1, 50.6, 31.8)),
    20: ((99.5, 99.5, 99.5), (93.7, 63.2, 36.3)),
    40: ((99.8, 99.8, 99.8), (97.4, 68.6, 41.1)),
    100: ((100, 99.9, 99.9), (99.2, 71.7, 45.4)),
}


@pytest.mark.parametrize("n", TABLE)
@pytest.mark.parametrize("column", range(3), ids=SETS)
def test_welfare_shares_of_the_specification(n, column):
    rng = np.random.default_rng(column)
    best, sums = 0.0, dict.fromkeys(("sweep", "crossing", "alternating"), 0.0)
    for _ in range(600):
        values, costs = draw(rng, list(SETS)[column], n)
        best += optimal_welfare(values, costs)
        for variant in sums:
            sums[variant] += double_dutch(values, costs, variant=variant).welfare(values, costs)
    sweep, crossing = (row[column] for row in TABLE[n])
    assert 100 * sums["sweep"] / best == pytest.approx(sweep, abs=1.0)
    assert 100 * sums["crossing"] / best == pytest.approx(crossing, abs=5.0)
    assert 100 * sums["alternating"] / best > 99.5


@pytest.mark.parametrize("n", [10, 20, 50])
def test_a_patient_iterative_auction_reaches_the_optimum_and_an_impatient_one_says_its_budget(n):
    rng = np.random.default_rng(n)
    best = patient = impatient = 0.0
    for seed in range(100):
        values, costs = draw(rng, "S1", n)
        best += optimal_welfare(values, costs)
        slow = iterative(values, costs, rounds=60, concession=(0.05, 0.05), pairing="best")
        quick = iterative(values, costs, seed=seed)
        patient += slow.welfare(values, costs)
        impatient += quick.welfare(values, costs)
        assert (quick.trades.paid <= values[quick.trades.buyers]).all()
        assert (quick.trades.received >= costs[quick.trades.sellers]).all()
        assert quick.trades.surplus == 0.0
    assert patient == pytest.approx(best, rel=1e-9)
    assert impatient < 0.95 * best
    assert quick.budget == quick.ticks == 10
    assert "budget 10 rounds" in quick.label
    assert "budget 60 rounds" in slow.label
    again = iterative(values, costs, seed=seed)
    assert again.trades.buyers.tolist() == quick.trades.buyers.tolist()


def test_labels_name_what_is_not_the_default():
    labels = {variant: double_dutch([0.9], [0.1], variant=variant).label for variant in ("sweep", "crossing")}
    assert "full sweep, mcafee" in labels["sweep"]
    assert "stopped at crossing" in labels["crossing"]
    assert "alternating" in double_dutch([0.9], [0.1], variant="alternating").label


def test_more_ticks_than_sixteen_bits_hold():
    values, costs = np.array([0.7, 0.7 - 1e-6, 0.1]), np.array([0.2, 0.2 + 1e-6, 0.9])
    found = double_dutch(values, costs, clocks=Clocks(1e-7))
    assert found.trades.buyers.tolist() == [0, 1]
    assert found.bids == pytest.approx(values, abs=1e-7)


BAD = {
    "values": lambda: double_dutch([np.nan], [0.1]),
    "costs": lambda: double_dutch([0.1], [[0.1]]),
    "variant": lambda: double_dutch([0.1], [0.1], variant="english"),
    "clearing": lambda: double_dutch([0.1], [0.1], clearing="vickrey"),
    "buyer_rank": lambda: double_dutch([0.1, 0.2], [0.1], buyer_rank=[0]),
    "tick": lambda: Clocks(0.0),
    "high": lambda: Clocks(0.1, 1.0, 1.0),
    "low": lambda: Clocks(0.1, float("nan")),
    "bids": lambda: clear(["a"], [0.1]),
    "asks": lambda: clear([0.1], [np.inf]),
    "floor": lambda: clear([0.1], [0.1], floor=np.nan),
    "weight": lambda: clear([0.1], [0.1], rule="uniform", weight=1.5),
    "rounds": lambda: iterative([0.1], [0.1], rounds=0),
    "concession": lambda: iterative([0.1], [0.1], concession=(0.1, 0.01)),
    "pairing": lambda: iterative([0.1], [0.1], pairing="worst"),
}


@pytest.mark.parametrize("field", BAD)
def test_bad_input_names_the_field(field):
    with pytest.raises(InvalidInputError, match=field):
        BAD[field]()
