"""The smallest offloading game, solved exactly: two devices, one edge node, memoryless rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...envs.core.errors import InvalidInputError

Floats = npt.NDArray[np.float64]
Profile = tuple[str, str]

POLICIES = ("LL", "LE", "EL", "EE")
"""Place chosen where the edge is empty, then where it holds the other device's task: L local, E edge."""

STATES = ("local-local", "edge-local", "local-edge", "edge:1,2", "edge:2,1")
"""Where the tasks of devices 1 and 2 are; with both at the edge, in which order they are served."""

# State after a device (row) has completed and places its next task locally or at the edge; None: nothing to complete.
_PLACED: tuple[tuple[tuple[int, int] | None, ...], ...] = (
    ((0, 1), (0, 1), (2, 4), (2, 4), None),  # device 1
    ((0, 2), (1, 3), (0, 2), None, (1, 3)),  # device 2
)
_AT_EDGE = ((False, True, False, True, True), (False, False, True, True, True))
_TIE = 1e-9  # payoffs that close are equal


class RecurrentClass(NamedTuple):
    """Long-run behaviour once a closed set of states has been entered.

    Attributes:
        probability: of ending in this class.
        states: names of its states.
        ages: mean age of each device, shape (2,), in seconds.
        cycles: mean time between completions of each device, shape (2,), in seconds.
    """

    probability: float
    states: tuple[str, ...]
    ages: Floats
    cycles: Floats


class Outcome(NamedTuple):
    """What a profile of policies leads to.

    Attributes:
        ages: expected long-run time average of each device's age, shape (2,), in seconds.
        cycles: expected time per completion of each device, 1 / (expected long-run completions per second), shape (2,).
        classes: the recurrent classes that are reached, each by itself.
    """

    ages: Floats
    cycles: Floats
    classes: tuple[RecurrentClass, ...]


class TwoDeviceGame:
    """Two devices with exponential services share one first-come first-served edge node; no waits, no drops.

    A device's policy says where the next task goes when the edge is empty and when it holds the other device's task.
    The five discrete states form a Markov chain; ages are those of a stochastic hybrid system: with stationary
    probability p_q and, for one device, v_q = E[(age at the monitor, age of the task under way); state q],

        v_q * (rate out of q) = p_q (1, 1) + sum over transitions into q of rate * v * A,

    where A maps (x0, x1) to (x1, 0) at a completion of that device and is the identity otherwise; the age is the sum of
    v_q's first entries.

    Some profiles have several recurrent classes, and which one is entered is decided by chance or by the start: both
    devices playing EL end with one of them at the edge for good. Averages are then expectations over where the chain
    ends from `initial`: of the age, and of the completion rate (the cycle is its reciprocal, so that age, rate and
    their product all weigh time). `Outcome.classes` keeps the classes apart.

    The ratio game's payoff is the age; the additive game's at coefficients r is cycle * (age - r).

    Args:
        edge_rate: service rate of the edge node, in 1/s.
        local_rates: service rates of the two devices' own processors, in 1/s.
        initial: probabilities by name of `STATES`; by default both tasks start locally.
        select: which of several inner equilibria the learners are assumed to find: gets them in the order of
            `POLICIES` (device 1 first) and returns one of them. By default the first.

    Raises:
        InvalidInputError: a rate is not positive and finite, or `initial` is no distribution over `STATES`.

    *Source*: the game is derived for Jin et al., arXiv 2409.16832; stochastic hybrid systems for ages: Yates, Kaul,
    *The age of information: real-time status updating by multiple sources*, IEEE Trans. Inf. Theory 65, 2019.
    """

    def __init__(
        self,
        edge_rate: float = 2.0,
        local_rates: tuple[float, float] = (1.0, 1.0),
        *,
        initial: Mapping[str, float] | None = None,
        select: Callable[[Sequence[Profile]], Profile] | None = None,
    ) -> None:
        for field, rates in (("edge_rate", (edge_rate,)), ("local_rates", tuple(local_rates))):
            if not all(0 < rate < np.inf for rate in rates):
                raise InvalidInputError.of(field, "positive and finite", rates)
        if len(local_rates) != 2:
            raise InvalidInputError.of("local_rates", "one rate for each of 2 devices", local_rates)
        start = {STATES[0]: 1.0} if initial is None else dict(initial)
        self._start = np.array([start.pop(name, 0.0) for name in STATES])
        if start or not (self._start >= 0).all() or not np.isclose(self._start.sum(), 1.0):
            raise InvalidInputError.of("initial", f"a distribution over {', '.join(STATES)}", initial)
        self.edge_rate, self.local_rates = float(edge_rate), (float(local_rates[0]), float(local_rates[1]))
        self._select = select or (lambda candidates: candidates[0])
        self._outcomes: dict[Profile, Outcome] = {}

    def outcome(self, profile: Profile) -> Outcome:
        """Exact ages and cycles of a profile.

        Raises:
            InvalidInputError: not two names of `POLICIES`.
        """
        if profile not in self._outcomes:
            self._outcomes[profile] = self._solve(profile)
        return self._outcomes[profile]

    def matrices(self) -> tuple[Floats, Floats]:
        """Ages and cycles of every profile, (4, 4, 2) each: policy of device 1, policy of device 2, device."""
        outcomes = [[self.outcome((one, two)) for two in POLICIES] for one in POLICIES]
        ages = np.array([[outcome.ages for outcome in row] for row in outcomes])
        return ages, np.array([[outcome.cycles for outcome in row] for row in outcomes])

    def inner_equilibria(self, ratios: npt.ArrayLike) -> tuple[Profile, ...]:
        """All pure equilibria of the additive game at coefficients (2,), in seconds; may be none."""
        ages, cycles = self.matrices()
        return self._pure(cycles * (ages - np.asarray(ratios, np.float64)))

    def equilibria(self) -> tuple[Profile, ...]:
        """All pure equilibria of the ratio game, whose payoffs are the ages; may be none."""
        return self._pure(self.matrices()[0])

    def inner_equilibrium(self, ratios: npt.ArrayLike) -> Profile:
        """The inner equilibrium that is selected at coefficients (2,).

        Raises:
            InvalidInputError: there is no pure one, or `select` returned something else.
        """
        candidates = self.inner_equilibria(ratios)
        if not candidates:
            raise InvalidInputError.of("ratios", "coefficients with a pure inner equilibrium", ratios)
        chosen = self._select(candidates)
        if chosen not in candidates:
            raise InvalidInputError.of("select", f"a rule that picks one of {candidates}", chosen)
        return chosen

    def costs_and_durations(self, profile: Profile) -> tuple[Floats, Floats]:
        """Expected area and time per completion of each device, (2,) each; their ratio is the age."""
        outcome = self.outcome(profile)
        return outcome.ages * outcome.cycles, outcome.cycles

    def least_sum(self) -> tuple[Profile, float]:
        """The profile with the least sum of both ages (the first in the order of `POLICIES`), and that sum."""
        sums = self.matrices()[0].sum(axis=-1)
        one, two = np.argwhere(sums <= sums.min() + _TIE)[0]
        return (POLICIES[one], POLICIES[two]), float(sums.min())

    def price_of_anarchy(self) -> float:
        """Largest sum of ages in a pure equilibrium of the ratio game, over the least sum of any profile.

        Raises:
            InvalidInputError: the game has no pure equilibrium.
        """
        found = self.equilibria()
        if not found:
            raise InvalidInputError("the game has no pure equilibrium")
        return max(float(self.outcome(profile).ages.sum()) for profile in found) / self.least_sum()[1]

    def _pure(self, payoffs: Floats) -> tuple[Profile, ...]:
        """Pure equilibria of a bimatrix game of costs (4, 4, 2)."""
        best = (payoffs[..., 0] <= payoffs[..., 0].min(axis=0, keepdims=True) + _TIE) & (
            payoffs[..., 1] <= payoffs[..., 1].min(axis=1, keepdims=True) + _TIE
        )
        return tuple((POLICIES[one], POLICIES[two]) for one, two in np.argwhere(best))

    # --- the Markov chain ---------------------------------------------------------------------------------------------

    def _transitions(self, profile: Profile) -> Floats:
        """Rates (2, 5, 5) at which a completion of each device leads from one state to another (or the same)."""
        if len(profile) != 2 or not set(profile) <= set(POLICIES):
            raise InvalidInputError.of("profile", f"two of {', '.join(POLICIES)}", profile)
        rates = np.zeros((2, 5, 5))
        for device, policy in enumerate(profile):
            for state, placed in enumerate(_PLACED[device]):
                if placed is not None:
                    mine = self.edge_rate if _AT_EDGE[device][state] else self.local_rates[device]
                    goes_to_edge = policy[_AT_EDGE[1 - device][state]] == "E"
                    rates[device, state, placed[goes_to_edge]] = mine
        return rates

    def _solve(self, profile: Profile) -> Outcome:
        rates = self._transitions(profile)
        total = rates.sum(axis=0)
        classes = []
        for members, probability in self._absorption(total):
            inside = rates[:, members][:, :, members]
            stationary = _stationary(inside.sum(axis=0))
            ages = np.array([_age(inside, stationary, device) for device in (0, 1)])
            throughput = np.einsum("q,dqr->d", stationary, inside)
            names = tuple(STATES[q] for q in members)
            classes.append(RecurrentClass(probability, names, ages, 1.0 / throughput))
        mean_age = np.sum([each.probability * each.ages for each in classes], axis=0)
        mean_rate = np.sum([each.probability / each.cycles for each in classes], axis=0)
        return Outcome(mean_age, 1.0 / mean_rate, tuple(classes))

    def _absorption(self, rates: Floats) -> list[tuple[list[int], float]]:
        """The recurrent classes that `initial` leads to, with their probabilities."""
        jumps = rates / rates.sum(axis=1, keepdims=True)
        reach = np.linalg.matrix_power(np.eye(5) + (rates > 0), 4) > 0
        recurrent = (~reach | reach.T).all(axis=1)
        transient = np.flatnonzero(~recurrent)
        # Expected visits to transient states, then the jumps out of them.
        visits = np.linalg.solve((np.eye(5) - jumps)[np.ix_(transient, transient)].T, self._start[transient])
        entered = self._start * recurrent + visits @ jumps[transient] * recurrent
        found = []
        for members in sorted({tuple(np.flatnonzero(reach[q])) for q in np.flatnonzero(recurrent)}):
            probability = float(entered[list(members)].sum())
            if probability > 0:
                found.append(([int(q) for q in members], probability))
        return found


def _stationary(rates: Floats) -> Floats:
    """Stationary distribution of an irreducible chain with these rates; self-transitions do not matter."""
    size = len(rates)
    balance = rates.T - np.diag(rates.sum(axis=1))
    return np.asarray(np.linalg.lstsq(np.vstack([balance, np.ones(size)]), np.eye(size + 1)[size], rcond=None)[0])


def _age(rates: Floats, stationary: Floats, device: int) -> float:
    """Mean age of one device from the linear equations of the class docstring; rates (2, n, n)."""
    size = len(stationary)
    done, other = rates[device].T, rates[1 - device].T
    out = np.diag(rates.sum(axis=(0, 2)))
    equations = np.block([[out - other, -done], [np.zeros((size, size)), out - other]])
    return float(np.linalg.solve(equations, np.tile(stationary, 2))[:size].sum())
