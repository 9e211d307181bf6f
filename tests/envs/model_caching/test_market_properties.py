"""What a double auction must keep, whatever the reports: section 11.8 of the specification, property by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import market as oracle
from scipy.optimize import linear_sum_assignment

from edgewise.envs.model_caching.deviations import deviation_gains
from edgewise.envs.model_caching.market import VARIANTS, Clocks, clear, double_dutch, optimal_welfare, stops

TINY = 1e-9
prices = st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda i: i / 20))  # half of them tie often
side = st.lists(prices, max_size=7).map(np.array)
some = st.lists(prices, min_size=1, max_size=7).map(np.array)
ticks = st.sampled_from([0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.3, 1.0, 3.0])
distinct = st.lists(st.floats(0, 1), min_size=1, max_size=7, unique=True).map(np.array)


@given(ticks, st.floats(-2, 2), st.floats(0.1, 3))
def test_clocks_never_turn_and_end_at_the_far_end(tick, low, span):
    clocks = Clocks(tick, low, low + span)
    falling, rising = clocks.path()
    assert len(falling) == len(rising) == clocks.last + 1 <= math.ceil((clocks.high - clocks.low) / tick) + 1
    assert (falling[0], rising[0]) == (clocks.high, clocks.low)
    assert (falling[-1], rising[-1]) == (clocks.low, clocks.high)
    for path in (-falling, rising):
        assert (np.diff(path) > 0).all()
        assert np.diff(path)[:-1] == pytest.approx(tick)


@given(side, side, ticks)
def test_truthful_agents_stop_once_on_the_path_within_a_tick_of_their_value(values, costs, tick):
    clocks = Clocks(tick)
    falling, rising = clocks.path()
    buyer_ticks, bids, seller_ticks, asks = stops(values, costs, clocks)
    assert bids.tolist() == falling[buyer_ticks].tolist()
    assert asks.tolist() == rising[seller_ticks].tolist()
    assert ((bids <= values) & (values < bids + tick + TINY)).all()
    assert ((asks - tick - TINY < costs) & (costs <= asks)).all()


@given(side, side)
def test_winners_are_equally_many_and_a_prefix_of_the_merit_order(bids, asks):
    trades = clear(bids, asks)
    assert len(trades.buyers) == len(trades.sellers) == len(trades)
    assert len(trades) in {max(trades.efficient - 1, 0), trades.efficient}
    assert trades.buyers.tolist() == np.argsort(-bids, kind="stable")[: len(trades)].tolist()
    assert trades.sellers.tolist() == np.argsort(asks, kind="stable")[: len(trades)].tolist()


@given(side, side, st.sampled_from(["mcafee", "uniform"]))
def test_nobody_loses_and_the_budget_is_kept(bids, asks, rule):
    trades = clear(bids, asks, rule=rule)
    assert (trades.paid <= bids[trades.buyers] + TINY).all()
    assert (trades.received >= asks[trades.sellers] - TINY).all()
    lost = np.setdiff1d(np.arange(len(bids)), trades.buyers)
    assert not trades.payments(len(bids))[lost].any()
    assert trades.surplus == pytest.approx(trades.payments(len(bids)).sum() - trades.receipts(len(asks)).sum())
    if trades.case == "B":
        k = trades.efficient
        last = np.sort(bids)[::-1][k - 1] - np.sort(asks)[k - 1]
        assert trades.surplus == pytest.approx((k - 1) * last)
        assert trades.surplus >= -TINY
    else:
        assert trades.surplus == pytest.approx(0, abs=TINY)


@given(side, side)
def test_welfare_lies_within_one_kth_of_the_optimum(values, costs):
    optimum = optimal_welfare(values, costs)
    gains = np.maximum(values[:, None] - costs[None, :], 0.0)
    assert optimum == pytest.approx(gains[linear_sum_assignment(gains, maximize=True)].sum())
    trades = clear(values, costs)
    share = 1 - 1 / trades.efficient if trades.efficient else 0.0
    assert share * optimum - TINY <= trades.welfare(values, costs) <= optimum + TINY


@given(side, side, ticks)
def test_welfare_on_true_values_loses_at_most_two_ticks_a_trade_more(values, costs, tick):
    found = double_dutch(values, costs, clocks=Clocks(tick))
    optimum = optimal_welfare(values, costs)
    pairs = int((np.sort(values)[::-1][: len(costs)][: len(values)] >= np.sort(costs)[: len(values)]).sum())
    share = 1 - 1 / found.trades.efficient if found.trades.efficient else 0.0
    assert found.welfare(values, costs) >= share * (optimum - 2 * pairs * tick) - TINY
    assert found.welfare(values, costs) <= optimum + TINY
    assert (found.trades.paid <= values[found.trades.buyers]).all()
    assert (found.trades.received >= costs[found.trades.sellers]).all()


def utilities(reports, truth, side_name, other):
    """Utility of every agent of one side when it reports `reports`."""
    buying = side_name == "buyers"
    trades = clear(reports, other) if buying else clear(other, reports)
    winners, price = (trades.buyers, trades.paid) if buying else (trades.sellers, trades.received)
    result = np.zeros(len(truth))
    result[winners] = truth[winners] - price if buying else price - truth[winners]
    return result


@given(some, some, st.data())
def test_no_report_beats_the_truth(values, costs, data):
    for name, truth, other in (("buyers", values, costs), ("sellers", costs, values)):
        honest = utilities(truth, truth, name, other)
        agent = data.draw(st.integers(0, len(truth) - 1))
        rivals = np.concatenate([values, costs])
        tried = np.concatenate([rivals, rivals - 1e-6, rivals + 1e-6, data.draw(st.lists(prices, max_size=5))])
        for report in tried:
            reports = truth.copy()
            reports[agent] = report
            assert utilities(reports, truth, name, other)[agent] <= honest[agent] + TINY


@given(distinct, distinct, st.floats(0, 1))
def test_a_winner_that_reports_better_still_wins_at_the_same_price(bids, asks, better):
    trades = clear(bids, asks)
    assume(len(trades) > 0)
    buyer, seller = trades.buyers[-1], trades.sellers[-1]
    higher, lower = bids.copy(), asks.copy()
    higher[buyer] += better
    lower[seller] -= better
    up, down = clear(higher, asks), clear(bids, lower)
    assert buyer in up.buyers
    assert up.paid[0] == trades.paid[0]
    assert seller in down.sellers
    assert down.received[0] == trades.received[0]


@given(distinct, distinct, st.randoms(use_true_random=False))
def test_names_do_not_matter(bids, asks, random):
    trades = clear(bids, asks)
    shuffled, reshuffled = (np.array(random.sample(range(len(reports)), len(reports))) for reports in (bids, asks))
    again = clear(bids[shuffled], asks[reshuffled])
    assert shuffled[again.buyers].tolist() == trades.buyers.tolist()
    assert reshuffled[again.sellers].tolist() == trades.sellers.tolist()
    assert again.paid.tolist() == trades.paid.tolist()


@given(side, side, ticks, st.sampled_from([2.0**-10, 0.5, 4.0, 2.0**20]), st.sampled_from(VARIANTS))
def test_units_do_not_matter(values, costs, tick, scale, variant):
    """Powers of two, so that the scaled auction is the same to the last bit."""
    found = double_dutch(values, costs, variant=variant, clocks=Clocks(tick))
    scaled = double_dutch(values * scale, costs * scale, variant=variant, clocks=Clocks(tick * scale, 0, scale))
    assert scaled.trades.buyers.tolist() == found.trades.buyers.tolist()
    assert scaled.trades.paid.tolist() == (found.trades.paid * scale).tolist()
    assert scaled.trades.received.tolist() == (found.trades.received * scale).tolist()


@given(side, side, ticks)
def test_one_price_of_alternating_clocks_suits_everybody_who_trades(values, costs, tick):
    found = double_dutch(values, costs, variant="alternating", clocks=Clocks(tick))
    trades = found.trades
    assert len(set(trades.paid.tolist() + trades.received.tolist())) <= 1
    assert (trades.paid <= values[trades.buyers]).all()
    assert (trades.received >= costs[trades.sellers]).all()
    assert trades.surplus == 0.0


@pytest.mark.parametrize("variant", VARIANTS)
def test_degenerate_markets(variant):
    nobody: list[float] = []
    for values, costs in ((nobody, [0.5]), ([0.5], nobody), (nobody, nobody), ([0.2], [0.8])):
        found = double_dutch(values, costs, variant=variant)
        assert (len(found.trades), found.trades.case) == (0, "none")
        assert found.trades.surplus == 0.0
    wide = double_dutch([0.9, 0.4], [0.1], variant=variant, clocks=Clocks(5.0))
    assert not np.nan_to_num(wide.bids).any()  # the first tick is the far end
    assert len(wide.trades) <= 1


def test_sentinels_where_one_side_is_exhausted():
    lone = clear([0.9], [0.1])  # next bid 0, no next ask: the price is infinite, so case B with no trade
    assert (lone.efficient, lone.case, len(lone)) == (1, "B", 0)
    assert lone.surplus == 0.0
    equal = clear([0.5] * 4, [0.5] * 3)
    assert (equal.efficient, len(equal)) == (3, 2)
    sellers_left = clear([0.5] * 4, [0.5] * 5)  # price (0 + 0.5) / 2, which the fourth seller refuses
    assert (sellers_left.case, len(sellers_left)) == ("B", 3)
    assert sellers_left.surplus == 0.0


@given(st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_ties_go_by_rank(buyers, sellers, random):
    ranks = [random.sample(range(n), n) for n in (buyers, sellers)]
    trades = clear([0.7] * buyers, [0.3] * sellers, buyer_rank=ranks[0], seller_rank=ranks[1])
    assert [ranks[0][i] for i in trades.buyers] == list(range(len(trades)))
    assert [ranks[1][j] for j in trades.sellers] == list(range(len(trades)))
    found = double_dutch([0.7] * buyers, [0.3] * sellers, buyer_rank=ranks[0], seller_rank=ranks[1])
    assert found.trades.buyers.tolist() == trades.buyers.tolist()
    assert (found.trades.paid <= 0.7).all()


# --- what deviating gains ---------------------------------------------------------------------------------------------


def slow_gain(values, costs, agent, buying, clock, variant):
    """By the tick-by-tick reference: an agent pretends every value on the grid, or one that never stops."""

    def utility(report):
        pretended = (list(values), list(costs))
        pretended[not buying][agent] = report
        if variant == "alternating":
            pairs, price, *_ = oracle.alternating(*pretended, clock)
            pay = get = price
        else:
            bids, asks, *_ = oracle.synchronized(*pretended, clock, variant == "crossing")
            pairs, pay, get, _ = oracle.mcafee(bids, asks, clock.low)
        if agent not in [pair[not buying] for pair in pairs]:
            return 0.0
        return values[agent] - pay if buying else get - costs[agent]

    path = [clock.falling(t) if buying else clock.rising(t) for t in range(clock.last + 1)]
    never = clock.low - 1 if buying else clock.high + 1
    return max(map(utility, [*path, never])) - utility((values if buying else costs)[agent])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_scan_of_deviations_equals_the_tick_by_tick_reference(variant):
    clock = oracle.Clock(0.1)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        values, costs = (rng.random(rng.integers(1, 5)).round(2) for _ in range(2))
        buyers, sellers = deviation_gains(values, costs, variant=variant, clocks=Clocks(0.1))
        for buying, gains in ((True, buyers), (False, sellers)):
            expected = [slow_gain(values, costs, agent, buying, clock, variant) for agent in range(len(gains))]
            assert gains == pytest.approx(expected, abs=TINY)


def largest_gains(variant, tick, markets, sizes=(1, 7)):
    rng = np.random.default_rng(0)
    most = [0.0, 0.0]
    for _ in range(markets):
        values, costs = rng.random(rng.integers(*sizes)), rng.random(rng.integers(*sizes))
        gains = deviation_gains(values, costs, variant=variant, clocks=Clocks(tick))
        most = [max(old, new.max()) for old, new in zip(most, gains, strict=True)]
    return most


@pytest.mark.parametrize("tick", [0.1, 0.05, 0.01])
def test_over_3000_markets_only_the_full_sweep_keeps_gains_below_a_tick(tick):
    assert max(largest_gains("sweep", tick, 3000)) < tick
    assert max(largest_gains("crossing", tick, 3000)) >= 0.3


def test_over_3000_markets_sellers_gain_by_stopping_late_where_clocks_alternate():
    buyers, sellers = largest_gains("alternating", 0.02, 3000)
    assert sellers >= 0.25
    assert buyers < 0.05  # 11.6: the buyers' gain is of the order of a tick
    _, many = largest_gains("alternating", 0.02, 300, sizes=(8, 12))
    assert many >= 0.25


@pytest.mark.slow
@pytest.mark.parametrize("name", ["S1", "S2", "S3"])
def test_larger_markets_and_other_ranges_keep_gains_below_a_tick(name):
    (low, high), (least, most) = {"S1": ((0, 1), (0, 1)), "S2": ((0.5, 1), (0.3, 1)), "S3": ((0, 0.6), (0, 0.4))}[name]
    rng = np.random.default_rng(1)
    for tick in (0.01, 0.003):
        for _ in range(3000):
            values = rng.uniform(low, high, rng.integers(1, 16))
            costs = rng.uniform(least, most, rng.integers(1, 16))
            for gains in deviation_gains(values, costs, clocks=Clocks(tick)):
                assert gains.max() < tick
