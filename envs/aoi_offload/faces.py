"""What the Gymnasium faces of the simulator share: spaces, seeds, infos, autoreset, rendering."""

from __future__ import annotations

import operator
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
from . import kernel
from .drawing import RENDER_FPS, RENDER_MODES, Drawing
from .params import AoIParams
from .simulator import Buffers, Simulator
from .state import COST, DURATION, IDLE, KIND, QUEUES, STREAM_OFFSET, TIME
from .synchronous import CommonClock

Obs = NDArray[np.float32]
Info = dict[str, Any]
_INT64_LIMIT = 1 << 63


def make_params(preset: str, params: AoIParams | None, overrides: dict[str, Any]) -> AoIParams:
    """The physics from a ready-made model, or from a preset and overrides.

    Raises:
        InvalidInputError: both are given, or a field is unknown or out of range.
    """
    if params is None or overrides.keys() - AoIParams.model_fields:
        return AoIParams.make(preset, **overrides)  # also says what is wrong with an unknown field
    if overrides:
        raise InvalidInputError(f"params excludes single fields; got params and {', '.join(overrides)}")
    if not isinstance(params, AoIParams):
        raise InvalidInputError.of("params", "an AoIParams", params)
    return params


def action_space(params: AoIParams) -> spaces.Dict:
    """The hybrid action: a server and a waiting time in seconds."""
    return spaces.Dict(
        {
            "server": spaces.Discrete(params.n_edges + 1),
            "wait": spaces.Box(0.0, params.z_max, (1,), np.float32),
        }
    )


def observation_space(params: AoIParams, stream: bool) -> spaces.Box:
    """Box of ``[kind, Y, age, time since own last completion, q_1..q_N]``, after the device's index in a stream."""
    low = np.zeros(QUEUES + params.n_edges, np.float32)
    high = np.full(QUEUES + params.n_edges, np.inf, np.float32)
    high[KIND] = IDLE
    high[QUEUES:] = params.n_devices
    if stream:
        low, high = np.insert(low, 0, 0.0), np.insert(high, 0, params.n_devices - 1)
    return spaces.Box(low, high, dtype=np.float32)


def parse_action(action: Any) -> tuple[int, float]:
    """Server and wait of one hybrid action.

    Raises:
        InvalidInputError: a key is missing or its value has the wrong shape or type.
    """
    try:
        server, wait = action["server"], action["wait"]
    except (TypeError, KeyError, IndexError):
        raise InvalidInputError.of("action", "a dict with the keys 'server' and 'wait'", action) from None
    try:
        server = operator.index(server)
    except TypeError:
        raise InvalidInputError.of("server", "an integer", server) from None
    if not -_INT64_LIMIT <= server < _INT64_LIMIT:
        raise InvalidInputError.of("server", "the index of a server", server)
    try:
        (number,) = wait.tolist() if isinstance(wait, np.ndarray) else wait
    except (TypeError, ValueError):
        number = None
    if type(number) is float:  # the usual case costs one look
        return server, number
    if isinstance(number, bool) or not isinstance(number, int | np.integer | np.floating):  # text would convert
        raise InvalidInputError.of("wait", "an array of shape (1,), in seconds", wait)
    return server, float(number)


class ScalarFace(gymnasium.Env[Obs, dict[str, Any]]):
    """One system behind the Gymnasium interface."""

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
    }

    def __init__(
        self,
        params: AoIParams,
        simulator: Simulator,
        stream: bool,
        render_mode: str | None,
        clock: CommonClock | None = None,
    ) -> None:
        self.params = params
        self.render_mode = render_mode
        self._clock = clock
        self.observation_space = observation_space(params, stream)
        self.action_space = action_space(params)
        self._simulator = simulator
        self._world = simulator.world
        self._stream = stream
        self._done = True
        self._width = simulator.width
        self._buffers = Buffers(1, simulator.width)
        self._team = simulator.team
        self._drawing = Drawing(render_mode, params.n_devices if stream else 1, params.n_edges, self._world)

    # --- episodes -----------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode and run it to the first decision.

        Args:
            seed: starts episode 0 of this seed; without one the next episode of the current seed follows.
            options: not used.

        Returns:
            Observation and info; cost and duration are those of the stretch up to the first decision.

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64).
        """
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is not None or not self._simulator.seeded:
            value = seed if seed is not None else int(self.np_random.integers(1 << 62))
            self._simulator.seed(np.array([value], np.uint64))
        buffers = self._simulator.reset()
        self._buffers.out[...], self._buffers.ints[...] = buffers.out, buffers.ints
        self._done = False
        obs, info = buffers.obs[0], self._info()
        if self._drawing.on:
            self._drawing.note(self._plain(obs), info, None)
        return obs, info

    def step(self, action: dict[str, Any]) -> tuple[Obs, float, bool, bool, Info]:
        """Carry out the pending decision and run to the next one.

        Args:
            action: ``{"server": int, "wait": (1,) seconds}``; the part that the pending kind does not use is ignored.

        Returns:
            Observation, reward (-cost), False, whether the horizon is reached, info.

        Raises:
            InvalidInputError: malformed action, or a used part is NaN or out of range; the state is unchanged.
            ResetNeeded: the episode is over.
        """
        if self._done:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        server, wait = parse_action(action)
        if self._clock is not None:
            wait = float(self._clock.lengthened(self._world.lane["time"][0], wait))
        buffers = self._buffers
        obs = np.empty((1, self._width), np.float32)
        status = kernel.step_lane(*self._world, server, wait, obs, buffers.out, buffers.ints)
        if status < 0:
            raise self._simulator.invalid_action(status, server, wait)
        self._done = status == 1
        info = self._info()
        if self._drawing.on:
            self._drawing.note(self._plain(obs[0]), info, {"server": server, "wait": wait})
        return obs[0], -info["cost"], False, self._done, info

    def _plain(self, obs: Obs) -> Obs:
        """The observation without the device's index."""
        return obs[STREAM_OFFSET:] if self._stream else obs

    def _info(self) -> Info:
        return self._buffers.info(self._team)

    # --- inspection ---------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, NDArray[Any]]:
        """Statistics of every device since the reset, arrays (M, ...); see `Simulator.statistics`."""
        return {name: array[0] for name, array in self._simulator.statistics().items()}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole simulator state."""
        return self._simulator.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        self._simulator.set_state(state)
        self._done = bool(self._world.lane["done"][0])

    def render(self) -> Any:
        """Draw the current state: text, pixels (H, W, 3) or a window, by ``render_mode``.

        Raises:
            MissingExtraError: pixels and windows need the extra ``render``.
        """
        return self._drawing.render()

    def close(self) -> None:
        """Close the window, if any."""
        self._drawing.close()


class VectorFace(VectorEnv[Obs, dict[str, Any], NDArray[Any]]):
    """Many systems behind the Gymnasium vector interface, advanced by one kernel call a step."""

    def __init__(
        self,
        params: AoIParams,
        simulator: Simulator,
        stream: bool,
        autoreset_mode: AutoresetMode | str,
        clock: CommonClock | None = None,
    ) -> None:
        self._mode = autoreset(autoreset_mode)
        self.metadata: dict[str, Any] = {"autoreset_mode": self._mode, "render_modes": []}
        self.render_mode = None
        self.params = params
        self._clock = clock
        self.num_envs = simulator.lanes
        self.single_observation_space = observation_space(params, stream)
        self.single_action_space = action_space(params)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._simulator = simulator
        self._stream = stream
        self._done = np.ones(self.num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode in every lane, or in the lanes of ``options["reset_mask"]``.

        Args:
            seed: an integer s gives lane i the seed s + i; a list gives each its own; None starts the next episode.
            options: ``reset_mask``, bool (n,): the lanes to reset (the others stay where they are: same
                observation, cost and duration 0).

        Returns:
            Observations (n, D) and infos; cost and duration are those of the stretch up to the first decision.

        Raises:
            InvalidInputError: a seed is not an integer in [0, 2^64), a list or mask has the wrong length.
            ResetNeeded: some lanes only, after a callable background has failed.
        """
        mask = reset_mask(options, self.num_envs)
        simulator = self._simulator
        if simulator.halfway and not mask.all():
            raise ResetNeeded("the last call failed half-way: reset all lanes")
        if seed is None and not simulator.seeded:
            super().reset(seed=None)
            seed = int(self.np_random.integers(1 << 62))
        if seed is not None:
            seeds = lane_seeds(seed, self.num_envs)
            super().reset(seed=int(seeds[0]))
            if not mask.all():
                raise InvalidInputError("seed and a partial reset_mask exclude each other")
            simulator.seed(seeds)
        buffers = simulator.reset(mask)
        if not mask.all():
            others = simulator.pending()
            np.copyto(buffers.obs, others.obs, where=~mask[:, None])
            np.copyto(buffers.out, others.out, where=~mask)
            np.copyto(buffers.ints, others.ints, where=~mask)
        self._done &= ~mask
        return buffers.obs, simulator.info(buffers)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Carry out one decision in every lane.

        Args:
            actions: ``{"server": (n,) integers, "wait": (n, 1) seconds}``; the part that a lane's pending kind does
                not use is ignored, and so is everything in a lane that NEXT_STEP resets now.

        Returns:
            Observations (n, D), rewards (n,), terminations (never), truncations (n,), infos with arrays (n,).

        Raises:
            InvalidInputError: malformed actions, or a used part is NaN or out of range; no lane has moved then.
            ResetNeeded: DISABLED mode, and a lane's episode is over; or a callable background has failed.
        """
        server, wait = self._parse(actions)
        simulator, over = self._simulator, self._done
        if simulator.halfway:
            raise ResetNeeded("the last call failed half-way: call reset() first")
        if over.any():
            if self._mode is not AutoresetMode.NEXT_STEP or not simulator.seeded:
                raise ResetNeeded("an episode is over (or has not begun): call reset() for its lane first")
            return self._step_next(server, wait, over)
        buffers, truncated = simulator.step(server, wait)
        obs, info = buffers.obs, simulator.info(buffers)
        if truncated.any():
            self._add_open_intervals(info, truncated, buffers)
            if self._mode is AutoresetMode.SAME_STEP:
                obs = self._reset_same_step(info, truncated, buffers)
            else:
                self._done = truncated.copy()
        return obs, -info["cost"], np.zeros(self.num_envs, bool), truncated, info

    def _parse(self, actions: Any) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        try:
            server, wait = np.asarray(actions["server"]), np.asarray(actions["wait"])
        except (TypeError, KeyError, IndexError):
            raise InvalidInputError.of("actions", "a dict with the keys 'server' and 'wait'", actions) from None
        if server.shape != (self.num_envs,) or server.dtype.kind not in "iu":
            raise InvalidInputError.of("server", f"an integer array of shape ({self.num_envs},)", server)
        if wait.shape != (self.num_envs, 1) or wait.dtype.kind != "f":
            raise InvalidInputError.of("wait", f"a float array of shape ({self.num_envs}, 1), in seconds", wait)
        seconds = wait[:, 0].astype(np.float64)
        if self._clock is not None:
            seconds = self._clock.lengthened(self._simulator.world.lane["time"], seconds)
        return server.astype(np.int64, copy=False), seconds

    def _step_next(
        self, server: NDArray[np.int64], wait: NDArray[np.floating[Any]], over: NDArray[np.bool_]
    ) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """NEXT_STEP: the lanes that ended reset now, at cost and duration 0; the others step."""
        simulator = self._simulator
        buffers, truncated = simulator.step(server, wait, skip=over)
        fresh = simulator.reset(over)
        lanes = np.flatnonzero(over)
        buffers.obs[lanes] = fresh.obs[lanes]
        buffers.ints[:, lanes] = fresh.ints[:, lanes]
        buffers.out[:, lanes] = 0.0
        buffers.out[TIME, lanes] = fresh.out[TIME, lanes]
        self._done = truncated.copy()
        info = simulator.info(buffers) | {"reset_info": simulator.info(fresh), "_reset_info": over.copy()}
        if truncated.any():
            self._add_open_intervals(info, truncated, buffers)
        return buffers.obs, -info["cost"], np.zeros(self.num_envs, bool), truncated, info

    def _reset_same_step(self, info: Info, ended: NDArray[np.bool_], buffers: Buffers) -> Obs:
        """SAME_STEP: the next episode's first observation comes at once; the last one goes to ``final_obs``."""
        final_obs = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            final_obs[i] = buffers.obs[i].copy()
        final_info = {key: value for key, value in info.items() if not key.startswith("_agents")}
        fresh = self._simulator.reset(ended)
        info.update(
            final_obs=final_obs,
            _final_obs=ended.copy(),
            final_info=final_info,
            _final_info=ended.copy(),
            reset_info=self._simulator.info(fresh),
            _reset_info=ended.copy(),
        )
        return np.where(ended[:, None], fresh.obs, buffers.obs)

    def _add_open_intervals(self, info: Info, ended: NDArray[np.bool_], buffers: Buffers) -> None:
        """At a truncation every device of a stream gets its final observation and its open interval."""
        if not self._stream:
            return
        lanes, devices = self.num_envs, self.params.n_devices
        obs = np.zeros((lanes, devices, QUEUES + self.params.n_edges), np.float32)
        cost, duration = np.zeros((lanes, devices)), np.zeros((lanes, devices))
        for i in np.flatnonzero(ended):
            obs[i], out = self._simulator.open_intervals(int(i), buffers)
            cost[i], duration[i] = out[COST], out[DURATION]
        for key, value in (("agents_obs", obs), ("agents_cost", cost), ("agents_duration", duration)):
            info[key], info["_" + key] = value, ended.copy()

    # --- inspection ---------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, NDArray[Any]]:
        """Statistics of every lane and device since its reset; see `Simulator.statistics`."""
        return self._simulator.statistics()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole simulator state."""
        return self._simulator.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        self._simulator.set_state(state)
        self._done = self._simulator.world.lane["done"].astype(bool)
