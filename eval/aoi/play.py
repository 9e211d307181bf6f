"""Playing the game: a policy decides for many devices in hundreds of independent systems at once.

The loop talks to the simulator itself, without the infos and resets of the Gymnasium face, and reads what it measures
from the simulator's counters: a network of two layers of 64 decides several hundred thousand times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.policies import rule
from ...envs.aoi_offload.simulator import Simulator
from ...envs.aoi_offload.state import ROOT, STAGED_AGENT
from ...envs.aoi_offload.synchronous import common_clock
from ...envs.core.errors import InvalidInputError

if TYPE_CHECKING:
    from ...envs.aoi_offload.params import AoIParams
    from ...train.learners import Policy

MAX_DECISIONS = 50_000_000
"""Decisions of one lane after which an evaluation gives up: a policy may offload without ever completing a task."""

AFTER_START = 1e-300
"""A warm-up, s, that leaves out the cycles that start at time 0, and nothing else."""

Decide = Callable[[NDArray[np.float32], NDArray[np.int64]], tuple[NDArray[Any], NDArray[Any]]]
"""Maps event-stream observations (n, 5 + N) and the lanes (n,) they come from to servers (n,) and waits (n,), s."""


def everyone(policy: Policy) -> Decide:
    """Every device follows the policy of a game run."""

    def decide(obs: NDArray[np.float32], lanes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        action = policy.act(obs)
        return np.asarray(action["server"]), np.asarray(action["wait"]).reshape(len(obs))

    return decide


def first_completions(params: AoIParams, seeds: Sequence[int], horizon: float) -> NDArray[np.float64]:
    """When every device's first task completes, s: shape (seeds, M), 0 where that is not before the horizon.

    No policy has a say in it: all first tasks are placed at time 0, and queues are served in the order of arrival.
    """
    rules = np.repeat(rule(params, "local", "fixed:0")[None], params.n_devices)
    lengths = []
    for warmup in (0.0, AFTER_START):
        simulator = Simulator(params, rules, len(seeds), warmup=warmup)
        simulator.until[:] = horizon
        simulator.seed(np.array([int(seed) for seed in seeds], np.uint64))
        simulator.reset()
        lengths.append(simulator.statistics()["time"])
    return np.asarray(lengths[0] - lengths[1])


def play(
    params: AoIParams,
    decide: Decide,
    seeds: Sequence[int],
    horizons: float | NDArray[np.float64],
    *,
    agents: Sequence[int] | None = None,
    others: tuple[str, str] = ("jsq", "fixed:0"),
    warmup: float = 0.0,
    sync_slot: float | None = None,
) -> dict[str, NDArray[Any]]:
    """Play one episode per lane and return what was counted.

    Args:
        params: the physics.
        decide: the decisions.
        seeds: one per lane; the lane is not in the draws, so lanes with the same seed meet the same service times.
        horizons: length of the episode, s; one number or one per lane.
        agents: the devices that `decide` decides for; None for all.
        others: server rule and wait rule of the rest, run inside the simulator.
        warmup: cycles that start before it are not counted, s.
        sync_slot: time between the ticks at which the decided waits end, s; None in the asynchronous game.

    Returns:
        The counters of `Simulator.statistics`, shapes (lanes, M, ...): the cycles completed before the horizon, as
        the compiled `simulate` counts them.

    Raises:
        InvalidInputError: an action or the slot is out of range, or an episode does not end within `MAX_DECISIONS`
            decisions.
    """
    rules = np.repeat(rule(params, *others)[None], params.n_devices)
    rules["agent"][slice(None) if agents is None else list(agents)] = STAGED_AGENT
    lanes, clock = len(seeds), common_clock(sync_slot, params)
    simulator = Simulator(params, rules, lanes, stream=True, warmup=warmup)
    simulator.until[:] = horizons
    simulator.seed(np.array([int(seed) for seed in seeds], np.uint64))
    buffers = simulator.reset()
    over = simulator.world.timer[:, ROOT] >= simulator.until
    running = np.flatnonzero(~over)
    server, wait = np.zeros(lanes, np.int64), np.zeros(lanes)
    for _ in range(MAX_DECISIONS):
        if not len(running):
            return simulator.statistics()
        obs = buffers.obs if len(running) == lanes else buffers.obs[running]
        server[running], wait[running] = decide(obs, running)
        if clock is not None:
            wait[running] = clock.lengthened(simulator.world.lane["time"][running], wait[running])
        _, ended = simulator.step(server, wait, over, buffers)
        if ended.any():
            over |= ended
            running = np.flatnonzero(~over)
    raise InvalidInputError(
        f"horizon: {len(running)} of {lanes} episodes did not reach {np.max(horizons):g} s within {MAX_DECISIONS} "
        "decisions; shorten it, unless the policy never completes a task"
    )
