"""The Gymnasium faces of a `System`: spaces, seeds, infos, autoreset."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.lanes import autoreset, check_seed, lane_seeds, reset_mask
from .systems import TIME, Batch, System

Obs = NDArray[np.float32]
Info = dict[str, Any]


def _vector_info(system: System, batch: Batch) -> Info:
    """Arrays (L,) by name, groups as dicts."""
    info: Info = {}
    for (group, name), values in zip(system.rows, batch.out, strict=True):
        (info.setdefault(group, {}) if group else info)[name] = values
    info["action_mask"] = batch.mask
    return info


def _scalar_info(system: System, batch: Batch) -> Info:
    """The only lane's numbers by name."""
    info: Info = {}
    for (group, name), value in zip(system.rows, batch.out[:, 0], strict=True):
        (info.setdefault(group, {}) if group else info)[name] = value
    info["action_mask"] = batch.mask[0]
    return info


class ScalarFace(gymnasium.Env[Obs, Any]):
    """One lane behind the Gymnasium interface."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(self, system: System, observation_space: spaces.Box, action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.render_mode = None
        self._system = system
        self._done, self._all, self._none = True, np.ones(1, bool), np.zeros(1, bool)
        self._mask = np.ones(system.n_mask, bool)

    @property
    def layout(self) -> dict[str, slice]:
        """Where the parts of an observation are: ``obs[env.unwrapped.layout["selected"]]``."""
        return self._system.layout

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode.

        Args:
            seed: starts episode 0 of this seed; without one the next episode of the current seed follows.
            options: not used.

        Returns:
            Observation and info; the first decision is due at once, so cost and duration are 0.

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64).
        """
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is not None or not self._system.seeded:
            value = seed if seed is not None else int(self.np_random.integers(1 << 62))
            self._system.seed(np.array([value], np.uint64))
        batch = self._system.reset(self._all)
        self._done = False
        return self._shown(batch)

    def _shown(self, batch: Batch) -> tuple[Obs, Info]:
        self._mask = batch.mask[0].copy()
        return batch.obs[0], _scalar_info(self._system, batch)

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
        self._system.set_state(state)
        over = state.get("over")
        if not isinstance(over, np.ndarray) or over.shape != (1,) or over.dtype != bool:
            raise InvalidInputError("state: 'over' must be a bool array of shape (1,)")
        self._done = bool(over[0])
        self._mask = self._system.pending().mask[0].copy()


class VectorFace(VectorEnv[Obs, Any, NDArray[Any]]):
    """Many lanes behind the Gymnasium vector interface."""

    def __init__(
        self,
        system: System,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
        autoreset_mode: AutoresetMode | str,
    ) -> None:
        self._mode = autoreset(autoreset_mode)
        self.metadata: dict[str, Any] = {"autoreset_mode": self._mode, "render_modes": []}
        self.render_mode = None
        self.num_envs = system.lanes
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self._system = system
        self._done = np.ones(self.num_envs, bool)
        self._mask = np.ones((self.num_envs, system.n_mask), bool)

    @property
    def layout(self) -> dict[str, slice]:
        """Where the parts of an observation are."""
        return self._system.layout

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode in every lane, or in the lanes of ``options["reset_mask"]``.

        Args:
            seed: an integer s gives lane i the seed s + i; a list gives each its own; None starts the next episode.
            options: ``reset_mask``, bool (n,): the lanes to reset (the others stay where they are: same observation,
                cost and duration 0).

        Raises:
            InvalidInputError: a seed is not an integer in [0, 2^64), a list or mask has the wrong length.
        """
        mask, system = reset_mask(options, self.num_envs), self._system
        if seed is None and not system.seeded:
            super().reset(seed=None)
            seed = int(self.np_random.integers(1 << 62))
        if seed is not None:
            seeds = lane_seeds(seed, self.num_envs)
            super().reset(seed=int(seeds[0]))
            if not mask.all():
                raise InvalidInputError("seed and a partial reset_mask exclude each other")
            system.seed(seeds)
        batch = system.reset(mask)
        if not mask.all():
            others = system.pending()
            _merge(batch, others, ~mask)
        self._done &= ~mask
        self._mask = batch.mask.copy()
        return batch.obs, _vector_info(system, batch)

    def step(self, actions: Any) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Carry out one decision in every lane; lanes that NEXT_STEP resets now ignore theirs.

        Raises:
            InvalidInputError: malformed actions; no lane has moved then.
            ResetNeeded: DISABLED mode, and a lane's episode is over.
        """
        system, over = self._system, self._done
        parsed = system.parse(actions, self.num_envs)
        waiting = over.any()
        if waiting and (self._mode is not AutoresetMode.NEXT_STEP or not system.seeded):
            raise ResetNeeded("an episode is over (or has not begun): call reset() for its lane first")
        batch = system.step(parsed, over)
        ended = batch.terminated | batch.truncated
        if waiting:
            fresh = system.reset(over)
            info_of_reset = _vector_info(system, _copy(fresh))
            _merge(batch, fresh, over)
            batch.out[:, over] = 0.0
            batch.out[TIME, over] = fresh.out[TIME, over]
            self._done, self._mask = ended, batch.mask.copy()
            info = _vector_info(system, batch) | {"reset_info": info_of_reset, "_reset_info": over.copy()}
            return batch.obs, -info["cost"], batch.terminated, batch.truncated, info
        info, obs = _vector_info(system, batch), batch.obs
        self._mask = batch.mask.copy()
        if ended.any() and self._mode is AutoresetMode.SAME_STEP:
            obs = self._reset_same_step(info, ended, batch)
        elif ended.any():
            self._done = ended
        return obs, -info["cost"], batch.terminated, batch.truncated, info

    def _reset_same_step(self, info: Info, ended: NDArray[np.bool_], batch: Batch) -> Obs:
        """SAME_STEP: the next episode's first observation comes at once; the last one goes to ``final_obs``."""
        final_obs = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            final_obs[i] = batch.obs[i].copy()
        final_info = dict(info)
        fresh = self._system.reset(ended)
        info.update(
            final_obs=final_obs,
            _final_obs=ended.copy(),
            final_info=final_info,
            _final_info=ended.copy(),
            reset_info=_vector_info(self._system, fresh),
            _reset_info=ended.copy(),
        )
        self._mask[ended] = fresh.mask[ended]
        return np.where(ended[:, None], fresh.obs, batch.obs)

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
        self._system.set_state(state)
        over = state.get("over")
        if not isinstance(over, np.ndarray) or over.shape != (self.num_envs,) or over.dtype != bool:
            raise InvalidInputError(f"state: 'over' must be a bool array of shape ({self.num_envs},)")
        self._done, self._mask = over.copy(), self._system.pending().mask.copy()


def _merge(batch: Batch, other: Batch, lanes: NDArray[np.bool_]) -> None:
    """Take some lanes of another batch."""
    batch.obs[lanes] = other.obs[lanes]
    batch.out[:, lanes] = other.out[:, lanes]
    batch.mask[lanes] = other.mask[lanes]
    batch.terminated[lanes] = batch.truncated[lanes] = False


def _copy(batch: Batch) -> Batch:
    return Batch(*(getattr(batch, name).copy() for name in ("obs", "out", "mask", "terminated", "truncated")))
