"""Age-minimal offloading with one learning device, as a Gymnasium environment and its vector twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.lane_system import Info, Obs
from ..core.lanes import check_lanes
from ..core.optimum import Optimum
from ..core.params import make_params
from .drawing import Drawing
from .faces import ScalarFace, VectorFace, parse_action
from .optimum import solve
from .params import AoIParams
from .policies import rule
from .simulator import Buffers, Simulator
from .state import JOINT_AGENT, OUT_DEVICE, STAGED_AGENT


@dataclass(frozen=True)
class BatchBackground:
    """What devices 1..M-1 do, decided for all lanes at once: a vector environment asks it with whole batches.

    Attributes:
        act: from observations (n, 5 + N), the device's index first as in the event stream, to
            ``{"server": (n,) integers, "wait": (n, 1) seconds}``.
    """

    act: Callable[[Obs], dict[str, Any]]

    def decide(self, devices: NDArray[np.int32], obs: Obs) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Servers and waits (n,) of devices (n,) with plain observations (n, 4 + N)."""
        action = self.act(np.column_stack([devices, obs]).astype(np.float32, copy=False))
        try:
            server, wait = np.asarray(action["server"]), np.asarray(action["wait"], np.float64)
        except (TypeError, KeyError, IndexError, ValueError):
            raise InvalidInputError.of("action", "a dict with the keys 'server' and 'wait'", action) from None
        if server.shape != (len(obs),) or server.dtype.kind not in "iu" or wait.size != len(obs):
            raise InvalidInputError.of("action", f"{len(obs)} integer servers and as many waits", action)
        return server.astype(np.int64), wait.reshape(len(obs))


Background = str | Callable[[Obs], dict[str, Any]] | BatchBackground

_NO_DRAWING = Drawing(None, 1, 0)
_DECISIONS = {"staged": STAGED_AGENT, "joint": JOINT_AGENT}


def _rules(params: AoIParams, decision: str, background: object, background_wait: str) -> NDArray[np.void]:
    """Device 0 is the agent; the others follow a scripted rule, or are asked one by one if it is a callable."""
    if not isinstance(decision, str) or decision not in _DECISIONS:
        raise InvalidInputError.of("decision", " or ".join(_DECISIONS), decision)
    fields = ("background", "background_wait")
    if not (isinstance(background, str | BatchBackground) or callable(background)):
        allowed = "a server rule, a callable observation -> action, or a BatchBackground"
        raise InvalidInputError.of("background", allowed, background)
    scripted = rule(params, background if isinstance(background, str) else "local", background_wait, fields)
    rules = np.repeat(scripted[None], params.n_devices)
    if not isinstance(background, str):
        rules["agent"] = STAGED_AGENT
    rules["agent"][0] = _DECISIONS[decision]
    return rules


class AoIOffloadEnv(ScalarFace):
    """A mobile device decides when to send its next status update and where to compute it.

    ## Description

    M devices generate compute-heavy status updates at will. When a task completes, the *age of information* of its
    device falls to the task's delay Y (generation to completion) and the device chooses how long to *wait* before it
    generates the next task. When the task is generated, it chooses the *server*: its own processor or one of N
    first-come-first-served edge nodes. Service times are random, and the queues hold the other devices' tasks too.
    Device 0 learns; the others follow ``background``. (Jin et al., arXiv 2312.10418, system model.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/AoIOffload-v0", preset="single")
    >>> obs, info = env.reset(seed=0)  # runs to the first completion: kind 0, choose the wait
    >>> obs.shape, info["kind"]
    ((4,), 0)
    >>> obs, reward, terminated, truncated, info = env.step({"server": 0, "wait": [0.5]})
    >>> print(info["kind"], info["duration"], reward == -info["cost"])  # 0.5 s later: kind 1, choose the server
    1 0.5 True
    >>> round(env.unwrapped.optimum().value, 6)  # least mean age, s
    1.901201

    ## Action space

    `Dict({"server": Discrete(N + 1), "wait": Box(0, Z_max, (1,))})`: server 0 is local; the wait is in seconds. In the
    staged model only the part that the pending kind asks for is used.

    ## Observation space

    | Num | Observation | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | kind of the pending decision: 0 update (wait), 1 offload (server), 2 joint (both), 3 none | 0 | 3 | - |
    | 1 | Y, delay of the last completed task | 0 | inf | s |
    | 2 | age of information | 0 | inf | s |
    | 3 | time since the device's last completion | 0 | inf | s |
    | 4.. | number of tasks at each edge node, the one in service included | 0 | M | tasks |

    ## Time and duration

    A step lasts until the device's next decision: `info["duration"]` seconds, and 0 only for a zero wait in the staged
    model. `info["time"]` is the clock. `decision="staged"` (default, the papers' model) decides the wait at completion
    and the server at generation and again after each drop; `decision="joint"` decides both at completion and keeps the
    server after a drop: another information structure with another optimum.

    ## Rewards and the ratio objective

    `info["cost"]` is the area under the age curve during the step (s^2) and the reward is its negative. The goal is the
    long-run ratio of summed cost to summed duration, the mean age in seconds: train on `RatioReward(env, ratio)`.
    With `objective="team"` the cost is the mean area over all devices.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`waiting`, `processing`, `dropped`; team: `own`, `others`), `device`,
    `kind`; see `edgewise.envs.core.info.StepInfo`.

    ## Starting state

    Every device has one task, at the shortest edge queue while that holds fewer than `initial_queue_limit` tasks, else
    at its own processor. `reset` runs to the first decision.

    ## Episode end

    Truncated at the first decision at or after `horizon` seconds; never terminated.

    ## Arguments

    `preset` names a parameter set (`paper`, `heterogeneous`, `single`, `small`); every field of `AoIParams` can be
    given as a keyword. `horizon` (s), `decision`, `objective`, `background` (a server rule of
    `edgewise.envs.aoi_offload.policies`, a callable from a device's observation to its action, or a `BatchBackground`),
    `background_wait` (a wait rule), `render_mode`.

    ## Known optimum

    `env.unwrapped.optimum()`: exact for a lone device with one place (update-or-wait, Sun et al., arXiv 1601.02284),
    otherwise a certified lower bound.

    ## Fidelity

    Drop modes, the running mean behind them and both age estimators follow the released code where asked; the model is
    otherwise the corrected one (proper queues, observations taken at the decision).

    ## Version history

    - v0: first version.

    Args:
        preset: name in `params.PRESETS`.
        params: the physics as a model, in the place of ``preset`` and single fields.
        horizon: episode length in seconds.
        decision: ``"staged"`` or ``"joint"``.
        objective: ``"selfish"`` or ``"team"``.
        background: server rule or policy of the devices 1..M-1. If a policy fails, or its action is invalid, the
            episode is over: `reset` comes next.
        background_wait: their wait rule (not used with a callable).
        render_mode: None, ``"ansi"``, ``"rgb_array"`` or ``"human"``.
        **overrides: fields of `AoIParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    def __init__(
        self,
        preset: str = "paper",
        *,
        params: AoIParams | None = None,
        horizon: float = 300.0,
        decision: str = "staged",
        objective: str = "selfish",
        background: Background = "jsq",
        background_wait: str = "fixed:0",
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        params = make_params(AoIParams, preset, params, overrides)
        rules = _rules(params, decision, background, background_wait)
        simulator = Simulator(params, rules, horizon=horizon, objective=objective)
        super().__init__(params, simulator, False, render_mode)
        self.decision, self.objective = decision, objective
        self._background = None if isinstance(background, str) else background

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode; see `ScalarFace.reset`."""
        if self._background is None:
            return super().reset(seed=seed, options=options)
        drawing, self._drawing = self._drawing, _NO_DRAWING
        try:
            obs, info = self._ask_background(*super().reset(seed=seed, options=options))
        finally:
            self._drawing = drawing
        if drawing.on:
            drawing.note(obs, info, None)
        return obs, info

    def step(self, action: dict[str, Any]) -> tuple[Obs, float, bool, bool, Info]:
        """Carry out device 0's decision and run to its next one; see `ScalarFace.step`."""
        if self._background is None:
            return super().step(action)
        drawing, self._drawing = self._drawing, _NO_DRAWING
        try:
            obs, _, _, _, info = super().step(action)
            obs, info = self._ask_background(obs, info)
        finally:
            self._drawing = drawing
        self._done = info["time"] >= float(self._world.params["horizon"][0])
        self._world.lane["done"] = self._done
        if drawing.on:
            server, wait = parse_action(action)
            drawing.note(obs, info, {"server": server, "wait": wait})
        return obs, -info["cost"], False, self._done, info

    def _ask_background(self, obs: Obs, info: Info) -> tuple[Obs, Info]:
        """Let the callable decide for the other devices until device 0 is next."""
        assert self._background is not None
        try:
            while info["device"] != 0:
                self._done = False
                obs, _, _, _, info = super().step(self._background_action(obs, info["device"]))
        except BaseException as error:  # another device's decision is pending now: only a reset leads on
            self._world.lane["done"] = self._done = True
            if isinstance(error, InvalidInputError):
                raise InvalidInputError(f"background: {error}") from error
            raise
        return obs, info

    def _background_action(self, obs: Obs, device: int) -> dict[str, Any]:
        if not isinstance(self._background, BatchBackground):
            return self._background(obs)  # type: ignore[misc]  # a rule's name never gets here
        server, wait = self._background.decide(np.array([device], np.int32), obs[None])
        return {"server": server[0], "wait": wait}

    def optimum(self) -> Optimum:
        """Least long-run mean age of device 0 in seconds, with its certificate; see `optimum.solve`."""
        return solve(self.params, self.decision, team=self.objective == "team")


class AoIOffloadVectorEnv(VectorFace):
    """The vector twin of `AoIOffloadEnv`: lane i with seed s + i equals the scalar environment seeded s + i.

    >>> import gymnasium, numpy, edgewise
    >>> envs = gymnasium.make_vec("edgewise/AoIOffload-v0", num_envs=3, preset="paper", autoreset_mode="SAME_STEP")
    >>> obs, info = envs.reset(seed=0)
    >>> action = {"server": numpy.array([0, 1, 2]), "wait": numpy.full((3, 1), 0.5)}  # the wait in seconds
    >>> obs, reward, terminated, truncated, info = envs.step(action)
    >>> obs.shape, info["duration"]
    ((3, 6), array([0.5, 0.5, 0.5]))

    Args:
        num_envs: number of lanes n.
        preset: see `AoIOffloadEnv`.
        params: see `AoIOffloadEnv`.
        horizon: see `AoIOffloadEnv`.
        decision: see `AoIOffloadEnv`.
        objective: see `AoIOffloadEnv`.
        background: see `AoIOffloadEnv`; a callable is asked with one observation at a time, which is slow, a
            `BatchBackground` with those of all lanes.
        background_wait: see `AoIOffloadEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.
        **overrides: fields of `AoIParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    def __init__(
        self,
        num_envs: int = 1,
        preset: str = "paper",
        *,
        params: AoIParams | None = None,
        horizon: float = 300.0,
        decision: str = "staged",
        objective: str = "selfish",
        background: Background = "jsq",
        background_wait: str = "fixed:0",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **overrides: Any,
    ) -> None:
        params = make_params(AoIParams, preset, params, overrides)
        rules = _rules(params, decision, background, background_wait)
        simulator = _simulator(num_envs, max_episode_steps, params, rules, horizon, objective, background)
        super().__init__(params, simulator, False, autoreset_mode)
        self.decision, self.objective = decision, objective

    def optimum(self) -> Optimum:
        """Least long-run mean age of device 0 in seconds, with its certificate; see `optimum.solve`."""
        return solve(self.params, self.decision, team=self.objective == "team")


class _AskingSimulator(Simulator):
    """A simulator whose devices 1..M-1 ask a policy, so that only device 0's decisions come out."""

    policy: Callable[[Obs], dict[str, Any]] | BatchBackground

    def reset(self, mask: NDArray[np.bool_] | None = None, results: Buffers | None = None) -> Buffers:
        buffers = super().reset(mask, results)
        self._settle(buffers, np.ones(self.lanes, bool) if mask is None else mask)
        return buffers

    def step(
        self,
        server: NDArray[np.int64],
        wait: NDArray[np.floating[Any]],
        skip: NDArray[np.bool_] | None = None,
        buffers: Buffers | None = None,
    ) -> tuple[Buffers, NDArray[np.bool_]]:
        buffers, _ = super().step(server, wait, skip, buffers)
        stepped = np.ones(self.lanes, bool) if skip is None else ~skip
        self._settle(buffers, stepped)
        truncated = stepped & (self.world.lane["time"] >= self.world.params["horizon"][0])
        self.world.lane["done"] = np.where(stepped, truncated, self.world.lane["done"])
        return buffers, truncated

    def _settle(self, buffers: Buffers, moving: NDArray[np.bool_]) -> None:
        server, wait = np.zeros(self.lanes, np.int64), np.zeros(self.lanes)
        try:
            while (asked := moving & (buffers.ints[OUT_DEVICE] != 0)).any():
                lanes = np.flatnonzero(asked)
                if isinstance(self.policy, BatchBackground):
                    devices = buffers.ints[OUT_DEVICE, lanes]
                    server[lanes], wait[lanes] = self.policy.decide(devices, buffers.obs[lanes])
                else:
                    for i in lanes:
                        server[i], wait[i] = parse_action(self.policy(buffers.obs[i]))
                super().step(server, wait, ~asked, buffers)
        except BaseException as error:  # other devices' decisions are pending now: only a reset leads on
            self.world.lane["done"] = self.halfway = True
            if isinstance(error, InvalidInputError):
                raise InvalidInputError(f"background: {error}") from error
            raise


def _simulator(
    num_envs: int,
    max_episode_steps: int | None,
    params: AoIParams,
    rules: NDArray[np.void],
    horizon: float,
    objective: str,
    background: Background,
) -> Simulator:
    lanes = check_lanes(num_envs, max_episode_steps)
    if isinstance(background, str):
        return Simulator(params, rules, lanes, horizon=horizon, objective=objective)
    simulator = _AskingSimulator(params, rules, lanes, horizon=horizon, objective=objective)
    simulator.policy = background
    return simulator
