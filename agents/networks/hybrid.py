"""Joint distribution of one categorical and some bounded continuous action parts, over a flat Box carrier.

The carrier is what libraries without Dict actions exchange with the environment: a vector in [-1, 1] that holds the
continuous parts first (u = 2 w - 1 with w in [0, 1]) and then one score per choice, decoded by arg-max. This module
turns network outputs into samples of that carrier and gives the *exact* log-probability of a carrier: the arg-max
region of the chosen index counts as the choice, the continuous part has its density (with respect to w).
"""

import math
from functools import cache
from typing import Literal, get_args

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn
from torch.nn import functional

from ...envs.core.errors import InvalidInputError

Family = Literal["squashed", "beta", "censored"]
FAMILIES: tuple[Family, ...] = get_args(Family)

# Uses of the action parts, per row: (the choice counts, the continuous part counts).
Uses = tuple[Tensor, Tensor]

_EDGE = 1e-6  # continuous parts are kept this far from 0 and 1 where the density is only defined inside
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_HERMITE_NODES = 12


def _normal_log_density(z: Tensor) -> Tensor:
    return -0.5 * z * z - _LOG_SQRT_2PI


class SquashedGaussian:
    """w = sigmoid(x) with x normal: density corrected by the Jacobian w (1 - w).

    Args:
        location: mean of x, shape (n, d).
        log_scale: logarithm of the standard deviation of x, broadcastable to (n, d).
    """

    def __init__(self, location: Tensor, log_scale: Tensor) -> None:
        self.location, self.log_scale = location, log_scale.expand_as(location)

    def sample(self) -> Tensor:
        """Draw w in (0, 1), shape (n, d)."""
        noise = torch.randn_like(self.location)
        return torch.sigmoid(self.location + self.log_scale.exp() * noise).clamp(_EDGE, 1.0 - _EDGE)

    def mode(self) -> Tensor:
        """The image of the mean of x (the median of w), the deterministic action."""
        return torch.sigmoid(self.location)

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density of w, summed over the parts, shape (n,)."""
        w = w.clamp(_EDGE, 1.0 - _EDGE)
        x = torch.logit(w)
        z = (x - self.location) * torch.exp(-self.log_scale)
        return (_normal_log_density(z) - self.log_scale - torch.log(w) - torch.log1p(-w)).sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy of w, shape (n,), by Gauss-Hermite quadrature of the Jacobian's logarithm."""
        nodes, weights = _hermite(self.location)
        x = self.location.unsqueeze(-1) + self.log_scale.exp().unsqueeze(-1) * nodes
        log_jacobian = (functional.logsigmoid(x) + functional.logsigmoid(-x)) @ weights
        return (0.5 + _LOG_SQRT_2PI + self.log_scale + log_jacobian).sum(-1)


class CensoredGaussian:
    """w = clip(x, 0, 1) with x normal: atoms at 0 and 1, a normal density between.

    An optimal wait is exactly zero in part of the state space; a squashed Gaussian reaches zero only in the limit, this
    law reaches it. Its log-probability is that of the clipped action, not of the unclipped draw.

    Args:
        location: mean of x, shape (n, d).
        log_scale: logarithm of the standard deviation of x, broadcastable to (n, d).
    """

    def __init__(self, location: Tensor, log_scale: Tensor) -> None:
        self.location, self.log_scale = location, log_scale.expand_as(location)

    def sample(self) -> Tensor:
        """Draw w in [0, 1], shape (n, d)."""
        return (self.location + self.log_scale.exp() * torch.randn_like(self.location)).clamp(0.0, 1.0)

    def mode(self) -> Tensor:
        """The clipped mean, the deterministic action."""
        return self.location.clamp(0.0, 1.0)

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-probability of an atom, log-density elsewhere; summed over the parts, shape (n,)."""
        scale = torch.exp(-self.log_scale)
        z = (w - self.location) * scale
        inside = _normal_log_density(z) - self.log_scale
        low = torch.special.log_ndtr(-self.location * scale)
        high = torch.special.log_ndtr((self.location - 1.0) * scale)
        parts: Tensor = torch.where(w <= 0.0, low, torch.where(w >= 1.0, high, inside))
        return parts.sum(-1)

    def entropy(self) -> Tensor:
        """Entropy of the atoms plus differential entropy of the inside, shape (n,)."""
        scale = torch.exp(-self.log_scale)
        a, b = -self.location * scale, (1.0 - self.location) * scale
        log_low, log_high = torch.special.log_ndtr(a), torch.special.log_ndtr(-b)
        low, high = log_low.exp(), log_high.exp()
        inside = 1.0 - low - high
        moment = a * torch.exp(_normal_log_density(a)) - b * torch.exp(_normal_log_density(b))
        density = inside * (self.log_scale + _LOG_SQRT_2PI + 0.5) + 0.5 * moment
        total: Tensor = density - low * log_low - high * log_high
        return total.sum(-1)


class UnimodalBeta:
    """w ~ Beta(1 + softplus(a), 1 + softplus(b)): unimodal, all of [0, 1] in its support.

    Args:
        location: the pair a, b concatenated, shape (n, 2 d).
    """

    def __init__(self, location: Tensor) -> None:
        a, b = (1.0 + functional.softplus(location)).chunk(2, dim=-1)
        self._law = torch.distributions.Beta(a, b, validate_args=False)

    def sample(self) -> Tensor:
        """Draw w in (0, 1), shape (n, d)."""
        draw: Tensor = self._law.sample()
        return draw.clamp(_EDGE, 1.0 - _EDGE)

    def mode(self) -> Tensor:
        """The mode of the density, the deterministic action."""
        a, b = self._law.concentration1 - 1.0, self._law.concentration0 - 1.0
        flat = a + b <= 0.0  # both parameters rounded to 1: the uniform law
        return torch.where(flat, 0.5, a / torch.where(flat, 1.0, a + b))

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density of w, summed over the parts, shape (n,)."""
        value: Tensor = self._law.log_prob(w.clamp(_EDGE, 1.0 - _EDGE))
        return value.sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy of w, shape (n,)."""
        value: Tensor = self._law.entropy()
        return value.sum(-1)

    def kl(self, other: "UnimodalBeta") -> Tensor:
        """Kullback-Leibler divergence from this law to another one, summed over the parts, shape (n,)."""
        value: Tensor = torch.distributions.kl_divergence(self._law, other._law)
        return value.sum(-1)


ContinuousLaw = SquashedGaussian | CensoredGaussian | UnimodalBeta


class HybridDistribution:
    """Independent categorical and continuous parts of one decision, over the Box carrier.

    Args:
        logits: scores of the choices, shape (n, k), or None when there is no choice to make.
        law: law of the continuous parts, or None when there are none.
        uses: per row, whether the choice and whether the continuous part is used by the decision. What is not used
            counts neither in the log-probability nor in the entropy. None: everything is used.
        mask: allowed choices, boolean, shape (n, k); None: all are. A row must allow at least one.

    Raises:
        InvalidInputError: neither choice nor continuous part.
    """

    def __init__(
        self, logits: Tensor | None, law: ContinuousLaw | None, uses: Uses | None = None, mask: Tensor | None = None
    ) -> None:
        if logits is None and law is None:
            raise InvalidInputError("a distribution needs a choice, a continuous part, or both")
        if logits is not None and mask is not None:
            logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
        self.log_probs = None if logits is None else torch.log_softmax(logits, dim=-1)
        self.law, self._uses = law, uses

    def sample(self, deterministic: bool = False) -> Tensor:
        """Draw a carrier, shape (n, d + k): continuous parts as 2 w - 1, choice as a one-hot in {-1, 1}."""
        parts = []
        if self.law is not None:
            parts.append(2.0 * (self.law.mode() if deterministic else self.law.sample()) - 1.0)
        if self.log_probs is not None:
            k = self.log_probs.shape[-1]
            choice = self.log_probs.argmax(-1) if deterministic else self._draw_choice(self.log_probs)
            parts.append(2.0 * functional.one_hot(choice, k).to(self.log_probs.dtype) - 1.0)
        return torch.cat(parts, dim=-1)

    def log_prob(self, carrier: Tensor) -> Tensor:
        """Exact joint log-probability of a carrier (n, d + k), shape (n,)."""
        choice, continuous = self._split(carrier)
        parts = []
        if self.log_probs is not None and choice is not None:
            parts.append(self._used(0, self.log_probs.gather(-1, choice.unsqueeze(-1)).squeeze(-1)))
        if self.law is not None:
            parts.append(self._used(1, self.law.log_prob(0.5 * (continuous + 1.0))))
        return torch.stack(parts).sum(0)

    def entropy(self) -> Tensor:
        """Joint entropy of the parts in use, shape (n,)."""
        parts = []
        if self.log_probs is not None:
            p = self.log_probs.exp()
            parts.append(self._used(0, -torch.where(p > 0, p * self.log_probs, torch.zeros_like(p)).sum(-1)))
        if self.law is not None:
            parts.append(self._used(1, self.law.entropy()))
        return torch.stack(parts).sum(0)

    def _used(self, part: int, value: Tensor) -> Tensor:
        return value if self._uses is None else torch.where(self._uses[part], value, torch.zeros_like(value))

    def _split(self, carrier: Tensor) -> tuple[Tensor | None, Tensor]:
        if self.log_probs is None:
            return None, carrier
        k = self.log_probs.shape[-1]
        return carrier[..., carrier.shape[-1] - k :].argmax(-1), carrier[..., : carrier.shape[-1] - k]

    @staticmethod
    def _draw_choice(log_probs: Tensor) -> Tensor:
        # Gumbel-max: one uniform per score, the same number of draws whatever the probabilities are.
        noise = -torch.log(-torch.log(torch.rand_like(log_probs).clamp(1e-20, 1.0 - 1e-7)))
        return (log_probs + noise).argmax(-1)


class HybridHead(nn.Module):
    """Linear maps from a latent to the parameters of a `HybridDistribution`.

    Args:
        latent: width of the latent.
        n_choices: number of choices, 0 for none.
        n_continuous: number of continuous parts, 0 for none.
        family: law of the continuous parts.
        init_mean: mean of w before training, in (0, 1).
        init_scale: standard deviation before training (of the logit for `squashed`, of w for `censored`).

    Raises:
        InvalidInputError: unknown family, `init_mean` outside (0, 1), or `init_scale` not above 0.
    """

    def __init__(
        self,
        latent: int,
        n_choices: int,
        n_continuous: int,
        family: Family = "squashed",
        init_mean: float = 0.5,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if family not in FAMILIES:
            raise InvalidInputError.of("family", f"one of {', '.join(FAMILIES)}", family)
        if not 0.0 < init_mean < 1.0:
            raise InvalidInputError.of("init_mean", "in (0, 1)", init_mean)
        if not 0.0 < init_scale < math.inf:
            raise InvalidInputError.of("init_scale", "a finite number > 0", init_scale)
        self.n_choices, self.n_continuous, self.family = n_choices, n_continuous, family
        self.choice = nn.Linear(latent, n_choices) if n_choices else None
        width = 2 * n_continuous if family == "beta" else n_continuous
        self.location = nn.Linear(latent, width) if n_continuous else None
        self.log_scale = nn.Parameter(torch.full((n_continuous,), math.log(init_scale))) if n_continuous else None
        self._init_mean = init_mean

    def reset_parameters(self, gain: float = 0.01) -> None:
        """Small orthogonal weights, so that the first policy hardly depends on the observation."""
        for layer in (self.choice, self.location):
            if layer is not None:
                nn.init.orthogonal_(layer.weight, gain=gain)
                nn.init.zeros_(layer.bias)
        if self.location is not None:
            nn.init.constant_(self.location.bias, first_location(self.family, self._init_mean))

    def forward(self, latent: Tensor, uses: Uses | None = None, mask: Tensor | None = None) -> HybridDistribution:
        """Distribution of the decisions that belong to a batch of latents (n, latent)."""
        law: ContinuousLaw | None = None
        if self.location is not None and self.log_scale is not None:
            law = continuous_law(self.family, self.location(latent), self.log_scale)
        return HybridDistribution(None if self.choice is None else self.choice(latent), law, uses, mask)


def continuous_law(family: Family, location: Tensor, log_scale: Tensor) -> ContinuousLaw:
    """The law of the continuous parts with these parameters.

    Args:
        family: which law.
        location: its location, shape (n, d); of `beta` both parameters, shape (n, 2 d).
        log_scale: logarithm of its spread, broadcastable to (n, d); not used by `beta`.
    """
    if family == "beta":
        return UnimodalBeta(location)
    if family == "censored":
        return CensoredGaussian(location, log_scale)
    return SquashedGaussian(location, log_scale)


def first_location(family: Family, init_mean: float) -> float:
    """Location at which the mean (median if `squashed`) of w is `init_mean`; 0 for `beta`, whose start is fixed."""
    if family == "beta":
        return 0.0
    return init_mean if family == "censored" else math.log(init_mean / (1.0 - init_mean))


@cache
def _hermite_rule() -> tuple[list[float], list[float]]:
    nodes, weights = hermegauss(_HERMITE_NODES)
    return nodes.tolist(), (weights / math.sqrt(2.0 * math.pi)).tolist()


def _hermite(like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the expectation under a standard normal."""
    nodes, weights = _hermite_rule()
    return torch.tensor(nodes, dtype=like.dtype, device=like.device), torch.tensor(
        weights, dtype=like.dtype, device=like.device
    )
