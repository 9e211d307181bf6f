"""Age-minimal offloading as an event stream: one decision of one device per step, for learners that share a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ..core.lane_system import Info, Obs
from ..core.lanes import check_lanes
from ..core.optimum import Optimum
from ..core.params import make_params
from .faces import ScalarFace, VectorFace
from .optimum import solve
from .params import AoIParams
from .policies import rule
from .simulator import Simulator
from .state import COST, DURATION, STAGED_AGENT
from .synchronous import common_clock


def game_simulator(
    params: AoIParams, lanes: int, horizon: float, objective: str, stream: bool, stagger: bool = False
) -> Simulator:
    """A simulator in which every device is an agent with staged decisions."""
    rules = np.repeat(rule(params)[None], params.n_devices)
    rules["agent"] = STAGED_AGENT
    return Simulator(params, rules, lanes, horizon=horizon, objective=objective, stream=stream, stagger=stagger)


class AoIOffloadGameEnv(ScalarFace):
    """The offloading game as an event stream: one decision of one device per step.

    ## Description

    The system of `AoIOffloadEnv` in which every device learns. A step carries out the pending device's decision and
    runs to the next decision of *any* device; observation, cost and duration belong to that next device and span the
    time since its own previous decision. Steps of different devices interleave, so learners regroup by (lane, device)
    before they compute returns (`agents.fractional.transitions` pairs them). (Jin et al., arXiv 2409.16832: the
    semi-Markov game.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/AoIOffloadGame-v0", preset="small")
    >>> obs, info = env.reset(seed=0)
    >>> int(obs[0]) == info["device"]  # who decides now
    True
    >>> obs, reward, terminated, truncated, info = env.step({"server": 1, "wait": [0.5]})
    >>> print(info["duration"] > 0, reward == -info["cost"])  # s; s^2
    True True

    ## Observation space

    The device's index, then the columns of `AoIOffloadEnv`: kind, Y, age, time since own last completion, queues.

    ## Action space, time, rewards, info

    As in `AoIOffloadEnv`, decisions staged. At a truncation the info also holds, for every device, its final
    observation `agents_obs` (M, 4 + N), and its open interval `agents_cost` and `agents_duration` (M,).

    ## Selfish or team

    With ``objective="selfish"`` the cost is the area under the deciding device's own age, and what devices reach is an
    equilibrium at best. Its mean age is *higher* than what they could reach together, because waiting helps the others
    and costs oneself. ``objective="team"`` gives all devices one cost, the mean area: the least mean age is the goal.

    ## Version history

    - v0: first version.

    Args:
        preset: name in `params.PRESETS`.
        params: the physics as a model; excludes ``preset`` overrides.
        horizon: episode length in seconds.
        objective: ``"selfish"`` or ``"team"``.
        sync_slot: None, or the seconds between two ticks of a common clock: waits then end at ticks (see
            `synchronous.CommonClock`).
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
        objective: str = "selfish",
        sync_slot: float | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        params = make_params(AoIParams, preset, params, overrides)
        simulator = game_simulator(params, 1, horizon, objective, stream=True)
        super().__init__(params, simulator, True, render_mode, common_clock(sync_slot, params))
        self.objective = objective

    def step(self, action: dict[str, Any]) -> tuple[Obs, float, bool, bool, Info]:
        """Carry out the pending device's decision; see `ScalarFace.step`."""
        obs, reward, terminated, truncated, info = super().step(action)
        if truncated:
            info["agents_obs"], out = self._system.open_intervals(0, self._buffers)
            info["agents_cost"], info["agents_duration"] = out[COST], out[DURATION]
        return obs, reward, terminated, truncated, info

    def optimum(self) -> Optimum:
        """Certified lower bound on a device's long-run mean age in seconds; see `optimum.solve`."""
        return solve(self.params, "staged", team=self.objective == "team")


class AoIOffloadGameVectorEnv(VectorFace):
    """The event stream with many lanes: lane i with seed s + i equals `AoIOffloadGameEnv` seeded s + i.

    >>> import gymnasium, numpy, edgewise
    >>> envs = gymnasium.make_vec("edgewise/AoIOffloadGame-v0", num_envs=1024, preset="paper")
    >>> obs, info = envs.reset(seed=0)
    >>> action = {"server": numpy.ones(1024, int), "wait": numpy.full((1024, 1), 0.5)}  # the wait in seconds
    >>> obs, reward, terminated, truncated, info = envs.step(action)
    >>> obs.shape, info["device"].shape  # columns: the device's index first
    ((1024, 7), (1024,))

    Args:
        num_envs: number of lanes n.
        preset: see `AoIOffloadGameEnv`.
        params: see `AoIOffloadGameEnv`.
        horizon: see `AoIOffloadGameEnv`.
        objective: see `AoIOffloadGameEnv`.
        sync_slot: see `AoIOffloadGameEnv`.
        stagger: the first episode of lane i ends at (i + 1) / n of the horizon, so that the lanes' episodes do not all
            begin together, which would let the initial transient dominate some batches and be absent from others.
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
        objective: str = "selfish",
        sync_slot: float | None = None,
        stagger: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **overrides: Any,
    ) -> None:
        params = make_params(AoIParams, preset, params, overrides)
        lanes = check_lanes(num_envs, max_episode_steps)
        simulator = game_simulator(params, lanes, horizon, objective, stream=True, stagger=stagger)
        super().__init__(params, simulator, True, autoreset_mode, common_clock(sync_slot, params))
        self.objective = objective

    def optimum(self) -> Optimum:
        """Certified lower bound on a device's long-run mean age in seconds; see `optimum.solve`."""
        return solve(self.params, "staged", team=self.objective == "team")
