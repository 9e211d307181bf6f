"""The outer loop of fractional learning: pure logic, no learner, no environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...envs.core.errors import CheckpointError, InvalidInputError

Floats = npt.NDArray[np.float64]
Value = float | Floats


class Dinkelbach:
    """Moves the coefficient of ``cost - ratio * duration`` towards the achieved ratio Σcost / Σduration.

    Each update takes sums measured under the policy (or joint policy) trained at the current ratio, forms
    r = Σcost / Σduration (pooled sums, not a mean of ratios) and sets ratio ← ratio + omega (r - ratio). With one agent
    and omega = 1 this is Newton's method on F(ratio) = min(cost - ratio duration), quadratic with exact inner
    solutions and linear with inexact ones. With several agents it drops the cross derivatives of Newton's method: it is
    linear where those are small, may cycle where they are large, and omega = 1/2 then often restores convergence.

    Args:
        ratio: where to start, above any ratio of interest so that F < 0; one number, or one per agent. Unit: cost per
            duration (age of information: s).
        agents: None for a single ratio (a float everywhere), or the number of agents (arrays of that length).
        shared: with several agents: all get the ratio of the pooled sums.
        omega: step length in (0, 1].
        tolerance: relative change of the ratio that counts as settled.
        patience: consecutive settled updates until `converged`.

    Raises:
        InvalidInputError: an argument is out of its range.

    *Source*: Dinkelbach, *On nonlinear fractional programming*, 1967; Jin et al., AAAI-24, arXiv 2312.10418 (one
    agent); Jin et al., arXiv 2409.16832 (several agents).
    """

    def __init__(
        self,
        ratio: npt.ArrayLike = 5.0,
        *,
        agents: int | None = None,
        shared: bool = False,
        omega: float = 1.0,
        tolerance: float = 0.01,
        patience: int = 3,
    ) -> None:
        if agents is not None and agents < 1:
            raise InvalidInputError.of("agents", "None or an integer >= 1", agents)
        if not 0 < omega <= 1:
            raise InvalidInputError.of("omega", "in (0, 1]", omega)
        if not 0 < tolerance < np.inf:
            raise InvalidInputError.of("tolerance", "a finite number > 0", tolerance)
        if patience < 1:
            raise InvalidInputError.of("patience", "an integer >= 1", patience)
        self.agents, self.shared, self.omega = agents, shared, float(omega)
        self.tolerance, self.patience = float(tolerance), int(patience)
        self._ratio = self._read("ratio", ratio, spread=True)
        self._measured: Floats | None = None
        self._steps: list[Floats] = []  # the last two changes of the ratio
        self._settled = 0
        self._updates = 0

    @property
    def ratio(self) -> Value:
        """The current coefficient: a float, or a fresh array (agents,)."""
        return self._given(self._ratio)

    @property
    def measured(self) -> Value | None:
        """The achieved ratio r of the last update (None before the first)."""
        return None if self._measured is None else self._given(self._measured)

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return self._updates

    @property
    def converged(self) -> bool:
        """Whether the last `patience` updates were all settled."""
        return self._settled >= self.patience

    @property
    def contraction(self) -> float | None:
        """Estimated factor by which an update multiplies the error; None before two updates that changed the ratio.

        It is the projection of the last change of the ratio on the one before: negative where the error alternates,
        beyond 1 in size where the loop diverges.
        """
        if len(self._steps) < 2:
            return None
        before, last = self._steps
        size = float(before @ before)
        return float(last @ before) / size if size > 0 else None

    def update(self, cost: npt.ArrayLike, duration: npt.ArrayLike, gain: npt.ArrayLike | None = None) -> Value:
        """Take the sums measured at the current ratio and move it.

        Args:
            cost: Σcost, a number or one per agent.
            duration: Σduration > 0, likewise.
            gain: optional: the learner's own estimate of its average reward per unit of duration (in units of the
                ratio, sign irrelevant). It vanishes at the optimum, so where given it must be settled too.

        Returns:
            The new ratio.

        Raises:
            InvalidInputError: sums are not finite, a duration is not > 0, or their shape is not one per agent.
        """
        costs, durations = self._read("cost", cost), self._read("duration", duration)
        if self.shared:
            costs, durations = np.full_like(costs, costs.sum()), np.full_like(durations, durations.sum())
        if (durations <= 0).any():
            raise InvalidInputError.of("duration", "> 0 (every agent needs a finished interval)", duration)
        gains = np.zeros_like(self._ratio) if gain is None else self._read("gain", gain)
        measured = costs / durations
        step = self.omega * (measured - self._ratio)
        limit = self.tolerance * np.abs(measured)
        settled = (np.abs(measured - self._ratio) <= limit) & (np.abs(gains) <= limit)
        self._settled = self._settled + 1 if settled.all() else 0
        self._steps = [*self._steps[-1:], step]
        self._ratio, self._measured = self._ratio + step, measured
        self._updates += 1
        return self.ratio

    def state_dict(self) -> dict[str, Any]:
        """Everything an update depends on, as plain JSON types."""
        return {
            "ratio": self._ratio.tolist(),
            "measured": None if self._measured is None else self._measured.tolist(),
            "steps": [step.tolist() for step in self._steps],
            "settled": self._settled,
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, for the same number of agents.

        Raises:
            CheckpointError: a field is missing or does not fit; nothing is changed then.
        """
        try:
            ratio = self._read("ratio", state["ratio"])
            measured = None if state["measured"] is None else self._read("measured", state["measured"])
            steps = [self._read("steps", step) for step in state["steps"]]
            settled, updates = (_count(name, state[name]) for name in ("settled", "updates"))
            if len(steps) > 2:
                raise InvalidInputError.of("steps", "at most two", len(steps))
        except KeyError as error:
            raise CheckpointError(f"Dinkelbach state lacks the field {error}") from None
        except (InvalidInputError, TypeError) as error:
            raise CheckpointError(f"Dinkelbach state does not fit: {error}") from None
        self._ratio, self._measured, self._steps = ratio, measured, steps
        self._settled, self._updates = settled, updates

    def _read(self, field: str, value: npt.ArrayLike, spread: bool = False) -> Floats:
        """One float64 per agent (length 1 for a single ratio), fresh."""
        size = 1 if self.agents is None else self.agents
        allowed = "a finite number" if self.agents is None else f"finite numbers, one for each of {size} agents"
        try:
            array = np.asarray(value, dtype=np.float64).copy()  # in two steps: torch warns when asked for a copy
        except (TypeError, ValueError):
            raise InvalidInputError.of(field, allowed, value) from None
        if array.ndim == 0 and (spread or size == 1):
            array = np.full(size, array)
        if array.shape != (size,) or not np.isfinite(array).all():
            raise InvalidInputError.of(field, allowed, value)
        return array

    def _given(self, array: Floats) -> Value:
        return float(array[0]) if self.agents is None else array.copy()


def _count(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInputError.of(field, "an integer >= 0", value)
    return value
