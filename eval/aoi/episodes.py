"""Running a policy through the environments, on given seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ...envs.aoi_offload.policies import ScriptedPolicy
from ...envs.aoi_offload.recording import EventRecorder, Recorder
from ...envs.aoi_offload.state import JOINT, OFFLOAD, STREAM_OFFSET, UPDATE
from ...envs.core.errors import InvalidInputError
from .play import MAX_DECISIONS
from .results import Curve, QueueResponse, Response, Trace

if TYPE_CHECKING:
    from ...envs.aoi_offload.params import AoIParams
    from ...train.learners import Policy

GAME_ID = "edgewise/AoIOffloadGame-v0"
_MAX_DEVICES = 200


def run_policy(policy: Policy, env_id: str, kwargs: dict[str, Any], seeds: list[int]) -> dict[str, NDArray[Any]]:
    """Let a policy decide for the learning device in one episode per seed.

    Args:
        policy: ``act(obs (n, 4 + N)) -> {"server", "wait"}``.
        env_id: the environment.
        kwargs: its keyword arguments, the horizon among them.
        seeds: one per lane.

    Returns:
        The counters of `statistics()` up to the horizon, shapes (len(seeds), M, ...).

    Raises:
        InvalidInputError: an episode does not reach its horizon within `MAX_DECISIONS` decisions.
    """
    # NEXT_STEP: an ended lane keeps its counters until the following step resets it.
    env = gymnasium.make_vec(
        env_id,
        num_envs=len(seeds),
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.NEXT_STEP,
        **kwargs,
    )
    kept: dict[str, NDArray[Any]] = {}
    running = np.ones(len(seeds), bool)
    try:
        obs, _ = env.reset(seed=list(seeds))  # type: ignore[arg-type]  # annotated int, documented as int or list
        for _ in range(MAX_DECISIONS):
            # An episode ends at a decision, often the completion of the cycle under way at the horizon. Such a cycle is
            # longer than most; counting it would raise the age against the compiled simulation, which stops in time.
            counters = env.unwrapped.statistics()
            obs, _, _, truncated, _ = env.step(policy.act(obs))
            ended = running & truncated
            if ended.any():
                for name, values in counters.items():
                    kept.setdefault(name, np.zeros_like(values))[ended] = values[ended]
                running &= ~ended
                if not running.any():
                    return kept
    finally:
        env.close()
    raise InvalidInputError(
        f"horizon: {running.sum()} of {len(seeds)} episodes did not reach {kwargs.get('horizon', 'the default')} s "
        f"within {MAX_DECISIONS} decisions; shorten it, unless the policy never completes a task"
    )


def record(policy: Policy, env_id: str, kwargs: dict[str, Any], seed: int) -> EventRecorder:
    """Record one episode of the learning device.

    Args:
        policy: decides for the learning device.
        env_id: the environment.
        kwargs: its keyword arguments, the horizon among them.
        seed: of the episode.
    """
    return _record(Recorder(gymnasium.make(env_id, **kwargs)), policy.act, seed)


def record_all(policy: Policy, params: AoIParams, kwargs: dict[str, Any], seed: int) -> EventRecorder:
    """Record one episode of the same system with every device's decisions, so that every change of a queue is seen.

    Args:
        policy: decides for device 0.
        params: the physics.
        kwargs: keyword arguments of the single-device environment: horizon, background and background_wait count.
        seed: of the episode.
    """
    rules = kwargs["background"], kwargs["background_wait"]
    # one for each device: potential-game offloading learns from its own delays
    others = [ScriptedPolicy(*rules, params=params, seed=(seed + m) % 2**32) for m in range(params.n_devices)]

    def act(obs: NDArray[np.float32]) -> dict[str, Any]:
        device = int(obs[0])
        return (policy if device == 0 else others[device]).act(obs[STREAM_OFFSET:])

    return _record(Recorder(gymnasium.make(GAME_ID, params=params, horizon=kwargs["horizon"])), act, seed)


def can_record_all(params: AoIParams, kwargs: dict[str, Any]) -> bool:
    """Whether `record_all` fits: queues to see, staged decisions, few devices."""
    return params.n_edges > 0 and kwargs["decision"] == "staged" and params.n_devices <= _MAX_DEVICES


def record_game(
    policy: Policy, params: AoIParams, horizon: float, seed: int, sync_slot: float | None = None
) -> EventRecorder:
    """Record one episode of the game.

    Args:
        policy: decides for every device, on event-stream observations.
        params: the physics.
        horizon: length of the episode, s.
        seed: of the episode.
        sync_slot: time between the ticks at which waits end, s; None in the asynchronous game.
    """
    env = gymnasium.make(GAME_ID, params=params, horizon=horizon, sync_slot=sync_slot)
    return _record(Recorder(env), policy.act, seed)


def _record(env: Any, act: Callable[[NDArray[np.float32]], dict[str, Any]], seed: int) -> EventRecorder:
    try:
        obs, _ = env.reset(seed=seed)
        truncated = False
        while not truncated:
            obs, _, _, truncated, _ = env.step(act(obs))
    finally:
        env.close()
    events: EventRecorder = env.events
    return events


def _rounded(values: Any) -> list[float]:
    """Six significant digits: figures need no more, and the file stays small."""
    return [float(f"{value:.6g}") for value in np.asarray(values, dtype=float).ravel()]


def trace(events: EventRecorder, end: float, device: int = 0) -> Trace:
    """The figures' view of a recorded episode.

    Args:
        events: the record.
        end: show the episode up to this instant, s.
        device: the learning device.
    """
    end = min(end, events.now)
    times, ages = events.sawtooth(device)
    last_age = float(np.interp(end, times, ages))
    keep = times <= end
    mine = [d for d in events.decisions if d.device == device and d.time <= end]
    waits = [(d.time, min(d.time + d.wait, end)) for d in mine if d.wait]
    seen = [d for d in events.decisions if d.time <= end]
    changes = [d for k, d in enumerate(seen) if k in (0, len(seen) - 1) or d.queues != seen[k - 1].queues]
    return Trace(
        device=device,
        start=0.0,
        end=end,
        curve_times=_rounded([*times[keep], end]),
        curve_ages=_rounded([*ages[keep], last_age]),
        waits=waits,
        queue_times=_rounded([d.time for d in changes]),
        queues=[list(d.queues) for d in changes],
    )


def response(
    policy: Policy, params: AoIParams, events: EventRecorder, decision: str, threshold: float | None, points: int = 121
) -> Response:
    """What a policy does as a function of its observation, around what the recorded episode met.

    Args:
        policy: the learned policy.
        params: the physics.
        events: a recorded episode: delays and queue lengths are taken from the range met there.
        decision: ``staged`` or ``joint``.
        threshold: of the proven optimal wait rule, s, where there is one.
        points: number of delays.
    """
    kind = JOINT if decision == "joint" else UPDATE
    mine = [d for d in events.decisions if d.device == 0]
    met = [d for d in mine if d.wait is not None]
    top = float(np.quantile([d.age for d in met], 0.99)) if met else 1.0
    delays = np.linspace(0.0, 1.15 * top, points)
    lengths = np.array([d.queues for d in mine], dtype=int).reshape(len(mine), params.n_edges)
    curves = []
    for queues, label in _typical_queues(lengths):
        obs = observations(kind, delays, delays, 0.0, queues)
        curves.append(Curve(label=label, queues=queues, waits=_rounded(policy.act(obs)["wait"])))
    optimal = None if threshold is None else _rounded(np.clip(threshold - delays, 0.0, params.z_max))
    servers, note = _servers(policy, params, mine, lengths, decision)
    return Response(
        n_edges=params.n_edges,
        delays=_rounded(delays),
        curves=curves,
        optimal_waits=optimal,
        seen_delays=_rounded([d.age for d in met]),
        seen_waits=_rounded([d.wait for d in met]),
        servers=servers,
        note=note,
    )


def queue_response(policy: Policy, params: AoIParams, events: EventRecorder) -> QueueResponse:
    """The waits of a game's policy as a function of the number of tasks at the edges.

    Args:
        policy: the learned policy, on event-stream observations; device 0 is asked.
        params: the physics.
        events: a recorded episode: delays and totals are taken from the range met there.
    """
    met = [d for d in events.decisions if d.wait is not None]
    delays = sorted({float(f"{q:.3g}") for q in np.quantile([d.age for d in met] or [0.0], (0.1, 0.5, 0.9))})
    top = max((sum(d.queues) for d in met), default=0) if params.n_edges else 0
    totals = np.arange(top + 1)
    edges = np.arange(params.n_edges)
    queues = (totals[:, None] + params.n_edges - 1 - edges) // max(params.n_edges, 1)  # shared as equally as possible
    waits = []
    for delay in delays:
        obs = np.insert(observations(UPDATE, np.full(len(totals), delay), delay, 0.0, queues), 0, 0.0, axis=1)
        waits.append(_rounded(policy.act(obs)["wait"]))
    return QueueResponse(totals=totals.tolist(), delays=delays, waits=waits)


def observations(kind: int, delay: Any, age: Any, since: Any, queues: Any) -> NDArray[np.float32]:
    """Build plain observations [kind, delay, age, since, q_1 ... q_N] from values that broadcast to (n,) and (n, N)."""
    columns = np.broadcast_arrays(
        np.float64(kind), np.asarray(delay, float), np.asarray(age, float), np.asarray(since, float)
    )
    head = np.stack([column.ravel() for column in columns], axis=1)
    tail = np.broadcast_to(np.atleast_2d(np.asarray(queues, float)), (len(head), np.atleast_2d(queues).shape[1]))
    return np.concatenate([head, tail], axis=1).astype(np.float32)


def _typical_queues(lengths: NDArray[Any]) -> list[tuple[list[int], str]]:
    """Up to three met queue states, by total length: a light, a typical and a heavy load."""
    if lengths.shape[1] == 0 or not len(lengths):
        return [([], "learned rule")]
    order = np.argsort(lengths.sum(axis=1), kind="stable")
    chosen: list[tuple[list[int], str]] = []
    for quantile in (0.05, 0.5, 0.95):
        queues = [int(q) for q in lengths[order[int(quantile * (len(order) - 1))]]]
        label = "queues " + ", ".join(map(str, queues[:6])) + (" …" if len(queues) > 6 else "")
        if queues not in [known for known, _ in chosen]:
            chosen.append((queues, label))
    return chosen


def _servers(
    policy: Policy, params: AoIParams, mine: list[Any], lengths: NDArray[Any], decision: str
) -> tuple[list[list[int]], str]:
    """The chosen place for every pair of lengths of the first two queues; the rest stays at its median."""
    if params.n_edges == 0:
        return [], "The system has no edge: every task runs on the device."
    offers = [d for d in mine if d.server is not None]
    ages = [d.age for d in offers]
    age = float(np.median(ages)) if ages else 1.0
    top = [int(np.clip(lengths[:, n].max(initial=1) + 1, 3, 11)) for n in range(min(params.n_edges, 2))]
    columns, rows = top[0] + 1, top[1] + 1 if params.n_edges > 1 else 1
    queues = np.tile(
        np.median(lengths, axis=0).astype(int) if len(lengths) else np.zeros(params.n_edges, int), (rows * columns, 1)
    )
    row, column = np.divmod(np.arange(rows * columns), columns)
    queues[:, 0] = column
    if params.n_edges > 1:
        queues[:, 1] = row
    kind = JOINT if decision == "joint" else OFFLOAD
    met = [d.age for d in mine if d.wait is not None]
    delay = float(np.median(met)) if met else age
    obs = observations(kind, np.full(rows * columns, delay), age, max(age - delay, 0.0), queues)
    chosen = np.asarray(policy.act(obs)["server"]).reshape(rows, columns)
    note = f"Last delay {delay:.3g} s, age {age:.3g} s" + (
        ", other edges at their median length." if params.n_edges > 2 else "."
    )
    return [[int(place) for place in line] for line in chosen], note
