"""A learned policy as the simulator's runs call it, with what its state does at test time."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

State = tuple[NDArray[Any], ...]


class AdaptivePolicy(Protocol):
    """What the evaluation needs of a policy that carries a state, see `agents.sb3.t2drl_learner.AdaptivePolicy`."""

    state: State | None
    test_time: Any

    def reset(self) -> None:
        """Forget everything."""

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Adapt to a batch of observations and decide."""

    def hold(self) -> State:
        """The state to hold what was learned so far at."""

    def count_parameters(self) -> int:
        """Parameters that decide and value."""


class Learned:
    """One episode per row, from a given state on.

    Args:
        policy: the learned policy; it is shared, and left in the test time given here.
        test_time: ``episodic``, ``lifelong``, ``frozen`` or ``held``.
        state: the state that episodes begin with, one row or one per episode; None: that of the trained weights.

    Attributes:
        name: for the simulator: the policy is told nothing about the future.
        seconds: time spent deciding.
        decisions: decisions taken.
    """

    name = "learned"

    def __init__(self, policy: AdaptivePolicy, test_time: str = "episodic", state: State | None = None) -> None:
        self._policy, self._test_time, self._state = policy, test_time, state
        self.seconds, self.decisions = 0.0, 0

    def reset(self, demands: Any = None) -> None:
        """Begin an episode in every row."""
        self._policy.test_time = self._test_time
        self._policy.reset()
        self._first = True

    def __call__(self, obs: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for all rows."""
        started = time.perf_counter()
        if self._first and self._state is not None:
            rows = self._state[0]
            self._policy.state = (np.broadcast_to(rows, (len(obs), rows.shape[1])).copy(),)
        self._first = False
        action = self._policy.act(obs)
        self.seconds += time.perf_counter() - started
        self.decisions += len(obs)
        return action

    @property
    def milliseconds(self) -> float:
        """Time per decision so far."""
        return 1e3 * self.seconds / self.decisions
