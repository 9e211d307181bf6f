"""Certified references: single-slot knapsack, exhaustive search on tiny instances, and the horizon programme's bound.

All of them know the demand in advance, so their bounds hold for every policy, causal or not.
"""

from __future__ import annotations

import itertools
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.optimum import Optimum
from .economics import Economics
from .params import CachingParams
from .simulator import Simulator
from .workload import Demand, Workload

TIME_LIMIT = 10.0
"""Seconds that the solver may take for one episode."""
MAX_SLOTS = 1000
"""Longest episode for which the horizon programme is built."""
MAX_SEQUENCES = 2_000_000


class _Things(NamedTuple):
    """What is loaded and evicted: every agent's copy, or models where agents share them.

    Attributes:
        owner: (I,) index of each agent's thing.
        size: (K,) GB.
        load: (K,) cost of loading each.
        evict: (K,) cost of evicting it.
    """

    owner: NDArray[np.int64]
    size: NDArray[np.float64]
    load: NDArray[np.float64]
    evict: NDArray[np.float64]

    @classmethod
    def of(cls, economics: Economics) -> _Things:
        """Those of an instance."""
        shared = economics.params.weights_shared
        owner = economics.model.astype(np.int64) if shared else np.arange(len(economics.size))
        columns = np.zeros((3, len(economics.params.models) if shared else len(owner)))
        columns[:, owner] = economics.size, economics.reload, economics.unload
        return cls(owner, *columns)

    def held(self, agents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(K,) things of a set of agents."""
        found = np.zeros(len(self.size), bool)
        found[self.owner[agents]] = True
        return found


def _programme(
    economics: Economics, savings: NDArray[np.float64], resident: NDArray[np.bool_], time_limit: float
) -> tuple[NDArray[np.bool_], float, bool]:
    """Maximise savings minus switching over T slots: (cache (T, I), proven upper bound, solved to optimality).

    Variables per slot: x of every agent (served here), u of every loadable thing (resident), y (loaded). Constraints:
    x <= u, y >= u - u before, sizes of u within the memory. What is evicted is what was held at first or loaded, and is
    not held at last.
    """
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    slots, agents = savings.shape
    things = _Things.of(economics)
    owner, count = things.owner, len(things.size)
    n_x, n_u = slots * agents, slots * count
    eye_t = sparse.eye_array(slots, format="csr")
    own = sparse.csr_array((np.ones(agents), (np.arange(agents), owner)), shape=(agents, count))
    before = sparse.kron(sparse.eye_array(slots, k=-1), sparse.eye_array(count), format="csr")
    first = things.held(resident)
    start = np.zeros(n_u)
    start[:count] = first
    nothing = sparse.csr_array((slots, n_u))
    rows = [
        sparse.hstack([sparse.eye_array(n_x), -sparse.kron(eye_t, own), sparse.csr_array((n_x, n_u))]),
        sparse.hstack([sparse.csr_array((n_u, n_x)), sparse.eye_array(n_u) - before, -sparse.eye_array(n_u)]),
        sparse.hstack([sparse.csr_array((slots, n_x)), sparse.kron(eye_t, things.size[None, :]), nothing]),
    ]
    upper = np.concatenate([np.zeros(n_x), start, np.full(slots, economics.capacity)])
    worth = np.maximum(savings, 0.0).ravel()
    objective = np.concatenate(
        [-worth, np.zeros(n_u - count), -things.evict, np.tile(things.load + things.evict, slots)]
    )
    integrality = np.concatenate([np.zeros(n_x), np.ones(n_u), np.zeros(n_u)])
    solved = milp(
        objective,
        integrality=integrality,
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(sparse.vstack(rows, format="csr"), -np.inf, upper),
        options={"time_limit": time_limit, "mip_rel_gap": 1e-4},
    )
    least = float(solved.mip_dual_bound) if solved.mip_dual_bound is not None else float(objective[objective < 0].sum())
    most = -least - float(things.evict[first].sum())
    if solved.x is None:
        return np.zeros(savings.shape, bool), most, False
    held = solved.x[n_x : n_x + n_u].reshape(slots, count) > 0.5
    return held[:, owner], most, solved.status == 0


def slot_optimum(
    params: CachingParams,
    demand: Demand,
    resident: NDArray[np.bool_] | None = None,
    kappa: NDArray[np.float64] | None = None,
) -> Optimum:
    """Least cost of one slot, whatever comes after it: a 0-1 knapsack in the cache bits.

    Serving all or nothing is enough. The accuracy cost falls with the age of thoughts, which rises with the share b, so
    the cost of a resident agent is at least the straight line between its values at b = 0 and b = 1, which it meets at
    both ends. A sliding window, the energy budget, load times and key-value caches can only make the slot dearer: they
    are left out of the bound, and the value is exact where none of them binds.

    Args:
        params: the system.
        demand: one slot of demand, arrays (1, I).
        resident: (I,) what is held before the slot; nothing by default.
        kappa: (I,) age of thoughts before it; 0 by default.

    Returns:
        The optimum, cost of the slot; ``details["cache"]`` is the chosen set.
    """
    start = time.perf_counter()
    economics = Economics(params)
    held = np.zeros(params.n_agents, bool) if resident is None else np.asarray(resident, bool)
    age = np.zeros(params.n_agents) if kappa is None else np.where(held, kappa, 0.0)
    savings = economics.savings(demand, age)
    cache, saved, _ = _programme(economics, savings, held, TIME_LIMIT)
    base = float((demand.requests * economics.cloud(demand.input)).sum())
    bound = base - saved
    things = _Things.of(economics)
    before, after = things.held(held), things.held(cache[0])
    switching = float(things.load[after & ~before].sum() + things.evict[before & ~after].sum())
    value = base - float(np.maximum(savings, 0.0)[cache].sum()) + switching
    seconds = time.perf_counter() - start
    return Optimum.certified(
        value,
        min(bound, value),
        "0-1 knapsack of one slot (HiGHS, dual bound)",
        seconds,
        cache=cache[0].astype(np.int8),
    )


def horizon_bound(params: CachingParams, demand: Demand, time_limit: float = TIME_LIMIT) -> Optimum:
    """Lower bound on the cost per slot of every policy over these slots, beginning with nothing resident.

    A mixed integer programme in (cache, load) with memory and switching. The accuracy cost is taken at the largest age
    of thoughts that any policy can have, that of an agent that is resident and serves everything from the first slot
    on; windows, energy, load times and key-value caches, which only restrict, are left out.

    Args:
        params: the system.
        demand: the demand, arrays (T, I).
        time_limit: for the solver, s; its dual bound is valid whenever it stops.

    Returns:
        A bound without a value; ``details["cache"]`` (T, I) is the programme's own solution.
    """
    start = time.perf_counter()
    economics = Economics(params)
    savings = economics.savings(demand)
    cache, saved, proved = _programme(economics, savings, np.zeros(params.n_agents, bool), time_limit)
    base = float((demand.requests * economics.cloud(demand.input)).sum())
    slots = len(savings)
    method = "mixed integer programme in (cache, load), HiGHS dual bound" + ("" if proved else " at its time limit")
    return Optimum.bound_only(max(0.0, base - saved) / slots, method, time.perf_counter() - start, cache=cache)


def run_plan(params: CachingParams, seed: int, episode: int, cache: NDArray[np.bool_]) -> float:
    """Cost per slot of a fixed cache sequence (T, I) that serves all it can, in the simulator itself."""
    simulator = Simulator(params, horizon=float(len(cache)))
    simulator.seed(np.array([seed], np.uint64))
    for _ in range(episode + 1):
        simulator.reset()
    share = np.ones((1, params.n_agents))
    buffers, total = simulator.buffers(), 0.0
    for row in cache.astype(np.int8):
        total += float(simulator.step(row[None], share, buffers=buffers).out[0, 0])
    return total / len(cache)


def exhaustive(params: CachingParams, seed: int, slots: int, episode: int = 0) -> Optimum:
    """Optimum over all cache sequences of a tiny instance, each run in the simulator.

    Serving everything that is resident is optimal where a local request is cheaper than a cloud request even with no
    context at all: then more local work is cheaper now, and it leaves more context. That, and no window, energy budget,
    load time or key-value cache in the way, is required.

    Args:
        params: the system, I <= 4 or so.
        seed: of the demand.
        slots: length of the horizon T; (feasible sets)^T sequences are tried.
        episode: number of the episode.

    Raises:
        InvalidInputError: too many sequences, or the argument above does not apply.
    """
    start = time.perf_counter()
    demand = Workload(params, slots).episode(seed, episode)
    economics = Economics(params)
    cold = economics.cloud(demand.input) - economics.edge(demand.input, demand.thought)
    cheaper = (cold > economics.accuracy_cost(np.zeros(params.n_agents))).all()
    if not cheaper or params.window_rule != "none" or params.kv_memory or params.roofline:
        allowed = 'such that a local request is always cheaper, window_rule "none", neither kv_memory nor roofline'
        raise InvalidInputError.of("params", allowed, params.mode)
    subsets = [np.array(bits, bool) for bits in itertools.product((False, True), repeat=params.n_agents)]
    feasible = [bits for bits in subsets if _weights(economics, bits) <= economics.capacity]
    if len(feasible) ** slots > MAX_SEQUENCES:
        raise InvalidInputError.of("slots", f"so few that at most {MAX_SEQUENCES} sequences exist", slots)
    best, plan = np.inf, None
    for sequence in itertools.product(feasible, repeat=slots):
        cost = run_plan(params, seed, episode, np.array(sequence))
        if cost < best:
            best, plan = cost, np.array(sequence)
    method = f"exhaustive search over {len(feasible)}^{slots} cache sequences"
    return Optimum.exact(best, method, time.perf_counter() - start, cache=plan)


def _weights(economics: Economics, bits: NDArray[np.bool_]) -> float:
    """Memory of a set of agents, GB."""
    if not economics.params.weights_shared:
        return float(economics.size[bits].sum())
    return float(sum(dict(zip(economics.model[bits], economics.size[bits], strict=True)).values()))


def solve(
    params: CachingParams,
    seed: int,
    episode: int = 0,
    *,
    horizon: float = 100.0,
    time_limit: float = TIME_LIMIT,
) -> Optimum:
    """Value of the look-ahead policy beside the horizon programme's bound, for one episode's demand.

    Args:
        params: the system.
        seed: of the demand.
        episode: number of the episode.
        horizon: slots.
        time_limit: for the solver, s.

    Returns:
        Cost per slot. The value is the better of the best look-ahead rule and the programme's plan, both run in the
        simulator; ``details`` holds the look-ahead rule's own value as ``lookahead``.

    Raises:
        InvalidInputError: the horizon is too long.
    """
    from .simulate import best_lookahead

    if not horizon <= MAX_SLOTS:
        raise InvalidInputError.of("horizon", f"at most {MAX_SLOTS} slots for an optimum", horizon)
    start = time.perf_counter()
    demand = Workload(params, horizon).episode(seed, episode)
    found = horizon_bound(params, demand, time_limit)
    rule, lookahead = best_lookahead(params, [(seed, episode)], horizon)
    planned = run_plan(params, seed, episode, found.details["cache"])
    details: dict[str, Any] = {"lookahead": lookahead, "rule": rule, "plan": planned, "demand": "known in advance"}
    return Optimum.certified(
        min(lookahead, planned), found.bound, f"best look-ahead rule or plan; bound: {found.method}",
        time.perf_counter() - start, **details,
    )  # fmt: skip
