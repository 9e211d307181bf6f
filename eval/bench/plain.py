"""The plain-Python yardsticks of caching and routing: the references that the kernels are tested against.

They are part of a checkout (``tests/oracles``), not of an installed package; without them the ratios are not measured.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.edge_experts.costs import costs
from ...envs.edge_experts.route_system import RouteSystem
from ...envs.model_caching.instance import draw_instance
from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.state import FIGURES, TERMS
from .timing import Load

MISSING = "needs tests/oracles of a checkout"
_ORACLES = Path(__file__).resolve().parents[2] / "tests" / "oracles"
_LANES = 16  # the references are lists and numbers: no number of lanes makes them faster


def reference(family: str) -> Callable[..., Any] | None:
    """The class `Reference` of a family's oracle; None where there is no checkout."""
    path = _ORACLES / f"{family}.py"
    spec = importlib.util.spec_from_file_location(f"edgewise_oracle_{family}", path) if path.exists() else None
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Reference  # type: ignore[no-any-return]


def caching_slots(params: CachingParams, warmup: int, horizon: int = 100) -> Load | None:
    """Slots of the plain-Python server with random actions; observation and info as lists and dicts."""
    server = reference("model_caching")
    if server is None:
        return None
    rng, agents, shape = np.random.default_rng(0), draw_instance(params), (64, params.n_agents)
    actions = list(zip(rng.integers(0, 2, shape).tolist(), rng.random(shape).tolist(), strict=True))
    turns, lanes = cycle(actions), [server(params, agents, seed, 0, float(horizon)) for seed in range(_LANES)]
    episode = 0

    def load(steps: int) -> int:
        nonlocal episode
        for action in islice(turns, steps):
            if lanes[0].time >= horizon:
                episode += 1
                lanes[:] = [server(params, agents, seed, episode, float(horizon)) for seed in range(_LANES)]
            for lane in lanes:
                cost, terms, figures, plan, served = lane.step(*action)
                _ = {
                    "cost": cost,
                    "duration": 1.0,
                    "time": float(lane.time),
                    "cost_terms": dict(zip(TERMS, terms, strict=True)),
                    **dict(zip(FIGURES, figures, strict=True)),
                    "cache": plan,
                    "local_share": served,
                    "observation": lane.observation(),
                }
        return steps * _LANES

    load(max(1, warmup // 10))
    return load


def routed_prompts(system: RouteSystem, warmup: int) -> Load | None:
    """Prompts of the plain-Python router with random actions among the experts that work."""
    if reference("edge_experts") is None:
        return None
    lanes = [route_reference(system, seed) for seed in range(_LANES)]
    for lane in lanes:
        lane.reset()
    draws = cycle(np.random.default_rng(0).random(997).tolist())

    def load(steps: int) -> int:
        for _ in range(steps):
            for lane in lanes:
                allowed = [m for m, works in enumerate(lane.masks()) if works]
                if lane.step((allowed[int(next(draws) * len(allowed))],))[2]:
                    lane.reset()
        return steps * _LANES

    load(max(1, warmup // 10))
    return load


def route_reference(system: RouteSystem, seed: int) -> Any:
    """One lane of the plain-Python router with the numbers of a system; needs a checkout."""
    router = reference("edge_experts")
    assert router is not None, MISSING
    instance, params, table = system.instance, system.params, costs(system.instance)
    numbers = system.tables.params[0]
    equal = np.ptp(instance.prompts.weight) == 0
    return router(
        seed,
        upload=table.upload.tolist(),
        compute=(table.prefill + table.decode).tolist(),
        download=table.download.tolist(),
        energy=table.energy.tolist(),
        quality=instance.prompts.Q.tolist(),
        logit=system.tables.logit.tolist(),
        head=system.tables.head.tolist(),
        category=instance.prompts.category.tolist(),
        weight=None if equal else instance.prompts.weight.tolist(),
        device=instance.device_index().tolist(),
        rtt=[expert.link.rtt for expert in instance.experts],
        tau=None if not numbers["delays"] else system.tables.tau.tolist(),
        rate=params.rate,
        queues=params.queues,
        dynamic=params.dynamic,
        p_fail=params.p_fail,
        p_repair=params.p_repair,
        best=params.aggregation == "best",
        bernoulli=params.quality == "bernoulli",
        objective=params.objective,
        penalty=params.constraints == "penalty",
        energy_price=params.energy_price,
        delay_price=params.delay_price,
        energy_unit=float(numbers["energy_unit"]),
        energy_budget=float(numbers["energy_budget"]),
        hard=params.hard_budget,
        gate_energy=params.gate_energy,
        idle_watts=float(numbers["idle_watts"]),
        t_gate=instance.budgets.t_gate,
        t_agg=instance.budgets.t_agg,
        horizon=system.horizon,
    )
