"""Fractional Q-learning on a finite process, and its non-fractional twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ...envs.core import rng
from ...envs.core.errors import CheckpointError, InvalidInputError
from ...envs.core.ratio_mdp import Policy, RatioMDP
from .dinkelbach import Dinkelbach

Floats = npt.NDArray[np.float64]

_jit: Any = numba.njit(cache=True)
_TRANSITIONS, _EXPLORATION, _ROLLOUT = 0, 1, 2
_CHECK_EVERY = 1000


@_jit
def _draw(cumulative, u):  # type: ignore[no-untyped-def]
    """Index of the first entry of a cumulative distribution above u."""
    index = 0
    while index < cumulative.size - 1 and cumulative[index] <= u:
        index += 1
    return index


@_jit
def _greedy(numerators, denominators, ratio):  # type: ignore[no-untyped-def]
    best = 0
    for a in range(1, numerators.size):
        if numerators[a] - ratio * denominators[a] < numerators[best] - ratio * denominators[best]:
            best = a
    return best


@_jit
def _learn(  # type: ignore[no-untyped-def]
    cumulative, cost, duration, discount, ratio, epsilon, exponent, keys, counter, steps, state, tables, seen
):
    """Run `steps` of Q-learning; updates tables = (N, D, visits) and the counts `seen` in place, returns the state.

    Q = N - ratio D is never stored: its update is the difference of the two, with the same step and greedy action.
    """
    numerators, denominators, visits = tables
    actions = cost.shape[1]
    for i in range(counter, counter + steps):
        action = _greedy(numerators[state], denominators[state], ratio)
        if rng.uniform(keys[_EXPLORATION], 2 * i) < epsilon:
            action = min(int(rng.uniform(keys[_EXPLORATION], 2 * i + 1) * actions), actions - 1)
        following = _draw(cumulative[state, action], rng.uniform(keys[_TRANSITIONS], i))
        best = _greedy(numerators[following], denominators[following], ratio)
        gain_cost, gain_duration = 0.0, 0.0
        if discount == 1.0:  # relative values: the mean over the table estimates the average per decision
            gain_cost, gain_duration = numerators.mean(), denominators.mean()
        target_cost = cost[state, action] - gain_cost + discount * numerators[following, best]
        target_duration = duration[state, action] - gain_duration + discount * denominators[following, best]
        rate = (1.0 + visits[state, action]) ** -exponent
        numerators[state, action] += rate * (target_cost - numerators[state, action])
        denominators[state, action] += rate * (target_duration - denominators[state, action])
        visits[state, action] += 1
        seen[state, action, following] += 1
        state = following
    return state


@_jit
def _roll_out(cumulative, cost, duration, policy, key, steps, state):  # type: ignore[no-untyped-def]
    """Sums of cost and duration over `steps` decisions of a policy."""
    total_cost, total_duration = 0.0, 0.0
    for i in range(steps):
        action = policy[state]
        total_cost += cost[state, action]
        total_duration += duration[state, action]
        state = _draw(cumulative[state, action], rng.uniform(key, i))
    return total_cost, total_duration


class FractionalIteration(NamedTuple):
    """One outer iteration.

    Attributes:
        ratio: the coefficient at which the inner loop ran.
        residual: learned value of Q = N - ratio D at the start state (average criterion: per decision); tends to 0.
        error: estimated sup-norm error of Q from the transitions seen (inf before every pair was tried).
        steps: Q-learning steps taken.
        policy: greedy action per state.
        next_ratio: the coefficient after the update.
    """

    ratio: float
    residual: float
    error: float
    steps: int
    policy: tuple[int, ...]
    next_ratio: float


class FractionalQLearning:
    """Tabular Q-learning inside Dinkelbach's outer loop.

    At coefficient `ratio` the inner loop learns, from sampled transitions, the numerator and denominator values N and D
    under one and the same greedy policy, argmin over actions of Q = N - ratio D. The outer loop then sets the ratio to
    N / D at the start state (``coefficient="values"``) or to the ratio sampled by the greedy policy
    (``coefficient="rollout"``). Neither needs the inner loop to converge: it may stop once the estimated error of Q is
    at most ``alpha`` times -Q, and the ratio still converges linearly.

    With ``mdp.discount < 1`` values are discounted sums from ``mdp.start``, as in the paper; with 1 they are relative
    values, and N / D is the long-run ratio itself. A discount of 0.9 can settle on a policy with a worse average.

    Args:
        mdp: the process; the learner only samples it.
        ratio: first coefficient, above the optimum so that Q < 0.
        coefficient: what the outer loop updates with.
        omega: step of the outer loop, see `Dinkelbach`.
        inner_steps: Q-learning steps per outer iteration, at most.
        rollout_steps: decisions of the greedy rollout (only with ``coefficient="rollout"``).
        alpha: in (0, 1): stop an inner loop early by the rule above, checked every 1000 steps; None: never.
        epsilon: exploration probability.
        step_exponent: the step size after n visits of a pair is (1 + n) ** -step_exponent.
        seed: of the learner's own counter-based streams.

    Attributes:
        numerators: N, shape (S, A).
        denominators: D, shape (S, A).
        policy: greedy action per state after the last inner loop, shape (S,).
        outer: the `Dinkelbach` loop.

    Raises:
        InvalidInputError: an argument is out of its range.

    *Source*: Jin et al., AAAI-24, arXiv 2312.10418 (fractional Q-learning); relative values: Abounadi, Bertsekas and
    Borkar, *Learning algorithms for Markov decision processes with average cost*, 2001.
    """

    def __init__(
        self,
        mdp: RatioMDP,
        *,
        ratio: float = 6.0,
        coefficient: Literal["values", "rollout"] = "values",
        omega: float = 1.0,
        inner_steps: int = 60_000,
        rollout_steps: int = 40_000,
        alpha: float | None = None,
        epsilon: float = 0.3,
        step_exponent: float = 0.7,
        seed: int = 0,
    ) -> None:
        checks = (
            ("coefficient", coefficient in ("values", "rollout"), "'values' or 'rollout'", coefficient),
            ("inner_steps", inner_steps >= 1, "an integer >= 1", inner_steps),
            ("rollout_steps", rollout_steps >= 1, "an integer >= 1", rollout_steps),
            ("alpha", alpha is None or 0 < alpha < 1, "None or in (0, 1)", alpha),
            ("epsilon", 0 < epsilon <= 1, "in (0, 1]", epsilon),
            ("step_exponent", 0.5 < step_exponent <= 1, "in (0.5, 1]", step_exponent),
            ("seed", 0 <= seed < 2**64, "an integer in [0, 2**64 - 1]", seed),
        )
        for field, right, allowed, got in checks:
            if not right:
                raise InvalidInputError.of(field, allowed, got)
        self.mdp, self.coefficient, self.alpha, self.seed = mdp, coefficient, alpha, seed
        self.inner_steps, self.rollout_steps = inner_steps, rollout_steps
        self.epsilon, self.step_exponent = float(epsilon), float(step_exponent)
        self.outer = Dinkelbach(ratio, omega=omega)
        self.numerators: Floats = np.zeros_like(mdp.cost)
        self.denominators: Floats = np.zeros_like(mdp.cost)
        self.policy: Policy = np.zeros(mdp.states, dtype=np.int64)
        self._cumulative = np.cumsum(mdp.transition, axis=2)

    @property
    def ratio(self) -> float:
        """The current coefficient."""
        return float(self.outer.ratio)

    def iterate(self) -> FractionalIteration:
        """One inner loop at the current coefficient, then one outer update."""
        before = self.ratio
        steps, error = self._inner(before)
        values = self.numerators - before * self.denominators
        self.policy = np.argmin(values, axis=1)
        residual = self._at_start(values)
        if self.coefficient == "rollout":
            sums = self._sample_ratio()
        else:
            sums = self._at_start(self.numerators), self._at_start(self.denominators)
        after = float(self.outer.update(*sums))
        return FractionalIteration(before, residual, error, steps, tuple(self.policy.tolist()), after)

    def train(self, iterations: int = 10) -> list[FractionalIteration]:
        """Iterate until the outer loop has converged, or `iterations` times."""
        history: list[FractionalIteration] = []
        while len(history) < iterations and not self.outer.converged:
            history.append(self.iterate())
        return history

    def state_dict(self) -> dict[str, Any]:
        """Everything the next iteration depends on, as plain JSON types."""
        return {
            "numerators": self.numerators.tolist(),
            "denominators": self.denominators.tolist(),
            "policy": self.policy.tolist(),
            "outer": self.outer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, for a learner built with the same arguments.

        Raises:
            CheckpointError: a field is missing or does not fit; nothing is changed then.
        """
        shape = self.mdp.cost.shape
        try:
            tables = [np.array(state[name], dtype=np.float64) for name in ("numerators", "denominators")]
            policy = np.array(state["policy"], dtype=np.int64)
            outer = state["outer"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"Q-learning state does not fit: {error!r}") from None
        if any(table.shape != shape or not np.isfinite(table).all() for table in tables):
            raise CheckpointError(f"Q-learning state does not fit: tables must be finite, of shape {shape}")
        if policy.shape != shape[:1] or (policy < 0).any() or (policy >= shape[1]).any():
            raise CheckpointError(
                f"Q-learning state does not fit: policy must hold {shape[0]} actions below {shape[1]}"
            )
        self.outer.load_state_dict(outer)
        self.numerators, self.denominators = tables
        self.policy = policy

    def _keys(self) -> npt.NDArray[np.uint64]:
        """Fresh streams for every outer iteration: a resumed run continues with the same draws."""
        episode = self.outer.updates
        streams = (_TRANSITIONS, _EXPLORATION, _ROLLOUT)
        return np.array([rng.stream_key(np.uint64(self.seed), episode, s, 0) for s in streams], dtype=np.uint64)

    def _inner(self, ratio: float) -> tuple[int, float]:
        """Learn N and D at a coefficient; returns the steps taken and the last error estimate."""
        keys, mdp = self._keys(), self.mdp
        visits = np.zeros(mdp.cost.shape, dtype=np.int64)
        seen = np.zeros(mdp.transition.shape, dtype=np.int64)
        snapshots: list[tuple[Floats, Floats]] = []
        state, done, stop = mdp.start, 0, False
        while done < self.inner_steps and not stop:
            steps = min(_CHECK_EVERY, self.inner_steps - done)
            state = _learn(
                self._cumulative, mdp.cost, mdp.duration, mdp.discount, ratio, self.epsilon, self.step_exponent,
                keys, done, steps, state, (self.numerators, self.denominators, visits), seen,
            )  # fmt: skip
            done += steps
            snapshots.append((self.numerators.copy(), self.denominators.copy()))
            if self.alpha is not None:
                error, value = self._error(ratio, seen)
                stop = error <= -self.alpha * value
        # Averaging the second half removes most of the noise that the last steps leave.
        recent = snapshots[len(snapshots) // 2 :]
        self.numerators, self.denominators = (np.mean(tables, axis=0) for tables in zip(*recent, strict=True))
        return done, self._error(ratio, seen)[0]

    def _error(self, ratio: float, seen: npt.NDArray[np.int64]) -> tuple[float, float]:
        """Estimated error of Q and its value at the start, by one Bellman step on the transitions seen.

        Discounted: sup|TQ - Q| / (1 - discount) bounds the error. Average: the smallest and the largest change of a
        state value enclose the best average per decision.
        """
        values = self.numerators - ratio * self.denominators
        count = seen.sum(axis=2)
        if (count == 0).any():
            return float("inf"), self._at_start(values)
        state_values = values.min(axis=1)
        # The cost of a pair is known once it was tried.
        target = self.mdp.cost - ratio * self.mdp.duration + self.mdp.discount * (seen @ state_values) / count
        if self.mdp.discount < 1:
            return float(np.abs(target - values).max() / (1 - self.mdp.discount)), self._at_start(values)
        change = target.min(axis=1) - state_values
        return float(np.ptp(change)), self._at_start(values)

    def _at_start(self, table: Floats) -> float:
        """Value of the greedy action at the start state; on average: the learned mean per decision."""
        if self.mdp.discount == 1:
            return float(table.mean())
        start = self.mdp.start
        greedy = int(np.argmin(self.numerators[start] - self.ratio * self.denominators[start]))
        return float(table[start, greedy])

    def _sample_ratio(self) -> tuple[float, float]:
        mdp, key = self.mdp, self._keys()[_ROLLOUT]
        total_cost, total_duration = _roll_out(
            self._cumulative, mdp.cost, mdp.duration, self.policy, key, self.rollout_steps, mdp.start
        )
        return float(total_cost), float(total_duration)


class CostPerCycleQLearning(FractionalQLearning):
    """The non-fractional twin: the same learner on the mean of cost / duration per cycle.

    It learns on ``mdp.rate_surrogate()``, where every decision lasts 1, so that the coefficient shifts all values alike
    and the greedy policy is that of plain Q-learning on the per-cycle ratio. Its `ratio` estimates the mean of ratios,
    not the ratio of means.

    Args:
        mdp: the process.
        **arguments: as in `FractionalQLearning`.
    """

    def __init__(self, mdp: RatioMDP, **arguments: Any) -> None:
        super().__init__(mdp.rate_surrogate(), **arguments)
