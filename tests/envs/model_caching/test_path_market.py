"""The market of one slot: who gets a path, who runs it, who pays whom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.market import Clocks, clear
from edgewise.envs.model_caching.path_market import NO_SELLER, path_values, slot_costs, trade_paths, unit_slots

NONE = np.nan
FINE = Clocks(1e-4)


def test_a_hand_computed_slot():
    """Two servers with two agents each; agent (1, 0) has no local demand, server 1 only one slot."""
    bids = [[0.9, 0.5], [NONE, 0.7]]
    found = trade_paths(bids, [[0.1, 0.3], [0.2, NONE]], clocks=FINE)
    # merit order 0.9/0.1, 0.7/0.2, 0.5/0.3: k = 3, next bid 0 and no next ask, so case B: the last pair is left out
    assert found.paths.tolist() == [[1, 0], [0, 1]]
    assert found.seller.tolist() == [[0, NO_SELLER], [NO_SELLER, 1]]
    assert found.sold.tolist() == [1, 1]
    assert found.payments == pytest.approx(np.array([[0.5, 0], [0, 0.5]]), abs=2e-4)
    assert found.receipts == pytest.approx([0.3, 0.3], abs=2e-4)
    assert found.surplus == pytest.approx(0.4, abs=4e-4)


def test_a_server_sells_as_many_slots_as_it_has_energy_for():
    slots = unit_slots([10.0, 0.9, -3.0], 1.0)
    assert slots.tolist() == [10, 0, 0]
    bids = [0.9] * 6 + [0.34]
    found = trade_paths(bids, slot_costs([0.1] * 3, [0.05] * 3, slots, 8), clocks=FINE)
    assert found.sold.tolist() == [6, 0, 0]
    assert found.payments == pytest.approx([0.37] * 6 + [0], abs=1e-4)  # between the seventh bid and the seventh slot


def test_slots_that_cannot_matter_are_left_out_without_a_change():
    rng = np.random.default_rng(0)
    bids, first, congestion = rng.random(5), rng.random(3), rng.random(3) * 0.1
    few, many = (slot_costs(first, congestion, [2000, 40, 0], most) for most in (6, 2000))
    assert few.shape == (3, 6)
    one, other = trade_paths(bids, few), trade_paths(bids, many)
    assert one.seller.tolist() == other.seller.tolist()
    assert one.payments.tolist() == other.payments.tolist()


def test_nobody_to_trade_with():
    for bids, slots in (([NONE, NONE], [[0.1]]), ([0.9], np.empty((2, 0))), ([0.9], [[NONE]])):
        found = trade_paths(bids, slots)
        assert not found.paths.any()
        assert (found.seller == NO_SELLER).all()
        assert not found.payments.any()
        assert found.surplus == 0.0


numbers = st.floats(0, 1)
markets = st.tuples(
    st.lists(st.one_of(numbers, st.just(NONE)), min_size=6, max_size=6),
    st.lists(st.tuples(numbers, st.floats(0, 0.3), st.integers(0, 4)), min_size=1, max_size=4),
)


@given(markets)
def test_payments_are_transfers_and_nobody_loses(market):
    bids, servers = np.array(market[0]).reshape(2, 3), [np.array(column) for column in zip(*market[1], strict=True)]
    costs = slot_costs(*servers, 7)
    found = trade_paths(bids, costs, clocks=Clocks(0.01, 0.0, 3.0))
    won = found.paths == 1
    assert not won[np.isnan(bids)].any()
    assert (found.payments[won] <= bids[won]).all()
    assert not found.payments[~won].any()
    assert ((found.seller == NO_SELLER) == ~won).all()
    assert np.bincount(found.seller[won], minlength=len(costs)).tolist() == found.sold.tolist()
    assert (found.sold <= servers[2]).all()
    for server, sold in enumerate(found.sold):
        assert found.receipts[server] >= costs[server, :sold].sum() - 1e-9  # the cheapest slots go first
    assert found.surplus == pytest.approx(found.payments.sum() - found.receipts.sum())
    assert found.surplus >= -1e-9
    plain = clear(found.auction.bids, found.auction.asks)
    assert len(plain) == found.sold.sum()


def test_the_value_of_a_path_is_the_gain_in_accuracy():
    start, limit, tau = 0.15, 0.265, 6.72  # LaMDA on GSM8K

    def accuracy(j):
        return limit - (limit - start) * math.exp(-j / tau)

    values = path_values(2.0, start, limit, tau, np.arange(20))
    assert values == pytest.approx([2.0 * (accuracy(j + 1) - accuracy(j)) for j in range(20)])
    assert (np.diff(values) < 0).all()


def test_equal_servers_share_the_work_and_ranks_decide_ties():
    found = trade_paths([0.8] * 3, [[0.2, 0.2], [0.2, 0.2]])  # case B: two trades
    assert found.sold.tolist() == [1, 1]
    ranked = trade_paths([[0.8, 0.8]], [[0.2], [0.2]], buyer_rank=[[1, 0]])  # case B: one of two equal buyers
    assert ranked.paths.tolist() == [[0, 1]]


BAD = {
    "bids": lambda: trade_paths([np.inf], [[0.1]]),
    "slots": lambda: trade_paths([0.5], [0.1]),
    "slots must be rising": lambda: trade_paths([0.5], [[0.2, 0.1]]),
    "NaN only at its end": lambda: trade_paths([0.5], [[NONE, 0.1]]),
    "buyer_rank": lambda: trade_paths([0.5], [[0.1]], buyer_rank=[[0]]),
    "path_energy": lambda: unit_slots([1.0], 0.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_names_the_field(message):
    with pytest.raises(InvalidInputError, match=message):
        BAD[message]()
