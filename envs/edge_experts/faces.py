"""The Gymnasium faces of a `System`: infos, and the masks of actions that may be taken."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.faces import LaneEnv, LaneVectorEnv, VectorStep
from ..core.lane_system import Flags, Info, Obs
from .systems import Batch, System


class ScalarFace(LaneEnv):
    """One lane behind the Gymnasium interface."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    _system: System

    def __init__(self, system: System, observation_space: spaces.Box, action_space: spaces.Space[Any]) -> None:
        super().__init__(system, observation_space, action_space)
        self.render_mode = None
        self._all, self._none = np.ones(1, bool), np.zeros(1, bool)
        self._mask = np.ones(system.n_mask, bool)

    @property
    def layout(self) -> dict[str, slice]:
        """Where the parts of an observation are: ``obs[env.unwrapped.layout["selected"]]``."""
        return self._system.layout

    def _begin(self) -> tuple[Obs, Info]:
        return self._shown(self._system.reset(self._all))

    def _shown(self, batch: Batch) -> tuple[Obs, Info]:
        self._mask = batch.mask[0].copy()
        return batch.obs[0], self._system.lane_info(batch)

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, Info]:
        """Carry out a decision; see the class for what an action means.

        Raises:
            InvalidInputError: malformed action, or out of range; the state is unchanged.
            ResetNeeded: the episode is over.
        """
        if self._done:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        batch = self._system.step(self._system.parse(action, None), self._none)
        terminated, truncated = bool(batch.terminated[0]), bool(batch.truncated[0])
        self._done = terminated or truncated
        obs, info = self._shown(batch)
        return obs, -info["cost"], terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Actions that may be taken now, as sb3-contrib's MaskablePPO asks for them."""
        return self._mask.copy()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self._system.get_state() | {"over": np.array([self._done])}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit.
        """
        self._over(state)  # refuses before anything is written
        super().set_state(state)
        self._mask = self._system.pending().mask[0].copy()

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return _over(state, 1)


class VectorFace(LaneVectorEnv[Batch]):
    """Many lanes behind the Gymnasium vector interface."""

    _system: System

    def __init__(
        self,
        system: System,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
        autoreset_mode: AutoresetMode | str,
    ) -> None:
        super().__init__(system, observation_space, action_space, autoreset_mode)
        self._mask = np.ones((self.num_envs, system.n_mask), bool)

    @property
    def layout(self) -> dict[str, slice]:
        """Where the parts of an observation are."""
        return self._system.layout

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode in every lane, or in the lanes of ``options["reset_mask"]``; see `LaneVectorEnv.reset`."""
        obs, info = super().reset(seed=seed, options=options)
        self._mask = info["action_mask"].copy()
        return obs, info

    def step(self, actions: Any) -> VectorStep:
        """Carry out one decision in every lane; lanes that NEXT_STEP resets now ignore theirs.

        Raises:
            InvalidInputError: malformed actions; no lane has moved then.
            ResetNeeded: DISABLED mode, and a lane's episode is over.
        """
        step = self._step(self._system.parse(actions, self.num_envs))
        info = step[-1]
        self._mask = info["action_mask"].copy()
        if "reset_info" in info:
            fresh = info["_reset_info"]
            self._mask[fresh] = info["reset_info"]["action_mask"][fresh]
        return step

    def _advance(self, actions: NDArray[np.int64], skip: Flags) -> tuple[Batch, Flags, Flags]:
        batch = self._system.step(actions, skip)
        return batch, batch.terminated, batch.truncated

    def action_masks(self) -> NDArray[np.bool_]:
        """Actions that may be taken now, (n, A); in SAME_STEP those of the episode that has just begun."""
        return self._mask.copy()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self._system.get_state() | {"over": self._done.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit.
        """
        self._over(state)  # refuses before anything is written
        super().set_state(state)
        self._mask = self._system.pending().mask.copy()

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return _over(state, self.num_envs)


def _over(state: dict[str, NDArray[Any]], lanes: int) -> Flags:
    """The ended lanes of a state: no system of this family keeps them."""
    over = state.get("over")
    if not isinstance(over, np.ndarray) or over.shape != (lanes,) or over.dtype != bool:
        raise InvalidInputError(f"state: 'over' must be a bool array of shape ({lanes},)")
    return over.copy()
