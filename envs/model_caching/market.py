"""The market for reasoning paths: double Dutch clocks that find prices, and rules that clear what they found.

Buyers (agents that want one more reasoning path) and sellers (servers with a unit slot) are *unit agents*: each trades
one unit or none. A falling clock polls the buyers, a rising one the sellers; who is truthful stops its clock at the
first price that it can accept, and the stop prices are its report.

======================= ===================================================== ==========================================
auction                 what it is                                            incentives
======================= ===================================================== ==========================================
``sweep`` + ``mcafee``  both clocks sweep the range, then McAfee's rule       no gain of a tick or more by deviating
``crossing``            the clocks stop where they cross, then McAfee's rule  not truthful, and inefficient: the clocks
                                                                              meet at mid-range whatever the market
``alternating``         plain double Dutch: one clock at a time, one price    efficient if truthful; sellers gain by
                                                                              lying
`iterative`             bids and asks revised round by round                  a comparison: the budget of rounds decides
======================= ===================================================== ==========================================

Only ``sweep`` with ``mcafee`` is meant for use; the others are there to be compared with.

*Sources*: Xu et al., arXiv 2501.14205, section V (eq. 28-32); McAfee, J. Economic Theory 56, 1992; McCabe, Rassenti and
Smith, Economic J. 102, 1992.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import InvalidInputError
from . import market_kernel as kernel
from .market_kernel import NEVER, Floats, Ints

VARIANTS = ("sweep", "crossing", "alternating")
CLEARING = ("mcafee", "uniform")


def unit_values(name: str, numbers: ArrayLike, *, missing: bool = False) -> Floats:
    """One finite number per unit agent, float64 (n,).

    Args:
        name: the field, for the message.
        numbers: the numbers.
        missing: whether NaN is allowed.

    Raises:
        InvalidInputError: another shape, text, or a number that is not finite.
    """
    allowed = f"a list of {'numbers (NaN: none)' if missing else 'finite numbers'}, one per unit agent"
    try:
        array = np.asarray(numbers, np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError.of(name, allowed, numbers) from None
    if array.ndim != 1 or not (np.isfinite(array) | (missing & np.isnan(array))).all():
        raise InvalidInputError.of(name, allowed, array)
    return array


@dataclass(frozen=True)
class Clocks:
    """The range and the step of a pair of clocks.

    Attributes:
        tick: step of a clock, above 0, in units of value. The last step is shorter where the range is no whole number
            of ticks.
        low: lower end: the sellers' clock opens here, the buyers' ends here.
        high: upper end.

    Raises:
        InvalidInputError: a number is not finite, ``tick`` not above 0, ``high`` not above ``low``, or a clock would
            have more than 10^9 ticks.
    """

    tick: float = 0.01
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("tick", "low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
                raise InvalidInputError.of(name, "a finite number", value)
            object.__setattr__(self, name, float(value))
        if self.high <= self.low:
            raise InvalidInputError.of("high", f"above low = {self.low:g}", self.high)
        if not self.tick > 0 or (self.high - self.low) / self.tick > 1e9:
            raise InvalidInputError.of("tick", "above 0, and the range at most 1e9 ticks", self.tick)

    @property
    def last(self) -> int:
        """Number of the tick that stands at the far end; the clocks have ticks 0 to this."""
        return int(kernel.last_tick(self.tick, self.low, self.high))

    def path(self) -> tuple[Floats, Floats]:
        """Prices of the buyers' and of the sellers' clock at every tick, each (last + 1,)."""
        numbers = (self.last, self.tick, self.low, self.high)
        ticks = range(self.last + 1)
        falling = np.array([kernel.buyer_price(t, *numbers) for t in ticks])
        return falling, np.array([kernel.seller_price(t, *numbers) for t in ticks])


@dataclass(frozen=True)
class Trades:
    """Who trades with whom at which price; pair i is ``buyers[i]`` with ``sellers[i]``.

    Attributes:
        buyers: winning buyers, best report first, int64 (q,).
        sellers: winning sellers, best report first, int64 (q,).
        paid: price that each of these buyers pays, (q,).
        received: price that each of these sellers gets, (q,).
        efficient: number k of efficient pairs on the reports.
        case: ``"A"`` (all efficient pairs at one price), ``"B"`` (the last one left out, two prices), ``"none"``, or
            the name of another rule.
    """

    buyers: Ints
    sellers: Ints
    paid: Floats
    received: Floats
    efficient: int
    case: str

    def __len__(self) -> int:
        """Number q of trades."""
        return len(self.buyers)

    @property
    def surplus(self) -> float:
        """What the auctioneer keeps: payments minus receipts."""
        return math.fsum(self.paid) - math.fsum(self.received)

    def welfare(self, values: ArrayLike, costs: ArrayLike) -> float:
        """Traded value minus traded cost: utilities of buyers and sellers, and the auctioneer's surplus."""
        return math.fsum(np.asarray(values)[self.buyers]) - math.fsum(np.asarray(costs)[self.sellers])

    def payments(self, buyers: int) -> Floats:
        """Payment of every buyer, (buyers,): losers pay 0."""
        return _scatter(self.buyers, self.paid, buyers)

    def receipts(self, sellers: int) -> Floats:
        """Receipt of every seller, (sellers,): losers get 0."""
        return _scatter(self.sellers, self.received, sellers)


@dataclass(frozen=True)
class Auction:
    """One auction: what the clocks found and who trades.

    Attributes:
        trades: the outcome.
        bids: stop price (or last bid) of every buyer, NaN where it never stopped, (n,).
        asks: likewise of every seller, (m,).
        ticks: how often a clock moved (both clocks at once count as one), or rounds.
        polled: agents asked, summed over the ticks. The opening prices are known beforehand and cost nothing.
        label: what this was, budget included.
    """

    trades: Trades
    bids: Floats
    asks: Floats
    ticks: int
    polled: int
    label: str
    budget: int | None = field(default=None)

    def welfare(self, values: ArrayLike, costs: ArrayLike) -> float:
        """See `Trades.welfare`."""
        return self.trades.welfare(values, costs)


def _scatter(index: Ints, amounts: Floats, size: int) -> Floats:
    result = np.zeros(size)
    result[index] = amounts
    return result


def _order(name: str, keys: NDArray[Any], present: NDArray[np.bool_], rank: ArrayLike | None) -> Ints:
    """Indices of those present by rising key; ties by rank (by default the index). Absent keys must sort last."""
    if rank is None:
        order = np.argsort(keys, kind="stable")
    elif np.shape(rank) == keys.shape:
        order = np.lexsort((np.asarray(rank), keys))
    else:
        raise InvalidInputError.of(name, f"a list of {len(keys)} numbers", rank)
    return order[: int(present.sum())]


def _order_of_stops(name: str, ticks: Ints, end: int, rank: ArrayLike | None) -> Ints:
    """Indices of those that stopped by tick ``end``, in the order of their stops."""
    present = (ticks != NEVER) & (ticks <= end)
    small = np.uint16 if end < np.iinfo(np.uint16).max else np.int64  # numpy sorts 16 bits by radix
    return _order(name, np.where(present, ticks, end + 1).astype(small), present, rank)


# --- clearing rules ---------------------------------------------------------------------------------------------------


def clear(
    bids: ArrayLike,
    asks: ArrayLike,
    *,
    rule: str = "mcafee",
    floor: float = 0.0,
    weight: float = 0.5,
    buyer_rank: ArrayLike | None = None,
    seller_rank: ArrayLike | None = None,
) -> Trades:
    """Clear reports of unit agents.

    With k the number of efficient pairs (k-th highest bid at least k-th lowest ask), ``"mcafee"`` takes the price
    halfway between the next bid and the next ask if the k-th pair accepts it (case A: k trades, budget balanced), else
    leaves the k-th pair out: buyers pay its bid, sellers get its ask (case B: k - 1 trades, a surplus). Truthful,
    individually rational, and at most the least valuable trade is lost. ``"uniform"`` lets all k pairs trade at one
    price between the k-th bid and ask; reports move the price, so it is not truthful.

    Args:
        bids: (n,), NaN for none.
        asks: (m,), NaN for none.
        rule: a name of `CLEARING`.
        floor: stands for the next bid where there is none; a missing next ask is infinite. At most the least bid.
        weight: share of the k-th bid in the uniform price.
        buyer_rank: (n,) order of buyers with equal bids; must not depend on reports. By default the index.
        seller_rank: (m,) likewise.

    Raises:
        InvalidInputError: unknown rule, or reports, floor or weight out of range.

    *Source*: McAfee 1992; Xu et al., arXiv 2501.14205, eq. 29-32.
    """
    bids, asks = unit_values("bids", bids, missing=True), unit_values("asks", asks, missing=True)
    if not math.isfinite(floor):
        raise InvalidInputError.of("floor", "a finite number", floor)
    if not 0 <= weight <= 1:
        raise InvalidInputError.of("weight", "a number in [0, 1]", weight)
    buyers = _order("buyer_rank", -bids, ~np.isnan(bids), buyer_rank)
    sellers = _order("seller_rank", asks, ~np.isnan(asks), seller_rank)
    return _cleared(bids, asks, buyers, sellers, rule, float(floor), weight)


def _cleared(
    bids: Floats, asks: Floats, buyers: Ints, sellers: Ints, rule: str, floor: float, weight: float = 0.5
) -> Trades:
    """Clear reports whose merit orders are known."""
    if rule not in CLEARING:
        raise InvalidInputError.of("clearing rule", " or ".join(CLEARING), rule)
    k, q, pay, get = kernel.mcafee(bids[buyers], asks[sellers], floor)
    case = "none" if k == 0 else "A" if q == k else "B"
    if rule == "uniform" and k > 0:
        q, case = k, "uniform"
        pay = get = weight * bids[buyers[k - 1]] + (1.0 - weight) * asks[sellers[k - 1]]
    return Trades(buyers[:q], sellers[:q], np.full(q, pay), np.full(q, get), k, case)


def optimal_welfare(values: ArrayLike, costs: ArrayLike) -> float:
    """Largest possible sum of traded values minus costs: the merit order."""
    values, costs = unit_values("values", values), unit_values("costs", costs)
    most = min(len(values), len(costs))
    gains = np.sort(values)[::-1][:most] - np.sort(costs)[:most]
    return math.fsum(gains[gains > 0])


# --- clocks -----------------------------------------------------------------------------------------------------------


def stops(values: ArrayLike, costs: ArrayLike, clocks: Clocks) -> tuple[Ints, Floats, Ints, Floats]:
    """Where truthful agents stop clocks that sweep the whole range.

    Returns:
        Stop ticks and stop prices of the buyers, then of the sellers; `NEVER` and NaN where the clock never reaches an
        agent's value. A stop price p of a buyer with value v in the range has p <= v < p + tick, of a seller with cost
        c likewise p - tick < c <= p.
    """
    values, costs = unit_values("values", values), unit_values("costs", costs)
    numbers = (clocks.tick, clocks.low, clocks.high)
    buyer_ticks, bids = np.empty(len(values), np.int64), np.empty(len(values))
    seller_ticks, asks = np.empty(len(costs), np.int64), np.empty(len(costs))
    kernel.buyer_stops(values, *numbers, buyer_ticks, bids)
    kernel.seller_stops(costs, *numbers, seller_ticks, asks)
    return buyer_ticks, bids, seller_ticks, asks


def double_dutch(
    values: ArrayLike,
    costs: ArrayLike,
    *,
    variant: str = "sweep",
    clearing: str = "mcafee",
    clocks: Clocks | None = None,
    buyer_rank: ArrayLike | None = None,
    seller_rank: ArrayLike | None = None,
) -> Auction:
    """Run one double Dutch auction with truthful unit agents.

    ``"sweep"`` (default) lets both clocks run until everybody has stopped or they have reached the far end.
    ``"crossing"`` ends them where they cross; agents that have not stopped by then report nothing. Both are cleared by
    ``clearing``. ``"alternating"`` moves one clock at a time, until an agent stops it, and lets the pairs found before
    the clocks cross trade at the mean of the last two clock prices (``clearing`` is not used).

    Args:
        values: what a unit is worth to each buyer, (n,).
        costs: what a unit costs each seller, (m,), same unit.
        variant: a name of `VARIANTS`.
        clearing: a name of `CLEARING`.
        clocks: range and step; by default 0 to 1 in steps of 0.01. Values and costs beyond the range stop at the
            opening price, or never.
        buyer_rank: (n,) order of buyers that stop at the same tick; must not depend on reports. By default the index.
        seller_rank: (m,) likewise.

    Raises:
        InvalidInputError: an unknown name, or values or costs that are not finite.
    """
    if variant not in VARIANTS:
        raise InvalidInputError.of("variant", " or ".join(VARIANTS), variant)
    clocks = clocks or Clocks()
    buyer_ticks, bids, seller_ticks, asks = stops(values, costs, clocks)
    end, named = clocks.last, "full sweep"
    if variant == "crossing":
        end, named = int(kernel.last_uncrossed(clocks.tick, clocks.low, clocks.high)), "stopped at crossing"
    buyers = _order_of_stops("buyer_rank", buyer_ticks, end, buyer_rank)
    sellers = _order_of_stops("seller_rank", seller_ticks, end, seller_rank)
    if variant == "alternating":
        return _alternating(buyer_ticks, bids, seller_ticks, asks, buyers, sellers, clocks)
    trades = _cleared(bids, asks, buyers, sellers, clearing, clocks.low)
    if variant == "crossing":
        bids, asks = _only(bids, buyers), _only(asks, sellers)
    asked = [np.where(ticks == NEVER, end, np.minimum(ticks, end)) for ticks in (buyer_ticks, seller_ticks)]
    return Auction(
        trades,
        bids,
        asks,
        max((int(ticks.max()) for ticks in asked if ticks.size), default=0),
        sum(int(ticks.sum()) for ticks in asked),
        f"double Dutch, {named}, {clearing} clearing, tick {clocks.tick:g}",
    )


def _only(reports: Floats, agents: Ints) -> Floats:
    """The reports of these agents; NaN for the others."""
    kept = np.full(len(reports), np.nan)
    kept[agents] = reports[agents]
    return kept


def _alternating(
    buyer_ticks: Ints, bids: Floats, seller_ticks: Ints, asks: Floats, buyers: Ints, sellers: Ints, clocks: Clocks
) -> Auction:
    numbers = (clocks.tick, clocks.low, clocks.high)
    found = kernel.alternate(buyer_ticks[buyers], seller_ticks[sellers], len(bids), len(asks), *numbers)
    bought, sold, at_buyer, at_seller, moves, polled = found
    q = min(bought, sold)
    falling = kernel.buyer_price(at_buyer, clocks.last, *numbers)
    price = 0.5 * (falling + kernel.seller_price(at_seller, clocks.last, *numbers))
    trades = Trades(buyers[:q], sellers[:q], np.full(q, price), np.full(q, price), q, "last clocks" if q else "none")
    label = f"double Dutch, alternating clocks, one price, tick {clocks.tick:g}"
    return Auction(trades, _only(bids, buyers[:bought]), _only(asks, sellers[:sold]), moves, polled, label)
