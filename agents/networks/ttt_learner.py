"""The inner learner of a TTT layer: affine maps that gradients of a self-supervised loss update, read in dual form."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-6  # of the layer norm


def gelu_slope(x: Tensor) -> Tensor:
    """Derivative of ``gelu(x, approximate="tanh")``."""
    a = math.sqrt(2.0 / math.pi)
    t = torch.tanh(a * (x + 0.044715 * x**3))
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * a * (1.0 + 3.0 * 0.044715 * x * x)


class HeadNorm(nn.Module):
    """A layer norm per head, and the gradient of 1/2 ||LN(z) - target||^2 with respect to z."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(heads, 1, width))
        self.bias = nn.Parameter(torch.zeros(heads, 1, width))

    def forward(self, z: Tensor) -> Tensor:
        """LN(z) of outputs (n, H, b, f)."""
        return self.gain * functional.layer_norm(z, z.shape[-1:], eps=_EPS) + self.bias

    def error_gradient(self, z: Tensor, target: Tensor) -> Tensor:
        """Gradient (n, H, b, f) with respect to z, for a target of the same shape."""
        centred = z - z.mean(-1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + _EPS)
        normal = centred * scale
        u = (self.gain * normal + self.bias - target) * self.gain
        inward = u - u.mean(-1, keepdim=True) - normal * (u * normal).mean(-1, keepdim=True)
        return inward * scale


class AffineMap(NamedTuple):
    """One affine map of the learner during a mini-batch.

    Attributes:
        weight: base weights, shape (n, H, in, out).
        offset: base offsets, shape (n, H, 1, out).
        weight_sum: gradients of the weights accumulated since the mini-batch began, times their rates.
        offset_sum: likewise of the offsets.
    """

    weight: Tensor
    offset: Tensor
    weight_sum: Tensor
    offset_sum: Tensor

    def base(self, u: Tensor) -> Tensor:
        """Output with the base weights, shape (n, H, b, out), of inputs (n, H, b, in)."""
        return u @ self.weight + self.offset

    def updated(self, u: Tensor, written: Tensor, gradient: Tensor, token: Tensor, rate: Tensor) -> Tensor:
        """Output at every position with the weights updated up to it, without forming them (dual form).

        Args:
            u: inputs to read with, shape (n, H, b, in).
            written: inputs whose gradients are taken, same shape.
            gradient: gradient with respect to their outputs, shape (n, H, b, out).
            token: factor of every position, shape (b,).
            rate: inner learning rates, shape (n, H, b).
        """
        factors = torch.tril(token.unsqueeze(-1) * rate.unsqueeze(-2))
        earlier = token.unsqueeze(-1) * (u @ self.weight_sum + self.offset_sum)
        return self.base(u) - earlier - (factors * (u @ written.transpose(-1, -2)) + factors) @ gradient

    def sums(self, written: Tensor, gradient: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """The accumulated gradients after these positions."""
        weighted = rate.unsqueeze(-1) * gradient
        return self.weight_sum + written.transpose(-1, -2) @ weighted, self.offset_sum + weighted.sum(-2, keepdim=True)

    def following(
        self, sums: tuple[Tensor, Tensor], first: tuple[Tensor, Tensor], token: Tensor, kept: Tensor, ends: Tensor
    ) -> AffineMap:
        """The map after a mini-batch: updated and partly forgotten where it ends, else with its sums.

        Args:
            sums: see `sums`.
            first: W_0 and c_0, shapes (H, in, out) and (H, 1, out).
            token: factor of the last position.
            kept: share of the difference from them that is kept, shape (n, H, 1, 1).
            ends: where the mini-batch is complete, boolean (n, 1, 1, 1).
        """
        bases, rests = [], []
        for now, total, start in zip(self[:2], sums, first, strict=True):
            bases.append(torch.where(ends, start + kept * (now - token * total - start), now))
            rests.append(torch.where(ends, torch.zeros_like(total), total))
        return AffineMap(*bases, *rests)
