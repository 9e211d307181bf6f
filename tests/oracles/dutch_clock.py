"""Reference of the auctioneer's clock environment in plain Python, written from the model and not from the kernel."""

from __future__ import annotations

from oracles.aoi_offload import stream_key, uniform
from oracles.market import Clock, mcafee

VALUATION_STREAM = 2
RANGES = {"S1": (0, 1, 0, 1), "S2": (0.5, 1, 0.3, 1), "S3": (0, 0.6, 0, 0.4)}
STEPS = (1, 2, 4, 8, 16)


class Side:
    """Buyers or sellers: a clock, and when each agent stopped it."""

    def __init__(self, worth, price, accepts):
        self.worth, self.price, self.accepts = worth, price, accepts
        self.at = 0
        self.stops = {}  # agent -> price, in the order of the stops

    @property
    def waiting(self):
        return [agent for agent in range(len(self.worth)) if agent not in self.stops]

    def ready(self):
        return [agent for agent in self.waiting if self.accepts(self.worth[agent], self.price(self.at))]


class Auction:
    """One auction; `step` gives (polled, welfare gained, over)."""

    def __init__(self, seed, episode, variant="sweep", buyers=20, sellers=20, values="S1", tick=0.01):
        low, high, least, most = RANGES[values]
        draws = [uniform(stream_key(seed, episode, VALUATION_STREAM, agent), 0) for agent in range(buyers + sellers)]
        self.clock = Clock(tick)
        worth = [low + (high - low) * u for u in draws[:buyers]]
        costs = [least + (most - least) * u for u in draws[buyers:]]
        self.buyers = Side(worth, self.clock.falling, lambda value, price: value >= price)
        self.sellers = Side(costs, self.clock.rising, lambda cost, price: cost <= price)
        self.alternating = variant == "alternating"
        self.turn = (self.buyers, self.sellers) if self.alternating else None
        self.ticks = 0
        self.welfare = 0.0
        self.prices = (0.0, 0.0)
        self.trades = 0
        self.accept()

    def accept(self):
        if not self.alternating:
            for side in (self.buyers, self.sellers):
                side.stops |= dict.fromkeys(side.ready(), side.price(side.at))
            return
        while ready := self.turn[0].ready():
            self.turn[0].stops[ready[0]] = self.turn[0].price(self.turn[0].at)
            self.turn = self.turn[::-1]

    def agreed(self):
        """Pairs that can trade by now, in the order of their stops."""
        pairs = zip(self.buyers.stops.items(), self.sellers.stops.items(), strict=False)
        return [(b, s) for (b, bid), (s, ask) in pairs if bid >= ask]

    def value_of(self, pairs):
        return sum(self.buyers.worth[b] - self.sellers.worth[s] for b, s in pairs)

    def step(self, action):
        self.ticks += 1
        polled, over = (self.alternate if self.alternating else self.sweep)(STEPS[action])
        pairs = self.agreed()
        self.trades = len(pairs)
        if over and self.alternating:
            price = 0.5 * (self.clock.falling(self.buyers.at) + self.clock.rising(self.sellers.at))
            self.prices = (price, price) if pairs else (0.0, 0.0)
        elif over:
            reports = [
                [side.stops.get(agent) for agent in range(len(side.worth))] for side in (self.buyers, self.sellers)
            ]
            pairs, pay, get, _ = mcafee(*reports)
            self.trades = len(pairs)
            self.prices = (pay, get) if pairs else (0.0, 0.0)
        before, self.welfare = self.welfare, self.value_of(pairs)
        return polled, self.welfare - before, over

    def sweep(self, step):
        polled = len(self.buyers.waiting) + len(self.sellers.waiting)
        for side in (self.buyers, self.sellers):
            side.at = min(side.at + step, self.clock.last)
        self.accept()
        return polled, self.buyers.at == self.clock.last or not (self.buyers.waiting or self.sellers.waiting)

    def alternate(self, step):
        polled = 0
        while True:
            side = self.turn[0]
            if side.at == self.clock.last:
                return polled, True
            before, asked = side.at, len(side.waiting)
            side.at = min(side.at + step, self.clock.last)
            if self.clock.falling(self.buyers.at) < self.clock.rising(self.sellers.at):
                side.at = before
                return polled, True
            polled += asked
            self.accept()
            if self.turn[0].waiting:
                return polled, self.turn[0].at == self.clock.last

    def observation(self):
        shares = [len(side.waiting) / len(side.worth) for side in (self.buyers, self.sellers)]
        turn = 0 if not self.alternating else 1 if self.turn[0] is self.buyers else 2
        prices = [self.clock.falling(self.buyers.at), self.clock.rising(self.sellers.at)]
        return [*prices, self.ticks / (self.clock.last + 1), *shares, turn]
