"""The auctions behind both faces of the clock environment: arrays, kernel calls, seeds, state. No Gymnasium here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from . import clock_kernel as kernel
from .clock_kernel import (
    BUYER_PRICE,
    COST,
    CUT,
    DURATION,
    LANE,
    MESSAGES,
    OPTIMAL,
    OUTPUTS,
    PARAMS,
    POLLED,
    RUNNING,
    SELLER_PRICE,
    STATE_FIELDS,
    TIME,
    TRADES,
    WAITS,
    WELFARE,
    WIDTH,
    World,
)
from .clock_params import STEPS, VALUATIONS, DutchClockParams
from .market import Clocks
from .market_kernel import Ints

VARIANTS = ("sweep", "alternating")


def invalid_action(action: object, field: str = "action") -> InvalidInputError:
    """The error for an action that names no step."""
    return InvalidInputError.of(field, f"an integer in [0, {len(STEPS) - 1}]", action)


class Buffers:
    """Where the kernel writes the results of a reset or step of L lanes."""

    def __init__(self, lanes: int) -> None:
        self.obs = np.zeros((lanes, WIDTH), np.float32)
        self.out = np.zeros((OUTPUTS, lanes))
        self.ints = np.zeros((2, lanes), np.int64)

    def take(self, other: Buffers, lanes: NDArray[np.bool_]) -> None:
        """Overwrite the marked lanes by those of other buffers."""
        np.copyto(self.obs, other.obs, where=lanes[:, None])
        np.copyto(self.out, other.out, where=lanes)
        np.copyto(self.ints, other.ints, where=lanes)


class Simulator:
    """L auctions with truthful agents, advanced from one decision about the clocks to the next.

    Args:
        params: the market.
        lanes: number of auctions L.
        variant: ``"sweep"`` or ``"alternating"``.
        horizon: ticks after which an auction is cut short, uncleared.

    Raises:
        InvalidInputError: variant or horizon out of range.
    """

    def __init__(
        self, params: DutchClockParams, lanes: int = 1, *, variant: str = "sweep", horizon: float = math.inf
    ) -> None:
        if not isinstance(variant, str) or variant not in VARIANTS:
            raise InvalidInputError.of("variant", " or ".join(VARIANTS), variant)
        if isinstance(horizon, bool) or not (isinstance(horizon, int | float | np.number) and horizon > 0):
            raise InvalidInputError.of("horizon", "a positive number of ticks", horizon)
        self.params, self.lanes, self.variant = params, lanes, variant
        self.clocks = Clocks(params.tick)
        (value_low, value_high), (cost_low, cost_high) = VALUATIONS[params.values]
        buyers, sellers = params.n_buyers, params.n_sellers
        block = np.zeros(1, PARAMS)
        block["tick"], block["message_cost"], block["horizon"] = params.tick, params.message_cost, horizon
        block["value_low"], block["value_high"] = value_low, value_high
        block["cost_low"], block["cost_high"] = cost_low, cost_high
        block["alternating"] = variant == "alternating"
        self.world = World(
            lane=np.zeros(lanes, LANE),
            value=np.zeros((lanes, buyers)),
            cost=np.zeros((lanes, sellers)),
            buyer_stop=np.full((lanes, buyers), WAITS, np.int64),
            seller_stop=np.full((lanes, sellers), WAITS, np.int64),
            buyer_order=np.zeros((lanes, buyers), np.int64),
            seller_order=np.zeros((lanes, sellers), np.int64),
            params=block,
        )
        self._steps = np.array(STEPS, np.int64)
        self._everyone, self._nobody = np.ones(lanes, bool), np.zeros(lanes, bool)
        self.seeded = False

    def seed(self, seeds: NDArray[np.uint64]) -> None:
        """Give every lane its seed; the next `reset` starts episode 0."""
        self.world.lane["seed"] = seeds
        self.world.lane["episode"] = -1
        self.seeded = True

    def reset(self, mask: NDArray[np.bool_] | None = None, results: Buffers | None = None) -> Buffers:
        """Open the next auction of the masked lanes (all by default)."""
        mask = self._everyone if mask is None else mask
        buffers = results or Buffers(self.lanes)
        self.world.lane["episode"] += mask
        kernel.reset_lanes(self.world, mask, buffers.obs, buffers.out, buffers.ints)
        return buffers

    def step(self, actions: Ints, skip: NDArray[np.bool_]) -> tuple[Buffers, NDArray[np.bool_], NDArray[np.bool_]]:
        """Move the clocks of the lanes that are not skipped.

        Args:
            actions: (L,) indices of `STEPS`.
            skip: (L,) bool.

        Returns:
            The results, (L,) cleared, (L,) cut by the horizon.

        Raises:
            InvalidInputError: an action that counts is out of range; then no lane has moved.
        """
        wrong = ~skip & ((actions < 0) | (actions >= len(STEPS)))
        if wrong.any():
            lane = int(np.argmax(wrong))
            raise invalid_action(int(actions[lane]), f"action of lane {lane}")
        buffers, steps = Buffers(self.lanes), self._steps[np.where(skip, 0, actions)]
        kernel.step_lanes(self.world, steps, skip, buffers.obs, buffers.out, buffers.ints)
        state = self.world.lane["state"]
        return buffers, ~skip & (state == kernel.CLEARED), ~skip & (state == CUT)

    def step_one(self, action: int) -> tuple[Buffers, int]:
        """`step` of a single lane, without the arrays: the results, and the lane's state afterwards.

        Raises:
            InvalidInputError: the action is out of range; the lane has not moved then.
        """
        if not 0 <= action < len(STEPS):
            raise invalid_action(action)
        buffers, steps = Buffers(1), self._steps[action : action + 1]
        kernel.step_lanes(self.world, steps, self._nobody, buffers.obs, buffers.out, buffers.ints)
        return buffers, int(self.world.lane["state"][0])

    def pending(self) -> Buffers:
        """What the lanes show now, at no cost."""
        buffers = Buffers(self.lanes)
        kernel.pending_lanes(self.world, self._everyone, buffers.obs, buffers.out, buffers.ints)
        return buffers

    def info_one(self, buffers: Buffers) -> dict[str, Any]:
        """`info` of a single lane as numbers; written out because every scalar step pays for it."""
        (cost, duration, time, messages, welfare, pay, get, best), ((polled, trades),) = (
            buffers.out[:, 0].tolist(),
            buffers.ints.T.tolist(),
        )
        return {
            "cost": np.float64(cost),  # numpy numbers are floats with a dtype, which TorchRL's info reader asks for
            "duration": np.float64(duration),
            "time": np.float64(time),
            "cost_terms": {"messages": messages, "welfare": welfare},
            "polled": polled,
            "trades": trades,
            "buyer_price": pay,
            "seller_price": get,
            "optimal_welfare": best,
        }

    def info(self, buffers: Buffers) -> dict[str, Any]:
        """The info arrays of a reset or step, each (L,)."""
        out, ints = buffers.out, buffers.ints
        return {
            "cost": out[COST],
            "duration": out[DURATION],
            "time": out[TIME],
            "cost_terms": {"messages": out[MESSAGES], "welfare": out[WELFARE]},
            "polled": ints[POLLED],
            "trades": ints[TRADES],
            "buyer_price": out[BUYER_PRICE],
            "seller_price": out[SELLER_PRICE],
            "optimal_welfare": out[OPTIMAL],
        }

    def done(self) -> NDArray[np.bool_]:
        """(L,) whether each lane's auction is over."""
        over: NDArray[np.bool_] = self.world.lane["state"] != RUNNING
        return over

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything that changes; `set_state` continues bit for bit."""
        return {name: getattr(self.world, name).copy() for name in STATE_FIELDS}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from a copied state.

        Raises:
            InvalidInputError: an array is missing, does not fit these parameters, or holds what no auction can hold;
                nothing is written then.
        """
        for name in STATE_FIELDS:
            mine, given = getattr(self.world, name), state.get(name)
            if not isinstance(given, np.ndarray) or given.shape != mine.shape or given.dtype != mine.dtype:
                raise InvalidInputError(f"state: {name!r} must be an array of shape {mine.shape} and type {mine.dtype}")
        _check_state(state, self.clocks.last)
        for name in STATE_FIELDS:
            getattr(self.world, name)[...] = state[name]
        self.seeded = True


def _check_state(state: dict[str, NDArray[Any]], last: int) -> None:
    """Compiled code follows the indices of a state without a bounds check, and it may be anybody's file."""

    def expect(holds: Any, what: str) -> None:
        if not np.all(holds):
            raise InvalidInputError(f"state: {what}; no state of get_state() is like that")

    lane = state["lane"]
    expect(np.isin(lane["state"], (RUNNING, kernel.CLEARED, CUT)), "lane.state must be a known code")
    expect((lane["turn"] >= kernel.BOTH) & (lane["turn"] <= kernel.SELLERS), "lane.turn must be a known code")
    expect(np.isfinite(lane["owed"]) & np.isfinite(lane["best"]), "lane.owed and lane.best must be finite")
    expect(lane["ticks"] >= 0, "lane.ticks must be >= 0")
    for name, stopped in (("buyer", lane["bought"]), ("seller", lane["sold"])):
        stop, order = state[f"{name}_stop"], state[f"{name}_order"]
        agents = stop.shape[1]
        clock = lane[f"{name}_clock"]
        expect((clock >= 0) & (clock <= last), f"lane.{name}_clock must be in [0, {last}]")
        expect((stop >= WAITS) & (stop <= clock[:, None]), f"{name}_stop must not lie ahead of the clock")
        expect((stop != WAITS).sum(1) == stopped, f"lane must count the {name}s that have stopped")
        expect((order >= 0) & (order < agents), f"{name}_order must hold {name}s")
        counted = np.arange(agents) < stopped[:, None]
        places = np.where(counted, np.take_along_axis(stop, order, 1), 0)
        distinct = np.sort(np.where(counted, order, agents + np.arange(agents)), 1)
        expect((places != WAITS) & (np.diff(distinct, axis=1, prepend=-1) > 0), f"{name}_order must hold each once")
    expect((lane["pairs"] >= 0) & (lane["pairs"] <= np.minimum(lane["bought"], lane["sold"])), "lane.pairs must fit")
    expect(np.isfinite(state["value"]) & (np.abs(state["value"]) <= 1), "value must be in the range")
    expect(np.isfinite(state["cost"]) & (np.abs(state["cost"]) <= 1), "cost must be in the range")
