"""A gate that scores experts from a prompt's features (MoE², Jin et al., arXiv 2501.09410; losses are our choice).

The paper trains the gate once, on all experts, and selects afterwards. Whether the restricted gate is as good as one
trained for the selection depends on the loss:

* ``bce`` (default): one logistic regression per expert. A linear gate's heads share nothing, so the restriction *is*
  the minimiser for the selection, exactly, for any sample.
* ``luce``: cross-entropy to the shares ``Q_i / sum_j Q_j``. Exact where the softmax can attain the shares; otherwise
  the loss is small in practice.
* ``mixture_ce``: cross-entropy of the mixture of the experts' answers. **Not** exact, and not even monotone: a
  restricted mixture can be worse than one of its members (tests/agents/experts show it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from ...envs.core.errors import InvalidInputError

Loss = Literal["bce", "luce", "mixture_ce"]
LOSSES: tuple[Loss, ...] = ("bce", "luce", "mixture_ce")
_LEAST = 1e-9

FloatArray = NDArray[np.float64]


class Gate(nn.Module):
    """Scores of n experts from d features: linear, or with one hidden layer.

    Args:
        features: d.
        experts: n.
        hidden: width of the hidden layer; 0 for a linear gate, whose heads are decoupled.

    Attributes:
        scale: (n,) of the calibration; ones before it.
        shift: (n,) of the calibration; zeros before it.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, features: int, experts: int, hidden: int = 0) -> None:
        super().__init__()
        if hidden:
            self.net: nn.Module = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, experts))
        else:
            self.net = nn.Linear(features, experts)
            nn.init.zeros_(self.net.weight)
            nn.init.zeros_(self.net.bias)
        self.double()
        self.register_buffer("scale", torch.ones(experts, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(experts, dtype=torch.float64))

    def forward(self, phi: torch.Tensor) -> torch.Tensor:
        """Logits (M, n) of features (M, d)."""
        logits: torch.Tensor = self.net(phi)
        return logits

    @torch.no_grad()
    def scores(self, phi: ArrayLike) -> FloatArray:
        """Logits (M, n) as an array: what an instance takes as its ``scores``."""
        found: FloatArray = self(_tensor(phi)).numpy()
        return found

    @torch.no_grad()
    def quality(self, phi: ArrayLike) -> FloatArray:
        """Calibrated expected qualities (M, n) in [0, 1]: what a selection is built on."""
        found: FloatArray = torch.sigmoid(self.scale * self(_tensor(phi)) + self.shift).numpy()
        return found

    @torch.no_grad()
    def weights(self, phi: ArrayLike, subset: Sequence[int] | None = None, k: int | None = None) -> FloatArray:
        """Softmax weights (M, n) over a selection, and there over the k largest scores only; 0 elsewhere."""
        scores = self.scores(phi)
        allowed = _allowed(scores.shape[1], subset)
        masked = np.where(allowed, scores, -np.inf)
        if k is not None:
            kept = np.zeros(scores.shape, bool)
            np.put_along_axis(kept, best(scores, subset, min(k, int(allowed.sum()))), True, axis=1)
            masked = np.where(kept, scores, -np.inf)
        shares = np.exp(masked - masked.max(axis=1, keepdims=True))
        found: FloatArray = shares / shares.sum(axis=1, keepdims=True)
        return found

    def topk(self, phi: ArrayLike, subset: Sequence[int] | None = None, k: int = 1) -> NDArray[np.int64]:
        """Indices (M, k) of the k largest scores within a selection, best first.

        Raises:
            InvalidInputError: the selection is empty, or smaller than k.
        """
        return best(self.scores(phi), subset, k)

    def calibrate(self, phi: ArrayLike, quality: ArrayLike) -> None:
        """Fit scale and shift of every expert's logit (Platt) on prompts that the gate was not trained on.

        Args:
            phi: (M, d) features.
            quality: (M, n) qualities in [0, 1].
        """
        with torch.no_grad():
            logits = self(_tensor(phi))
        target = _tensor(quality)
        scale = torch.ones_like(self.scale, requires_grad=True)
        shift = torch.zeros_like(self.shift, requires_grad=True)

        def loss() -> torch.Tensor:
            return nn.functional.binary_cross_entropy_with_logits(scale * logits + shift, target) + 1e-6 * (
                (scale - 1.0).square().sum() + shift.square().sum()
            )

        _minimise([scale, shift], loss)
        with torch.no_grad():
            self.scale.copy_(scale)
            self.shift.copy_(shift)


def train_gate(
    phi: ArrayLike,
    quality: ArrayLike,
    *,
    loss: Loss = "bce",
    hidden: int = 0,
    l2: float = 1e-3,
    weight: ArrayLike | None = None,
    seed: int = 0,
    steps: int = 300,
) -> Gate:
    """Train a gate on all columns of a quality table by L-BFGS.

    Args:
        phi: (M, d) features.
        quality: (M, n) in [0, 1]: what the experts' answers are worth; for ``mixture_ce`` the probability that each
            expert gives to the right answer.
        loss: ``"bce"``, ``"luce"`` or ``"mixture_ce"``.
        hidden: width of a hidden layer; 0 for a linear gate.
        l2: penalty on the weights (not on biases).
        weight: (M,) prompt weights; default equal.
        seed: of the hidden layer's initial weights; a linear gate starts at 0.
        steps: most L-BFGS iterations.

    Returns:
        The gate, not calibrated.

    Raises:
        InvalidInputError: unknown loss, shapes that do not fit, or qualities outside [0, 1].
    """
    if loss not in LOSSES:
        raise InvalidInputError.of("loss", f"one of {', '.join(LOSSES)}", loss)
    features, table = np.asarray(phi, float), np.asarray(quality, float)
    if features.ndim != 2 or table.ndim != 2 or len(features) != len(table) or not len(table):
        raise InvalidInputError(
            f"phi (M, d) and quality (M, n) must have equal length M >= 1, got {features.shape} and {table.shape}"
        )
    if not np.isfinite(features).all() or not (np.isfinite(table).all() and table.min() >= 0 and table.max() <= 1):
        raise InvalidInputError("phi must be finite and quality in [0, 1]")
    shares = np.full(len(table), 1.0 / len(table)) if weight is None else np.asarray(weight, float)
    if shares.shape != (len(table),) or not (np.isfinite(shares).all() and shares.min() >= 0 and shares.sum() > 0):
        raise InvalidInputError(f"weight must be {len(table)} finite numbers >= 0, not all 0")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gate = Gate(features.shape[1], table.shape[1], hidden)
    x, q, w = _tensor(features), _tensor(table), _tensor(shares / shares.sum())

    def objective() -> torch.Tensor:
        penalty = sum(
            (p.square().sum() for name, p in gate.named_parameters() if name.endswith("weight")), torch.zeros(())
        )
        return (w * prompt_losses(gate(x), q, loss)).sum() + 0.5 * l2 * penalty

    _minimise(list(gate.parameters()), objective, steps)
    return gate


def prompt_losses(logits: torch.Tensor, quality: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Loss of every prompt, (M,).

    Args:
        logits: (M, n).
        quality: (M, n).
        loss: as in `train_gate`.
    """
    if loss == "bce":
        return nn.functional.binary_cross_entropy_with_logits(logits, quality, reduction="none").sum(dim=1)
    log_shares = torch.log_softmax(logits, dim=1)
    if loss == "luce":
        target = (quality + _LEAST) / (quality + _LEAST).sum(dim=1, keepdim=True)
        return -(target * log_shares).sum(dim=1)
    return -torch.logsumexp(log_shares + torch.log(quality.clamp_min(_LEAST)), dim=1)


def best(scores: FloatArray, subset: Sequence[int] | None = None, k: int = 1) -> NDArray[np.int64]:
    """Indices (M, k) of the k largest scores (M, n) within a selection, best first, the lower index first among equals.

    Raises:
        InvalidInputError: the selection is empty, or smaller than k.
    """
    allowed = _allowed(scores.shape[1], subset)
    if not 1 <= k <= int(allowed.sum()):
        raise InvalidInputError.of("k", f"in [1, {int(allowed.sum())}], the size of the selection", k)
    masked = np.where(allowed, scores, -np.inf)
    return np.argsort(-masked, axis=1, kind="stable")[:, :k].astype(np.int64)


def _allowed(n: int, subset: Sequence[int] | None) -> NDArray[np.bool_]:
    if subset is None:
        return np.ones(n, bool)
    chosen = np.isin(np.arange(n), np.asarray(subset, int))
    if not chosen.any() or len(subset) != int(chosen.sum()):
        raise InvalidInputError.of("subset", f"different indices in [0, {n - 1}], at least one", subset)
    return chosen


def _tensor(values: ArrayLike) -> torch.Tensor:
    return torch.tensor(np.asarray(values, float))


def _minimise(parameters: list[Any], objective: Any, steps: int = 300) -> None:
    """Full-batch L-BFGS with a line search: deterministic, and exact enough for the convex cases."""
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=steps, tolerance_grad=1e-9, tolerance_change=1e-13, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        value = objective()
        value.backward()
        number = float(value.detach())
        if not math.isfinite(number):
            raise InvalidInputError("the gate's loss is not finite: check the features' scale")
        return number

    optimiser.step(closure)
