"""From a network's law to actions of the environment, with scripted rules where a part is not learned."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.aoi_offload.params import AoIParams
from ...envs.aoi_offload.policies import ScriptedPolicy
from ...envs.core.errors import InvalidInputError
from ..networks.asynchronous import HybridActor, Learn
from ..networks.greedy import GreedyActor

Floats = NDArray[np.float32]


class Decision(NamedTuple):
    """Decisions of n lanes.

    Attributes:
        server: chosen servers, shape (n,).
        wait: chosen waits as 2 w - 1, w being the share of the longest wait, shape (n, 1).
        logp: log-probability of the learned part, shape (n,).
        to_env: the same in the environment's own action space, waits in seconds.
    """

    server: NDArray[np.int64]
    wait: Floats
    logp: Floats
    to_env: dict[str, Any]


class Acting:
    """Turns observations into decisions.

    Args:
        n_edges: number of edge nodes N.
        longest: longest wait, in seconds.
        learn: what the actor decides; the other part follows its rule.
        fixed_wait: wait rule where only servers are learned.
        server_rule: server rule where only waits are learned; not ``pgoa``, which remembers single devices.
        rng: ties and random rules draw from it, and so do random actions.

    Raises:
        InvalidInputError: an unknown rule.
    """

    def __init__(
        self,
        n_edges: int,
        longest: float,
        learn: Learn = "both",
        fixed_wait: str = "fixed:0",
        server_rule: str = "jsq",
        rng: np.random.Generator | None = None,
    ) -> None:
        if learn == "wait" and server_rule.startswith("pgoa"):
            raise InvalidInputError.of("server_rule", "a rule without memory", server_rule)
        self.learn, self.longest, self.n_servers = learn, longest, n_edges + 1
        bounds = AoIParams.make(edge_ghz=(1.0,) * n_edges, z_max=longest)  # rules read nothing else
        self._rule = ScriptedPolicy(server_rule, fixed_wait, bounds)
        self.rng = self._rule.rng if rng is None else rng
        self._rule.rng = self.rng

    def decide(
        self, actor: HybridActor, observation: Floats, explore: bool = False, random_actions: bool = False
    ) -> Decision:
        """Decide for stream observations (n, 5 + N).

        Args:
            actor: the networks.
            observation: with the device's index in column 0.
            explore: draw from the law instead of taking its mode.
            random_actions: draw uniformly instead; `logp` is that of the law.
        """
        seen = torch.from_numpy(observation)
        law = actor(seen[:, 1:], seen[:, 0].long())
        if random_actions:
            scores = self.rng.random((len(observation), 1 + self.n_servers), np.float32)
            carrier = torch.from_numpy(2.0 * scores - 1.0)
        else:
            carrier = law.sample(deterministic=not explore)
        logp = law.log_prob(carrier).numpy()
        array = carrier.numpy()
        server, wait = self._ruled(observation, array[:, 1:].argmax(1), array[:, :1])
        return Decision(server, wait, logp, {"server": server, "wait": self.seconds(wait)})

    def greedy(self, actor: GreedyActor, observation: Floats) -> dict[str, Any]:
        """Actions in the environment's own space at the law's mode: `decide` without what only learning needs."""
        mode = actor(observation[:, 1:], observation[:, 0].astype(np.int64))
        server, wait = self._ruled(observation, mode.server, 2.0 * mode.wait - 1.0)
        return {"server": server, "wait": self.seconds(wait)}

    def _ruled(self, observation: Floats, server: Any, wait: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The same with the part that is not learned by its rule."""
        if self.learn == "wait":
            server = self._rule.act(observation[:, 1:])["server"]
        elif self.learn == "server":
            wait = (2.0 * self._rule.act(observation[:, 1:])["wait"] / self.longest - 1.0).astype(np.float32)
        return server, wait

    def seconds(self, wait: Floats) -> Floats:
        """Waits in seconds from their carrier in [-1, 1]."""
        seconds: Floats = np.clip((wait + 1.0) * (0.5 * self.longest), 0.0, self.longest)
        return seconds


def with_device(observation: Floats, width: int) -> Floats:
    """Stream observations (n, 5 + N) from those of an environment: a single device has no index, so it gets 0."""
    if observation.shape[1] == width:
        return observation
    return np.concatenate([np.zeros((len(observation), 1), np.float32), observation], axis=1)
