"""What is measured: each function builds something, warms it up and returns a `Load` that runs it.

Actions are uniform and drawn beforehand. Episodes have the default horizon, and their resets are part of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import gymnasium
import numpy as np
from pettingzoo import AECEnv

from ...envs.aoi_offload import kernel
from ...envs.aoi_offload.game import AoIOffloadAEC, AoIOffloadParallel
from ...envs.aoi_offload.params import AoIParams
from ...envs.aoi_offload.policies import rule
from ...envs.aoi_offload.simulator import Buffers, Simulator
from ...envs.aoi_offload.state import STAGED_AGENT
from .heap import HeapGame
from .idle import IdleAEC
from .timing import Load

GAME = "edgewise/AoIOffloadGame-v0"
DEVICE = "edgewise/AoIOffload-v0"
Actions = list[dict[str, Any]]
_DRAWS = 64  # different actions of a lane, used in turn
_HORIZON = 300.0  # the environments' default


def no_drop(devices: int = 20) -> AoIParams:
    """The physics of the event stream's rows: the preset ``paper`` without drops."""
    return AoIParams.make("paper", drop="none", n_devices=devices)


def batched_actions(params: AoIParams, lanes: int) -> Actions:
    """Uniform actions of a vector environment."""
    rng = np.random.default_rng(0)
    server = rng.integers(params.n_edges + 1, size=(_DRAWS, lanes))
    wait = rng.uniform(0.0, params.z_max, (_DRAWS, lanes, 1)).astype(np.float32)
    return [{"server": s, "wait": w} for s, w in zip(server, wait, strict=True)]


def scalar_actions(params: AoIParams) -> Actions:
    """Uniform actions of one system."""
    lanes = 16
    batches = batched_actions(params, lanes)
    return [{"server": int(b["server"][i]), "wait": b["wait"][i].copy()} for b in batches for i in range(lanes)]


def _stepping(step: Callable[[Any], Any], actions: Actions, lanes: int, warmup: int) -> Load:
    """Step a vector environment (which resets by itself); each lane's step is a decision."""
    turns = cycle(actions)

    def load(steps: int) -> int:
        for action in islice(turns, steps):
            step(action)
        return steps * lanes

    load(warmup)
    return load


# --- many lanes -------------------------------------------------------------------------------------------------------


def event_stream(params: AoIParams, lanes: int, warmup: int) -> Load:
    """Decisions of the event stream with many lanes."""
    env = gymnasium.make_vec(GAME, num_envs=lanes, params=params)
    env.reset(seed=0)
    return _stepping(env.step, batched_actions(params, lanes), lanes, warmup)


def scalar_streams(params: AoIParams, lanes: int, warmup: int) -> Load:
    """Decisions of as many scalar event streams in Gymnasium's `SyncVectorEnv`."""
    env = gymnasium.make_vec(GAME, num_envs=lanes, vectorization_mode="sync", params=params)
    env.reset(seed=0)
    return _stepping(env.step, batched_actions(params, lanes), lanes, warmup)


def plain_python(params: AoIParams, lanes: int, warmup: int) -> Load:
    """Decisions of the same systems in plain Python."""
    game = HeapGame(lanes, params, _HORIZON)
    game.reset()
    return _stepping(game.step, batched_actions(params, lanes), lanes, warmup)


def raw_kernel(params: AoIParams, lanes: int, warmup: int) -> Load:
    """Decisions of the compiled kernel alone, called with the same arrays again and again."""
    rules = np.repeat(rule(params)[None], params.n_devices)
    rules["agent"] = STAGED_AGENT
    simulator = Simulator(params, rules, lanes, horizon=_HORIZON, stream=True)
    simulator.seed(np.arange(lanes, dtype=np.uint64))
    simulator.reset()
    buffers, world = Buffers(lanes, simulator.width), simulator.world
    truncated, nobody = np.zeros(lanes, bool), np.zeros(lanes, bool)
    until, ends = simulator.until, np.full(lanes, _HORIZON)
    actions = [(a["server"], a["wait"][:, 0].astype(np.float64)) for a in batched_actions(params, lanes)]

    def step(action: Any) -> None:
        kernel.step_lanes(*action, nobody, until, ends, buffers.obs, buffers.out, buffers.ints, truncated, *world)
        if truncated.any():
            world.lane["episode"] += truncated
            kernel.reset_lanes(truncated, until, buffers.obs, buffers.out, buffers.ints, *world)

    return _stepping(step, actions, lanes, warmup)  # type: ignore[arg-type]  # this step takes pairs


def background_events(lanes: int, warmup: int) -> Load:
    """Events of the single-device environment, those of the 19 scripted devices included."""
    params = no_drop()
    env = gymnasium.make_vec(DEVICE, num_envs=lanes, params=params)
    env.reset(seed=0)
    lane = env.unwrapped._system.world.lane
    turns = cycle(batched_actions(params, lanes))
    ended = 0

    def load(steps: int) -> int:
        nonlocal ended
        before = ended + int(lane["decisions"].sum())
        for action in islice(turns, steps):
            truncated = env.step(action)[3]
            if truncated.any():  # the next step resets these lanes and their counters
                ended += int(lane["decisions"][truncated].sum())
                lane["decisions"][truncated] = 0
        return ended + int(lane["decisions"].sum()) - before

    load(warmup)
    return load


# --- one system -------------------------------------------------------------------------------------------------------


def _episodes(env: Any, actions: list[Any], warmup: int) -> Load:
    turns = cycle(actions)

    def load(steps: int) -> int:
        step = env.step
        for action in islice(turns, steps):
            _, _, terminated, truncated, _ = step(action)
            if terminated or truncated:
                env.reset()
        return steps

    env.reset(seed=0)
    load(warmup)
    return load


def scalar(preset: str, warmup: int) -> Load:
    """Decisions of `gymnasium.make` with its usual wrappers."""
    env = gymnasium.make(DEVICE, preset=preset)
    return _episodes(env, scalar_actions(AoIParams.make(preset)), warmup)


def cart_pole(warmup: int) -> Load:
    """Steps of Gymnasium's CartPole, made likewise."""
    pushes = np.random.default_rng(0).integers(2, size=1024).tolist()
    return _episodes(gymnasium.make("CartPole-v1"), pushes, warmup)


def _turns(env: AECEnv, actions: Actions, warmup: int) -> Load:
    turns = cycle(actions)

    def load(steps: int) -> int:
        last, step = env.last, env.step
        for action in islice(turns, steps):
            _, _, _, truncated, _ = last()
            if truncated:
                env.reset()
            else:
                step(action)
        return steps

    env.reset(seed=0)
    load(warmup)
    return load


def aec(warmup: int) -> Load:
    """Decisions of the bare AEC environment, `last` and `step`."""
    return _turns(AoIOffloadAEC(params=no_drop()), scalar_actions(no_drop()), warmup)


def idle_aec(warmup: int, books: bool = True) -> Load:
    """Turns of the AEC environment that does nothing."""
    game = AoIOffloadAEC(params=no_drop())
    game.reset(seed=0)
    return _turns(IdleAEC(game, books), scalar_actions(no_drop()), warmup)


def parallel(warmup: int) -> Load:
    """Decisions of the Parallel environment: one a step, all devices send actions."""
    env = AoIOffloadParallel(params=no_drop())
    actions = cycle([dict.fromkeys(env.possible_agents, action) for action in scalar_actions(no_drop())])

    def load(steps: int) -> int:
        for action in islice(actions, steps):
            env.step(action)
            if not env.agents:
                env.reset()
        return steps

    env.reset(seed=0)
    load(warmup)
    return load


# --- resets -----------------------------------------------------------------------------------------------------------


def resets(preset: str) -> Load:
    """Resets of `gymnasium.make`."""
    env = gymnasium.make(DEVICE, preset=preset)
    env.reset(seed=0)
    return lambda steps: sum(1 for _ in range(steps) if env.reset())


def lane_resets(lanes: int) -> Load:
    """Lanes reset by the event stream with many lanes."""
    env = gymnasium.make_vec(GAME, num_envs=lanes, params=no_drop())
    env.reset(seed=0)
    return lambda steps: sum(lanes for _ in range(steps) if env.reset())
