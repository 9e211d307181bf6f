"""What items pay for memory in training: critical prices, own bids, and nothing without memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewise.agents.memory_bids import payments


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_by_hand() -> None:
    bids, sizes = row(9.0, 6.0, 4.0, 3.0, -1.0), row(0.5, 0.6, 0.3, 0.4, 0.1)
    held = np.array([[True, False, True, False, False]])  # 0.6 and 0.4 were passed over
    np.testing.assert_allclose(payments(bids, sizes, held, 0.0), row(0.5 * 6.0, 0.0, 0.3 * 3.0, 0.0, 0.0))
    np.testing.assert_allclose(payments(bids, sizes, held, 1.0), row(0.5 * 9.0, 0.0, 0.3 * 4.0, 0.0, 0.0))
    np.testing.assert_allclose(payments(bids, sizes, held, 0.25)[0, 0], 0.5 * (0.25 * 9.0 + 0.75 * 6.0))


def test_nobody_pays_where_nobody_was_turned_away() -> None:
    bids = row(5.0, 2.0, -3.0)
    assert (payments(bids, row(0.2, 0.2, 0.2), np.array([[True, True, False]]), 0.0) == 0.0).all()


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, 6, elements=st.floats(-5, 5, width=32)), st.integers(1, 5), st.integers(0, 5))
def test_with_equal_sizes_it_is_best_to_bid_what_the_memory_is_worth(worth: np.ndarray, places: int, who: int) -> None:
    def gain(bid: float) -> float:
        bids = worth.copy()
        bids[who] = bid
        held = np.zeros(6, bool)
        held[np.argsort(-bids, kind="stable")[:places]] = True
        held &= bids > 0.0
        paid = payments(bids[None].astype(np.float32), np.ones((1, 6), np.float32), held[None], 0.0)[0, who]
        return (worth[who] if held[who] else 0.0) - float(paid)

    honest = gain(float(worth[who]))
    assert honest >= -1e-6
    for bid in np.linspace(-6.0, 6.0, 25):
        assert gain(float(bid)) <= honest + 1e-6


@pytest.mark.parametrize("own", [0.0, 0.4, 1.0])
def test_a_price_is_never_above_the_own_bid(own: float) -> None:
    rng = np.random.default_rng(0)
    bids, sizes = rng.normal(size=(50, 8)).astype(np.float32), rng.uniform(0.05, 0.4, (50, 8)).astype(np.float32)
    held = (rng.random((50, 8)) < 0.5) & (bids > 0.0)
    paid = payments(bids, sizes, held, own)
    assert (paid[~held] == 0.0).all()
    assert (paid <= sizes * np.maximum(bids, 0.0) * 1.0001).all()
