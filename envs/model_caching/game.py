"""Several edge servers in one PettingZoo environment: each decides for its own agents and demand in every slot.

Without a market the servers do not interact: server n is the scalar environment with the seed s + n.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from ..core.errors import InvalidInputError
from ..core.lanes import check_lanes, check_seed, lane_seeds
from .env import Info, Obs, action_space, make_params, observation_space, parse_action
from .params import CachingParams
from .simulator import Simulator


class ModelCachingParallel(ParallelEnv):
    """N edge servers with one instance each of the same agents; see `env.ModelCachingEnv` for a server's decisions.

    Args:
        servers: number of servers N; the agents of PettingZoo are ``server_0`` to ``server_{N-1}``.
        preset: name in `params.PRESETS`.
        params: the system as a model; excludes single fields.
        horizon: episode length in slots.
        **overrides: fields of `CachingParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "edgewise/ModelCaching-v0", "render_modes": []}

    def __init__(
        self,
        servers: int = 5,
        preset: str = "drift",
        *,
        params: CachingParams | None = None,
        horizon: float = 100.0,
        **overrides: Any,
    ) -> None:
        count = check_lanes(servers, None)
        self.params = make_params(preset, params, overrides)
        self.render_mode = None
        self.possible_agents = [f"server_{n}" for n in range(count)]
        self.agents: list[str] = []
        self._simulator = Simulator(self.params, count, horizon=horizon)
        self._shape = (self.params.n_agents,)
        self._observation_space = observation_space(self.params)
        self._action_spaces = {agent: action_space(self.params) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Observation space of every server."""
        return self._observation_space

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Action space of a server; each has its own, with its own generator."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Obs], dict[str, Info]]:
        """Start an episode at every server.

        Args:
            seed: gives server n the seed s + n; without one the next episode of the current seeds follows.
            options: not used.

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64).
        """
        if seed is None and not self._simulator.seeded:
            seed = int(seeding.np_random(None)[0].integers(1 << 62))
        if seed is not None:
            self._simulator.seed(lane_seeds(check_seed(seed), len(self.possible_agents)))
        buffers = self._simulator.reset()
        self.agents = list(self.possible_agents)
        infos = {agent: buffers.lane_info(n) for n, agent in enumerate(self.agents)}
        return {agent: buffers.obs[n].copy() for n, agent in enumerate(self.agents)}, infos

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Obs], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Info]]:
        """Carry out one slot at every server.

        Args:
            actions: ``{"cache": (I,) bits, "local_share": (I,) shares}`` of every server.

        Returns:
            Observations, rewards (-cost), terminations (never), truncations (at the horizon), infos.

        Raises:
            InvalidInputError: an action is missing or malformed, or an entry is out of range; no server has moved.
            ResetNeeded: the episode is over.
        """
        if not self.agents:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        if not isinstance(actions, dict) or set(actions) != set(self.agents):
            raise InvalidInputError.of(
                "actions", f"a dict with an action for each of {len(self.agents)} servers", actions
            )
        parsed = [parse_action(actions[agent], self._shape) for agent in self.agents]
        cache = np.array([bits for bits, _ in parsed])
        share = np.array([shares for _, shares in parsed], np.float64)
        buffers = self._simulator.step(cache, share)
        told = self.agents
        over = bool(self._simulator.done()[0])
        infos = {agent: buffers.lane_info(n) for n, agent in enumerate(told)}
        if over:
            self.agents = []
        return (
            {agent: buffers.obs[n].copy() for n, agent in enumerate(told)},
            {agent: -infos[agent]["cost"] for agent in told},
            dict.fromkeys(told, False),
            dict.fromkeys(told, over),
            infos,
        )

    def render(self) -> None:
        """Draw nothing."""

    def close(self) -> None:
        """Nothing to close."""


def parallel_env(servers: int = 5, preset: str = "drift", **settings: Any) -> ModelCachingParallel:
    """Several servers as a PettingZoo Parallel environment; see `ModelCachingParallel` for the arguments."""
    return ModelCachingParallel(servers, preset, **settings)


def aec_env(servers: int = 5, preset: str = "drift", **settings: Any) -> AECEnv[Any, Any, Any]:
    """The same as an AEC environment: the servers take turns, and a slot passes when the last one has decided."""
    return parallel_to_aec(parallel_env(servers, preset, **settings))
