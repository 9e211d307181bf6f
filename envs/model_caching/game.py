"""Several edge servers in one PettingZoo environment: each decides for its own agents and demand in every slot.

Without a market the servers do not interact: server n is the scalar environment with the seed s + n. With one they
trade reasoning paths in every slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from ..core.errors import InvalidInputError
from ..core.lane_system import Info, Obs
from ..core.lanes import check_lanes, check_seed, lane_seeds
from ..core.params import make_params
from .env import action_space, observation_space, parse_action
from .params import CachingParams
from .path_market import NO_SELLER
from .simulator import Buffers, Simulator
from .slot_market import MarketParams, SlotMarket, SlotTrades


class ModelCachingParallel(ParallelEnv):
    """N edge servers with one instance each of the same agents, as a PettingZoo Parallel environment.

    Each server decides as in `env.ModelCachingEnv`: same action, observation, cost, duration and info. Server n meets
    the demand of the scalar environment with the seed s + n, and without a market *is* that environment. Of a trace
    every session goes to one server: server n is the scalar environment with ``trace_share=(n, N)``.

    ## Market

    With ``market`` the servers' spare and missing capacity meets in every slot, after the actions are projected and
    before they are carried out. Every agent with local demand bids for one extra reasoning path; every server with
    energy left sells unit slots; a double Dutch auction (`market`) decides who trades at which price. A traded path is
    one more thought of the buying agent: its age of thoughts, its context and so its accuracy are those of J + 1 paths
    for one request. The server that runs it uses the energy, within its budget, and pays the compute cost; it may be
    the agent's own, and needs no copy of the model (its copy is part of the unit slot that is sold). Access was paid
    with the request. An agent does not bid where its thought would overflow a window that evicts or clips, or the
    memory that key-value caches take.

    Payments are transfers: they stand in the info, never in a cost. So `cost_terms` add up to `cost` as ever, and the
    servers' costs together change by what the paths take off the accuracy cost and add to the compute cost.

    With a market an info also holds `bought` (extra path of each agent, 0 or 1), `seller` (index of the server that
    runs it, -1 without), `payments` (by each agent), all (I,); and `sold` (unit slots sold), `receipts` (of this
    server), `surplus` (payments minus receipts of all servers, kept by the auctioneer).

    ## Example

    >>> from edgewise.envs.model_caching import parallel_env
    >>> env = parallel_env(5, "stationary", market=True)
    >>> observations, infos = env.reset(seed=0)
    >>> action = {"cache": [1, 1, 1, 0, 0, 0, 0, 0, 0, 0], "local_share": [1.0] * 10}
    >>> _, rewards, _, _, infos = env.step(dict.fromkeys(env.agents, action))
    >>> paid, received = (sum(infos[a][key].sum() for a in infos) for key in ("payments", "receipts"))
    >>> print(abs(paid - received - infos["server_0"]["surplus"]) < 1e-12)
    True

    Args:
        servers: number of servers N; the agents of PettingZoo are ``server_0`` to ``server_{N-1}``.
        preset: name in `params.PRESETS`.
        market: None or False for none, True for the default one, or fields of `slot_market.MarketParams`.
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
        market: MarketParams | Mapping[str, Any] | bool | None = None,
        params: CachingParams | None = None,
        horizon: float = 100.0,
        **overrides: Any,
    ) -> None:
        count = check_lanes(servers, None, "servers")
        self.params = make_params(CachingParams, preset, params, overrides)
        self.render_mode = None
        self.possible_agents = [f"server_{n}" for n in range(count)]
        self.agents: list[str] = []
        self._simulator = Simulator(self.params, count, horizon=horizon, share_trace=True)
        self.market = MarketParams.of(market)
        self._market = None if self.market is None else SlotMarket(self.params, count, self.market)
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
            options: not used (PettingZoo's own tests give some).

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64).
        """
        if seed is None and not self._simulator.seeded:
            seed = int(seeding.np_random(None)[0].integers(1 << 62))
        if seed is not None:
            self._simulator.seed(lane_seeds(check_seed(seed), len(self.possible_agents)))
        buffers = self._simulator.reset()
        self.agents = list(self.possible_agents)
        infos = self._infos(buffers, None)
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
        held = None
        if self._market is None:
            buffers = self._simulator.step(cache, share)
        else:
            buffers = self._simulator.project(cache, share)
            held = self._market.hold(self._simulator.world, buffers)
            self._simulator.settle(buffers, held.trades.paths, held.energy)
        told = self.agents
        over = bool(self._simulator.done()[0])
        infos = self._infos(buffers, held)
        if over:
            self.agents = []
        return (
            {agent: buffers.obs[n].copy() for n, agent in enumerate(told)},
            {agent: -infos[agent]["cost"] for agent in told},
            dict.fromkeys(told, False),
            dict.fromkeys(told, over),
            infos,
        )

    def _infos(self, buffers: Buffers, held: SlotTrades | None) -> dict[str, Info]:
        """Info of every server, with its trades where there is a market (none at a reset)."""
        infos = {agent: buffers.lane_info(n) for n, agent in enumerate(self.agents)}
        if self._market is None:
            return infos
        for n, info in enumerate(infos.values()):
            if held is None:
                nothing = np.zeros(self._shape)
                info |= {
                    "bought": nothing.astype(np.int64),
                    "seller": np.full(self._shape, NO_SELLER),
                    "payments": nothing,
                }
                info |= {"sold": 0, "receipts": np.float64(0.0), "surplus": np.float64(0.0)}
            else:
                trades = held.trades
                info |= {"bought": trades.paths[n], "seller": trades.seller[n], "payments": trades.payments[n]}
                info |= {"sold": int(trades.sold[n]), "receipts": trades.receipts[n]}
                info["surplus"] = np.float64(trades.surplus)
        return infos

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
