"""The selection as a mixed-integer linear programme for HiGHS: an independent witness of the solvers.

``max sum_x w_x sum_i Q_xi z_xi``, ``sum_i z_xi <= 1``, ``z_xi <= y_i``, y binary; one row per budget. The delay of a
category becomes ``M_c >= T_ic y_i`` and ``t_gate + M_c + t_agg sum_i y_i <= tau_c``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import InvalidInputError
from .constraints import Constraints
from .instance import FloatArray, Instance, IntArray
from .objective import FacilityLocation


@dataclass(frozen=True)
class MilpResult:
    """What HiGHS returns: subset, value, bound, seconds in the solver, and whether it finished."""

    subset: tuple[int, ...]
    value: float
    bound: float
    seconds: float
    finished: bool


def solve_milp(
    instance: Instance,
    constraints: Constraints,
    function: FacilityLocation,
    *,
    gap: float = 1e-7,
    time_limit: float = 120.0,
) -> MilpResult:
    """Solve the facility-location selection by ``scipy.optimize.milp``.

    Args:
        instance: the instance.
        constraints: its budgets, delays in the category-mean form.
        function: the objective.
        gap: relative gap at which HiGHS stops.
        time_limit: seconds.

    Raises:
        InvalidInputError: a budget has no linear form.
    """
    from scipy.optimize import LinearConstraint, milp

    if constraints.problem is None:
        raise InvalidInputError("the linear programme needs delays in the category-mean form")
    model = _model(instance, constraints, function)
    started = time.perf_counter()
    result: Any = milp(
        model.objective,
        integrality=model.integrality,
        bounds=model.bounds,
        constraints=LinearConstraint(model.matrix, model.low, model.high),
        options={"mip_rel_gap": gap, "time_limit": time_limit},
    )
    seconds = time.perf_counter() - started
    chosen = () if result.x is None else tuple(int(i) for i in np.flatnonzero(result.x[: instance.n] > 0.5))
    value = function(sum(1 << i for i in chosen))
    bound = np.inf if result.mip_dual_bound is None else -float(result.mip_dual_bound)
    return MilpResult(chosen, value, bound, seconds, result.status == 0)


@dataclass(frozen=True, eq=False)
class _Model:
    objective: FloatArray
    integrality: IntArray
    bounds: Any
    matrix: Any
    low: FloatArray
    high: FloatArray


def _model(instance: Instance, constraints: Constraints, function: FacilityLocation) -> _Model:
    """Columns: y (n), z (n per merged prompt), M (C), lambda, u (n)."""
    from scipy.optimize import Bounds
    from scipy.sparse import coo_matrix

    n, budgets = instance.n, constraints.budgets
    gain = function.gains()
    prompts, categories = gain.shape[1], len(instance.categories)
    at_z, at_m = n, n + n * prompts
    at_lambda = at_m + categories
    columns = at_lambda + 1 + n
    entries: list[tuple[Any, Any, Any]] = []
    high: list[FloatArray] = []
    count = 0

    def add(rows: Any, cols: Any, values: Any, upper: Any) -> None:
        """Append rows ``values . columns <= upper``; rows count from 0 within the block."""
        nonlocal count
        entries.append((np.asarray(rows) + count, np.asarray(cols), np.broadcast_to(values, np.shape(rows))))
        high.append(np.atleast_1d(np.asarray(upper, float)))
        count += len(high[-1])

    x, i = np.meshgrid(np.arange(prompts), np.arange(n), indexing="ij")
    flat, z = np.arange(n * prompts), at_z + (x * n + i).ravel()
    add(x.ravel(), z, 1.0, np.ones(prompts))
    add(
        np.concatenate([flat, flat]),
        np.concatenate([z, i.ravel()]),
        np.repeat([1.0, -1.0], n * prompts),
        np.zeros(n * prompts),
    )
    every = np.arange(n)
    if budgets.E_max is not None and constraints.energy_model == "all":
        add(np.zeros(n, int), every, constraints.energy + constraints.idle, budgets.E_max)
    elif budgets.E_max is not None:
        u = at_lambda + 1 + every
        parts = [constraints.idle, np.ones(n), np.array([float(budgets.k)])]
        add(np.zeros(2 * n + 1, int), np.concatenate([every, u, [at_lambda]]), np.concatenate(parts), budgets.E_max)
        rows, cols = np.tile(every, 3), np.concatenate([every, np.full(n, at_lambda), u])
        add(rows, cols, np.concatenate([constraints.energy, -np.ones(2 * n)]), np.zeros(n))
    for c, tau in enumerate(budgets.tau or ()):
        rows, cols = np.tile(every, 2), np.concatenate([every, np.full(n, at_m + c)])
        add(rows, cols, np.concatenate([constraints.delay[c], -np.ones(n)]), np.zeros(n))
        values = np.concatenate([np.full(n, budgets.t_agg), [1.0]])
        add(np.zeros(n + 1, int), np.concatenate([every, [at_m + c]]), values, tau - budgets.t_gate)
    on = instance.device_index()
    memory = np.array([expert.mem_GB for expert in instance.experts])
    for device, size in budgets.MEM.items():
        add(np.zeros(n, int), every, np.where(on == instance.devices.index(device), memory, 0.0), size)
    if budgets.max_experts is not None:
        add(np.zeros(n, int), every, 1.0, budgets.max_experts)
    rows, cols, values = (np.concatenate([entry[part] for entry in entries]) for part in range(3))
    objective = np.zeros(columns)
    objective[z] = -gain.T.ravel()
    integrality = np.zeros(columns, np.int64)
    integrality[:n] = 1
    top = np.full(columns, np.inf)
    top[: n + n * prompts] = 1.0
    matrix = coo_matrix((values, (rows, cols)), shape=(count, columns)).tocsr()
    return _Model(objective, integrality, Bounds(0.0, top), matrix, np.full(count, -np.inf), np.concatenate(high))
