"""Reference optimum of the offloading system: exact where devices do not interact, a certified lower bound elsewhere.

The closed forms are in `update_or_wait`; the names needed to score a learned wait rule are importable from here too.

Source: Sun, Uysal-Biyikoglu, Yates, Koksal, Shroff, "Update or Wait", arXiv 1601.02284; the relaxations are derived in
`solve`.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from ..core.errors import InvalidInputError
from ..core.optimum import Optimum
from .params import AoIParams
from .update_or_wait import UpdateOrWait, partial_moment, shared_server_zero_wait, wait_rule_value

__all__ = ["UpdateOrWait", "partial_moment", "shared_server_zero_wait", "solve", "wait_rule_value"]


def solve(params: AoIParams, decision: str = "staged", *, device: int = 0, team: bool = False) -> Optimum:
    r"""Return the best mean age of one device (or of the team) with its certificate.

    *No edges.* Devices do not interact: the value is exact (threshold rule, closed form), whatever their number.

    *One device, several places.* The value is that of the best single place under its optimal threshold rule, evaluated
    exactly; the bound is the relaxation below. They agree when one place is the fastest for every service variate and
    z_max does not bind. When it binds, a detour over a slow place could replace some waiting, and the gap stays open.

    *Several devices and edges.* Only a bound is given. It holds for every policy, even one that sees everything, of the
    device and of the others. Let the attempts of the device start at T_1 < T_2 < ... with unit variates u_i, which are
    independent of everything up to T_i. Compare with a device that has a place of its own which is, for every u, as
    fast as the fastest place, and which starts its attempts at the same T_i.

    - Without drops and under ``authors`` or ``cutoff`` the drop test compares u_i with a number common to all places:
      the same attempts succeed, and each ends no later than the real one, as queueing and transmission only add to it.
    - Under ``deadline`` an attempt that the real device completes at a place of scale b has b u_i <= K b E[u], hence
      meets the deadline of the fast place too; more may. A real failure costs K b E[u], no less than the time spent on
      the fast place. Transmission is left out of the fast place here, since it eats into the allowance.

    So T_{i+1} is no earlier than the end of attempt i on the fast place, the schedule is feasible there, and at all
    times the freshest completed task is at least as fresh: its mean age is at most the real one. The fast device may
    idle before *any* attempt, for any time. Its optimum is that of `UpdateOrWait` with z_max infinite: idling pays
    exactly while age < c, and after a failed attempt the age, which was at least c, has only grown.
    With ``drop_mean="running"`` the limits converge to those of the true mean for every pair tried infinitely often
    (the variates that a pair draws are i.i.d. whatever the policy), so the long-run value and bound are the same. Only
    a law with an atom exactly at the limit (deterministic, K = 1) is not covered.

    *Team.* The objective is the mean over devices, so the mean of the devices' bounds holds. Without ``deadline`` edge
    n completes at most 1 / (b_n E[u | success]) tasks per second and a device on its own at most 1 / E[S]; the cycles
    of the M devices thus last at least M / (total rate) on average. The least mean age for a given mean cycle is convex
    in the completion rate, hence smallest when the devices share it equally: the threshold rule with that mean cycle
    gives a second bound, and the larger one is returned.

    Args:
        params: the system.
        decision: ``"staged"`` or ``"joint"``. Joint decisions are a subset of staged ones, so the bound holds for both;
            the policy behind a value keeps one place and so exists in both.
        device: index of the device whose mean age is meant; ignored for the team.
        team: bound the mean over all devices instead.

    Raises:
        InvalidInputError: unknown mode or device, or no task can ever complete (the age grows without bound).
    """
    start = time.perf_counter()
    if decision not in ("staged", "joint"):
        raise InvalidInputError.of("decision", "'staged' or 'joint'", decision)
    if not 0 <= device < params.n_devices:
        raise InvalidInputError.of("device", f"in 0 .. {params.n_devices - 1}", device)
    scales = params.scales()
    rows = np.unique(scales, axis=0, return_counts=True) if team else (scales[device : device + 1], np.ones(1))
    solved = [_solve_device(params, tuple(row)) for row in rows[0].tolist()]
    if not all(math.isfinite(bound) for _, bound, _ in solved):
        raise InvalidInputError.of("drop", "such that some task can complete", f"{params.drop} with {params.service}")
    share = rows[1] / rows[1].sum()
    bound = float(share @ [b for _, b, _ in solved])
    whose = "mean over devices" if team else f"device {device}"
    details: dict[str, Any] = {"decision": decision, "whose": whose}
    if params.n_devices > 1 and params.n_edges > 0:
        method = "relaxation to a lone device on the fastest place"
        if team and params.drop_rule.mode != "deadline":
            capacity = _capacity_bound(params)
            if capacity > bound:
                bound, method = capacity, f"{method} with the capacity of all places"
        seconds = time.perf_counter() - start
        return Optimum.bound_only(bound, f"lower bound: {method} ({decision} decisions, {whose})", seconds, **details)
    value = float(share @ [v for v, _, _ in solved])
    details["threshold"] = [c for _, _, c in solved] if team else solved[0][2]
    method = "closed form: threshold wait" + (" on the best single place" if params.n_edges else "")
    seconds = time.perf_counter() - start
    return Optimum.certified(value, bound, f"{method}, Dinkelbach ({decision} decisions, {whose})", seconds, **details)


def _solve_device(params: AoIParams, scales: tuple[float, ...]) -> tuple[float, float, float]:
    """Return (value on the best single place, bound, threshold on that place) of a device that never queues."""
    law, rule = params.law, params.drop_rule
    local, *edges = scales
    places = ((0.0, local), *((params.transmission_s, b) for b in edges))
    solutions = [
        UpdateOrWait(law.kind, law.parameter, (place,), rule.mode, rule.coefficient, params.z_max).optimal()
        for place in places
    ]
    value, c, bound = min(solutions)
    return value, _fastest(params, scales).optimal()[2] if edges else bound, c


def _fastest(params: AoIParams, scales: tuple[float, ...]) -> UpdateOrWait:
    """The pointwise fastest place of the relaxation in `solve`, with unbounded waits."""
    law, rule = params.law, params.drop_rule
    delay = 0.0 if rule.mode == "deadline" else params.transmission_s
    places = ((0.0, scales[0]), *((delay, b) for b in scales[1:]))
    return UpdateOrWait(law.kind, law.parameter, places, rule.mode, rule.coefficient)


def _capacity_bound(params: AoIParams) -> float:
    """Lower bound of the mean age over devices from the rate at which all places together can complete tasks."""
    from scipy.optimize import brentq

    scales = params.scales()
    unit = UpdateOrWait.parse(params.service, drop=params.drop)
    edges = 1.0 / (scales[0, 1:] * unit.delay_moments[0])
    local = 1.0 / (scales[:, 0] * unit.cycle_moments[0])
    cycle = params.n_devices / float(edges.sum() + local.sum())
    fast = _fastest(params, tuple(scales.min(axis=0).tolist()))
    _, c, bound = fast.optimal()

    def excess(x: float) -> float:
        return fast.cycle_length(x) - cycle

    if excess(c) >= 0.0:
        return bound
    c = float(brentq(excess, c, c + cycle, xtol=1e-12 * (c + cycle)))
    return fast.threshold(c) * (1.0 - 1e-9)
