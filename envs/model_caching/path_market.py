"""The market of one slot: agents with local demand buy one extra reasoning path each, servers sell unit slots.

It decides who runs how many extra paths and who pays whom; it changes nothing by itself. The environment adds a path to
the work of every winning agent (thoughts and accuracy to the buyer, compute and energy to the seller). Payments are
transfers between the parties: they belong in the info, never in a cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import InvalidInputError
from .market import Auction, Clocks, double_dutch
from .market_kernel import Floats, Ints

NO_SELLER = -1
"""Seller of an agent that gets no extra path."""


@dataclass(frozen=True)
class PathTrades:
    """Outcome of one slot's market; S is the shape of the bids, N the number of sellers.

    Attributes:
        paths: extra paths per buyer, 0 or 1, int64 S.
        seller: index of the server that runs it, `NO_SELLER` without one, int64 S.
        sold: unit slots sold per server, int64 (N,).
        payments: what each buyer pays, S, in the unit of the bids.
        receipts: what each server gets, (N,).
        surplus: payments minus receipts, kept by the auctioneer, >= 0.
        auction: the clocks' stop prices and prices, for the record.
    """

    paths: Ints
    seller: Ints
    sold: Ints
    payments: Floats
    receipts: Floats
    surplus: float
    auction: Auction


def path_values(quality: ArrayLike, start: ArrayLike, limit: ArrayLike, tau: ArrayLike, paths: ArrayLike) -> Floats:
    """Value of one path more: quality times the gain in accuracy, A(j + 1) - A(j).

    A(j) = limit - (limit - start) exp(-j / tau) is the accuracy with j self-consistency paths: the value falls with j.

    Args:
        quality: worth of accuracy 1 to the agent, >= 0; the arguments broadcast.
        start: accuracy without paths, A(0).
        limit: accuracy with many paths.
        tau: paths over which the remaining gain falls to 1/e, above 0.
        paths: j, paths the agent has already.

    *Source*: the fits of arXiv 2203.11171's tables as in Xu et al., arXiv 2501.14205, tables III and IV.
    """
    left = (np.asarray(limit, np.float64) - np.asarray(start, np.float64)) * np.exp(-np.divide(paths, tau))
    gain: Floats = np.asarray(quality, np.float64) * left * -np.expm1(-1.0 / np.asarray(tau, np.float64))
    return gain


def slot_costs(first: ArrayLike, congestion: ArrayLike, slots: ArrayLike, most: int) -> Floats:
    """Cost of every unit slot that a server can sell: first + congestion * u for its u-th slot, u = 0, 1, ...

    Args:
        first: compute and communication of one path, (N,).
        congestion: what each further path adds, >= 0, (N,).
        slots: unit slots each server has energy for, >= 0, (N,).
        most: slots per server that can matter: one more than there are buyers.

    Returns:
        (N, U) with U at most ``most``; NaN beyond a server's slots.
    """
    counts = np.minimum(np.asarray(slots, np.int64), most)
    units = np.arange(counts.max(initial=0))
    rising = np.asarray(first, np.float64)[:, None] + np.asarray(congestion, np.float64)[:, None] * units
    return np.where(units < counts[:, None], rising, np.nan)


def unit_slots(energy_left: ArrayLike, path_energy: float) -> Ints:
    """How many paths each server's remaining energy (J) allows, at ``path_energy`` J each, int64 (N,).

    Raises:
        InvalidInputError: ``path_energy`` is not above 0.
    """
    if not path_energy > 0:
        raise InvalidInputError.of("path_energy", "above 0 J", path_energy)
    return np.floor(np.maximum(np.asarray(energy_left, np.float64), 0.0) / path_energy).astype(np.int64)


def trade_paths(
    bids: ArrayLike,
    slots: ArrayLike,
    *,
    variant: str = "sweep",
    clearing: str = "mcafee",
    clocks: Clocks | None = None,
    buyer_rank: ArrayLike | None = None,
) -> PathTrades:
    """Hold one slot's market.

    Every buyer is one unit agent and every unit slot another. A server with several slots is several sellers that share
    a purse: it could gain by holding slots back, so truthfulness is claimed for single slots only.

    Args:
        bids: value of one extra path to each agent, any shape S; NaN where it has no local demand and does not bid.
        slots: (N, U) cost of every unit slot (see `slot_costs`); NaN where there is none.
        variant: as in `market.double_dutch`.
        clearing: likewise.
        clocks: likewise; values outside their range stop at the opening price, or never.
        buyer_rank: shape S, order of agents that stop at the same tick; must not depend on bids.

    Raises:
        InvalidInputError: malformed bids or slots, or a server's slots that become cheaper.
    """
    values, costs = _numbers("bids", bids), _numbers("slots", slots)
    if costs.ndim != 2:
        raise InvalidInputError.of("slots", "an array (servers, unit slots)", f"shape {costs.shape}")
    if (np.diff(costs, axis=1) < 0).any() or (np.diff(np.isnan(costs).astype(np.int64), axis=1) < 0).any():
        raise InvalidInputError.of("slots", "rising along each row, NaN only at its end", costs)
    buyers, (server, unit) = np.flatnonzero(~np.isnan(values)), np.nonzero(~np.isnan(costs))
    rank = None if buyer_rank is None else _rank(buyer_rank, values.shape)[buyers]
    # The first slots of all servers come before their second ones, so that ties do not favour a low index twice.
    found = double_dutch(
        values.ravel()[buyers],
        costs[server, unit],
        variant=variant,
        clearing=clearing,
        clocks=clocks,
        buyer_rank=rank,
        seller_rank=unit * len(costs) + server,
    )
    trades = found.trades
    winners, sellers = buyers[trades.buyers], server[trades.sellers]
    paths, seller = np.zeros(values.size, np.int64), np.full(values.size, NO_SELLER, np.int64)
    payments, receipts = np.zeros(values.size), np.zeros(len(costs))
    paths[winners], seller[winners], payments[winners] = 1, sellers, trades.paid
    np.add.at(receipts, sellers, trades.received)
    sold = np.bincount(sellers, minlength=len(costs)).astype(np.int64)
    shape = values.shape
    return PathTrades(
        paths.reshape(shape), seller.reshape(shape), sold, payments.reshape(shape), receipts, trades.surplus, found
    )


def _numbers(name: str, numbers: ArrayLike) -> Floats:
    try:
        array = np.asarray(numbers, np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError.of(name, "an array of numbers (NaN: none)", numbers) from None
    if np.isinf(array).any():
        raise InvalidInputError.of(name, "finite numbers (NaN: none)", array)
    return array


def _rank(rank: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if np.shape(rank) != shape:
        raise InvalidInputError.of("buyer_rank", f"an array of shape {shape}", rank)
    return np.asarray(rank, np.float64).ravel()
