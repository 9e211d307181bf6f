"""Scripted policies in the compiled simulator: the baselines' figures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .params import CachingParams
from .policies import LOOKAHEAD_SLOTS, NEED_FUTURE, ScriptedPolicy
from .simulator import Simulator
from .state import COST, LOADS, LOCAL, REQUESTS, SWITCHING, TERMS
from .workload import Demand, Workload

SEED_LIMIT = 1 << 64


class EpisodePolicy(Protocol):
    """What `run_policy` plays: `ScriptedPolicy`, or anything that decides for a batch of rows.

    Attributes:
        name: one of `NEED_FUTURE` is told the demand.
    """

    name: str

    def reset(self, demands: Sequence[Demand] | None = None) -> None:
        """Begin an episode in every row."""

    def __call__(self, obs: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for observations (n, D): ``{"cache": (n, I), "local_share": (n, I)}``."""


@dataclass(frozen=True)
class Simulation:
    """Figures of S seeds, arrays (S,); costs are per slot.

    Attributes:
        rule: the policy with its numbers; for ``lookahead`` the best member.
        cost: mean cost per slot.
        cost_terms: its parts by name.
        loads: loads per slot.
        local_ratio: share of the requests served here; 0 without requests.
        seconds: wall-clock time spent, compiling not counted.
    """

    rule: str
    cost: NDArray[np.float64]
    cost_terms: dict[str, NDArray[np.float64]]
    loads: NDArray[np.float64]
    local_ratio: NDArray[np.float64]
    seconds: float


def simulate(
    params: CachingParams, policy: str = "lfu", *, horizon: int = 100, seeds: int | Sequence[int] = 1
) -> Simulation:
    """Run a scripted policy, one independent server per seed.

    Args:
        params: the system.
        policy: a policy of `policies`; ``lookahead`` without a number is the best member of the look-ahead family over
            these seeds: `LOOKAHEAD_SLOTS` slots ahead, demand known or its running mean.
        horizon: slots.
        seeds: the seeds, or how many (then 0, 1, ...).

    Raises:
        InvalidInputError: an argument is out of range.
    """
    chosen = _seeds(seeds)
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or not 1 <= horizon <= 10**6:
        raise InvalidInputError.of("horizon", "a number of slots in [1, 1000000]", horizon)
    run_policy(params, ScriptedPolicy("cloud", params), [(0, 0)], 1)  # compiles
    start = time.perf_counter()
    episodes = [(seed, 0) for seed in chosen]
    if isinstance(policy, str) and policy.strip() == "lookahead":
        policy, _ = best_lookahead(params, episodes, horizon)
    totals = run_policy(params, ScriptedPolicy(policy, params), episodes, int(horizon))
    requests = totals[REQUESTS]
    return Simulation(
        rule=policy,
        cost=totals[COST] / horizon,
        cost_terms={name: totals[SWITCHING + k] / horizon for k, name in enumerate(TERMS)},
        loads=totals[LOADS] / horizon,
        local_ratio=np.divide(totals[LOCAL], requests, out=np.zeros(len(chosen)), where=requests > 0),
        seconds=time.perf_counter() - start,
    )


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    try:
        chosen = [index(s) for s in (range(seeds) if isinstance(seeds, int) else seeds)]
    except TypeError:
        chosen = []
    if not chosen or not all(0 <= s < SEED_LIMIT for s in chosen):
        raise InvalidInputError.of("seeds", "a positive number or a list of integers in [0, 2^64)", seeds)
    return chosen


def run_policy(
    params: CachingParams, policy: EpisodePolicy, episodes: Sequence[tuple[int, int]], horizon: float
) -> NDArray[np.float64]:
    """Play whole episodes with a policy, one lane each.

    Args:
        params: the system.
        policy: it is reset first.
        episodes: (seed, number of the episode) of every lane.
        horizon: slots.

    Returns:
        (OUT_ROWS, lanes): sums over the slots of all rows of the simulator's output.
    """
    slots = play_slots(params, policy, episodes, horizon)
    totals = next(slots).copy()
    for out in slots:
        totals += out
    return totals


def play_slots(
    params: CachingParams, policy: EpisodePolicy, episodes: Sequence[tuple[int, int]], horizon: float
) -> Iterator[NDArray[np.float64]]:
    """The same slot by slot.

    Yields:
        (OUT_ROWS, lanes): all rows of the simulator's output in one slot, valid until the next.
    """
    simulator = Simulator(params, len(episodes), horizon=float(horizon))
    simulator.seed(np.array([seed for seed, _ in episodes], np.uint64))
    simulator.world.lane["episode"] = np.array([number for _, number in episodes]) - 1
    demands = None
    if policy.name in NEED_FUTURE:
        workload = Workload(params, horizon)
        demands = [workload.episode(seed, number) for seed, number in episodes]
    policy.reset(demands)
    buffers = simulator.reset()
    for _ in range(int(horizon)):
        action = policy(buffers.obs)
        simulator.step(action["cache"], action["local_share"].astype(np.float64), buffers=buffers)
        yield buffers.out


def best_lookahead(params: CachingParams, episodes: Sequence[tuple[int, int]], horizon: float) -> tuple[str, float]:
    """(Name, mean cost per slot) of the best look-ahead rule over these episodes."""
    names = [f"{kind}:{slots}" for kind in ("lookahead", "lookahead_mean") for slots in LOOKAHEAD_SLOTS]
    costs = {
        name: float(run_policy(params, ScriptedPolicy(name, params), episodes, horizon)[COST].mean() / horizon)
        for name in names
    }
    best = min(costs, key=costs.__getitem__)
    return best, costs[best]
