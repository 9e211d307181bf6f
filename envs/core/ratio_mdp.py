"""Finite semi-Markov decision processes with a ratio objective, solved exactly and with certificates.

The objective is the smallest long-run ratio Σcost / Σduration over stationary policies, or, with a discount below 1,
the smallest ratio of discounted sums from one start state. Three independent solvers (`solve_enumeration`, `solve_lp`,
`solve_dinkelbach`) return the ratio of the policy they found, evaluated by a linear solve, next to a lower bound that
holds for every policy.

*Source*: Charnes and Cooper, *Programming with linear fractional functionals*, 1962, for the linear programme;
Dinkelbach, *On nonlinear fractional programming*, 1967, for the iteration; Puterman, *Markov decision processes*, 1994,
for the rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InvalidInputError
from .optimum import Optimum

Floats = npt.NDArray[np.float64]
Policy = npt.NDArray[np.int64]

_POLICY_LIMIT = 10**6
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class RatioMDP:
    """A finite semi-Markov decision process with a ratio objective; arrays are copied and made read-only.

    Args:
        transition: P[s, a, s'], shape (S, A, S), rows adding up to 1.
        cost: expected cost of one decision, shape (S, A).
        duration: expected duration of one decision, shape (S, A), all > 0.
        discount: factor per decision in (0, 1]; 1 means the long-run average, for which every policy considered must
            have a single recurrent class.
        start: state from which discounted sums are taken; without effect on averages.

    Raises:
        InvalidInputError: an array has the wrong shape or range.
    """

    transition: Floats
    cost: Floats
    duration: Floats
    discount: float = 1.0
    start: int = 0

    def __post_init__(self) -> None:
        """Copy and check."""
        for name in ("transition", "cost", "duration"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(array).all():
                raise InvalidInputError.of(name, "an array of finite numbers", array)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        shape = self.transition.shape
        if len(shape) != 3 or shape[0] != shape[2] or 0 in shape:
            raise InvalidInputError.of("transition", "an array of shape (S, A, S)", f"shape {shape}")
        for name in ("cost", "duration"):
            if getattr(self, name).shape != shape[:2]:
                got = f"shape {getattr(self, name).shape}"
                raise InvalidInputError.of(name, f"an array of shape (S, A) = {shape[:2]}", got)
        if (self.transition < 0).any() or (np.abs(self.transition.sum(axis=2) - 1.0) > 1e-9).any():
            raise InvalidInputError("transition must hold probabilities: every row >= 0 and adding up to 1")
        if (self.duration <= 0).any():
            raise InvalidInputError.of("duration", "> 0 for every state and action", float(self.duration.min()))
        if not 0 < self.discount <= 1:
            raise InvalidInputError.of("discount", "in (0, 1], 1 meaning the long-run average", self.discount)
        if not 0 <= self.start < shape[0]:
            raise InvalidInputError.of("start", f"a state in [0, {shape[0] - 1}]", self.start)

    @property
    def states(self) -> int:
        """Number of states S."""
        return int(self.transition.shape[0])

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return int(self.transition.shape[1])

    def discounted(self, discount: float, start: int = 0) -> RatioMDP:
        """The same process with discounted sums from `start`."""
        return replace(self, discount=discount, start=start)

    def rate_surrogate(self) -> RatioMDP:
        """The non-fractional surrogate: every decision costs cost / duration and lasts 1.

        Its optimum is the smallest mean of ratios, whose policy in general does not have the smallest ratio of means.
        """
        return replace(self, cost=self.cost / self.duration, duration=np.ones_like(self.duration))


class PolicyValues(NamedTuple):
    """Values of policies: per decision on average, or discounted sums from the start state.

    Attributes:
        policy: action per state, shape (n, S).
        cost: shape (n,).
        duration: shape (n,).
        ratio: ``cost / duration``, shape (n,).
    """

    policy: Policy
    cost: Floats
    duration: Floats
    ratio: Floats


def evaluate_policies(mdp: RatioMDP, policies: npt.ArrayLike) -> PolicyValues:
    """Evaluate deterministic stationary policies exactly (one linear solve each).

    Args:
        mdp: the process.
        policies: action per state, shape (n, S).

    Raises:
        InvalidInputError: an action does not exist; or, on average, a policy has several recurrent classes, so that its
            ratio depends on where it starts.
    """
    table = np.array(policies, dtype=np.int64)
    if table.ndim != 2 or table.shape[1] != mdp.states or (table < 0).any() or (table >= mdp.actions).any():
        raise InvalidInputError.of("policy", f"actions in [0, {mdp.actions - 1}], shape (n, {mdp.states})", policies)
    every = np.arange(mdp.states)
    cost, duration = mdp.cost[every, table], mdp.duration[every, table]
    weights = _state_weights(mdp, mdp.transition[every, table])
    total_cost, total_duration = (weights * cost).sum(axis=1), (weights * duration).sum(axis=1)
    return PolicyValues(table, total_cost, total_duration, total_cost / total_duration)


def _state_weights(mdp: RatioMDP, chains: Floats) -> Floats:
    """Stationary distributions, or discounted visits from the start state; chains (n, S, S) to weights (n, S)."""
    system = np.eye(mdp.states) - mdp.discount * chains.swapaxes(1, 2)
    right = np.zeros((*chains.shape[:2], 1))
    if mdp.discount < 1:
        right[:, mdp.start] = 1.0
    else:
        _require_unichain(chains)
        system[:, -1, :] = 1.0
        right[:, -1] = 1.0
    return np.asarray(np.linalg.solve(system, right)[..., 0], dtype=np.float64)


def _require_unichain(chains: Floats) -> None:
    # One recurrent class, if and only if some state can be reached from every state.
    reach: Floats = np.eye(chains.shape[1]) + (chains > 0)
    for _ in range(max(1, int(np.ceil(np.log2(chains.shape[1]))))):
        reach = np.minimum(reach @ reach, 1.0)
    if not np.any(np.all(reach > 0, axis=1), axis=1).all():
        raise InvalidInputError("policy must have a single recurrent class: its ratio depends on where it starts")


def policy_ratio(mdp: RatioMDP, policy: npt.ArrayLike) -> float:
    """Exact ratio of one deterministic stationary policy, action per state, shape (S,)."""
    return float(evaluate_policies(mdp, np.asarray(policy)[None]).ratio[0])


def enumerate_policies(mdp: RatioMDP) -> PolicyValues:
    """Values of all A^S deterministic stationary policies, the last state's action changing fastest.

    Raises:
        InvalidInputError: there are more than 10^6 policies, or one has several recurrent classes.
    """
    count = mdp.actions**mdp.states
    if count > _POLICY_LIMIT:
        raise InvalidInputError.of("actions ** states", f"at most {_POLICY_LIMIT} for an enumeration", count)
    digits = np.stack(np.unravel_index(np.arange(count), (mdp.actions,) * mdp.states), axis=1)
    parts = [evaluate_policies(mdp, digits[i : i + _CHUNK]) for i in range(0, count, _CHUNK)]
    return PolicyValues(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def solve_enumeration(mdp: RatioMDP) -> Optimum:
    """Best ratio by trying every policy; details: policy, policies (their number)."""
    began = time.perf_counter()
    table = enumerate_policies(mdp)
    best = int(np.argmin(table.ratio))
    details = {"policy": tuple(table.policy[best].tolist()), "policies": table.ratio.size}
    return Optimum.exact(float(table.ratio[best]), "exhaustive search", time.perf_counter() - began, **details)


def certified_bound(mdp: RatioMDP, ratio: float, values: Floats) -> float:
    """A lower bound on the ratio of every policy, from any state values.

    With e(s, a) = cost - ratio * duration + discount * P values - values(s): on average, every policy's ratio is at
    least ratio + min e / duration; with a discount, every policy's discounted Σ(cost - ratio * duration) is at least
    values(start) + min e / (1 - discount). Both are tight when `values` solve the Bellman equation at the best ratio.

    Args:
        mdp: the process.
        ratio: the coefficient at which `values` were computed.
        values: relative (average) or discounted state values, shape (S,).
    """
    excess = mdp.cost - ratio * mdp.duration + mdp.discount * mdp.transition @ values - values[:, None]
    if mdp.discount == 1:
        return float(ratio + (excess / mdp.duration).min())
    least = float(values[mdp.start] + excess.min() / (1 - mdp.discount))
    extreme = mdp.duration.min() if least < 0 else mdp.duration.max()
    return float(ratio + least * (1 - mdp.discount) / extreme)


def solve_lp(mdp: RatioMDP) -> Optimum:
    """Best ratio by the Charnes-Cooper linear programme over occupation measures, with its dual as certificate.

    Variables x(s, a) >= 0 (and a scale t >= 0 with a discount): minimise Σ cost x subject to the balance of every state
    and Σ duration x = 1. Details: policy, occupation (x, nested lists of shape (S, A)), dual (state values), objective.

    Raises:
        InvalidInputError: the solver stopped without an optimum.
    """
    # scipy takes a noticeable part of a second to import, and environments do not need it.
    from scipy.optimize import linprog

    began = time.perf_counter()
    states, actions = mdp.states, mdp.actions
    inflow = mdp.transition.reshape(states * actions, states).T
    balance = np.repeat(np.eye(states), actions, axis=1) - mdp.discount * inflow
    columns = [np.vstack([balance, mdp.duration.reshape(1, -1)])]
    objective = [mdp.cost.ravel()]
    if mdp.discount < 1:
        columns.append(-np.eye(states + 1)[:, [mdp.start]])
        objective.append(np.zeros(1))
    right = np.append(np.zeros(states), 1.0)
    solution = linprog(np.concatenate(objective), A_eq=np.hstack(columns), b_eq=right, method="highs")
    if solution.status != 0 or solution.x is None or solution.fun is None:
        raise InvalidInputError(f"linear programme has no certified optimum: {solution.message}")
    least = float(solution.fun)
    occupation = solution.x[: states * actions].reshape(states, actions)
    values = np.asarray(solution.eqlin.marginals[:states], dtype=np.float64)
    policy = _policy_of_occupation(mdp, occupation, values, least)
    return Optimum.certified(
        policy_ratio(mdp, policy),
        certified_bound(mdp, least, values),
        "linear programme (HiGHS) with its dual",
        time.perf_counter() - began,
        policy=tuple(policy.tolist()),
        occupation=occupation.tolist(),
        dual=values.tolist(),
        objective=least,
    )


def _policy_of_occupation(mdp: RatioMDP, occupation: Floats, values: Floats, ratio: float) -> Policy:
    # States that the optimum never visits have no occupation: there, what is greedy for the dual values is optimal too.
    greedy = np.argmin(_action_values(mdp, ratio, values), axis=1)
    visited = occupation.max(axis=1) > 1e-12
    policy: Policy = np.where(visited, np.argmax(occupation, axis=1), greedy)
    return policy


def _action_values(mdp: RatioMDP, ratio: float, values: Floats) -> Floats:
    """Cost of an action at this ratio plus the value of what follows, shape (S, A)."""
    priced: Floats = mdp.cost - ratio * mdp.duration + mdp.discount * mdp.transition @ values
    return priced


class Inner(NamedTuple):
    """Solution of the additive problem at a fixed ratio.

    Attributes:
        policy: optimal action per state, shape (S,).
        values: its relative (average) or discounted state values, shape (S,).
        residual: F(ratio) = min over policies of cost - ratio * duration, per decision or discounted from the start.
    """

    policy: Policy
    values: Floats
    residual: float


def solve_additive(
    mdp: RatioMDP, ratio: float, method: Literal["policy", "value"] = "policy", tolerance: float = 1e-12
) -> Inner:
    """Minimise cost - ratio * duration: the inner problem of Dinkelbach's method.

    Args:
        mdp: the process.
        ratio: the coefficient.
        method: policy iteration (exact up to rounding), or (relative) value iteration to `tolerance`.
        tolerance: on the residual, relative to the largest priced cost.

    Raises:
        InvalidInputError: unknown method.
    """
    if method == "policy":
        return _policy_iteration(mdp, ratio)
    if method == "value":
        return _value_iteration(mdp, ratio, tolerance)
    raise InvalidInputError.of("method", "'policy' or 'value'", method)


def _policy_iteration(mdp: RatioMDP, ratio: float) -> Inner:
    every = np.arange(mdp.states)
    priced = mdp.cost - ratio * mdp.duration
    policy = np.argmin(priced, axis=1)
    while True:
        system = np.eye(mdp.states) - mdp.discount * mdp.transition[every, policy]
        if mdp.discount == 1:
            _require_unichain(mdp.transition[every, policy][None])
            system[:, mdp.start] = 1.0  # the relative value there is 0, so its column can hold the gain
        values = np.linalg.solve(system, priced[every, policy])
        residual = float(values[mdp.start])
        if mdp.discount == 1:
            values[mdp.start] = 0.0
        options = _action_values(mdp, ratio, values)
        slack = 1e-12 * max(1.0, float(np.abs(options).max()))
        better = options.min(axis=1) < options[every, policy] - slack
        if not better.any():
            return Inner(policy, values, residual)
        policy = np.where(better, np.argmin(options, axis=1), policy)


def _value_iteration(mdp: RatioMDP, ratio: float, tolerance: float) -> Inner:
    limit = tolerance * max(1.0, float(np.abs(mdp.cost - ratio * mdp.duration).max()))
    values = np.zeros(mdp.states)
    while True:
        options = _action_values(mdp, ratio, values)
        change = options.min(axis=1) - values
        if mdp.discount < 1:
            done = np.abs(change).max() <= limit
            residual = float(values[mdp.start] + change[mdp.start])
            values = values + change
        else:
            done = np.ptp(change) <= limit
            residual = float(0.5 * (change.min() + change.max()))
            # Half a step: also a periodic chain converges, to the same relative values.
            values = values + 0.5 * (change - change[mdp.start])
        if done:
            return Inner(np.argmin(options, axis=1), values, residual)


def solve_dinkelbach(
    mdp: RatioMDP, ratio: float | None = None, method: Literal["policy", "value"] = "policy", tolerance: float = 1e-12
) -> Optimum:
    """Best ratio by Dinkelbach's method: minimise cost - ratio * duration, take that policy's ratio, repeat.

    This is Newton's method on the concave residual F, so it converges quadratically; on a finite process it ends after
    finitely many steps.

    Args:
        mdp: the process.
        ratio: where to start; default: the ratio of the policy that always takes action 0.
        method: how the inner problem is solved, see `solve_additive`.
        tolerance: stops when the ratio falls by less than this (relative).

    Returns:
        The optimum; details: policy, ratios (of every iteration, the start first), residuals (F at each of them).
    """
    began = time.perf_counter()
    current = policy_ratio(mdp, np.zeros(mdp.states, dtype=np.int64)) if ratio is None else float(ratio)
    ratios, residuals = [current], []
    while True:
        inner = solve_additive(mdp, current, method, tolerance)
        residuals.append(inner.residual)
        reached = policy_ratio(mdp, inner.policy)
        # From below the best ratio the first step goes up; after it the sequence falls.
        if abs(current - reached) <= tolerance * max(1.0, abs(reached)) or (len(ratios) > 2 and reached > current):
            break
        current = reached
        ratios.append(current)
    return Optimum.certified(
        reached,
        certified_bound(mdp, current, inner.values),
        f"Dinkelbach's method with {method} iteration",
        time.perf_counter() - began,
        policy=tuple(inner.policy.tolist()),
        ratios=tuple(ratios),
        residuals=tuple(residuals),
    )
