"""Workloads behind one interface: the demand of whole episodes, whatever law or trace it comes from.

The simulator draws the same demand slot by slot; here it is written out ahead, for policies and bounds that may know
the future, and for tests.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.rng import stream_key
from ..core.streams import ASSIGNMENT, SHARING, THINNING
from .demand import fill_uniforms, write_episode
from .instance import draw_instance
from .params import CachingParams
from .state import allocate
from .traces import Trace, read_trace

TRACE_ZIPF = 0.8
"""Exponent of the agents' popularity where a trace names no agent."""
MAX_SLOTS = 10_000_000


class Demand(NamedTuple):
    """Demand of T slots, arrays (T, I).

    Attributes:
        requests: number of requests, int32.
        input: input size d, tokens.
        thought: tokens per path k.
        growth: context that a locally served request adds, tokens.
    """

    requests: NDArray[np.int32]
    input: NDArray[np.float64]
    thought: NDArray[np.float64]
    growth: NDArray[np.float64]


def stacked(demands: Sequence[Demand]) -> Demand:
    """Demands of n rows in one, arrays (T, n, I)."""
    return Demand._make(np.stack(columns, axis=1) for columns in zip(*demands, strict=True))


class Workload:
    """The demand of a system: an episode is a pure function of (seed, number of the episode).

    Args:
        params: the system.
        horizon: slots of an episode T, finite.

    Raises:
        InvalidInputError: the horizon is out of range, or the trace cannot be read or is too short.
    """

    def __init__(self, params: CachingParams, horizon: float = 100.0) -> None:
        if not 1 <= horizon <= MAX_SLOTS or horizon % 1 != 0:
            raise InvalidInputError.of("horizon", f"a whole number of slots in [1, {MAX_SLOTS}]", horizon)
        trace = load_slots(params, horizon) if params.workload == "trace" else None
        self.params, self.slots = params, int(horizon)
        self._world = allocate(params, 1, float(horizon), trace)

    def episode(self, seed: int, number: int = 0) -> Demand:
        """Demand of an episode, as the simulator seeded so meets it."""
        lane, shape = self._world.lane[0], (self.slots, self.params.n_agents)
        lane["seed"], lane["episode"] = seed, number
        tokens = [np.zeros(shape) for _ in range(3)]
        requests = np.zeros(shape, np.int32)
        write_episode(requests, *tokens, *self._world)
        return Demand(requests, *tokens)


# --- traces -----------------------------------------------------------------------------------------------------------


Slots = tuple[NDArray[np.int32], NDArray[np.float64]]


def load_slots(params: CachingParams, horizon: float) -> Slots:
    """The trace of the parameters in slots: counts (S, I) and mean tokens (S, I, 3).

    Raises:
        InvalidInputError: the file cannot be read or is malformed, the chosen slots are not in it, or an episode is
            longer than they are.
    """
    assert params.trace is not None
    assert params.trace_format is not None
    try:
        status = os.stat(params.trace)
    except OSError as error:
        raise InvalidInputError(f"trace {params.trace} cannot be read: {error.strerror}") from None
    found = slotted(_cached(params.trace, params.trace_format, status.st_mtime_ns, status.st_size), params)
    if horizon > len(found[0]):
        raise InvalidInputError.of("horizon", f"at most the trace's {len(found[0])} slots", horizon)
    return found


def replayed_slots(params: CachingParams) -> int:
    """Slots of the trace of the parameters: the longest episode.

    Raises:
        InvalidInputError: see `load_slots`.
    """
    return len(load_slots(params, 0.0)[0])


@lru_cache(maxsize=2)
def _cached(path: str, trace_format: str, _modified: int, _size: int) -> Trace:
    return read_trace(path, trace_format)


def slotted(trace: Trace, params: CachingParams) -> Slots:
    """Requests by slot and agent.

    A session stays with one agent, drawn from Zipf(0.8) by a counter hash of (instance seed, row of its first request);
    where the trace tells small models from large ones, among the agents with such a model. Several requests of one
    agent in a slot share their mean sizes.

    Args:
        trace: the requests.
        params: agents, slot length, time compression and thinning.

    Returns:
        Counts (S, I), int32, and tokens (S, I, 3): mean input size, output size, and context per request (new plus
        generated tokens).

    Raises:
        InvalidInputError: nothing is left, or ``trace_slots`` lie outside the trace.
    """
    seed = np.uint64(params.instance_seed)
    keep = np.ones(len(trace), bool)
    if params.trace_keep < 1.0:
        keep = _uniforms(np.uint64(stream_key(seed, 0, THINNING, 0)), np.arange(len(trace))) <= params.trace_keep
    slot = slot_of(trace, params)
    slots = int(slot.max()) + 1
    if slots > MAX_SLOTS:
        raise InvalidInputError.of("slot_s", f"long enough for at most {MAX_SLOTS} slots", params.slot_s)
    first, last = params.trace_slots or (0, slots)
    if last > slots:
        raise InvalidInputError.of("trace_slots", f"within the trace's {slots} slots", params.trace_slots)
    keep &= (slot >= first) & (slot < last)
    if params.trace_share is not None:
        server, servers = params.trace_share
        draws = _uniforms(np.uint64(stream_key(seed, 0, SHARING, 0)), trace.first_row)
        keep &= np.ceil(draws * servers).astype(np.int64) - 1 == server
    if not keep.any():
        given = params.trace_keep, params.trace_share
        raise InvalidInputError.of("trace_keep and trace_share", "such that some request is left in trace_slots", given)
    agent = _agents(trace, params)
    count = params.n_agents
    cell = ((slot - first) * count + agent)[keep]
    cells = (last - first) * count
    requests = np.bincount(cell, minlength=cells)
    columns = (trace.input_tokens, trace.output_tokens, trace.new_tokens + trace.output_tokens)
    sums = [np.bincount(cell, weights=column[keep], minlength=cells) for column in columns]
    tokens = np.stack(sums, axis=1) / np.maximum(requests, 1)[:, None]
    return requests.astype(np.int32).reshape(-1, count), tokens.reshape(-1, count, 3)


def shared_slots(params: CachingParams, horizon: float, servers: int) -> Slots:
    """The slots of the trace for each of several servers, (N S, I) and (N S, I, 3): between them every request is once.

    Raises:
        InvalidInputError: see `load_slots`, or ``trace_share`` is given already.
    """
    if params.trace_share is not None:
        raise InvalidInputError.of("trace_share", "None: several servers share the trace", params.trace_share)
    found = [load_slots(params.model_copy(update={"trace_share": (n, servers)}), horizon) for n in range(servers)]
    counts, tokens = zip(*found, strict=True)
    return np.concatenate(counts), np.concatenate(tokens)


def slot_of(trace: Trace, params: CachingParams) -> NDArray[np.int64]:
    """The slot of every request, (n,), from the trace's first slot on."""
    return np.floor(trace.time / (params.trace_speedup * params.slot_s)).astype(np.int64)


def _agents(trace: Trace, params: CachingParams) -> NDArray[np.int64]:
    """The agent of every request."""
    popularity = np.arange(1.0, params.n_agents + 1.0) ** -TRACE_ZIPF
    key = np.uint64(stream_key(np.uint64(params.instance_seed), 0, ASSIGNMENT, 0))
    draws = _uniforms(key, trace.first_row)
    agent = np.zeros(len(trace), np.int64)
    static = draw_instance(params)
    median = np.median(static["memory"])
    large = static["memory"] > median if len(params.models) > 1 else np.zeros(params.n_agents, bool)
    for tier, group in ((-1, np.ones(params.n_agents, bool)), (0, ~large), (1, large)):
        rows = trace.tier == tier
        chosen = popularity * (group if group.any() else 1.0)
        cumulative = np.cumsum(chosen) / chosen.sum()
        agent[rows] = np.minimum(np.searchsorted(cumulative, draws[rows]), params.n_agents - 1)
    return agent


def _uniforms(key: np.uint64, counters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Draws of one stream at many counters."""
    out = np.empty(len(counters))
    fill_uniforms(key, counters.astype(np.int64), out)
    return out
