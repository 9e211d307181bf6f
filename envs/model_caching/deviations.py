"""What an agent gains by stopping its clock elsewhere than at its value, everybody else being truthful."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..core.errors import InvalidInputError
from ..core.jit import compiled
from . import market_kernel as kernel
from .market import VARIANTS, Clocks, stops
from .market_kernel import NEVER, Floats, Ints

_CROSSING, _ALTERNATING = VARIANTS.index("crossing"), VARIANTS.index("alternating")
_NOBODY = -1


def deviation_gains(
    values: ArrayLike, costs: ArrayLike, *, variant: str = "sweep", clocks: Clocks | None = None
) -> tuple[Floats, Floats]:
    """Largest gain of each agent over its truthful utility, over every stop price of the grid and not stopping at all.

    Synchronized clocks are cleared by McAfee's rule; with alternating clocks a deviator stops at the first price that
    reaches the one it pretends. Ties go by index.

    Args:
        values: (n,) true values of the buyers.
        costs: (m,) true costs of the sellers.
        variant: as in `market.double_dutch`.
        clocks: likewise.

    Returns:
        Gains of the buyers (n,) and of the sellers (m,), at least 0, in units of value.

    Raises:
        InvalidInputError: an unknown variant, or values or costs that are not finite.
    """
    if variant not in VARIANTS:
        raise InvalidInputError.of("variant", " or ".join(VARIANTS), variant)
    clocks = clocks or Clocks()
    buyer_ticks, _, seller_ticks, _ = stops(values, costs, clocks)
    found = np.zeros(len(buyer_ticks)), np.zeros(len(seller_ticks))
    grid = (clocks.tick, clocks.low, clocks.high)
    code = VARIANTS.index(variant)
    for buying, gains, worth in ((True, found[0], values), (False, found[1], costs)):
        _scan(buyer_ticks, seller_ticks, np.asarray(worth, np.float64), buying, code, *grid, gains)
    return found


@compiled
def _scan(
    buyer_ticks: Ints,
    seller_ticks: Ints,
    worth: Floats,
    buying: bool,
    variant: int,
    tick: float,
    low: float,
    high: float,
    gains: Floats,
) -> None:
    """Gains of one side's agents, written to ``gains``."""
    last = kernel.last_tick(tick, low, high)
    end = kernel.last_uncrossed(tick, low, high) if variant == _CROSSING else last
    mine, theirs = (buyer_ticks, seller_ticks) if buying else (seller_ticks, buyer_ticks)
    rivals = theirs[_stopped(theirs, end, _NOBODY)]
    for agent in range(mine.shape[0]):
        others = _stopped(mine, end, agent)
        truth = best = 0.0  # an agent that never stops gets 0
        for stop in range(end + 1):
            side, place = _inserted(mine, others, agent, stop)
            first, second = (side, rivals) if buying else (rivals, side)
            trades, pay, get = _outcome(
                first, second, buyer_ticks.shape[0], seller_ticks.shape[0], variant, tick, low, high
            )
            utility = 0.0
            if place < trades:
                utility = worth[agent] - pay if buying else get - worth[agent]
            best = max(best, utility)
            if stop == mine[agent]:
                truth = utility
        gains[agent] = best - truth


@compiled
def _inserted(ticks: Ints, others: Ints, agent: int, stop: int) -> tuple[Ints, int]:
    """Stop ticks of the others and of the agent that stops at ``stop``, in order, and the agent's place among them."""
    side = np.empty(others.shape[0] + 1, np.int64)
    place = 0
    for i in range(others.shape[0]):
        earlier = ticks[others[i]] < stop or (ticks[others[i]] == stop and others[i] < agent)
        place += earlier
        side[i if earlier else i + 1] = ticks[others[i]]
    side[place] = stop
    return side, place


@compiled
def _stopped(ticks: Ints, end: int, without: int) -> Ints:
    """Agents that stop by tick ``end``, but for one, in the order of their stops."""
    order = np.argsort(ticks, kind="mergesort")
    kept = np.empty(order.shape[0], np.int64)
    count = 0
    for agent in order:
        if agent != without and ticks[agent] != NEVER and ticks[agent] <= end:
            kept[count] = agent
            count += 1
    return kept[:count]


@compiled
def _outcome(
    buyers: Ints, sellers: Ints, all_buyers: int, all_sellers: int, variant: int, tick: float, low: float, high: float
) -> tuple[int, float, float]:
    """Trades and both prices, from the stop ticks of those that stopped, in the order of their stops."""
    last = kernel.last_tick(tick, low, high)
    if variant == _ALTERNATING:
        bought, sold, at_buyer, at_seller, _, _ = kernel.alternate(
            buyers, sellers, all_buyers, all_sellers, tick, low, high
        )
        price = 0.5 * (
            kernel.buyer_price(at_buyer, last, tick, low, high) + kernel.seller_price(at_seller, last, tick, low, high)
        )
        return min(bought, sold), price, price
    bids, asks = np.empty(buyers.shape[0]), np.empty(sellers.shape[0])
    for i in range(buyers.shape[0]):
        bids[i] = kernel.buyer_price(buyers[i], last, tick, low, high)
    for j in range(sellers.shape[0]):
        asks[j] = kernel.seller_price(sellers[j], last, tick, low, high)
    _, count, pay, get = kernel.mcafee(bids, asks, low)
    return count, pay, get
