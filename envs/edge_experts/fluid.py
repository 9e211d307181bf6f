"""Certified bounds for routing: the fluid linear programme, by its dual.

Prompts are drawn independently from the table, so the probability z[x, i] with which a policy sends prompt x to expert
i turns expected sums into linear functions of z. Queues and outages only take from what a policy can reach, and a group
of experts is never worth more than its best member, so the bound holds with them and for every k.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..core.optimum import Optimum
from .costs import costs
from .instance import FloatArray
from .route_system import RouteSystem

_RATIO_STEPS = 200
_SAFETY = 1e-12


@dataclass(frozen=True, eq=False)
class Fluid:
    """Expected consequences of sending a prompt to an expert, or (last column) of its being refused.

    Attributes:
        weight: (M,) of the prompts.
        cost: (M, n + 1).
        duration: (M, n + 1) in the objective's unit.
        energy: (M, n + 1) J, idle energy included.
        excess: (M, n + 1) relative excess delay.
        exact: whether choosing pointwise is a policy of the environment, so that a bound is reached.
    """

    weight: FloatArray
    cost: FloatArray
    duration: FloatArray
    energy: FloatArray
    excess: FloatArray
    exact: bool


def fluid(system: RouteSystem) -> Fluid:
    """The table of a router without queues."""
    p, params, table = system.tables.params[0], system.params, costs(system.instance)
    prompts, n = system.instance.prompts, system.instance.n
    delay = p["t_gate"] + table.delay + p["t_agg"]
    refused = np.full((len(prompts), 1), p["t_gate"] + float(system.tables.rtt.min()))
    delay = np.concatenate([delay, refused], axis=1)
    joules = np.concatenate([table.energy, np.zeros((len(prompts), 1))], axis=1) + p["gate_energy"]
    excess = np.zeros_like(delay)
    if p["delays"]:
        tau = system.tables.tau[prompts.category][:, None]
        excess[:, :n] = np.maximum(delay[:, :n] - tau, 0.0) / tau
    gap = delay if params.objective == "per_second" else np.full_like(delay, 1.0 / p["rate"])
    energy = joules + p["idle_watts"] * gap
    cost = -np.concatenate([prompts.Q, np.zeros((len(prompts), 1))], axis=1)
    if params.constraints == "penalty":
        cost += p["energy_price"] * joules / p["energy_unit"] + p["delay_price"] * excess
    duration = {"sum": np.ones_like(delay), "per_joule": energy, "per_second": delay}[params.objective]
    refusable = params.dynamic or params.hard_budget
    if not refusable:
        cost[:, n] = np.inf
    queued = params.queues and params.objective != "per_second"
    exact = not (queued or refusable or params.constraints == "cmdp")
    return Fluid(prompts.weight, cost, duration, energy, excess, exact)


def route_optimum(system: RouteSystem) -> Optimum:
    """Least long-run ratio of cost to duration, or a bound below it with queues, outages or constraints."""
    started = time.perf_counter()
    found = fluid(system)
    if system.params.objective == "sum":
        bound = _sum_bound(system, found)
    else:
        bound = _ratio_bound(found)
        if bound > 0 and (system.params.k > 1 or not found.exact):
            bound = 0.0  # costs are positive then, and a longer step would lower the ratio: only its sign is certain
    seconds = time.perf_counter() - started
    method = "fluid linear programme, by its dual"
    if found.exact:
        return Optimum.certified(bound, bound, f"{method}: reached by choosing pointwise", seconds)
    return Optimum.bound_only(bound, f"{method}: queues, outages and constraints can only add to it", seconds)


def _pointwise(found: Fluid, price: FloatArray) -> float:
    """Mean over prompts of the least price."""
    return float(found.weight @ price.min(axis=1))


def _ratio_bound(found: Fluid) -> float:
    """The largest ratio r with ``E min (cost - r duration) >= 0``, by Dinkelbach's method, rounded down."""
    ratio = 0.0
    for _ in range(_RATIO_STEPS):
        price = found.cost - ratio * found.duration
        chosen = price.argmin(axis=1)
        rows = np.arange(len(chosen))
        cost, duration = (float(found.weight @ table[rows, chosen]) for table in (found.cost, found.duration))
        if abs(cost / duration - ratio) <= 1e-15 * abs(ratio):
            break
        ratio = cost / duration
    step = _SAFETY * max(abs(ratio), 1e-300)
    while _pointwise(found, found.cost - ratio * found.duration) < 0.0:
        ratio -= step
        step *= 2.0
    return ratio


def _sum_bound(system: RouteSystem, found: Fluid) -> float:
    """Least mean cost per prompt; with constraints on expected sums, their best prices (any prices give a bound)."""
    if system.params.constraints != "cmdp":
        return _pointwise(found, found.cost)
    limits, use = _limits(system, found)
    prices = _dual_prices(found, use, limits)
    adjusted = found.cost + np.tensordot(prices, use, axes=1)
    return _pointwise(found, adjusted) - float(prices @ limits)


def _limits(system: RouteSystem, found: Fluid) -> tuple[FloatArray, FloatArray]:
    """Constraints per prompt: (limits (2,), use (2, M, n + 1)) of energy and excess delay."""
    p = system.tables.params[0]
    prompts = float(np.ceil(system.horizon))
    energy = float(p["energy_budget"])
    if system.params.hard_budget:  # the prompt that spends the budget may exceed it; refused ones cost little
        energy += float(found.energy.max())
        energy += prompts * float(found.energy[:, -1].max())
    return np.array([energy, float(p["delay_budget"])]) / prompts, np.stack([found.energy, found.excess])


def _dual_prices(found: Fluid, use: FloatArray, limits: FloatArray) -> FloatArray:
    """Prices of the constraints that maximise the dual, by cutting planes over its concave pieces."""
    from scipy.optimize import linprog

    scale = np.maximum(np.abs(limits), 1e-9)
    pieces: list[tuple[float, FloatArray]] = []  # dual value at prices y is at most c + y . g for every piece
    prices = np.zeros(len(limits))
    best, best_value = prices, -np.inf
    for _ in range(60):
        table = found.cost + np.tensordot(prices, use, axes=1)
        chosen, rows = table.argmin(axis=1), np.arange(len(table))
        slope = np.array([float(found.weight @ part[rows, chosen]) for part in use]) - limits
        cost = float(found.weight @ found.cost[rows, chosen])
        if cost + float(prices @ slope) > best_value:
            best, best_value = prices, cost + float(prices @ slope)
        pieces.append((cost, slope))
        matrix = np.array([[1.0, *(-piece[1] * (1.0 / scale))] for piece in pieces])
        result = linprog(
            np.array([-1.0, *np.zeros(len(limits))]),
            A_ub=matrix,
            b_ub=np.array([piece[0] for piece in pieces]),
            bounds=[(None, None), *[(0.0, 1e3)] * len(limits)],
        )
        if result.x is None or -float(result.fun or 0.0) <= best_value + 1e-9:
            break
        prices = np.asarray(result.x[1:]) / scale
    return best


def dual_prices(system: RouteSystem) -> tuple[float, float]:
    """Prices per joule and per relative excess delay under which routing pointwise meets the expected constraints."""
    found = fluid(system)
    limits, use = _limits(system, found)
    energy, delay = _dual_prices(found, use, limits).tolist()
    return float(energy), float(delay)
