"""A PettingZoo AEC environment that does nothing: what the interface itself costs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pettingzoo import AECEnv

from ...envs.aoi_offload.game import AoIOffloadAEC
from ...envs.aoi_offload.state import UPDATE


class IdleAEC(AECEnv):  # type: ignore[misc]  # PettingZoo ships no types
    """Agents, spaces, fresh observations and info keys of a game without its physics: agents take turns.

    Args:
        game: whose agents, spaces and info keys to take; reset already.
        books: keep the rewards of all agents as PettingZoo's own environments and its documentation do, with
            `_clear_rewards` and `_accumulate_rewards`; otherwise only those of the agent whose turn it is.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "idle_v0", "render_modes": []}

    def __init__(self, game: AoIOffloadAEC, books: bool = True) -> None:
        self._books = books
        self.possible_agents = list(game.possible_agents)
        self._spaces = {
            agent: (game.observation_space(agent), game.action_space(agent)) for agent in self.possible_agents
        }
        self._shape = game.last()[0].shape
        self._term_names = tuple(game.last()[4]["cost_terms"])

    def observation_space(self, agent: str) -> Any:
        """The game's."""
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> Any:
        """The game's."""
        return self._spaces[agent][1]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start with the first agent."""
        self.agents = self.possible_agents[:]
        self.rewards, self._cumulative_rewards = dict.fromkeys(self.agents, 0.0), dict.fromkeys(self.agents, 0.0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._turn = -1
        self._next()

    def step(self, action: Any) -> None:
        """Ignore the action; the next agent's turn."""
        self._cumulative_rewards[self.agent_selection] = 0.0
        if self._books:
            self._clear_rewards()
        self._next()
        if self._books:
            self._accumulate_rewards()

    def _next(self) -> None:
        self._turn = device = (self._turn + 1) % len(self.possible_agents)
        self.agent_selection = agent = self.possible_agents[device]
        self._obs = np.zeros(self._shape, np.float32)
        first, second, third = self._term_names
        self.infos[agent] = {
            "cost": np.float64(0.0),
            "duration": np.float64(0.0),
            "time": np.float64(0.0),
            "cost_terms": {first: 0.0, second: 0.0, third: 0.0},
            "device": device,
            "kind": UPDATE,
        }
        self.rewards[agent] = 0.0

    def observe(self, agent: str) -> NDArray[np.float32]:
        """Zeros, a new array at every step."""
        return self._obs
