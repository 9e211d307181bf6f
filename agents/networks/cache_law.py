"""Joint law of cache bits and local shares, over a flat Box carrier.

The carrier is what libraries without Dict actions exchange: a vector in [-1, 1] with the shares first (u = 2 b - 1,
b in [0, 1]) and then one score per item, positive where it is to be cached.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .hybrid import UnimodalBeta

MOST_SCORE = 30.0
"""Bound of latent scores, logit units."""


class CacheShareDistribution:
    """Independent Bernoulli cache bits and, for cached items, Beta shares.

    The share of an item that is not cached has no effect; it counts neither in the log-probability nor in the entropy.
    Log-probabilities see shares clamped to [1e-6, 1 - 1e-6].

    A ranked law draws the bits by way of latent scores, logit + logistic noise: an item is cached where its score is
    positive, with the same probability. The carrier then holds the score, divided by `MOST_SCORE`, in place of -1 or 1:
    the order of the scores says which items matter most. The log-probability is that of the score.

    Args:
        logits: scores of the bits, shape (n, I).
        location: parameters of the shares before softplus + 1, shape (n, 2 I), see `UnimodalBeta`.
        ranked: whether carriers hold latent scores.
        noise: scale of the scores' logistic noise, above 0: a bit is 1 with probability sigmoid(logit / noise).
    """

    def __init__(self, logits: Tensor, location: Tensor, ranked: bool = False, noise: float = 1.0) -> None:
        self.logits, self.location, self.ranked, self.noise = logits, location, ranked, noise
        self._odds = logits / noise  # of the bits, logarithmic
        first, second = location.chunk(2, dim=-1)
        # One row per item: the law then gives one number per share instead of their sum.
        self._shares = UnimodalBeta(torch.stack([first, second], dim=-1).flatten(0, -2))

    def sample(self, deterministic: bool = False) -> Tensor:
        """Draw a carrier, shape (n, 2 I); deterministic: the likelier bit and the mode of the share."""
        shares = (self._shares.mode() if deterministic else self._shares.sample()).view_as(self.logits)
        threshold = torch.full_like(self.logits, 0.5) if deterministic else torch.rand_like(self.logits)
        if self.ranked:
            drawn = self.logits + self.noise * torch.logit(threshold, eps=1e-6)
            latent = drawn.clamp(-MOST_SCORE, MOST_SCORE)
            return torch.cat([2.0 * shares - 1.0, latent / MOST_SCORE], dim=-1)
        bits = (torch.sigmoid(self._odds) > threshold).to(self.logits.dtype)
        return torch.cat([2.0 * shares - 1.0, 2.0 * bits - 1.0], dim=-1)

    def log_probs(self, carrier: Tensor) -> Tensor:
        """Log-probability of every item's part of carriers (n, 2 I), shape (n, I)."""
        shares, scores = carrier.chunk(2, dim=-1)
        cached = scores > 0.0
        if self.ranked:
            noise = (MOST_SCORE * scores - self.logits) / self.noise
            bits = -functional.softplus(noise) - functional.softplus(-noise) - math.log(self.noise)
        else:
            bits = -functional.softplus(torch.where(cached, -self._odds, self._odds))
        densities = self._shares.log_prob(0.5 * (shares.flatten().unsqueeze(-1) + 1.0)).view_as(bits)
        return bits + torch.where(cached, densities, torch.zeros_like(densities))

    def log_prob(self, carrier: Tensor) -> Tensor:
        """Joint log-probability of carriers (n, 2 I), shape (n,)."""
        return self.log_probs(carrier).sum(-1)

    def entropy(self) -> Tensor:
        """Joint entropy, shape (n,): of the bits, and of every share as often as its item is cached."""
        p = torch.sigmoid(self._odds)
        bits = functional.softplus(self._odds) - p * self._odds
        return (bits + p * self._shares.entropy().view_as(p)).sum(-1)

    def kl(self, other: CacheShareDistribution) -> Tensor:
        """Kullback-Leibler divergence from this law to another one, shape (n,)."""
        p = torch.sigmoid(self._odds)
        on = functional.logsigmoid(self._odds) - functional.logsigmoid(other._odds)
        off = functional.logsigmoid(-self._odds) - functional.logsigmoid(-other._odds)
        return (p * (on + self._shares.kl(other._shares).view_as(p)) + (1.0 - p) * off).sum(-1)
