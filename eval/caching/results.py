"""What an evaluation of model caching found, as data. Costs are in cost units per slot."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ..estimates import FINITE, Estimate
from ..results import AnyEvaluation

LOOKAHEAD, HINDSIGHT = "look-ahead", "static in hindsight"
FROZEN_0, FROZEN_W, LIFELONG, STATIC_NET = "frozen-0", "frozen-W", "lifelong", "static-net"

Kind = Literal["learner", "test_time", "static", "causal", "scripted", "clairvoyant"]
"""The trained policy as it is deployed; the same with other inner steps; another run, trained without inner steps; a
density rule whose numbers were tuned; another scripted policy; one that is told the demand."""


class Row(BaseModel):
    """One policy on the evaluation episodes.

    Attributes:
        label: name for tables.
        kind: see `Kind`.
        rule: the scripted policy with its numbers, or what the learned one does at test time.
        tuned: how many rules were tried to find this one (1: nothing was tuned).
        cost: mean cost per slot.
        per_seed: the same per episode, in the order of the seeds; of one pass over a trace: per slot.
        terms: its five parts by name.
        loads: loads per slot.
        local_ratio: share of the requests served at the edge.
        accuracy: of the requests served at the edge: 1 minus the mean unit accuracy cost; None where there are none.
        difference: learner minus this policy on the same episodes; None for the learner.
        relative: learner over this policy, minus 1; None for the learner.
    """

    model_config = FINITE
    label: str
    kind: Kind
    rule: str
    tuned: int = 1
    cost: Estimate
    per_seed: list[float]
    terms: dict[str, float]
    loads: float
    local_ratio: float
    accuracy: float | None
    difference: Estimate | None = None
    relative: Estimate | None = None


class Bound(BaseModel):
    """The certified lower bound, on the first evaluation episodes.

    Attributes:
        episodes: how many.
        bound: mean of the bounds on the cost per slot.
        learner, lookahead: mean cost of the learner and of the look-ahead rule on these episodes.
        gap: learner over the bound, minus 1.
        lookahead_gap: median over the episodes of look-ahead over the bound, minus 1.
        proved: in how many episodes the programme was solved to optimality.
        method: how it was obtained.
        seconds: time spent solving.
    """

    model_config = FINITE
    episodes: int
    bound: float
    learner: float
    lookahead: float
    gap: Estimate
    lookahead_gap: float
    proved: int
    method: str
    seconds: float


class Speed(BaseModel):
    """Milliseconds per decision, the environment not counted: of one server, and of one of a batch."""

    model_config = FINITE
    single: float
    batch: float
    batch_size: int


class Episode(BaseModel):
    """One evaluation episode of the learner, T slots and I agents.

    Attributes:
        models: name of every agent's model, (I,).
        memory: its size, GB, (I,).
        capacity: memory of the server, GB.
        shift_every: slots between redraws of the popularity; 0: never.
        requests: (T, I).
        cache: (T, I) bits: what was resident in the slot.
        local: (T, I) shares served at the edge.
        terms: the five cost parts, (T,) each.
    """

    model_config = FINITE
    models: list[str]
    memory: list[float]
    capacity: float
    shift_every: int
    requests: list[list[int]]
    cache: list[list[int]]
    local: list[list[float]]
    terms: dict[str, list[float]]


class AuctionRecord(BaseModel):
    """One double Dutch auction.

    Attributes:
        low, high, tick: range and step of the clocks, cost units.
        bids: stop price of every buyer that stopped the falling clock.
        asks: stop price of every unit slot that stopped the rising clock.
        traded: pairs that trade: the highest bids with the lowest asks.
        paid: price that every winning buyer pays; None without trades.
        received: price that every winning seller gets; None without trades.
    """

    model_config = FINITE
    low: float
    high: float
    tick: float
    bids: list[float]
    asks: list[float]
    traded: int
    paid: float | None
    received: float | None


class MarketRecord(BaseModel):
    """One episode at several servers that trade paths, all following the learner.

    Attributes:
        servers: how many.
        bids: agents that bid in every slot, (T,).
        trades: paths traded in every slot, (T,).
        surplus: payments minus receipts of the episode, cost units.
        slot: the slot with the most trades.
        auction: its auction.
    """

    model_config = FINITE
    servers: int
    bids: list[int]
    trades: list[int]
    surplus: float
    slot: int
    auction: AuctionRecord


class Comparison(BaseModel):
    """The learner and what it is held against, all on the same episodes.

    Attributes:
        learner: the policy as it is deployed.
        variants: the same checkpoint with other inner steps, then the network trained without them.
        scripted: the scripted policies that see what a learner sees, cheapest first.
        clairvoyant: static set in hindsight, and the best look-ahead rule.
        causal: label of the better tuned density rule.
        parameters: of the learner's network that decide and value.
        speed: time per decision.
    """

    model_config = FINITE
    learner: Row
    variants: list[Row]
    scripted: list[Row]
    clairvoyant: list[Row]
    causal: str
    parameters: int
    speed: Speed

    @property
    def rows(self) -> list[Row]:
        """All policies, cheapest first."""
        every = [self.learner, *self.variants, *self.scripted, *self.clairvoyant]
        return sorted(every, key=lambda row: row.cost.estimate)

    def row(self, label: str) -> Row:
        """The policy with this label."""
        return next(row for row in self.rows if row.label == label)

    def variant(self, label: str) -> Row | None:
        """The test-time variant with this label, if it was measured."""
        return next((row for row in self.variants if row.label == label), None)

    @property
    def lookahead(self) -> Row:
        """The best look-ahead rule."""
        return self.row(LOOKAHEAD)


class CachingEvaluation(AnyEvaluation, Comparison):
    """A complete evaluation of one checkpoint.

    Attributes:
        preset, mode: the system.
        backbone: of the learner's network.
        inner_steps: whether the learner adapts at test time.
        bound: the certified bound.
        control: the learner and its variants without redraws of the popularity; empty where there are none anyway.
        static_run: folder of the network trained without inner steps.
        tuning_episodes: training episodes on which the density rules were tuned.
        episode: data of the figures.
        market: the learner at several servers with a market; None where nobody bids.
        replayed: the stretch of a trace that the episodes replay, as training did; None for drawn demand.
    """

    preset: str
    mode: str
    backbone: str
    inner_steps: bool
    bound: Bound
    control: list[Row]
    static_run: str | None
    tuning_episodes: int
    episode: Episode
    market: MarketRecord | None = None
    replayed: str | None = None


class TraceEvaluation(Comparison):
    """One pass over the part of a trace that comes after the training's; `per_seed` is per slot.

    Attributes:
        split: the halves in words, with both price factors.
        slots: of the pass.
        block: slots that are resampled together for the intervals.
    """

    split: str
    slots: int
    block: int
