"""Memoryless hybrid actors and an event critic as one RLlib module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ...envs.aoi_offload.state import QUEUES, STREAM_OFFSET
from ...envs.core.errors import InvalidInputError
from ..networks.asynchronous import EventCritic, HybridActor, Window

# Columns of a batch of segments of windows, shape (S, T, ...).
DEVICE, CARRIER, ELAPSED, CONTEXT, ROWS = "device", "carrier", "elapsed", "context", "rows"
LINEAR_CRITICS = ("table", "lstd")
"""Critics without a network."""
LOGP, ENTROPY, VALUES = "logp", "entropy", "values"
"""Outputs of `forward_train`, one per marked row."""


def game_shape(
    observation: spaces.Space[Any] | None, action: spaces.Space[Any] | None, n_devices: int | None
) -> tuple[int, int, int]:
    """Edges N, devices M, and the first column of the plain observation (1 behind a device's index, else 0).

    Args:
        observation: space of ``(4 + N,)`` observations, or ``(5 + N,)`` in an event stream.
        action: space of ``{"server", "wait"}``.
        n_devices: M; None: the number of indices in a stream, else 1.

    Raises:
        InvalidInputError: spaces of another environment.
    """
    if not isinstance(action, spaces.Dict) or set(action.spaces) != {"server", "wait"}:
        raise InvalidInputError.of("action_space", "a Dict of server and wait", action)
    server = action["server"]
    if not isinstance(server, spaces.Discrete) or not isinstance(observation, spaces.Box):
        raise InvalidInputError.of("observation_space", "a Box, with Discrete servers", observation)
    n_edges = int(server.n) - 1
    first = observation.shape[0] - QUEUES - n_edges
    if first not in (0, STREAM_OFFSET):
        raise InvalidInputError.of("observation_space", f"of width {QUEUES + n_edges} or one more", observation)
    if n_devices is None:
        n_devices = int(observation.high[0]) + 1 if first else 1
    return n_edges, n_devices, first


class PolynomialDecay:
    """Weight of new weights in a running average: of n models the last share 1 / (eta + 1), roughly, counts.

    Unlike an exponential average it needs no time scale, and unlike the plain mean (eta = 0) it forgets the beginning.

    *Source*: Shamir and Zhang, Stochastic Gradient Descent for Non-smooth Optimization, ICML 2013.
    """

    def __init__(self, eta: float) -> None:
        self.eta = eta

    def __call__(self, average: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        """The average after `count` earlier models and this one."""
        return average + (new - average) * ((self.eta + 1.0) / (count + 1.0 + self.eta))


class AsyncFractionalModule(TorchRLModule, InferenceOnlyAPI):
    """The actor of every device, and a critic of the whole system that env runners do without.

    ``model_config`` may hold: ``n_devices``; ``parameters``, ``ignored``, ``hidden``, ``family``, ``init_mean``,
    ``init_scale``, ``learn`` of `HybridActor`; ``critic``, ``critic_hidden``, ``gru_width`` of
    `EventCritic`. The critics ``table`` and ``lstd`` have no network: they are fitted by least squares, on features of
    the event table and of the own observation. With ``averaging`` the learner also keeps an average of the actor's
    weights (`PolynomialDecay`), which explores nothing and is what a greedy policy acts with.
    """

    actor: HybridActor
    average: AveragedModel | None
    critic: EventCritic | None
    entropy_counts = True  # a learner without an entropy bonus turns this off: its gradient takes time

    def setup(self) -> None:
        """Build the networks."""
        config: Mapping[str, Any] = self.model_config if isinstance(self.model_config, Mapping) else {}
        edges, devices, self.first = game_shape(self.observation_space, self.action_space, config.get("n_devices"))
        self.n_edges, self.n_devices = edges, devices
        ignored = tuple(config.get("ignored", ()))
        names = ("parameters", "hidden", "family", "init_mean", "init_scale", "learn")
        chosen = {name: config[name] for name in names if name in config}
        self.actor = HybridActor(edges, devices, ignored=ignored, **chosen)
        averaging = config.get("averaging")
        self.average = None
        if averaging is not None and not self.inference_only:
            self.average = AveragedModel(self.actor, avg_fn=PolynomialDecay(averaging)).requires_grad_(False)
        space: Any = self.action_space
        self.longest = float(space["wait"].high[0])
        kind = config.get("critic", "table")
        self.critic, self.table = None, kind == "table"
        if kind not in LINEAR_CRITICS and not self.inference_only:
            hidden, state = config.get("critic_hidden", (64, 64)), config.get("gru_width", 64)
            self.critic = EventCritic(kind, edges, devices, ignored, tuple(hidden), state)

    def get_non_inference_attributes(self) -> list[str]:
        """Parts that env runners do without."""
        return ["average", "critic"]

    def split(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Plain observations (n, 4 + N) and device indices (n,) of observations of this module's space."""
        if self.first:
            return observation[:, self.first :], observation[:, 0].long()
        return observation, torch.zeros(len(observation), dtype=torch.long, device=observation.device)

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, deterministic=True)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, deterministic=False)

    def _act(self, batch: dict[str, Any], deterministic: bool) -> dict[str, Any]:
        """Actions as RLlib's own env runners take them: servers, and waits in [-1, 1]."""
        with torch.inference_mode():
            law = self.actor(*self.split(batch[Columns.OBS]))
            carrier = law.sample(deterministic)
            logp = law.log_prob(carrier)
        actions = {"server": carrier[:, 1:].argmax(-1), "wait": carrier[:, :1]}
        return {Columns.ACTIONS: actions, Columns.ACTION_LOGP: logp}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """Log-probabilities (R,), entropies (R,) and values (R, 2) at the marked rows of windows."""
        rows = batch[ROWS]
        law = self.actor(batch[Columns.OBS][rows], batch[DEVICE][rows])
        result = {LOGP: law.log_prob(batch[CARRIER][rows])}
        with torch.set_grad_enabled(self.entropy_counts):
            result[ENTROPY] = law.entropy()
        if self.critic is not None:
            result[VALUES] = self.critic(window_of(batch), batch[CONTEXT], rows)
        return result


def window_of(batch: Mapping[str, Any]) -> Window:
    """The critic's input in a batch."""
    return Window(batch[Columns.OBS], batch[DEVICE], batch[CARRIER], batch[ELAPSED])
