"""One instance: what the agents are, drawn once from the instance seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..core.rng import stream_key, uniform
from ..core.streams import INSTANCE
from .catalogue import DATASETS, FITS, MODELS
from .params import CachingParams

STATIC = np.dtype(
    [
        ("memory", "f8"),  # weights, GB
        ("share", "f8"),  # of the server's memory that the weights take
        ("kv", "f8"),  # key-value cache, GB per token of context
        ("window", "f8"),  # tokens
        ("input", "f8"),  # input size d, tokens
        ("thought", "f8"),  # tokens per path k
        ("growth", "f8"),  # context that a locally served request adds, tokens
        ("alpha", "f8"),  # zero-shot accuracy
        ("limit", "f8"),  # accuracy with endless context
        ("decay", "f8"),  # log(1 / beta)
        ("tau", "f8"),  # paths, of the table law
        ("energy_in", "f8"),  # J per input token
        ("energy_out", "f8"),  # J per generated token
        ("energy_kv", "f8"),  # J per generated token and token of context
        ("ready", "f8"),  # share of a slot that is left when the weights are loaded in it
        ("model", "i4"),  # index in params.models
        ("dataset", "i4"),  # index in DATASETS
    ],
    align=True,
)


def draw_instance(params: CachingParams) -> NDArray[np.void]:
    """The agents of an instance, (I,) records of type `STATIC`.

    Models, input sizes and data sets are random but spread evenly: equal shares of the agents for every model and data
    set, and for each model one input size in each of as many equal parts of the range as it has agents. So instances
    differ in who has what, not in how large models and inputs are on the whole. All is independent of the demand.
    """
    count = params.n_agents
    agents = np.zeros(count, STATIC)
    low, high = params.input_tokens
    models = [MODELS[name] for name in params.models]
    model_rank, input_rank, dataset_rank = (_permutation(params.instance_seed, part, count) for part in range(3))
    jitter = np.uint64(stream_key(np.uint64(params.instance_seed), 0, INSTANCE, 3))
    numbers = [
        (rank * len(models) + len(models) - 1) // count for rank in model_rank
    ]  # the last models get what is left
    for i, (number, agent) in enumerate(zip(numbers, agents, strict=True)):
        model = models[number]
        agent["model"] = number
        same = [k for k in range(count) if numbers[k] == number]
        place = sum(input_rank[k] < input_rank[i] for k in same)
        agent["input"] = low + _pick((place + uniform(jitter, i)) / len(same), high - low + 1)
        agent["dataset"] = dataset_rank[i] % len(DATASETS)
        start, limit, tau = FITS[model.tier][agent["dataset"]]
        alpha = start if params.alpha is None else params.alpha[number]
        agent["alpha"] = alpha
        agent["limit"] = max(alpha, limit) if params.accuracy_limit is None else params.accuracy_limit[number]
        agent["decay"] = 1.0 / tau if params.beta is None else -math.log(params.beta)
        agent["tau"] = tau
        agent["memory"] = model.memory_gb
        agent["share"] = model.memory_gb / params.capacity_gb
        agent["kv"] = model.kv_gb if params.kv_memory else 0.0
        agent["window"] = model.window if params.context_windows is None else params.context_windows[number]
        agent["thought"] = params.thought_tokens
        agent["growth"] = params.paths * params.thought_tokens
        agent["energy_in"] = agent["energy_out"] = model.joule_per_token
        agent["ready"] = 1.0
        if params.roofline:
            bandwidth = params.bandwidth_use * params.gpu_bandwidth
            agent["energy_in"] = params.gpu_watt * 2.0 * model.parameters / (params.flops_use * params.gpu_gflops)
            agent["energy_out"] = params.gpu_watt * model.memory_gb / bandwidth
            agent["energy_kv"] = params.gpu_watt * model.kv_gb / bandwidth
            agent["ready"] = max(0.0, 1.0 - model.memory_gb / params.link_gb_s / params.slot_s)
    return agents


def _permutation(seed: int, part: int, count: int) -> list[int]:
    """A random order of 0 .. count - 1 (Fisher and Yates)."""
    key = np.uint64(stream_key(np.uint64(seed), 0, INSTANCE, part))  # compiled code hands out a Python int
    order = list(range(count))
    for j in range(count - 1, 0, -1):
        k = _pick(uniform(key, j), j + 1)
        order[j], order[k] = order[k], order[j]
    return order


def _pick(u: float, count: int) -> int:
    """Index of a uniform draw among `count` equal parts of (0, 1]."""
    return min(int(u * count), count - 1)
