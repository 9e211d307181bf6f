"""Reference auctions in plain Python, tick by tick, written from the rules and not from the compiled code.

Agents are looped over at every tick; nothing is sorted but the list that the clearing rule itself speaks of.
"""

from __future__ import annotations

import math


class Clock:
    """A pair of clocks; tick t is a price on each side."""

    def __init__(self, tick, low=0.0, high=1.0):
        self.tick, self.low, self.high = tick, low, high
        self.last = max(math.ceil((high - low) / tick - 1e-9), 0)

    def falling(self, t):
        return self.low if t == self.last else max(self.high - t * self.tick, self.low)

    def rising(self, t):
        return self.high if t == self.last else min(self.low + t * self.tick, self.high)


def synchronized(values, costs, clock, until_crossing=False):
    """Both clocks move together; whoever accepts a price for the first time stops there."""
    bids, asks = [None] * len(values), [None] * len(costs)
    ticks = polled = 0
    for t in range(clock.last + 1):
        buyer_clock, seller_clock = clock.falling(t), clock.rising(t)
        if until_crossing and buyer_clock < seller_clock:
            break
        waiting = bids.count(None) + asks.count(None)
        if t > 0 and waiting:
            polled += waiting
            ticks = t
        for i, value in enumerate(values):
            if bids[i] is None and buyer_clock <= value:
                bids[i] = buyer_clock
        for j, cost in enumerate(costs):
            if asks[j] is None and seller_clock >= cost:
                asks[j] = seller_clock
    return bids, asks, ticks, polled


def mcafee(bids, asks, floor=0.0):
    """Winning pairs in merit order, what buyers pay, what sellers get, and k."""
    buyers = sorted((i for i, bid in enumerate(bids) if bid is not None), key=lambda i: (-bids[i], i))
    sellers = sorted((j for j, ask in enumerate(asks) if ask is not None), key=lambda j: (asks[j], j))
    k = 0
    while k < min(len(buyers), len(sellers)) and bids[buyers[k]] >= asks[sellers[k]]:
        k += 1
    if k == 0:
        return [], None, None, 0
    pairs = list(zip(buyers, sellers, strict=False))
    next_bid = bids[buyers[k]] if k < len(buyers) else floor
    next_ask = asks[sellers[k]] if k < len(sellers) else math.inf
    price = 0.5 * (next_bid + next_ask)
    last_bid, last_ask = bids[buyers[k - 1]], asks[sellers[k - 1]]
    if last_ask <= price <= last_bid:
        return pairs[:k], price, price, k
    return pairs[: k - 1], last_bid, last_ask, k


def alternating(values, costs, clock):
    """One clock at a time: the loop of the specification, section 11.5."""
    buyers, sellers = [], []
    at_buyer = at_seller = moves = polled = 0
    last = (clock.falling(0), clock.rising(0))
    buyers_turn = True
    while clock.falling(at_buyer) >= clock.rising(at_seller):
        last = (clock.falling(at_buyer), clock.rising(at_seller))
        if buyers_turn:
            ready = [i for i, v in enumerate(values) if i not in buyers and v >= clock.falling(at_buyer)]
            if ready:
                buyers.append(ready[0])
                buyers_turn = False
                continue
            if at_buyer == clock.last:
                break
            at_buyer += 1
            asked = len(values) - len(buyers)
        else:
            ready = [j for j, c in enumerate(costs) if j not in sellers and c <= clock.rising(at_seller)]
            if ready:
                sellers.append(ready[0])
                buyers_turn = True
                continue
            if at_seller == clock.last:
                break
            at_seller += 1
            asked = len(costs) - len(sellers)
        moves += 1
        if clock.falling(at_buyer) >= clock.rising(at_seller):
            polled += asked
    pairs = list(zip(buyers, sellers, strict=False))
    return pairs, 0.5 * (last[0] + last[1]), buyers, sellers, moves, polled
