"""The market between edge servers that all follow the learner: what the figures of clocks and trades are drawn from."""

from __future__ import annotations

import numpy as np

from ...envs.core.errors import InvalidInputError
from ...envs.core.lanes import lane_seeds
from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.simulate import EpisodePolicy
from ...envs.model_caching.simulator import Simulator
from ...envs.model_caching.slot_market import MarketParams, SlotMarket, SlotTrades
from .results import AuctionRecord, MarketRecord

SERVERS = 5


def record_market(policy: EpisodePolicy, params: CachingParams, seed: int, horizon: float) -> MarketRecord | None:
    """Play one episode at several servers with the market of `SlotMarket`.

    Args:
        policy: decides for every server; it is reset first and is not told the demand.
        params: the system.
        seed: server n gets seed + n.
        horizon: slots.

    Returns:
        The trades of every slot and the auction with the most; None where accuracy is worth nothing, so that nobody
        bids.
    """
    settings = MarketParams.of(True)
    assert settings is not None
    try:
        market = SlotMarket(params, SERVERS, settings)
    except InvalidInputError:
        return None
    simulator = Simulator(params, SERVERS, horizon=horizon, share_trace=True)
    simulator.seed(lane_seeds(seed, SERVERS))
    policy.reset()
    buffers = simulator.reset()
    bids, trades, surplus = [], [], []
    busiest: tuple[int, SlotTrades] | None = None
    while not simulator.done()[0]:
        action = policy(buffers.obs)
        buffers = simulator.project(action["cache"], np.asarray(action["local_share"], np.float64))
        held = market.hold(simulator.world, buffers)
        simulator.settle(buffers, held.trades.paths, held.energy)
        bids.append(int(np.count_nonzero(~np.isnan(held.bids))))
        trades.append(int(held.trades.sold.sum()))
        surplus.append(held.trades.surplus)
        if busiest is None or trades[-1] > max(trades[:-1]):
            busiest = len(trades) - 1, held
    assert busiest is not None
    slot, shown = busiest
    auction = shown.trades.auction
    return MarketRecord(
        servers=SERVERS,
        bids=bids,
        trades=trades,
        surplus=float(np.sum(surplus)),
        slot=slot,
        auction=AuctionRecord(
            low=market.clocks.low,
            high=market.clocks.high,
            tick=market.clocks.tick,
            bids=auction.bids[~np.isnan(auction.bids)].tolist(),
            asks=auction.asks[~np.isnan(auction.asks)].tolist(),
            traded=len(auction.trades),
            paid=float(auction.trades.paid[0]) if len(auction.trades) else None,
            received=float(auction.trades.received[0]) if len(auction.trades) else None,
        ),
    )
