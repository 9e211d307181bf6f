"""T2DRL's network, or a neighbour's, as a stateful RLlib module."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDistribution
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from ...envs.core.errors import InvalidInputError
from ..cache_actions import cache_items
from ..config import CacheNetworkFields
from ..networks.cache_law import CacheShareDistribution
from ..networks.cache_share import CacheActorCritic
from ..networks.caching import cache_network

STATE = "state"
"""The one entry of the module's state."""
SELF_SUPERVISED = "self_supervised_loss"
"""Output of `forward_train`."""


class CacheShareRLlibDistribution(TorchDistribution):
    """`CacheShareDistribution` over ``{"cache", "local_share"}``; shares in [-1, 1], which RLlib maps to [0, 1].

    Args:
        logits: parameters of the shares, then scores of the bits, shape (..., 3 I).
    """

    def __init__(self, logits: Tensor) -> None:
        self._leading, self._items = logits.shape[:-1], logits.shape[-1] // 3
        self._logits, self._deterministic = logits, False
        super().__init__(logits.reshape(-1, logits.shape[-1]))  # type: ignore[no-untyped-call]

    def _get_torch_distribution(self, logits: Tensor) -> Any:
        return CacheShareDistribution(logits[:, 2 * self._items :], logits[:, : 2 * self._items])

    @classmethod
    def from_logits(cls, logits: Any, **kwargs: Any) -> Self:
        """The law of network outputs (..., 3 I)."""
        return cls(logits)

    @staticmethod
    def required_input_dim(space: gym.Space[Any], **kwargs: Any) -> int:
        """Width 3 I of the network output."""
        return 3 * cache_items(space)

    def to_deterministic(self) -> Self:
        """The law whose samples are the modes."""
        made = type(self)(self._logits)
        made._deterministic = True
        return made

    def sample(self, *, sample_shape: Any = None, **kwargs: Any) -> Any:
        """Decisions, shapes (..., I)."""
        if sample_shape:
            raise InvalidInputError.of("sample_shape", "None", sample_shape)
        return decisions_of(self._dist.sample(self._deterministic).view(*self._leading, -1))

    def rsample(self, *, sample_shape: Any = None, **kwargs: Any) -> Any:
        """Bits have no reparametrised sample.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("cache bits have no reparametrised sample")

    def logp(self, value: Any, **kwargs: Any) -> Tensor:
        """Log-probabilities, shape (...), of decisions."""
        carrier = carriers_of(value)
        log_prob: Tensor = self._dist.log_prob(carrier.reshape(-1, carrier.shape[-1]))
        return log_prob.view(self._leading)

    def entropy(self, **kwargs: Any) -> Tensor:
        """Entropies, shape (...)."""
        entropy: Tensor = self._dist.entropy()
        return entropy.view(self._leading)

    def kl(self, other: Any, **kwargs: Any) -> Tensor:
        """Divergences from this law to another one, shape (...)."""
        divergence: Tensor = self._dist.kl(other._dist)
        return divergence.view(self._leading)


def decisions_of(carrier: Tensor) -> dict[str, Tensor]:
    """``{"cache": int8, "local_share": in [-1, 1]}`` of carriers (..., 2 I)."""
    shares, scores = carrier.chunk(2, dim=-1)
    return {"cache": (scores > 0.0).to(torch.int8), "local_share": shares.contiguous()}


def carriers_of(decisions: Any) -> Tensor:
    """Carriers (..., 2 I) of what `decisions_of` returns."""
    shares = decisions["local_share"].float()
    return torch.cat([shares, 2.0 * decisions["cache"].to(shares.dtype) - 1.0], dim=-1)


class T2DRLModule(TorchRLModule, ValueFunctionAPI):
    """Actor-critic over cache bits and shares whose state RLlib carries from slot to slot.

    ``model_config`` holds ``network`` (fields of `CacheNetworkFields`), ``max_seq_len`` (slots of a training sequence,
    over which gradients go back) and ``aux_coef`` (0: no self-supervised loss of the outer weights). A training
    sequence starts from the state that was stored when it was passed, as in `T2DRL`.

    Deployment adapts; ``inner_steps`` set to False freezes the weights.
    """

    network: CacheActorCritic
    inner_steps = True

    def setup(self) -> None:
        """Build the network."""
        config = self.model_config if isinstance(self.model_config, dict) else {}
        if not isinstance(self.observation_space, spaces.Box) or len(self.observation_space.shape) != 1:
            raise InvalidInputError.of("observation_space", "a one-dimensional Box", self.observation_space)
        items = cache_items(self.action_space)  # type: ignore[arg-type]
        self.network = cache_network(
            self.observation_space.shape[0], items, CacheNetworkFields(**config.get("network", {}))
        )
        self.aux_coef = float(config.get("aux_coef", 0.0))
        self.action_dist_cls = CacheShareRLlibDistribution

    def get_initial_state(self) -> Any:
        """``{"state": (S,)}``, zeros; nothing for a memoryless network."""
        width = self.network.state_width
        return {STATE: torch.zeros(width)} if width else {}

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, True, 1.0 if self.inner_steps else 0.0)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, False, float(self.network.backbone.adapts_in_training))

    def _act(self, batch: dict[str, Any], deterministic: bool, adapt: float) -> dict[str, Any]:
        """One slot: RLlib gives stateful modules a time axis of length 1."""
        obs, state = batch[Columns.OBS].float(), self._states(batch)
        timed = obs.dim() == 3
        with torch.no_grad():
            law, _, after = self.network.step(obs[:, 0] if timed else obs, state, adapt)
            carrier = law.sample(deterministic)
            logp, after = law.log_prob(carrier), self.network.note_action(after, carrier)
        inputs = torch.cat([law.location, law.logits], dim=-1)
        columns = {Columns.ACTION_DIST_INPUTS: inputs, Columns.ACTION_LOGP: logp}
        result: dict[str, Any] = {Columns.ACTIONS: decisions_of(carrier), **columns}
        if timed:
            result = {
                name: {key: part.unsqueeze(1) for key, part in value.items()}
                if isinstance(value, dict)
                else value.unsqueeze(1)
                for name, value in result.items()
            }
        if self.network.state_width:
            result[Columns.STATE_OUT] = {STATE: after}
        return result

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Outputs along sequences (B, T), their values, and the self-supervised loss."""
        obs, actions = self._sequences(batch)
        state = self._states(batch)
        result: dict[str, Any] = {}
        if self.aux_coef > 0.0:
            valid = batch.get(Columns.LOSS_MASK)
            valid = (
                torch.ones(obs.shape[:2], dtype=torch.bool, device=obs.device)
                if valid is None
                else valid.view(obs.shape[:2]).bool()
            )
            law, values, loss = self.network.supervised_sequence(obs, state, actions, valid)
            result[SELF_SUPERVISED] = loss
        else:
            law, values = self.network.sequence(obs, state, actions)
        leading = batch[Columns.OBS].shape[:-1]
        inputs = torch.cat([law.location, law.logits], dim=-1)
        result[Columns.ACTION_DIST_INPUTS] = inputs.view(*leading, -1)
        result[Columns.VF_PREDS] = values.sum(-1).view(leading)
        return result

    def compute_values(self, batch: dict[str, Any], embeddings: Any | None = None) -> Tensor:
        """Values, shape (B, T), or (B,) of a memoryless network."""
        obs, actions = self._sequences(batch)
        with torch.no_grad():  # the loss reads those of `forward_train`
            _, values = self.network.sequence(obs, self._states(batch), actions)
        return values.sum(-1).view(batch[Columns.OBS].shape[:-1])

    def _sequences(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Observations (B, T, D) and carriers (B, T, 2 I); rows of a memoryless network become sequences of one."""
        obs, actions = batch[Columns.OBS].float(), carriers_of(batch[Columns.ACTIONS])
        if obs.dim() == 2:
            obs, actions = obs.unsqueeze(1), actions.unsqueeze(1)
        return obs, actions

    def _states(self, batch: dict[str, Any]) -> Tensor:
        if not self.network.state_width:
            return self.network.initial_state(len(batch[Columns.OBS]))
        state: Tensor = batch[Columns.STATE_IN][STATE]
        return state.float()
