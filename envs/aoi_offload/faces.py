"""What the Gymnasium faces of the simulator share: spaces, how actions are read, infos, rendering."""

from __future__ import annotations

import operator
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.faces import LaneEnv, LaneVectorEnv, VectorStep
from ..core.lane_system import Flags, Info, Obs
from ..core.lanes import reset_mask
from . import kernel
from .drawing import RENDER_FPS, RENDER_MODES, Drawing
from .params import AoIParams
from .simulator import Buffers, Simulator
from .state import COST, DURATION, IDLE, KIND, QUEUES, STREAM_OFFSET
from .synchronous import CommonClock

_INT64_LIMIT = 1 << 63


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


class ScalarFace(LaneEnv):
    """One system behind the Gymnasium interface."""

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
    }
    _system: Simulator

    def __init__(
        self,
        params: AoIParams,
        simulator: Simulator,
        stream: bool,
        render_mode: str | None,
        clock: CommonClock | None = None,
    ) -> None:
        super().__init__(simulator, observation_space(params, stream), action_space(params))
        self.params = params
        self.render_mode = render_mode
        self._clock = clock
        self._world = simulator.world
        self._stream = stream
        self._width = simulator.width
        self._buffers = Buffers(1, simulator.width)
        self._team = simulator.team
        self._drawing = Drawing(render_mode, params.n_devices if stream else 1, params.n_edges, self._world)

    # --- episodes -----------------------------------------------------------------------------------------------------

    def _begin(self) -> tuple[Obs, Info]:
        buffers = self._system.reset()
        self._buffers.out[...], self._buffers.ints[...] = buffers.out, buffers.ints
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
        status = kernel.step_lane(server, wait, obs, buffers.out, buffers.ints, *self._world)
        if status < 0:
            raise self._system.invalid_action(status, server, wait)
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

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`; what is drawn begins there.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        super().set_state(state)
        if self._drawing.on:
            pending = self._system.pending()
            self._drawing.note(self._plain(pending.obs[0]), pending.info(self._team), None)

    def statistics(self) -> dict[str, NDArray[Any]]:
        """Statistics of every device since the reset, arrays (M, ...); see `Simulator.statistics`."""
        return {name: array[0] for name, array in self._system.statistics().items()}

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return self._system.done()

    def render(self) -> Any:
        """Draw the current state: text, pixels (H, W, 3) or a window, by ``render_mode``.

        Raises:
            MissingExtraError: pixels and windows need the extra ``render``.
        """
        return self._drawing.render()

    def close(self) -> None:
        """Close the window, if any."""
        self._drawing.close()


class VectorFace(LaneVectorEnv[Buffers]):
    """Many systems behind the Gymnasium vector interface, advanced by one kernel call a step."""

    _system: Simulator

    def __init__(
        self,
        params: AoIParams,
        simulator: Simulator,
        stream: bool,
        autoreset_mode: AutoresetMode | str,
        clock: CommonClock | None = None,
    ) -> None:
        super().__init__(simulator, observation_space(params, stream), action_space(params), autoreset_mode)
        self.params = params
        self._stream = stream
        self._clock = clock

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode in every lane, or in the lanes of ``options["reset_mask"]``; see `LaneVectorEnv.reset`.

        Raises:
            InvalidInputError: a seed is not an integer in [0, 2^64), a list or mask has the wrong length.
            ResetNeeded: some lanes only, after a callable background has failed.
        """
        if self._system.halfway and not reset_mask(options, self.num_envs).all():
            raise ResetNeeded("the last call failed half-way: reset all lanes")
        return super().reset(seed=seed, options=options)

    def step(self, actions: dict[str, Any]) -> VectorStep:
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
        parsed = self._parse(actions)
        if self._system.halfway:
            raise ResetNeeded("the last call failed half-way: call reset() first")
        return self._step(parsed)

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
            seconds = self._clock.lengthened(self._system.world.lane["time"], seconds)
        return server.astype(np.int64, copy=False), seconds

    def _advance(
        self, actions: tuple[NDArray[np.int64], NDArray[np.floating[Any]]], skip: Flags
    ) -> tuple[Buffers, Flags, Flags]:
        server, wait = actions
        buffers, truncated = self._system.step(server, wait, skip)
        return buffers, np.zeros(self.num_envs, bool), truncated

    def _add_open_intervals(self, info: Info, ended: Flags, results: Buffers) -> None:
        """At a truncation every device of a stream gets its final observation and its open interval."""
        if not self._stream:
            return
        lanes, devices = self.num_envs, self.params.n_devices
        obs = np.zeros((lanes, devices, QUEUES + self.params.n_edges), np.float32)
        cost, duration = np.zeros((lanes, devices)), np.zeros((lanes, devices))
        for i in np.flatnonzero(ended):
            obs[i], out = self._system.open_intervals(int(i), results)
            cost[i], duration[i] = out[COST], out[DURATION]
        for key, value in (("agents_obs", obs), ("agents_cost", cost), ("agents_duration", duration)):
            info[key], info["_" + key] = value, ended.copy()

    # --- inspection ---------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, NDArray[Any]]:
        """Statistics of every lane and device since its reset; see `Simulator.statistics`."""
        return self._system.statistics()

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return self._system.done()
