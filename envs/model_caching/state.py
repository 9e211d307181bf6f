"""Memory layout of the simulator: record types, constants and their allocation. Lanes are independent servers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .catalogue import MODELS
from .instance import draw_instance
from .params import ACCURACY_MODELS, WINDOW_RULES, WORKLOADS, CachingParams

NONE, EVICT_ON_OVERFLOW, CLIP, SLIDE = range(len(WINDOW_RULES))
PAPER, SATURATING, TABLE = range(len(ACCURACY_MODELS))
POISSON, MARKOV, TRACE = range(len(WORKLOADS))

# Rows of the float output of a step.
COST, DURATION, TIME, SWITCHING, COMMUNICATION, COMPUTE, ACCURACY_COST, CLOUD = range(8)
LOADS, EVICTIONS, REQUESTS, LOCAL, CORRECT, ENERGY, MEMORY = range(8, 15)
OUT_ROWS = 15
TERMS = ("switching", "communication", "compute", "accuracy", "cloud")
FIGURES = ("loads", "evictions", "requests", "local", "correct", "energy", "memory")

# Blocks of an observation, each with one entry per agent; `observe_more` adds CONTEXT and the two numbers behind it.
CACHE, SEEN, KAPPA, SIZE, INPUT, CONTEXT = range(6)
LEAST = 1e-18
"""Tails of a Poisson law below this weigh nothing in double precision."""
TABULATED = 8
"""Counts of requests whose probability is tabulated; the sum is taken afresh beyond."""

INPUT_SCALE = 1e-3
"""Input sizes are observed in thousands of tokens."""

LANE = np.dtype(
    [
        ("seed", "u8"),
        ("episode", "i8"),
        ("popularity_key", "u8"),  # the keys lack their last part, the agent
        ("burst_key", "u8"),
        ("time", "i8"),  # slots since reset
        ("first", "i8"),  # first slot of the trace in this episode
        ("done", "i8"),  # truncated and not yet reset
    ]
)

AGENT = np.dtype(
    [
        ("context", "f8"),  # accumulated context K, tokens
        ("kappa", "f8"),  # age of thoughts
        ("input", "f8"),  # of the slot to be decided: input size d, tokens
        ("thought", "f8"),  # tokens per path k
        ("growth", "f8"),  # context per locally served request, tokens
        ("seen_input", "f8"),  # input size shown in the observation
        ("demand", "i4"),  # requests of the slot to be decided
        ("seen", "i4"),  # requests shown in the observation
        ("key", "u8"),  # of the demand stream
        ("rank", "i4"),  # popularity rank, 0 is the most popular
        ("cache", "i1"),  # resident after the last slot
        ("burst", "i1"),  # state of the Markov-modulated demand
        ("spare", "i2"),  # always 0: without padding, equal states are equal byte by byte
    ],
    align=True,
)

MODEL = np.dtype([("memory", "f8"), ("switch", "f8"), ("evict", "f8")])  # GB, cost of a load, cost of an eviction

PARAMS = np.dtype(
    [
        ("capacity", "f8"),  # GB
        ("budget", "f8"),  # J per slot
        ("gflops", "f8"),
        ("paths", "f8"),
        ("edge_factor", "f8"),  # paths that the edge access price counts
        ("token_factor", "f8"),  # 1 where the cloud access price is per token
        ("work_factor", "f8"),  # J, or J^2 where paths count twice
        ("prompt_factor", "f8"),  # 1 where input tokens are work
        ("zeta", "f8"),
        ("vanishing", "f8"),
        ("kappa_half", "f8"),
        ("edge_price", "f8"),
        ("cloud_price", "f8"),
        ("weight_communication", "f8"),
        ("weight_compute", "f8"),
        ("weight_accuracy", "f8"),
        ("weight_cloud", "f8"),
        ("horizon", "f8"),
        ("calm", "f8"),  # relative rates of the two states of the modulated demand, scaled to mean 1
        ("busy", "f8"),
        ("leave", "f8"),  # probability of leaving a state
        ("shift_every", "i8"),
        ("last_start", "i8"),  # latest first slot of an episode in a trace
        ("trace_slots", "i8"),  # its slots
        ("kappa_tokens", "i4"),
        ("window_rule", "i4"),
        ("accuracy_model", "i4"),
        ("shared", "i4"),
        ("plain", "i4"),  # an agent's memory is that of its weights
        ("workload", "i4"),
        ("hide", "i4"),
        ("more", "i4"),
    ],
    align=True,
)


class World(NamedTuple):
    """All arrays of L lanes with I agents and M models, in the order in which the kernel takes them."""

    lane: NDArray[np.void]  # (L,) LANE
    agent: NDArray[np.void]  # (L, I) AGENT
    resident: NDArray[np.int32]  # (L, M) agents that hold each shared model after the last slot
    fresh: NDArray[np.int32]  # (L, M) the same for the slot being decided
    static: NDArray[np.void]  # (I,) STATIC
    model: NDArray[np.void]  # (M,) MODEL
    order: NDArray[np.int32]  # (I,) agents by ascending memory, then index
    group: NDArray[np.int32]  # (I,) end of the run of equal memory that begins here
    hungry: NDArray[np.int32]  # (I,) agents by descending energy, then index
    joules: NDArray[np.float64]  # (I,) scratch: energy of serving all requests of each agent, J
    rate: NDArray[np.float64]  # (I,) mean demand by popularity rank
    still: NDArray[np.float64]  # (I,) exp(-rate): probability of no request
    below: NDArray[np.float64]  # (I, B) probability of at most 0, 1, ..., B - 1 requests
    trace_base: NDArray[np.int64]  # (L,) row of a trace's first slot
    trace_count: NDArray[np.int32]  # (S, I) requests of a trace, or (L S, I) where every server has its own
    trace_tokens: NDArray[np.float64]  # (S, I, 3) mean input size, tokens per path, context per request
    params: NDArray[np.void]  # (1,) PARAMS


STATE_FIELDS = ("lane", "agent", "resident")


def observation_width(params: CachingParams) -> int:
    """Length of an observation."""
    return 6 * params.n_agents + 2 if params.observe_more else 5 * params.n_agents


def allocate(
    params: CachingParams,
    lanes: int,
    horizon: float,
    trace: tuple[NDArray[np.int32], NDArray[np.float64]] | None = None,
    shared: bool = False,
) -> World:
    """Allocate the arrays of ``lanes`` independent servers.

    Args:
        params: the system.
        lanes: number of servers L.
        horizon: slots of an episode.
        trace: counts (S, I) and tokens (S, I, 3) where the workload is a trace.
        shared: whether every server has its own S rows, of L S.
    """
    static = draw_instance(params)
    count = params.n_agents
    order = np.argsort(static["memory"], kind="stable").astype(np.int32)
    sizes = static["memory"][order]
    group = np.searchsorted(sizes, sizes, side="right").astype(np.int32)
    counts, tokens = trace if trace is not None else (np.zeros((0, count), np.int32), np.zeros((0, count, 3)))
    slots = len(counts) // lanes if shared else len(counts)
    rate = params.rates()
    still = np.array([math.exp(-mean) for mean in rate.tolist()])
    return World(
        lane=np.zeros(lanes, LANE),
        agent=np.zeros((lanes, count), AGENT),
        resident=np.zeros((lanes, len(params.models)), np.int32),
        fresh=np.zeros((lanes, len(params.models)), np.int32),
        static=static,
        model=_models(params),
        order=order,
        group=group,
        hungry=np.argsort(-static["energy_out"], kind="stable").astype(np.int32),
        joules=np.zeros(count),
        rate=rate,
        still=still,
        below=distribution(rate, still),
        trace_base=np.arange(lanes) * (slots if shared else 0),
        trace_count=counts,
        trace_tokens=tokens,
        params=_block(params, horizon, slots),
    )


def distribution(rate: NDArray[np.float64], still: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums that `demand.poisson` makes, in its order; infinite where it gives the sum up."""
    table, probability = np.empty((len(rate), TABULATED)), still.copy()
    table[:, 0] = still
    for k in range(1, TABULATED):
        probability *= rate / k
        given_up = (probability < LEAST) & (k > rate)
        table[:, k] = np.where(given_up, math.inf, table[:, k - 1] + probability)
    return table


def _models(params: CachingParams) -> NDArray[np.void]:
    """Size and prices of every model; the weight of the switching cost is included."""
    models = np.zeros(len(params.models), MODEL)
    for model, name in zip(models, params.models, strict=True):
        megabytes = 1000.0 * MODELS[name].memory_gb
        model["memory"] = MODELS[name].memory_gb
        per_load = params.lambda_MB * megabytes if params.switching == "per_mb" else params.lambda_load
        model["switch"] = params.weight_switching * per_load
        model["evict"] = params.weight_switching * params.lambda_evict * megabytes
    return models


def _block(params: CachingParams, horizon: float, slots: int) -> NDArray[np.void]:
    """The numbers of the parameters as the kernel reads them."""
    block = np.zeros(1, PARAMS)
    for field in ("paths", "zeta", "vanishing", "kappa_half", "edge_price", "cloud_price", "shift_every"):
        block[field] = getattr(params, field)
    for field in ("weight_communication", "weight_compute", "weight_accuracy", "weight_cloud"):
        block[field] = getattr(params, field)
    per_token, twice = params.price_unit == "token", params.count_paths == "twice"
    block["capacity"], block["budget"], block["gflops"] = params.capacity_gb, params.energy_budget, params.gpu_gflops
    block["edge_factor"] = params.paths if per_token else 1.0
    block["token_factor"] = per_token
    block["work_factor"] = params.paths * (params.paths if twice else 1)
    block["prompt_factor"] = per_token
    block["horizon"] = horizon
    scale = 2.0 / sum(params.burst_rates)
    block["calm"], block["busy"] = scale * params.burst_rates[0], scale * params.burst_rates[1]
    block["leave"] = 1.0 / params.burst_slots
    block["trace_slots"] = slots
    if params.workload == "trace" and params.trace_start == "random":
        block["last_start"] = max(0, slots - int(horizon))
    block["kappa_tokens"] = params.kappa_unit == "tokens"
    block["window_rule"] = WINDOW_RULES.index(params.window_rule)
    block["accuracy_model"] = ACCURACY_MODELS.index(params.accuracy_model)
    block["workload"] = WORKLOADS.index(params.workload)
    block["plain"] = not (params.weights_shared or params.kv_memory)
    block["shared"], block["hide"], block["more"] = params.weights_shared, params.hide_demand, params.observe_more
    return block
