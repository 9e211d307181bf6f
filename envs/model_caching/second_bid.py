"""The modified second-bid auction of one indivisible right: to serve an agent in the coming slot.

Performance bidders (base stations) bid; if the highest bid exceeds the second by more than a factor rho, its bidder
wins and pays rho times the second bid; else the right goes to the contract bidder (the satellite) at its contract
price. With rho = 1 it is the second-price auction.

*Source*: Xu et al., arXiv 2403.05826, section V (eq. 30-35).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import InvalidInputError
from .market_kernel import Floats, Ints

CONTRACT = -1
"""The winner where no bid stands out: the contract bidder."""


def checked_bids(bids: ArrayLike) -> Floats:
    """Bids of rounds, float64 (..., N) with N at least 1.

    Raises:
        InvalidInputError: another shape, or a bid that is negative or not finite.
    """
    allowed = "finite numbers >= 0, the last axis one per bidder"
    try:
        array = np.asarray(bids, np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError.of("bids", allowed, bids) from None
    if array.ndim == 0 or array.shape[-1] < 1 or not (np.isfinite(array) & (array >= 0)).all():
        raise InvalidInputError.of("bids", allowed, array)
    return array


def highest_rival(bids: Floats) -> Floats:
    """For each bidder the highest bid of the others, shape of the bids; 0 for a lone bidder."""
    rivals = np.zeros_like(bids)
    if bids.shape[-1] > 1:
        ordered = np.sort(bids, axis=-1)
        first, second = ordered[..., -1:], ordered[..., -2:-1]
        rivals[...] = first
        np.put_along_axis(rivals, np.argmax(bids, axis=-1)[..., None], second, axis=-1)
    return rivals


def modified_second_bid(bids: ArrayLike, rho: ArrayLike) -> tuple[Ints, Floats]:
    """Who gets the right, and what it pays.

    Args:
        bids: (..., N).
        rho: factors, at least 1; they broadcast against the bids. Where a bidder's factor depends on its own bid, the
            auction is not truthful.

    Returns:
        Winners (...), `CONTRACT` where nobody stands out, and payments (...) of the winning bidders, 0 without one (the
        contract bidder pays its contract price elsewhere).

    Raises:
        InvalidInputError: bids or factors out of range.
    """
    array = checked_bids(bids)
    factors = np.asarray(rho, np.float64)
    if not (factors >= 1).all():
        raise InvalidInputError.of("rho", "numbers >= 1", rho)
    rivals = highest_rival(array)
    price = np.multiply(factors, rivals, where=rivals > 0, out=np.zeros_like(array))  # without a rival 0
    wins = array > price  # strict, and factors >= 1: never two of them
    winner = np.where(wins.any(-1), np.argmax(wins, -1), CONTRACT)
    return winner, np.where(wins, price, 0.0).sum(-1)


def myopic_rho(bids: ArrayLike, contract: float) -> Floats:
    """Factor that lets the best bidder win where it beats the contract price: max(1, contract / second bid), (...).

    It knows the contract price, which a bidder with the common value does not share: a yardstick, not a mechanism.
    """
    array = checked_bids(bids)
    second = np.sort(array, axis=-1)[..., -2] if array.shape[-1] > 1 else np.zeros(array.shape[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(second > 0, np.maximum(1.0, contract / second), np.where(contract > 0, np.inf, 1.0))


def surplus(values: ArrayLike, winner: ArrayLike, contract: float) -> Floats:
    """Realised value of each round: the winner's, or the contract bidder's.

    Args:
        values: (..., N) true values.
        winner: (...) as `modified_second_bid` returns them.
        contract: the contract bidder's value.
    """
    values, who = np.asarray(values, np.float64), np.asarray(winner)
    taken = np.take_along_axis(values, np.maximum(who, 0)[..., None], -1)[..., 0]
    return np.where(who == CONTRACT, contract, taken)


def performance_values(cost_saved: ArrayLike, thoughts: ArrayLike, beta: float) -> NDArray[np.float64]:
    """Value of the right to a base station: c m, its mean cost but for accuracy times its mean thoughts' gain.

    Args:
        cost_saved: c_n, mean of the total cost less the accuracy cost, per slot.
        thoughts: mean age of thoughts kappa_n.
        beta: base of the reasoning gain, in (0, 1); m_n = kappa_n log(1 / beta).

    Raises:
        InvalidInputError: beta is out of range.

    *Source*: arXiv 2403.05826, section V.
    """
    if not 0 < beta < 1:
        raise InvalidInputError.of("beta", "a number in (0, 1)", beta)
    gain: NDArray[np.float64] = np.asarray(cost_saved, np.float64) * np.asarray(thoughts, np.float64) * -np.log(beta)
    return gain
