"""The modified second-bid auction against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.second_bid import (
    CONTRACT,
    highest_rival,
    modified_second_bid,
    myopic_rho,
    performance_values,
    surplus,
)


def test_hand_computed_rounds():
    bids = [[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]]
    winner, payment = modified_second_bid(bids, np.array([[1.2], [1.5], [1.0], [1.0], [1.5]]))
    assert winner.tolist() == [0, CONTRACT, CONTRACT, CONTRACT, 1]  # strict: 3 > 1.5 * 2 fails, and so do ties
    assert payment == pytest.approx([2.4, 0, 0, 0, 0])
    assert surplus(bids, winner, 10.0).tolist() == [3, 10, 10, 10, 5]
    assert highest_rival(np.array([3.0, 1.0, 2.0])).tolist() == [2, 3, 3]
    assert highest_rival(np.array([3.0, 3.0])).tolist() == [3, 3]
    assert highest_rival(np.array([3.0])).tolist() == [0]


@pytest.mark.parametrize("n", [2, 5, 10])
def test_factor_one_is_the_second_price_auction(n):
    """Uniform values: expected surplus n / (n + 1), expected price (n - 1) / (n + 1)."""
    values = np.random.default_rng(0).random((200_000, n))
    winner, payment = modified_second_bid(values, 1.0)
    assert surplus(values, winner, 0.0).mean() == pytest.approx(n / (n + 1), abs=3e-3)
    assert payment.mean() == pytest.approx((n - 1) / (n + 1), abs=3e-3)


@pytest.mark.parametrize("rho", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("contract", [0.3, 0.9])
def test_surplus_of_two_uniform_bidders_at_any_factor(rho, contract):
    """The second of two uniform bids is a uniform share of the first: surplus = x0 + (2/3 - x0) / rho."""
    values = np.random.default_rng(1).random((200_000, 2))
    winner, _ = modified_second_bid(values, rho)
    assert (winner != CONTRACT).mean() == pytest.approx(1 / rho, abs=4e-3)
    assert surplus(values, winner, contract).mean() == pytest.approx(contract + (2 / 3 - contract) / rho, abs=4e-3)


def test_the_myopic_factor_lets_the_better_of_bid_and_contract_win():
    values = np.random.default_rng(2).random((5000, 4))
    winner, payment = modified_second_bid(values, myopic_rho(values, 0.8)[:, None])
    assert surplus(values, winner, 0.8) == pytest.approx(np.maximum(values.max(1), 0.8))
    won = winner != CONTRACT
    assert payment[won] == pytest.approx(np.maximum(np.sort(values, 1)[won, -2], 0.8))


def test_a_factor_fixed_in_advance_is_truthful():
    rng = np.random.default_rng(3)
    for _ in range(300):
        values, rho = rng.random(4), 1 + rng.random(4)
        honest, price = modified_second_bid(values, rho)
        for bidder in range(4):
            tried = np.tile(values, (40, 1))
            tried[:, bidder] = np.concatenate([2 * rng.random(20), np.repeat(values, 5)])
            winner, payment = modified_second_bid(tried, rho)
            gain = np.where(winner == bidder, values[bidder] - payment, 0.0)
            assert gain.max() <= (values[bidder] - price if honest == bidder else 0.0) + 1e-12


def test_values_of_base_stations():
    assert performance_values([2.0], [3.0], 0.5) == pytest.approx([2 * 3 * math.log(2)])


BAD = {
    "bids": lambda: modified_second_bid([-1.0, 0.5], 1.0),
    "rho": lambda: modified_second_bid([1.0, 0.5], 0.9),
    "beta": lambda: performance_values([1.0], [1.0], 1.0),
}


@pytest.mark.parametrize("field", BAD)
def test_bad_input_names_the_field(field):
    with pytest.raises(InvalidInputError, match=field):
        BAD[field]()
