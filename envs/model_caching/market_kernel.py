"""Compiled pieces of the market: clock paths, first acceptances, the clearing rule, the alternating clocks.

A clock's price is a function of its tick alone, so that nothing accumulates rounding: at tick t the buyers' clock
stands at ``high - t * tick``, the sellers' at ``low + t * tick``, and at the last tick exactly at the far end.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..core.jit import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEVER = -1
"""Stop tick of an agent whose clock never reaches its value."""
_SLACK = 1e-9  # of a tick: a range that is a whole number of ticks up to rounding has no extra short tick


@compiled
def last_tick(tick: float, low: float, high: float) -> int:
    """Number of the tick that stands at the far end: both clocks have ticks 0 to this."""
    return max(math.ceil((high - low) / tick - _SLACK), 0)


@compiled
def buyer_price(t: int, last: int, tick: float, low: float, high: float) -> float:
    """Price of the falling clock at tick t."""
    return low if t >= last else max(high - t * tick, low)


@compiled
def seller_price(t: int, last: int, tick: float, low: float, high: float) -> float:
    """Price of the rising clock at tick t."""
    return high if t >= last else min(low + t * tick, high)


@compiled
def buyer_stops(values: Floats, tick: float, low: float, high: float, ticks: Ints, prices: Floats) -> None:
    """First tick whose price is at most the buyer's value, and that price; NEVER and NaN below the range.

    Args:
        values: (n,).
        tick: step of the clock.
        low: far end.
        high: opening price.
        ticks: (n,), written.
        prices: (n,), written.
    """
    last = last_tick(tick, low, high)
    for i in range(values.shape[0]):
        value = values[i]
        if value < low:
            ticks[i], prices[i] = NEVER, np.nan
            continue
        t = int(min(max((high - value) / tick, 0.0), float(last)))  # a guess within a tick, put right by the prices
        while buyer_price(t, last, tick, low, high) > value:
            t += 1
        while t > 0 and buyer_price(t - 1, last, tick, low, high) <= value:
            t -= 1
        ticks[i], prices[i] = t, buyer_price(t, last, tick, low, high)


@compiled
def seller_stops(costs: Floats, tick: float, low: float, high: float, ticks: Ints, prices: Floats) -> None:
    """First tick whose price is at least the seller's cost, and that price; NEVER and NaN above the range.

    Args:
        costs: (m,).
        tick: step of the clock.
        low: opening price.
        high: far end.
        ticks: (m,), written.
        prices: (m,), written.
    """
    last = last_tick(tick, low, high)
    for j in range(costs.shape[0]):
        cost = costs[j]
        if cost > high:
            ticks[j], prices[j] = NEVER, np.nan
            continue
        t = int(min(max((cost - low) / tick, 0.0), float(last)))
        while seller_price(t, last, tick, low, high) < cost:
            t += 1
        while t > 0 and seller_price(t - 1, last, tick, low, high) >= cost:
            t -= 1
        ticks[j], prices[j] = t, seller_price(t, last, tick, low, high)


@compiled
def last_uncrossed(tick: float, low: float, high: float) -> int:
    """Last tick at which the synchronized clocks have not crossed; `NEVER` if they open crossed."""
    last = last_tick(tick, low, high)
    t: int = last // 2
    while t < last and buyer_price(t + 1, last, tick, low, high) >= seller_price(t + 1, last, tick, low, high):
        t += 1
    while t >= 0 and buyer_price(t, last, tick, low, high) < seller_price(t, last, tick, low, high):
        t -= 1
    return t


@compiled
def mcafee(bids: Floats, asks: Floats, floor: float) -> tuple[int, int, float, float]:
    """McAfee's rule on sorted reports.

    Args:
        bids: (n,), falling.
        asks: (m,), rising.
        floor: stands for the next bid where every buyer is among the efficient ones.

    Returns:
        Number k of efficient pairs, number q of trades, price that buyers pay and price that sellers get (NaN without
        an efficient pair).

    *Source*: McAfee, *A Dominant Strategy Double Auction*, J. Economic Theory 56, 1992; Xu et al., arXiv 2501.14205,
    eq. 29-32.
    """
    most = min(bids.shape[0], asks.shape[0])
    low, high = 0, most  # bisect: sorted reports cross once
    while low < high:
        middle = (low + high) // 2
        if bids[middle] >= asks[middle]:
            low = middle + 1
        else:
            high = middle
    k = low
    if k == 0:
        return 0, 0, np.nan, np.nan
    next_bid = bids[k] if k < bids.shape[0] else floor
    next_ask = asks[k] if k < asks.shape[0] else np.inf
    price = 0.5 * (next_bid + next_ask)
    if asks[k - 1] <= price <= bids[k - 1]:
        return k, k, price, price
    return k, k - 1, bids[k - 1], asks[k - 1]


@compiled
def alternate(
    buyer_ticks: Ints, seller_ticks: Ints, buyers: int, sellers: int, tick: float, low: float, high: float
) -> tuple[int, int, int, int, int, int]:
    """The alternating clocks: the buyers' falls until one stops it, then the sellers' rises until one stops it, ...

    Acceptances come in the order of (stop tick, rank): a clock moves only while nobody waiting accepts where it stands.

    Args:
        buyer_ticks: stop ticks of those buyers that ever stop, rising (ties in rank order).
        seller_ticks: likewise of the sellers.
        buyers: number of all buyers.
        sellers: number of all sellers.
        tick: step of both clocks.
        low: lower end of the range.
        high: upper end.

    Returns:
        Accepted buyers, accepted sellers, tick of each clock before they cross (or where they end), moves of a clock,
        agents polled in them.

    *Source*: McCabe, Rassenti, Smith, Economic J. 102, 1992.
    """
    last = last_tick(tick, low, high)
    bought, sold, at_buyer, at_seller, moves, polled = 0, 0, 0, 0, 0, 0
    buyers_turn = True
    while True:
        if buyers_turn and bought < buyer_ticks.shape[0] and buyer_ticks[bought] <= at_buyer:
            bought += 1
            buyers_turn = False
        elif not buyers_turn and sold < seller_ticks.shape[0] and seller_ticks[sold] <= at_seller:
            sold += 1
            buyers_turn = True
        elif (at_buyer if buyers_turn else at_seller) == last:
            return bought, sold, at_buyer, at_seller, moves, polled
        else:
            moves += 1
            to_buyer, to_seller = (at_buyer + 1, at_seller) if buyers_turn else (at_buyer, at_seller + 1)
            if buyer_price(to_buyer, last, tick, low, high) < seller_price(to_seller, last, tick, low, high):
                return bought, sold, at_buyer, at_seller, moves, polled
            at_buyer, at_seller = to_buyer, to_seller
            polled += buyers - bought if buyers_turn else sellers - sold
