"""The auctioneer's clocks tick by tick, compiled by numba: many auctions at once, each from one decision to the next.

The prices are those of `market_kernel`: a clock that has moved by u ticks stands u ticks from its opening price, so an
auction whose every step is s ticks is the auction of `market.double_dutch` with a tick of that size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.jit import compiled
from ..core.rng import device_key, episode_key, uniform
from ..core.streams import VALUATION
from .market_kernel import Floats, Ints, buyer_price, last_tick, mcafee, seller_price

BOTH, BUYERS, SELLERS = range(3)
"""Whose clock moves next."""

# Columns of an observation.
BUYER_CLOCK, SELLER_CLOCK, ELAPSED, WAITING_BUYERS, WAITING_SELLERS, TURN = range(6)
WIDTH = 6

# Rows of the float and integer outputs of a step.
COST, DURATION, TIME, MESSAGES, WELFARE, BUYER_PRICE, SELLER_PRICE, OPTIMAL = range(8)
OUTPUTS = 8
POLLED, TRADES = range(2)

RUNNING, CLEARED, CUT = range(3)
"""State of an episode: under way, ended by clearing, truncated by the horizon."""

WAITS = -1
"""Stop of an agent that has not stopped."""

LANE = np.dtype(
    [
        ("seed", "u8"),
        ("episode", "i8"),
        ("ticks", "i8"),  # steps taken
        ("buyer_clock", "i8"),  # ticks from the opening price
        ("seller_clock", "i8"),
        ("bought", "i8"),  # buyers that have stopped
        ("sold", "i8"),
        ("pairs", "i8"),  # pairs whose trade is agreed
        ("turn", "i8"),
        ("state", "i8"),
        ("best", "f8"),  # optimal welfare of the drawn values
        ("owed", "f8"),  # welfare of pairs that agreed at the opening prices: entered with the first step
    ]
)

PARAMS = np.dtype(
    [
        ("tick", "f8"),
        ("message_cost", "f8"),
        ("value_low", "f8"),
        ("value_high", "f8"),
        ("cost_low", "f8"),
        ("cost_high", "f8"),
        ("horizon", "f8"),
        ("alternating", "i8"),
    ]
)


class World(NamedTuple):
    """L auctions of n buyers and m sellers.

    Attributes:
        lane: (L,) LANE records.
        value: (L, n) values of the buyers.
        cost: (L, m) costs of the sellers.
        buyer_stop: (L, n) clock position at which each buyer stopped, or `WAITS`.
        seller_stop: (L, m) likewise.
        buyer_order: (L, n) buyers in the order of their stops; the first ``bought`` entries count.
        seller_order: (L, m) likewise.
        params: (1,) PARAMS record.
    """

    lane: NDArray[np.void]
    value: Floats
    cost: Floats
    buyer_stop: Ints
    seller_stop: Ints
    buyer_order: Ints
    seller_order: Ints
    params: NDArray[np.void]


STATE_FIELDS = World._fields[:-1]


@compiled
def _buyer_price(w: World, units: int) -> float:
    tick = w.params[0]["tick"]
    price: float = buyer_price(units, last_tick(tick, 0.0, 1.0), tick, 0.0, 1.0)
    return price


@compiled
def _seller_price(w: World, units: int) -> float:
    tick = w.params[0]["tick"]
    price: float = seller_price(units, last_tick(tick, 0.0, 1.0), tick, 0.0, 1.0)
    return price


# --- acceptances ------------------------------------------------------------------------------------------------------


@compiled
def _accept_buyers(w: World, i: int, most: int) -> int:
    """Let waiting buyers that accept their clock's price stop, in rank order, at most so many; how many did."""
    lane = w.lane[i]
    price, count = _buyer_price(w, lane["buyer_clock"]), 0
    for b in range(w.value.shape[1]):
        if count == most:
            break
        if w.buyer_stop[i, b] == WAITS and w.value[i, b] >= price:
            w.buyer_stop[i, b] = lane["buyer_clock"]
            w.buyer_order[i, lane["bought"]] = b
            lane["bought"] += 1
            count += 1
    return count


@compiled
def _accept_sellers(w: World, i: int, most: int) -> int:
    """The sellers' twin of `_accept_buyers`."""
    lane = w.lane[i]
    price, count = _seller_price(w, lane["seller_clock"]), 0
    for s in range(w.cost.shape[1]):
        if count == most:
            break
        if w.seller_stop[i, s] == WAITS and w.cost[i, s] <= price:
            w.seller_stop[i, s] = lane["seller_clock"]
            w.seller_order[i, lane["sold"]] = s
            lane["sold"] += 1
            count += 1
    return count


@compiled
def _accept(w: World, i: int) -> None:
    """Acceptances at the present prices: everybody's at once, or turn by turn until nobody accepts."""
    lane = w.lane[i]
    if lane["turn"] == BOTH:
        _accept_buyers(w, i, w.value.shape[1])
        _accept_sellers(w, i, w.cost.shape[1])
        return
    while True:
        if lane["turn"] == BUYERS:
            if _accept_buyers(w, i, 1) == 0:
                return
            lane["turn"] = SELLERS
        else:
            if _accept_sellers(w, i, 1) == 0:
                return
            lane["turn"] = BUYERS


@compiled
def _new_pairs(w: World, i: int) -> float:
    """Count the pairs that have become able to trade; the welfare that they bring."""
    lane, gained = w.lane[i], 0.0
    while lane["pairs"] < min(lane["bought"], lane["sold"]):
        b, s = w.buyer_order[i, lane["pairs"]], w.seller_order[i, lane["pairs"]]
        if _buyer_price(w, w.buyer_stop[i, b]) < _seller_price(w, w.seller_stop[i, s]):
            break
        gained += w.value[i, b] - w.cost[i, s]
        lane["pairs"] += 1
    return gained


# --- the two kinds of clocks ------------------------------------------------------------------------------------------


@compiled
def _sweep(w: World, i: int, step: int) -> tuple[int, bool]:
    """Move both clocks; how many agents are polled, and whether the sweep is over."""
    lane, last = w.lane[i], last_tick(w.params[0]["tick"], 0.0, 1.0)
    everybody = w.value.shape[1] + w.cost.shape[1]
    polled = everybody - lane["bought"] - lane["sold"]
    lane["buyer_clock"] = min(lane["buyer_clock"] + step, last)
    lane["seller_clock"] = min(lane["seller_clock"] + step, last)
    _accept(w, i)
    return polled, lane["buyer_clock"] == last or lane["bought"] + lane["sold"] == everybody


@compiled
def _alternate(w: World, i: int, step: int) -> tuple[int, bool]:
    """Move the clock whose turn it is; how many agents are polled, and whether the clocks have crossed or ended."""
    lane, last = w.lane[i], last_tick(w.params[0]["tick"], 0.0, 1.0)
    polled = 0
    while True:
        buyers_turn = lane["turn"] == BUYERS
        buyer_clock, seller_clock = lane["buyer_clock"], lane["seller_clock"]
        waiting = w.value.shape[1] - lane["bought"] if buyers_turn else w.cost.shape[1] - lane["sold"]
        if (buyer_clock if buyers_turn else seller_clock) == last:
            return polled, True
        if buyers_turn:
            buyer_clock = min(buyer_clock + step, last)
        else:
            seller_clock = min(seller_clock + step, last)
        if _buyer_price(w, buyer_clock) < _seller_price(w, seller_clock):
            return polled, True
        polled += waiting
        lane["buyer_clock"], lane["seller_clock"] = buyer_clock, seller_clock
        _accept(w, i)
        left = w.value.shape[1] - lane["bought"] if lane["turn"] == BUYERS else w.cost.shape[1] - lane["sold"]
        if left > 0:  # else nobody is left to decide about: the clock runs on until the clocks cross
            at = lane["buyer_clock"] if lane["turn"] == BUYERS else lane["seller_clock"]
            return polled, at == last


@compiled
def _clear(w: World, i: int, out: Floats, ints: Ints) -> float:
    """Prices and trades of the auction; the welfare lost by leaving the last pair out (0 or less)."""
    lane = w.lane[i]
    pairs = lane["pairs"]
    if w.params[0]["alternating"]:
        price = 0.5 * (_buyer_price(w, lane["buyer_clock"]) + _seller_price(w, lane["seller_clock"]))
        if pairs > 0:
            out[BUYER_PRICE, i] = out[SELLER_PRICE, i] = price
        return 0.0
    bids, asks = np.empty(lane["bought"]), np.empty(lane["sold"])
    for k in range(lane["bought"]):
        bids[k] = _buyer_price(w, w.buyer_stop[i, w.buyer_order[i, k]])
    for k in range(lane["sold"]):
        asks[k] = _seller_price(w, w.seller_stop[i, w.seller_order[i, k]])
    _, trades, pay, get = mcafee(bids, asks, 0.0)
    if trades > 0:
        out[BUYER_PRICE, i], out[SELLER_PRICE, i] = pay, get
    ints[TRADES, i] = trades
    if trades == pairs:
        return 0.0
    return float(w.cost[i, w.seller_order[i, pairs - 1]] - w.value[i, w.buyer_order[i, pairs - 1]])


# --- reset and step ---------------------------------------------------------------------------------------------------


@compiled
def _optimal_welfare(values: Floats, costs: Floats) -> float:
    """The merit order's sum of values minus costs."""
    best, worst = np.sort(values), np.sort(costs)
    total = 0.0
    for k in range(min(values.shape[0], costs.shape[0])):
        gain = best[values.shape[0] - 1 - k] - worst[k]
        if gain <= 0.0:
            break
        total += gain
    return total


@compiled
def _tell(w: World, i: int, obs: NDArray[np.float32]) -> None:
    """Write the observation of a lane."""
    lane, last = w.lane[i], last_tick(w.params[0]["tick"], 0.0, 1.0)
    obs[i, BUYER_CLOCK] = _buyer_price(w, lane["buyer_clock"])
    obs[i, SELLER_CLOCK] = _seller_price(w, lane["seller_clock"])
    obs[i, ELAPSED] = lane["ticks"] / (last + 1.0)
    obs[i, WAITING_BUYERS] = 1.0 - lane["bought"] / w.value.shape[1]
    obs[i, WAITING_SELLERS] = 1.0 - lane["sold"] / w.cost.shape[1]
    obs[i, TURN] = lane["turn"]


@compiled
def pending_lanes(w: World, mask: NDArray[np.bool_], obs: NDArray[np.float32], out: Floats, ints: Ints) -> None:
    """What a step of duration 0 would report in the masked lanes: the present observation, at no cost.

    Args:
        w: the auctions.
        mask: (L,) bool.
        obs: (L, WIDTH), written in these lanes.
        out: (OUTPUTS, L), written likewise.
        ints: (2, L), written likewise.
    """
    for i in range(mask.shape[0]):
        if mask[i]:
            out[:, i] = 0.0
            out[TIME, i], out[OPTIMAL, i] = float(w.lane[i]["ticks"]), w.lane[i]["best"]
            ints[POLLED, i], ints[TRADES, i] = 0, w.lane[i]["pairs"]
            _tell(w, i, obs)


@compiled
def reset_lanes(w: World, mask: NDArray[np.bool_], obs: NDArray[np.float32], out: Floats, ints: Ints) -> None:
    """Open a new auction in every masked lane; seed and episode are set already.

    Args:
        w: the auctions.
        mask: (L,) bool.
        obs: (L, WIDTH), written in these lanes.
        out: (OUTPUTS, L), written likewise.
        ints: (2, L), written likewise.
    """
    params = w.params[0]
    for i in range(mask.shape[0]):
        if not mask[i]:
            continue
        lane = w.lane[i]
        key = episode_key(lane["seed"], lane["episode"], VALUATION)
        for b in range(w.value.shape[1]):
            draw = uniform(device_key(key, b), 0)
            w.value[i, b] = params["value_low"] + (params["value_high"] - params["value_low"]) * draw
            w.buyer_stop[i, b] = WAITS
        for s in range(w.cost.shape[1]):
            draw = uniform(device_key(key, w.value.shape[1] + s), 0)
            w.cost[i, s] = params["cost_low"] + (params["cost_high"] - params["cost_low"]) * draw
            w.seller_stop[i, s] = WAITS
        lane["best"] = _optimal_welfare(w.value[i], w.cost[i])
        lane["ticks"] = lane["buyer_clock"] = lane["seller_clock"] = 0
        lane["bought"] = lane["sold"] = lane["pairs"] = 0
        lane["turn"] = BUYERS if params["alternating"] else BOTH
        lane["state"] = RUNNING
        _accept(w, i)
        lane["owed"] = _new_pairs(w, i)
    pending_lanes(w, mask, obs, out, ints)


@compiled
def step_lanes(
    w: World, steps: Ints, skip: NDArray[np.bool_], obs: NDArray[np.float32], out: Floats, ints: Ints
) -> None:
    """Move the clocks of every lane that is not skipped.

    Args:
        w: the auctions.
        steps: (L,) size of the step, in ticks.
        skip: (L,) bool.
        obs: (L, WIDTH), written in the lanes that step.
        out: (OUTPUTS, L), written likewise.
        ints: (2, L), written likewise.
    """
    params = w.params[0]
    for i in range(skip.shape[0]):
        if skip[i]:
            continue
        lane = w.lane[i]
        if params["alternating"]:
            polled, over = _alternate(w, i, steps[i])
        else:
            polled, over = _sweep(w, i, steps[i])
        lane["ticks"] += 1
        gained = lane["owed"] + _new_pairs(w, i)
        lane["owed"] = 0.0
        out[BUYER_PRICE, i] = out[SELLER_PRICE, i] = 0.0
        ints[POLLED, i], ints[TRADES, i] = polled, lane["pairs"]
        if over:
            gained += _clear(w, i, out, ints)
            lane["state"] = CLEARED
        elif lane["ticks"] >= params["horizon"]:
            lane["state"] = CUT
        out[MESSAGES, i], out[WELFARE, i] = params["message_cost"] * polled, -gained
        out[COST, i] = out[MESSAGES, i] + out[WELFARE, i]
        out[DURATION, i], out[TIME, i], out[OPTIMAL, i] = 1.0, float(lane["ticks"]), lane["best"]
        _tell(w, i, obs)
