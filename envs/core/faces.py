"""The Gymnasium faces that every family shares: seeds, episodes, partial resets and the three autoreset modes.

A face puts Gymnasium's life cycle around a `LaneSystem`. A family adds its spaces, how an action is read and what one
step is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from .errors import InvalidInputError
from .lane_system import Flags, Info, LaneSystem, Obs, R
from .lanes import autoreset, check_options, check_seed, lane_seeds, reset_mask

VectorStep = tuple[Obs, NDArray[np.float64], Flags, Flags, Info]

_DRAWN_SEEDS = 1 << 62


class LaneEnv(gymnasium.Env[Obs, Any], ABC):
    """One lane behind the Gymnasium interface.

    Args:
        system: a system of one lane.
        observation_space: of the environment.
        action_space: of the environment.
    """

    _system: LaneSystem[Any]
    _options: ClassVar[frozenset[str]] = frozenset()
    """What `reset` may be told in ``options``."""

    def __init__(
        self, system: LaneSystem[Any], observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self._system, self._done = system, True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode and run it to the first decision.

        Args:
            seed: starts episode 0 of this seed; without one the next episode of the current seed follows.
            options: none, unless a family has some.

        Returns:
            Observation and info; cost and duration are those of the stretch up to the first decision (0 where it is
            due at once).

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64), or an option is unknown.
        """
        check_options(options, self._options)
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is None and not self._system.seeded:
            seed = int(self.np_random.integers(_DRAWN_SEEDS))
        if seed is not None:
            self._system.seed(np.array([seed], np.uint64))
        first = self._begin()
        self._done = False
        return first

    @abstractmethod
    def _begin(self) -> tuple[Obs, Info]:
        """Start the system's next episode."""

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self._system.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        self._system.set_state(state)
        self._done = bool(self._over(state)[0])

    @abstractmethod
    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        """(1,) whether the episode is over in a state that the system has just taken over."""


class LaneVectorEnv(VectorEnv[Obs, Any, NDArray[Any]], ABC, Generic[R]):
    """Many lanes behind the Gymnasium vector interface, in every autoreset mode.

    A family's `step` reads the actions and passes them on to `_step`, whose `_advance` carries them out.

    Args:
        system: the lanes.
        observation_space: of one lane.
        action_space: of one lane.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its name.

    Raises:
        InvalidInputError: there is no such mode.
    """

    _system: LaneSystem[R]
    _options: ClassVar[frozenset[str]] = frozenset()
    """What `reset` may be told in ``options`` beside ``reset_mask``."""

    def __init__(
        self,
        system: LaneSystem[R],
        observation_space: spaces.Space[Any],
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
        self._done = np.ones(self.num_envs, bool)  # the lanes that wait for a reset

    # --- episodes -----------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> Flags:
        """(n,) the lanes that NEXT_STEP resets in the next step, and that the other modes leave to `reset`."""
        return self._done.copy()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode in every lane, or in the lanes of ``options["reset_mask"]``.

        Args:
            seed: an integer s gives lane i the seed s + i; a list gives each its own, all of them; None starts the
                next episode.
            options: ``reset_mask``, bool (n,): the lanes to reset (the others stay where they are: same
                observation and time, cost and duration 0).

        Returns:
            Observations (n, D) and infos; cost and duration are those of the stretch up to the first decision (0 where
            it is due at once).

        Raises:
            InvalidInputError: a seed is not an integer in [0, 2^64), a list or mask has the wrong length, lanes are
                left out of the first reset or of one with a seed, or an option is unknown.
        """
        check_options(options, {"reset_mask"} | self._options)
        mask, system = reset_mask(options, self.num_envs), self._system
        if seed is None and not system.seeded:
            seed = int(self.np_random.integers(_DRAWN_SEEDS))
        if seed is not None:
            seeds = lane_seeds(seed, self.num_envs)
            super().reset(seed=int(seeds[0]))
            if not mask.all():
                raise InvalidInputError("seed and a partial reset_mask exclude each other")
            system.seed(seeds)
        results = system.reset(mask)
        if not mask.all():
            results.take(system.pending(), ~mask)
        self._done &= ~mask
        return results.obs, system.info(results)

    def _step(self, actions: Any) -> VectorStep:
        """Carry out the parsed actions, and reset the lanes that the autoreset mode resets now."""
        over, system = self._done, self._system
        waiting = np.count_nonzero(over)  # a quarter of the time of any(), and every step asks twice
        if waiting and (self._mode is not AutoresetMode.NEXT_STEP or not system.seeded):
            raise ResetNeeded("an episode is over (or has not begun): call reset() for its lane first")
        results, terminated, truncated = self._advance(actions, over)
        info = self._reset_next_step(over, results) if waiting else system.info(results)
        obs, ended = results.obs, terminated | truncated
        if np.count_nonzero(ended):
            self._add_open_intervals(info, ended, results)
            if self._mode is AutoresetMode.SAME_STEP:
                obs = self._reset_same_step(info, ended, results)
                ended = np.zeros(self.num_envs, bool)
        self._done = ended
        return obs, -info["cost"], terminated, truncated, info

    @abstractmethod
    def _advance(self, actions: Any, skip: Flags) -> tuple[R, Flags, Flags]:
        """One step of every lane that is not skipped.

        Returns:
            The results (skipped lanes empty), fresh (n,) terminations and truncations.

        Raises:
            InvalidInputError: an action that counts is out of range; no lane has moved then.
        """

    def _add_open_intervals(self, info: Info, ended: Flags, results: R) -> None:
        """Add the ``agents_`` keys of `info.VectorStepInfo`, where a lane is a stream of several agents' decisions."""

    def _reset_next_step(self, over: Flags, results: R) -> Info:
        """NEXT_STEP: the lanes that ended reset now, at cost and duration 0; their real ones go to ``reset_info``."""
        told = self._system.info(self._system.reset(over, results))
        empty = {name: np.where(over, 0.0, told[name]) for name in ("cost", "duration")}
        terms = {name: np.where(over, 0.0, values) for name, values in told["cost_terms"].items()}
        return told | empty | {"cost_terms": terms, "reset_info": told, "_reset_info": over.copy()}

    def _reset_same_step(self, info: Info, ended: Flags, results: R) -> Obs:
        """SAME_STEP: the next episode's first observation comes at once; the last one goes to ``final_obs``."""
        final_obs = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            final_obs[i] = results.obs[i].copy()
        final_info = {key: value for key, value in info.items() if not key.startswith("_")}
        fresh = self._system.reset(ended)
        info.update(
            final_obs=final_obs,
            _final_obs=ended.copy(),
            final_info=final_info,
            _final_info=ended.copy(),
            reset_info=self._system.info(fresh),
            _reset_info=ended.copy(),
        )
        return np.where(ended[:, None], fresh.obs, results.obs)

    # --- inspection ---------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self._system.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        self._system.set_state(state)
        self._done = self._over(state)

    @abstractmethod
    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        """(n,) the lanes whose episode is over in a state that the system has just taken over."""
