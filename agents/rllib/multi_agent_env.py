"""The asynchronous game as RLlib's own multi-agent environment: only the device that must act is in an observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.error import ResetNeeded
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.utils.typing import MultiAgentDict

from ...envs.aoi_offload.game import AoIOffloadAEC
from ...envs.core.errors import InvalidInputError

EVERYONE = "__all__"


class AsyncMultiAgentEnv(MultiAgentEnv):
    """The offloading game for RLlib's multi-agent API: one decision of one device per step.

    Observations hold the one device that must act, ``device_0`` to ``device_{M-1}``, without the device's index. Reward
    (-cost) and info (``cost``, ``duration``, ``time``, ...) come with a device's *next* observation and span the time
    since its previous decision; the stretch before a device's first decision is in its info alone, because no decision
    of its own led to it. At the horizon every device gets its final observation and its open interval's cost and
    duration, and ``truncateds`` is ``{"__all__": True}`` and nothing else: RLlib takes flags of single agents that add
    up to all of them for a termination, and would not bootstrap.

    This serves RLlib's other algorithms, at the speed of its multi-agent sampling; `AsyncFractional` samples thousands
    of systems at once.

    >>> from ray.tune import register_env
    >>> from edgewise.agents.rllib.multi_agent_env import AsyncMultiAgentEnv
    >>> register_env("aoi_game", AsyncMultiAgentEnv)
    >>> env = AsyncMultiAgentEnv({"preset": "small", "horizon": 60.0})
    >>> obs, infos = env.reset(seed=0)
    >>> (agent,) = obs
    >>> obs, rewards, terminateds, truncateds, infos = env.step({agent: {"server": 1, "wait": [0.5]}})
    >>> len(obs), truncateds
    (1, {'__all__': False})

    Args:
        config: keyword arguments of `AoIOffloadAEC`, as RLlib's ``env_config`` holds them; None takes the defaults.

    Raises:
        InvalidInputError: an argument is unknown or out of range.

    Source: Jin et al., arXiv 2409.16832 (the semi-Markov game).
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._game = game = AoIOffloadAEC(**(config or {}))
        self._names: list[str] = game.possible_agents[:]
        self.possible_agents, self.agents = [*self._names], [*self._names]
        self.observation_spaces = {name: game.observation_space(name) for name in self._names}
        self.action_spaces = {name: game.action_space(name) for name in self._names}
        self._over = True
        super().__init__()  # type: ignore[no-untyped-call]

    def reset(  # type: ignore[override]  # RLlib's own base class differs from Gymnasium's too
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        """Start an episode (of ``seed``, or the next one of the current seed) and run it to the first decision.

        Returns:
            Observation (4 + N,) and info of the device that must act.

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64).
        """
        self._game.reset(seed=seed, options=options)
        self._over = False
        self._begun: set[str] = set()  # devices that have decided
        agent = self._game.agent_selection
        return {agent: self._game.observe(agent)}, {agent: self._game.infos[agent]}

    def step(  # type: ignore[override]  # likewise
        self, action_dict: MultiAgentDict
    ) -> tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]:
        """Carry out the decision of the device that must act and run to the next one of any device.

        Args:
            action_dict: ``{"device_m": {"server": int, "wait": (1,) seconds}}``, of the device observed last.

        Returns:
            Observations, rewards, terminateds, truncateds and infos, by device.

        Raises:
            InvalidInputError: not exactly this device's action, or it is malformed, NaN or out of range; the state is
                unchanged.
            ResetNeeded: the episode is over, or has not begun.
        """
        if self._over:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        actor = self._game.agent_selection
        if action_dict.keys() != {actor}:
            raise InvalidInputError.of("actions", f"one, of {actor}, which must act", list(action_dict))
        self._game.step(action_dict[actor])
        self._begun.add(actor)
        self._over = self._game.truncations[actor]
        heard = self._names if self._over else [self._game.agent_selection]
        infos: MultiAgentDict = {agent: self._game.infos[agent] for agent in heard}
        return (
            {agent: self._game.observe(agent) for agent in heard},
            {agent: -info["cost"] for agent, info in infos.items() if agent in self._begun},
            {EVERYONE: False},
            {EVERYONE: self._over},
            infos,
        )

    def close(self) -> None:
        """Close the game."""
        self._game.close()
