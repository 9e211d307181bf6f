"""Age-minimal offloading as a game: every device decides, each at its own instants.

Two PettingZoo faces of one system: AEC on an event clock (`AoIOffloadAEC`) and its exact Parallel view
(`AoIOffloadParallel`). The event stream, for learners that share a policy, is in `stream`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from ..core.errors import InvalidInputError
from ..core.lane_system import Info, Obs
from ..core.lanes import check_seed
from ..core.optimum import Optimum
from ..core.params import make_params
from . import kernel
from .drawing import RENDER_FPS, RENDER_MODES, Drawing
from .faces import (
    action_space,
    observation_space,
    parse_action,
)
from .optimum import solve
from .params import AoIParams
from .simulator import Buffers, step_info
from .state import COST, OUT_DEVICE
from .stream import game_simulator
from .synchronous import common_clock


class _GameFace:
    """What the two PettingZoo faces share: spaces, seeds, the one-lane simulator and its inspection."""

    def __init__(
        self,
        preset: str,
        params: AoIParams | None,
        horizon: float,
        objective: str,
        sync_slot: float | None,
        render_mode: str | None,
        overrides: dict[str, Any],
    ) -> None:
        self.params = make_params(AoIParams, preset, params, overrides)
        self._clock = common_clock(sync_slot, self.params)
        self.objective, self.render_mode = objective, render_mode
        self.possible_agents = [f"device_{m}" for m in range(self.params.n_devices)]
        self.agents: list[str] = []
        self._simulator = game_simulator(self.params, 1, horizon, objective, stream=False)
        self._world = self._simulator.world
        self._index = {agent: m for m, agent in enumerate(self.possible_agents)}
        self._observation_space = observation_space(self.params, stream=False)
        self._spaces = {agent: action_space(self.params) for agent in self.possible_agents}
        self._drawing = Drawing(render_mode, self.params.n_devices, self.params.n_edges, self._world)
        self._team, self._width = self._simulator.team, self._simulator.width
        self._buffers = Buffers(1, self._width)
        self._np_random: np.random.Generator | None = None

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Box (4 + N,): kind, Y, age, time since own last completion, queues; the same object for every device."""
        return self._observation_space

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """`Dict({"server": Discrete(N + 1), "wait": Box(0, Z_max, (1,))})` of that device."""
        return self._spaces[agent]

    def statistics(self) -> dict[str, NDArray[Any]]:
        """Statistics of every device since the reset, arrays (M, ...); see `Simulator.statistics`."""
        return {name: array[0] for name, array in self._simulator.statistics().items()}

    def optimum(self) -> Optimum:
        """Certified lower bound on a device's long-run mean age in seconds; see `optimum.solve`."""
        return solve(self.params, "staged", team=self.objective == "team")

    def render(self) -> Any:
        """Draw the current state: text, pixels (H, W, 3) or a window, by ``render_mode``."""
        return self._drawing.render()

    def close(self) -> None:
        """Close the window, if any."""
        self._drawing.close()

    def _reset_simulator(self, seed: int | None) -> None:
        if seed is not None or not self._simulator.seeded:
            if seed is None:
                self._np_random, _ = seeding.np_random()
                seed = int(self._np_random.integers(1 << 62))
            self._simulator.seed(np.array([check_seed(seed)], np.uint64))
        self._buffers = self._simulator.reset()
        self.agents = self.possible_agents[:]

    def _step_simulator(self, action: Any) -> tuple[Obs, bool]:
        """One decision of the pending device: its successor's observation, and whether the horizon is reached."""
        server, wait = parse_action(action)
        if self._clock is not None:
            wait = float(self._clock.lengthened(self._world.lane["time"][0], wait))
        obs = np.empty((1, self._width), np.float32)
        buffers = self._buffers
        status = kernel.step_lane(server, wait, obs, buffers.out, buffers.ints, *self._world)
        if status < 0:
            raise self._simulator.invalid_action(status, server, wait)
        if self._drawing.on:
            self._drawing.note(obs[0], self._pending_info(), {"server": server, "wait": wait})
        return obs[0], status == 1

    def _pending_info(self) -> Info:
        return self._buffers.info(self._team)


class AoIOffloadAEC(_GameFace, AECEnv[str, Obs, dict[str, Any]]):
    """The offloading game as a PettingZoo AEC environment on an event clock.

    `agent_selection` is the device with the earliest pending decision (ties: edge completion, local completion, drop,
    generation, then the device's index). `last()` reports the cost and duration since that device's own previous
    decision. At the horizon all devices are truncated at once, each with its open interval.
    (Jin et al., arXiv 2409.16832: the semi-Markov game.)

    >>> from edgewise.envs.aoi_offload import aec_env
    >>> env = aec_env(preset="small", horizon=60.0)
    >>> env.reset(seed=0)
    >>> ages = []
    >>> for agent in env.agent_iter():
    ...     obs, reward, terminated, truncated, info = env.last()
    ...     ages.append(float(obs[2]))  # the age of this device, s
    ...     env.step(None if truncated else {"server": 1, "wait": [0.5]})
    >>> env.agents, min(ages) > 0
    ([], True)

    Spaces, info keys, `preset`, `params`, `horizon` and `objective` are those of `AoIOffloadEnv`, `sync_slot` that of
    `AoIOffloadGameEnv`. Decisions are staged.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "edgewise_aoi_offload_v0",
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
        "is_parallelizable": False,
    }

    def __init__(
        self,
        preset: str = "paper",
        *,
        params: AoIParams | None = None,
        horizon: float = 300.0,
        objective: str = "selfish",
        sync_slot: float | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        AECEnv.__init__(self)
        _GameFace.__init__(self, preset, params, horizon, objective, sync_slot, render_mode, overrides)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode (of ``seed``, or the next one of the current seed) and run it to the first decision."""
        self._reset_simulator(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, Info] = {agent: {} for agent in self.agents}
        self._skip_agent_selection = None
        self._final_obs: NDArray[np.float32] | None = None
        self._ask(self._buffers.obs[0])
        # PettingZoo knows no reward before the first step: the first stretch is in the info only
        self.rewards[self.agent_selection] = self._cumulative_rewards[self.agent_selection] = 0.0
        if self._drawing.on:
            self._drawing.note(self._obs, self.infos[self.agent_selection], None)

    def step(self, action: dict[str, Any] | None) -> None:
        """Carry out the selected device's decision and run to the next one of any device.

        Args:
            action: as in `AoIOffloadEnv`; None for a truncated device.

        Raises:
            InvalidInputError: malformed action, or a used part is NaN or out of range; the state is unchanged.
        """
        agent = self.agent_selection
        if self.truncations[agent]:
            self._was_dead_step(action)
            return
        obs, over = self._step_simulator(action)
        self.rewards[agent] = self._cumulative_rewards[agent] = 0.0
        if over:
            self._truncate()
        else:
            self._ask(obs)

    def _ask(self, obs: Obs) -> None:
        info = self._pending_info()
        agent = self.possible_agents[info["device"]]
        self._obs: Obs = obs
        self.agent_selection = agent
        self.infos[agent] = info
        self.rewards[agent] = self._cumulative_rewards[agent] = -info["cost"]

    def _truncate(self) -> None:
        """End the episode for everybody: final observations and open intervals."""
        self._final_obs, out = self._simulator.open_intervals(0, self._buffers)
        kinds = self._final_obs[:, 0].astype(int).tolist()
        for m, agent in enumerate(self.agents):
            self.infos[agent] = step_info(self._team, out[:, m].tolist(), m, kinds[m])
            self.rewards[agent] = self._cumulative_rewards[agent] = -self.infos[agent]["cost"]
            self.truncations[agent] = True
        self.agent_selection = self.possible_agents[self._buffers.ints[OUT_DEVICE, 0]]

    def observe(self, agent: str) -> Obs:
        """What a device sees now, (4 + N,); the kind is IDLE unless its decision is pending."""
        if self._final_obs is None and agent == self.agent_selection:
            return self._obs
        everyone = self._final_obs
        if everyone is None:
            everyone, _ = self._simulator.open_intervals(0, self._buffers)
        obs: Obs = everyone[self._index[agent]].copy()
        return obs


class AoIOffloadParallel(_GameFace, ParallelEnv[str, Obs, dict[str, Any]]):
    """The exact Parallel view of `AoIOffloadAEC`: one decision of one device per step.

    All devices send actions; only the one whose info says `must_act` (and whose observed kind is not IDLE) is read.
    Every device gets the cost and duration of the step, so that its sums between two of its own decisions equal those
    of the AEC environment. In the drop mode `deadline` a stretch counts as `processing` until the drop happens, where
    AEC calls the whole attempt `dropped`.

    >>> from edgewise.envs.aoi_offload import parallel_env
    >>> env = parallel_env(preset="small")
    >>> obs, infos = env.reset(seed=0)
    >>> sum(info["must_act"] for info in infos.values())
    1
    >>> actions = {agent: {"server": 1, "wait": [0.5]} for agent in env.agents}  # the wait in seconds
    >>> obs, rewards, terminations, truncations, infos = env.step(actions)
    >>> len({info["time"] for info in infos.values()})  # one clock, s
    1

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "edgewise_aoi_offload_v0",
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
    }

    def __init__(
        self,
        preset: str = "paper",
        *,
        params: AoIParams | None = None,
        horizon: float = 300.0,
        objective: str = "selfish",
        sync_slot: float | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        _GameFace.__init__(self, preset, params, horizon, objective, sync_slot, render_mode, overrides)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Obs], dict[str, Info]]:
        """Start an episode (of ``seed``, or the next one of the current seed) and run it to the first decision."""
        self._reset_simulator(seed)
        observations, infos, _ = self._tell(np.zeros(self.params.n_devices), 0.0)
        if self._drawing.on:
            device = int(self._buffers.ints[OUT_DEVICE, 0])
            self._drawing.note(self._buffers.obs[0], infos[self.possible_agents[device]], None)
        return observations, infos

    def step(
        self, actions: dict[str, dict[str, Any]]
    ) -> tuple[dict[str, Obs], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Info]]:
        """Carry out the decision of the device that must act; the other actions are not read.

        Raises:
            InvalidInputError: the deciding device's action is missing or malformed, or a used part is NaN or out of
                range; the state is unchanged.
            ResetNeeded: the episode is over, or has not begun.
        """
        if not self.agents:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        agent = self.possible_agents[self._world.lane["device"][0]]
        if agent not in actions:
            raise InvalidInputError(f"actions must hold one for {agent}, which must act")
        gen_before, start = self._world.device["gen_last"][0].copy(), float(self._world.lane["time"][0])
        _, over = self._step_simulator(actions[agent])
        observations, infos, costs = self._tell(gen_before, start)
        rewards = dict(zip(self.agents, (-costs).tolist(), strict=True))
        terminations, truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, over)
        if over:
            self.agents = []
        return observations, rewards, terminations, truncations, infos

    def _tell(
        self, gen_before: NDArray[np.float64], start: float
    ) -> tuple[dict[str, Obs], dict[str, Info], NDArray[np.float64]]:
        """Observation and info of every device for the step from ``start``, and the costs (M,)."""
        device = int(self._buffers.ints[OUT_DEVICE, 0])
        table = self._simulator.stretch(gen_before, start, self._buffers)
        obs, _ = self._simulator.open_intervals(0, self._buffers)
        kinds = obs[:, 0].astype(int).tolist()
        infos: dict[str, Info] = {}
        for m, (agent, numbers) in enumerate(zip(self.agents, table.T.tolist(), strict=True)):
            infos[agent] = step_info(self._team, numbers, m, kinds[m])
            infos[agent]["must_act"] = m == device
        return dict(zip(self.agents, obs, strict=True)), infos, table[COST]


def aec_env(**kwargs: Any) -> AECEnv[str, Obs, dict[str, Any]]:
    """The offloading game as an AEC environment with PettingZoo's order check; see `AoIOffloadAEC`."""
    return OrderEnforcingWrapper(AoIOffloadAEC(**kwargs))


def parallel_env(**kwargs: Any) -> AoIOffloadParallel:
    """The offloading game as a Parallel environment; see `AoIOffloadParallel`."""
    return AoIOffloadParallel(**kwargs)
