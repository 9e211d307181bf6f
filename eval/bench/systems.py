"""The groups of the speed table for model caching, its market, and edge experts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import gymnasium
import numpy as np

from ...envs.edge_experts.env import ExpertRouteVectorEnv
from ...envs.model_caching.game import parallel_env
from ...envs.model_caching.market import Clocks, double_dutch
from ...envs.model_caching.params import CachingParams
from .plain import MISSING, caching_slots, routed_prompts
from .rows import PLAIN, Row, speed_row
from .timing import Budget, Load, Rates, measure, ratio, speed

CACHING = "edgewise/ModelCaching-v0"
_DRAWS = 64  # different actions of a lane, used in turn
_SERVERS = 5
_ROUTER: dict[str, Any] = {"rate": 2.0, "dynamic": True}  # queues are on by default


def _servers() -> CachingParams:
    return CachingParams.make("stationary")  # ten agents


def _cache_actions(shape: tuple[int, ...]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {"cache": rng.integers(0, 2, shape, dtype=np.int8), "local_share": rng.random(shape, dtype=np.float32)}
        for _ in range(_DRAWS)
    ]


def _against_plain(rates: Rates, name: str, what: str, target: float) -> Row:
    """The ratio to the plain-Python reference, or why there is none."""
    if PLAIN not in rates:
        return Row(what, None, target=target, note=MISSING)
    return Row(what, ratio(rates, name, PLAIN), target=target)


# --- model caching ----------------------------------------------------------------------------------------------------


def caching_lanes(lanes: int, warmup: int) -> Load:
    """Slots of the vector environment; episodes and their resets included."""
    params = _servers()
    env = gymnasium.make_vec(CACHING, num_envs=lanes, params=params)
    env.reset(seed=0)
    turns = cycle(_cache_actions((lanes, params.n_agents)))

    def load(steps: int) -> int:
        for action in islice(turns, steps):
            env.step(action)
        return steps * lanes

    load(warmup)
    return load


def caching_scalar(warmup: int) -> Load:
    """Slots of `gymnasium.make` with its usual wrappers."""
    params = _servers()
    env = gymnasium.make(CACHING, params=params)
    env.reset(seed=0)
    turns = cycle(_cache_actions((params.n_agents,)))

    def load(steps: int) -> int:
        for action in islice(turns, steps):
            if env.step(action)[3]:
                env.reset()
        return steps

    load(warmup)
    return load


def caching_parallel(market: bool, warmup: int) -> Load:
    """Slots of five servers in the Parallel environment, each server counted."""
    params = _servers()
    env = parallel_env(_SERVERS, params=params, market=market)
    env.reset(seed=0)
    turns = cycle([dict.fromkeys(env.possible_agents, action) for action in _cache_actions((params.n_agents,))])

    def load(steps: int) -> int:
        for actions in islice(turns, steps):
            env.step(actions)
            if not env.agents:
                env.reset()
        return steps * _SERVERS

    load(max(1, warmup // 10))
    return load


def caching(budget: Budget) -> Iterator[Row]:
    """Slots of model caching, with 10 agents, full observations and infos."""
    lanes, warmup = budget.lanes, budget.warmup
    widths = sorted({1, 64, lanes, 4 * lanes})
    running = {f"lanes {n}": caching_lanes(n, warmup) for n in widths} | {
        "scalar": caching_scalar(warmup),
        "parallel": caching_parallel(False, warmup),
        "market": caching_parallel(True, warmup),
    }
    plain = caching_slots(_servers(), warmup)
    rates = measure(running | ({PLAIN: plain} if plain else {}), budget)
    ours = f"lanes {lanes}"
    yield speed_row(rates, ours, f"model caching make_vec, {lanes} lanes × 10 agents", 3e5, "slots/s")
    yield _against_plain(rates, ours, f"the same over {PLAIN}", 50.0)
    yield speed_row(rates, "scalar", "model caching gymnasium.make, 10 agents", 2e4, "slots/s")
    for n in widths:
        if n != lanes:
            yield speed_row(
                rates, f"lanes {n}", f"model caching make_vec, {n} lane{'s' if n > 1 else ''}", None, "slots/s"
            )
    yield speed_row(rates, "parallel", f"model caching Parallel, {_SERVERS} servers", None, "slots/s")
    yield speed_row(rates, "market", "the same with a market", None, "slots/s")


# --- the market -------------------------------------------------------------------------------------------------------


def auctions(agents: int, tick: float) -> Load:
    """Auctions with half the unit agents on each side, clocks included."""
    rng = np.random.default_rng(0)
    values, costs, clocks = rng.random(agents // 2), rng.random(agents // 2), Clocks(tick)
    double_dutch(values, costs, clocks=clocks)

    def load(steps: int) -> int:
        for _ in range(steps):
            double_dutch(values, costs, clocks=clocks)
        return steps

    return load


def market(budget: Budget) -> Iterator[Row]:
    """Time of one double Dutch auction: clocks and clearing."""
    sizes = sorted({40, budget.unit_agents})
    rates = measure({str(n): auctions(n, 0.001) for n in sizes}, budget)
    for n in sizes:
        largest = n == sizes[-1]
        target = {"target": 0.5, "at_most": True, "machine": True} if largest else {}
        yield Row(f"double Dutch auction, {n:,} unit agents, tick 0.001", 1.0 / speed(rates, str(n)), "s", **target)  # type: ignore[arg-type]


# --- edge experts -----------------------------------------------------------------------------------------------------


def routing(lanes: int, warmup: int) -> Load:
    """Prompts of the vector environment, sent to random experts among those that work."""
    env = ExpertRouteVectorEnv(lanes, **_ROUTER)
    env.reset(seed=0)
    n = env.action_masks().shape[1]
    scores = cycle(np.random.default_rng(0).random((_DRAWS, lanes, n), dtype=np.float32))

    def load(steps: int) -> int:
        for score in islice(scores, steps):
            env.step((score * env.action_masks()).argmax(axis=1))
        return steps * lanes

    load(warmup)
    return load


def experts(budget: Budget) -> Iterator[Row]:
    """Prompts of expert routing with 12 experts and 16 features, queues and outages; choosing actions is included."""
    lanes, warmup = budget.lanes, budget.warmup
    widths = sorted({1, 64, lanes, 4 * lanes})
    running = {f"lanes {n}": routing(n, warmup) for n in widths}
    plain = routed_prompts(ExpertRouteVectorEnv(1, **_ROUTER)._system, warmup)
    rates = measure(running | ({PLAIN: plain} if plain else {}), budget)
    ours = f"lanes {lanes}"
    yield speed_row(rates, ours, f"expert routing make_vec, {lanes} lanes × 12 experts", 5e5, "prompts/s")
    yield _against_plain(rates, ours, f"the same over {PLAIN}", 30.0)
    for n in widths:
        if n != lanes:
            yield speed_row(rates, f"lanes {n}", f"expert routing, {n} lane{'s' if n > 1 else ''}", None, "prompts/s")
