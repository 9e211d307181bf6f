"""Routing prompts online as a `System`: tables from an instance, calls of the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from . import kernel
from .costs import costs, means
from .instance import Instance
from .params import AGGREGATIONS, CONSTRAINTS, OBJECTIVES, PROMPTS_PER_EPISODE, QUALITIES, RouteParams
from .route_state import (
    CATEGORY,
    CLOCK,
    DELAY_LIMIT,
    ENERGY_LIMIT,
    PARAMS,
    ROWS,
    TIME,
    Tables,
    allocate,
    arrays,
)
from .synthetic import CATEGORIES, DELAY_BUDGETS
from .systems import Batch, System, check_arrays, check_horizon, discrete

_UNITS = {"sum": "prompts", "per_joule": "joules", "per_second": "seconds"}


class RouteSystem(System):
    """Lanes of an online router.

    Args:
        instance: experts and prompts.
        params: how prompts arrive and what counts.
        lanes: number of lanes.
        horizon: in units of the objective's duration; None: about 200 prompts.

    Raises:
        InvalidInputError: an argument is out of range or does not fit the instance.
    """

    rows = ROWS

    def __init__(self, instance: Instance, params: RouteParams, lanes: int, horizon: float | None) -> None:
        self.instance, self.params, self.lanes = instance, params, lanes
        if params.k > instance.n:
            raise InvalidInputError.of("k", f"at most {instance.n}, the number of experts", params.k)
        self.tables = _tables(instance, params)
        self.horizon = self._default_horizon() if horizon is None else check_horizon(horizon, _UNITS[params.objective])
        self.tables.params["horizon"] = self.horizon
        if params.objective == "per_second" and (self.tables.rtt <= 0).any():
            raise InvalidInputError(
                "objective per_second: every link needs an rtt > 0, or a refusal would take no time"
            )
        if params.objective == "per_joule" and params.gate_energy <= 0:
            raise InvalidInputError("objective per_joule: gate_energy must be > 0, or a refusal would use no energy")
        self.state = allocate(lanes, instance.n, len(instance.devices))
        self._seeded = False
        n = instance.n
        sizes = prompt_parts(instance)[1] | {"backlog_s": n, "energy_left": 1, "steps_left": 1, "available": n}
        self.layout, start = {}, 0
        for name, size in sizes.items():
            self.layout[name] = slice(start, start + size)
            start += size
        self.width, self.n_mask = start, n + (params.k - 1) * (n + 1)

    def _default_horizon(self) -> float:
        """About 200 prompts."""
        if self.params.objective == "sum":
            return float(PROMPTS_PER_EPISODE)
        if self.params.objective == "per_joule":
            return PROMPTS_PER_EPISODE * float(self.tables.params["energy_unit"][0])
        return PROMPTS_PER_EPISODE * float(np.median(self.instance.prompts.weight @ costs(self.instance).delay))

    def seed(self, seeds: NDArray[np.uint64]) -> None:
        """See `System.seed`."""
        self.state.lane["seed"], self.state.lane["episode"] = seeds, -1
        self._seeded = True

    @property
    def seeded(self) -> bool:
        """See `System.seeded`."""
        return self._seeded

    def _batch(self) -> Batch:
        return Batch.make(self.lanes, self.width, len(ROWS), self.n_mask)

    def reset(self, mask: NDArray[np.bool_], results: Batch | None = None) -> Batch:
        """See `System.reset`."""
        batch = results or self._batch()
        self.state.lane["episode"] += mask
        kernel.reset_lanes(mask, batch.obs, batch.out, batch.mask, *self.state, *self.tables)
        return batch

    def step(self, actions: NDArray[np.int64], skip: NDArray[np.bool_]) -> Batch:
        """See `System.step`."""
        batch = self._batch()
        kernel.step_lanes(actions, skip, batch.obs, batch.out, batch.mask, batch.truncated, *self.state, *self.tables)
        return batch

    def pending(self) -> Batch:
        """See `System.pending`."""
        batch, t, lane = self._batch(), self.tables, self.state.lane
        kernel.show_lanes(batch.obs, batch.mask, *self.state, *t)
        batch.out[TIME], batch.out[CLOCK] = lane["time"], lane["clock"]
        batch.out[ENERGY_LIMIT], batch.out[DELAY_LIMIT] = t.params["energy_budget"], t.params["delay_budget"]
        batch.out[CATEGORY] = t.category[lane["prompt"]]
        return batch

    def parse(self, actions: Any, lanes: int | None) -> NDArray[np.int64]:
        """See `System.parse`."""
        n, k = self.instance.n, self.params.k
        if k == 1:
            return discrete(actions, n, lanes)
        shape = (k,) if lanes is None else (lanes, k)
        array = np.asarray(actions)
        if array.shape != shape or array.dtype.kind not in "iu":
            raise InvalidInputError.of("action", f"an integer array of shape {shape}", actions)
        table = array.reshape(-1, k).astype(np.int64)
        if (table < 0).any() or (table > n).any() or (table[:, 0] == n).any():
            raise InvalidInputError.of("action", f"experts in [0, {n - 1}], or {n} (none) after the first", actions)
        return table

    def get_state(self) -> dict[str, NDArray[Any]]:
        """See `System.get_state`."""
        return {name: array.copy() for name, array in arrays(self.state).items()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """See `System.set_state`."""
        mine = arrays(self.state)
        check_arrays(mine, state)
        lane = state["lane"]
        numbers = np.stack([lane[name] for name in ("clock", "time", "energy")])
        if not (np.isfinite(numbers).all() and (numbers >= 0).all() and (state["up"] <= 1).all()):
            raise InvalidInputError("state: clocks and energies must be finite and >= 0, flags 0 or 1")
        if (lane["prompt"] < 0).any() or (lane["prompt"] >= len(self.instance.prompts)).any():
            raise InvalidInputError("state: a pending prompt is outside the table")
        if (lane["steps"] < 0).any() or (lane["episode"] < 0).any():
            raise InvalidInputError("state: steps and episode must be >= 0")
        for name, array in mine.items():
            array[...] = state[name]
        self._seeded = True


def _tables(instance: Instance, params: RouteParams) -> Tables:
    """What the kernel reads, from an instance and parameters."""
    prompts, budgets, table = instance.prompts, instance.budgets, costs(instance)
    n, categories = instance.n, len(instance.categories)
    energy, _, _ = means(instance)
    tau = params.tau if params.tau is not None else budgets.tau
    if tau is None and instance.categories == CATEGORIES:
        tau = DELAY_BUDGETS["mid"]
    if tau is not None and (len(tau) != categories or min(tau) <= 0):
        raise InvalidInputError.of("tau", f"{categories} positive numbers of seconds, one per category", tau)
    logit = np.zeros((len(prompts), n)) if prompts.scores is None else np.array(prompts.scores)
    block = np.zeros(1, PARAMS)
    unit = float(np.median(energy))
    numbers = {
        "rate": params.rate,
        "p_fail": params.p_fail,
        "p_repair": params.p_repair,
        "energy_price": params.energy_price,
        "delay_price": params.delay_price,
        "energy_unit": unit if unit > 0 else 1.0,
        "energy_budget": params.energy_budget or PROMPTS_PER_EPISODE * max(unit, 1e-9),
        "delay_budget": params.delay_budget,
        "gate_energy": params.gate_energy,
        "idle_watts": sum(expert.P_idle for expert in instance.experts),
        "t_gate": budgets.t_gate,
        "t_agg": budgets.t_agg,
        "objective": OBJECTIVES.index(params.objective),
        "constraints": CONSTRAINTS.index(params.constraints),
        "bernoulli": QUALITIES.index(params.quality),
        "best": AGGREGATIONS.index(params.aggregation),
        "queues": params.queues,
        "dynamic": params.dynamic,
        "hard": params.hard_budget,
        "equal": bool(np.ptp(prompts.weight) == 0.0),
        "delays": tau is not None,
    }
    for name, value in numbers.items():
        block[name] = value
    return Tables(
        upload=table.upload,
        compute=table.compute,
        download=table.download,
        energy=table.energy,
        quality=np.ascontiguousarray(prompts.Q),
        logit=logit,
        head=prompt_parts(instance)[0],
        category=np.array(prompts.category),
        cumulative=np.cumsum(prompts.weight),
        device=instance.device_index(),
        rtt=np.array([expert.link.rtt for expert in instance.experts]),
        tau=np.array(tau if tau is not None else np.ones(categories), float),
        params=block,
    )


def prompt_parts(instance: Instance) -> tuple[NDArray[np.float32], dict[str, int]]:
    """What an observation tells of each prompt, (M, width), in parts: their names with their widths."""
    prompts, categories = instance.prompts, len(instance.categories)
    parts = {
        "phi": prompts.phi,
        "category": np.eye(categories)[prompts.category],
        "tokens": np.stack([np.log1p(prompts.I), _expected_log_output(instance)], axis=1),
        "score": np.zeros((len(prompts), instance.n)) if prompts.scores is None else prompts.scores,
    }
    widths = {name: part.shape[1] for name, part in parts.items()}
    return np.concatenate(list(parts.values()), axis=1).astype(np.float32), widths


def _expected_log_output(instance: Instance) -> NDArray[np.float64]:
    """Mean logarithm of the answer's length over the prompt's category: what a router can know before the answer."""
    prompts = instance.prompts
    found = np.zeros(len(prompts))
    for c in range(len(instance.categories)):
        here = prompts.category == c
        if here.any():
            found[here] = np.log1p(prompts.O[here]).mean()
    return found
