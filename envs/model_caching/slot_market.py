"""The market between several edge servers: who bids what for a path in a slot, and what the trades change.

After the servers' actions are projected, every agent with local demand bids for one extra reasoning path, and every
server with energy left sells unit slots (`path_market`). A traded path is one more thought of the buying agent, with
its context and its accuracy; the server that runs it uses the energy and pays the compute cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..core.errors import InvalidInputError
from ..core.rng import stream_key
from ..core.streams import QUALITY, UTILISATION
from .catalogue import DATASETS, FITS, MODELS
from .demand import fill_uniforms
from .economics import Economics
from .market import Clocks
from .params import CachingParams
from .path_market import PathTrades, path_values, slot_costs, trade_paths, unit_slots
from .simulator import Buffers
from .state import ENERGY, World

Floats = NDArray[np.float64]
Coefficient = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1e6)], Annotated[float, Field(ge=0, le=1e6)]],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
]


class MarketParams(BaseModel):
    """Parameters of the market of a slot (frozen; unknown fields are errors)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: Literal["paths", "saving"] = Field(
        "paths",
        description="[-] what accuracy a bid prices: that of one path more by the data set's self-consistency figures, "
        "or what the path takes off the agent's accuracy cost in this slot",
    )
    variant: Literal["sweep", "crossing", "alternating"] = Field("sweep", description="[-] clocks")
    clearing: Literal["mcafee", "uniform"] = Field("mcafee", description="[-] clearing rule")
    ticks: int = Field(100, ge=1, le=1_000_000, description="[-] ticks over the whole range of the clocks")
    quality: Coefficient = Field((0.5, 1.5), description="[-] range of the agents' coefficient Q of their value")
    utilisation: Coefficient = Field((0.5, 1.5), description="[-] range of the servers' coefficient G of their cost")
    congestion: float = Field(1e-4, ge=0, le=1e6, description="[cost] what a slot costs more than the one sold before")

    @model_validator(mode="after")
    def _consistent(self) -> MarketParams:
        for field in ("quality", "utilisation"):
            low, high = getattr(self, field)
            if low > high:
                raise ValueError(f"{field} must be two numbers, the lower one first")
        if self.quality[1] == 0:
            raise ValueError("quality must end above 0, or nobody bids")
        return self

    @classmethod
    def of(cls, market: MarketParams | Mapping[str, Any] | bool | None) -> MarketParams | None:
        """The market that an argument means: none for None or False, the default one for True, or its fields.

        Raises:
            InvalidInputError: another type, an unknown field, or a value out of range.
        """
        if market is None or market is False:
            return None
        if isinstance(market, cls):
            return market
        if market is not True and not isinstance(market, Mapping):
            raise InvalidInputError.of("market", "None, a bool, a MarketParams or a dict of its fields", market)
        try:
            return cls(**({} if market is True else dict(market)))
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, cls) from None


class SlotTrades(NamedTuple):
    """The trades of one slot and what they move; I agents at each of N servers.

    Attributes:
        trades: who pays whom; bids have the shape (N, I).
        energy: energy that every server spends on paths it sold, J, (N,).
        bids: value of a path to every agent, NaN where it does not bid, (N, I).
        asks: cost of every unit slot, NaN beyond a server's last, (N, U).
    """

    trades: PathTrades
    energy: Floats
    bids: Floats
    asks: Floats


class SlotMarket:
    """The market of N servers with one instance each of the same agents.

    All is in cost units, so prices and costs can be compared. An agent's value is Q times the worth of the accuracy
    that a path brings; Q is its own, drawn uniformly from `quality` with the instance. A unit slot holds the dearest
    path of the slot, and its cost is G (compute cost + congestion u) for the u-th one sold; G is the server's. The
    clocks run from 0 to the largest value an agent can have (``"saving"``: with one request), which depends on no bid;
    who values a path more stops at once. Agents that stop at the same tick are ranked by a turn that moves on by one
    agent per slot.

    Args:
        params: the system.
        servers: number of servers N.
        market: the market.

    Raises:
        InvalidInputError: accuracy is worth nothing, so that nobody can bid.

    *Source*: Xu et al., arXiv 2501.14205, section V (eq. 24-32).
    """

    def __init__(self, params: CachingParams, servers: int, market: MarketParams) -> None:
        self.params, self.market = params, market
        self._economics = Economics(params)
        static = self.static = self._economics.static
        shape = (servers, params.n_agents)
        self.quality = _uniform(params, QUALITY, market.quality, servers * params.n_agents).reshape(shape)
        self.utilisation = _uniform(params, UTILISATION, market.utilisation, servers)
        fits = np.array([[FITS[MODELS[name].tier][k] for k in range(len(DATASETS))] for name in params.models])
        start, limit, tau = fits[static["model"], static["dataset"]].T
        self._accuracy_of_a_path = params.weight_accuracy * path_values(1.0, start, limit, tau, params.paths)
        high = market.quality[1] * float(self._most_valuable().max())
        if not high > 0:
            raise InvalidInputError.of("market", "off where accuracy is worth nothing", f"values of at most {high:g}")
        self.clocks = Clocks(tick=high / market.ticks, low=0.0, high=high)

    def _most_valuable(self) -> Floats:
        """(I,) largest worth of a path to an agent with one request, before its coefficient."""
        if self.market.value == "paths":
            return self._accuracy_of_a_path
        # The accuracy cost is flat and then convex in the age of thoughts: it falls most where it begins to fall.
        begins = 1.0 / self.static["decay"] if self.params.accuracy_model == "paper" else np.zeros(len(self.static))
        cost = self._economics.accuracy_cost
        step = self.params.zeta * (self.static["thought"] if self.params.kappa_unit == "tokens" else 1.0)
        return cost(begins) - cost(begins + step)

    def hold(self, world: World, buffers: Buffers) -> SlotTrades:
        """Trade after the servers' actions are projected, and before they are carried out.

        Args:
            world: the state at the beginning of the slot.
            buffers: the projected actions and the energy they use.
        """
        params, market, agent = self.params, self.market, world.agent
        here = buffers.served * agent["demand"]
        bids = np.where(self._may_bid(world, buffers, here), self.quality * self._worth(world, here), np.nan)
        prompt = agent["input"] * self.static["energy_in"] if params.price_unit == "token" else 0.0
        joules = agent["thought"] * (self.static["energy_out"] + self.static["energy_kv"] * agent["context"]) + prompt
        unit = float(joules.max())
        slots = unit_slots(params.energy_budget - buffers.out[ENERGY], unit)
        first = self.utilisation * (params.weight_compute * unit / params.gpu_gflops)
        most = 1 + int(np.count_nonzero(~np.isnan(bids)))
        asks = slot_costs(first, self.utilisation * market.congestion, slots, most)
        turn = (np.arange(bids.size) - int(world.lane["time"][0])) % bids.size
        trades = trade_paths(
            bids,
            asks,
            variant=market.variant,
            clearing=market.clearing,
            clocks=self.clocks,
            buyer_rank=turn.reshape(bids.shape),
        )
        won = trades.paths > 0
        energy = np.zeros(len(slots))
        np.add.at(energy, trades.seller[won], joules[won])
        return SlotTrades(trades, energy, bids, asks)

    def _may_bid(self, world: World, buffers: Buffers, here: Floats) -> NDArray[np.bool_]:
        """(N, I) who has local demand, and room for a thought where a window or the memory must not overflow."""
        agent, static, params = world.agent, self.static, self.params
        may = here > 0.0
        if params.window_rule in ("evict_on_overflow", "clip"):
            may &= agent["context"] + (here * agent["growth"] + agent["thought"]) <= static["window"]
        if params.kv_memory:
            held = buffers.plan > 0
            own = (held * static["memory"]).sum(axis=1)
            weights = (world.fresh > 0) @ world.model["memory"] if params.weights_shared else own
            contexts = held * static["kv"] * np.minimum(agent["context"] + here * agent["growth"], static["window"])
            free = params.capacity_gb - weights - contexts.sum(axis=1)
            may &= np.cumsum(may * static["kv"] * agent["thought"], axis=1) <= free[:, None]
        return may

    def _worth(self, world: World, here: Floats) -> Floats:
        """(N, I) worth of the accuracy that one path more brings each agent, cost units."""
        if self.market.value == "paths":
            return np.broadcast_to(self._accuracy_of_a_path, here.shape)
        agent, economics = world.agent, self._economics
        without, more = (economics.aged(agent["kappa"], here, agent["thought"], paths=paths) for paths in (0.0, 1.0))
        return here * (economics.accuracy_cost(without) - economics.accuracy_cost(more))


def _uniform(params: CachingParams, stream: int, bounds: tuple[float, float], count: int) -> Floats:
    """Coefficients drawn with the instance, (count,)."""
    draws = np.empty(count)
    key = np.uint64(stream_key(np.uint64(params.instance_seed), 0, stream, 0))
    fill_uniforms(key, np.arange(count), draws)
    return bounds[0] + (bounds[1] - bounds[0]) * draws
