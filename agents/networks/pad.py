"""Policy adaptation during deployment (PAD): the encoder keeps learning a self-supervised task without rewards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.core.errors import InvalidInputError
from .backbones import Backbone
from .features import mlp


class PADBackbone(Backbone):
    """An encoder that adapts by inverse dynamics, and a memoryless network behind it.

    The decision between two observations is predicted from their encodings. In training that loss is added to the
    learner's; in deployment every transition makes one gradient step of the encoder, of a copy per sequence. Where the
    paper draws batches by augmenting images, one transition is one sample here.

    The state holds the last observation, 1 once there is one, the decision, and the encoder's differences from its
    trained weights, so that zeros are the trained encoder.

    Args:
        obs_dim: width D of an observation.
        action_dim: width A of a carrier: shares, then scores of the cache bits.
        hidden: width of the two layers behind the encoder.
        width: width of the encoding.
        eta_base: learning rate of the steps in deployment.

    Raises:
        InvalidInputError: `eta_base` is negative or not finite.

    *Source*: Hansen et al., arXiv 2007.04309.
    """

    adapts_in_training = False

    def __init__(self, obs_dim: int, action_dim: int, hidden: int, width: int = 32, eta_base: float = 1e-3) -> None:
        super().__init__()
        if not 0.0 <= eta_base < math.inf:
            raise InvalidInputError.of("eta_base", "a finite number >= 0", eta_base)
        self.eta_base = eta_base
        self.encoder, self.norm = nn.Linear(obs_dim, width), nn.LayerNorm(width)
        self.trunk, self.width = mlp(width, (hidden, hidden))
        self.inverse = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, action_dim))
        self._parts = [obs_dim, 1, action_dim, obs_dim * width, width]
        self.state_width = sum(self._parts)

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `Backbone.step`: one gradient step on the transition that ends here, then the features."""
        last, known, action, weight, bias = state.split(self._parts, dim=-1)
        if adapt and self.eta_base:
            with torch.enable_grad():
                deltas = [part.detach().requires_grad_() for part in (weight, bias)]
                pair = torch.cat([self._encode(last, *deltas), self._encode(obs, *deltas)], dim=-1)
                loss = (known.squeeze(-1) * self._inverse_loss(self.inverse(pair), action)).sum()
                gradients = torch.autograd.grad(loss, deltas)  # a row's loss has the row's own weights only
            rate = adapt * self.eta_base
            weight, bias = weight - rate * gradients[0], bias - rate * gradients[1]
        features = self.trunk(self._encode(obs, weight, bias))
        return features, torch.cat([obs, torch.ones_like(known), action, weight, bias], dim=-1)

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None, adapt: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """See `Backbone.sequence`; the encoder is held: it adapts in deployment only."""
        _, _, action, weight, bias = state.split(self._parts, dim=-1)
        n, length = obs.shape[:2]
        rows = (part.repeat_interleave(length, 0) for part in (weight, bias))
        features = self.trunk(self._encode(obs.flatten(0, 1), *rows)).unflatten(0, (n, length))
        action = action if actions is None else actions[:, -1]
        return features, torch.cat([obs[:, -1], torch.ones_like(state[:, :1]), action, weight, bias], dim=-1)

    def note_action(self, state: Tensor, action: Tensor) -> Tensor:
        """See `Backbone.note_action`."""
        before = sum(self._parts[:2])
        return torch.cat([state[:, :before], action, state[:, before + self._parts[2] :]], dim=-1)

    def auxiliary_loss(self, obs: Tensor, actions: Tensor, valid: Tensor) -> Tensor:
        """Mean loss of the decisions predicted from the observations around them."""
        encoded = self.norm(self.encoder(obs))
        pairs = torch.cat([encoded[:, :-1], encoded[:, 1:]], dim=-1)
        inside = valid[:, 1:]
        return self._inverse_loss(self.inverse(pairs[inside]), actions[:, :-1][inside]).mean()

    def _encode(self, obs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Encodings (n, width) of observations (n, D) with every row's own weights."""
        delta = weight.unflatten(-1, tuple(self.encoder.weight.shape)) @ obs.unsqueeze(-1)
        encoded: Tensor = self.norm(self.encoder(obs) + delta.squeeze(-1) + bias)
        return encoded

    @staticmethod
    def _inverse_loss(predicted: Tensor, action: Tensor) -> Tensor:
        """Squared errors of shares, and cross-entropies of bits, mean over the items, shape (n,)."""
        shares, logits = predicted.chunk(2, dim=-1)
        true_shares, scores = action.chunk(2, dim=-1)
        bits = functional.binary_cross_entropy_with_logits(logits, (scores > 0.0).to(logits.dtype), reduction="none")
        return (bits + (shares - true_shares).square()).mean(-1)
