"""Observation features for semi-Markov decisions: compressed and raw columns, gated by the kind of decision."""

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

N_KINDS = 3  # update, offload, joint


class CompressedFeatures(nn.Module):
    """Kind one-hot, log1p of every other column, and the columns themselves, standardised.

    Ages and queues span decades, so a network sees their logarithm; the value of a waiting state is close to linear in
    the age, so the raw column is kept beside it.

    Args:
        n_columns: width of the observation.
        kind_column: the column that holds the kind of decision (0, 1 or 2); None when every decision is of one kind.
        ignored: columns to leave out. A column that others determine (delay and time since completion, given the age)
            adds nothing but a direction in which a linear value is not identified.
    """

    LIMIT = 5.0
    """Standard deviations from which on an observation is an outlier."""
    EPSILON = 1e-8
    """Added to variances: a column may be constant."""

    mean: Tensor
    var: Tensor
    columns: Tensor

    def __init__(self, n_columns: int, kind_column: int | None, ignored: Collection[int] = ()) -> None:
        super().__init__()
        self.kind_column = kind_column
        self.n_kinds = 1 if kind_column is None else N_KINDS
        kept = [column for column in range(n_columns) if column != kind_column and column not in ignored]
        self.n_kept = len(kept)
        self.width = self.n_kinds + 2 * self.n_kept
        self.register_buffer("columns", torch.tensor(kept), persistent=False)
        self.register_buffer("mean", torch.zeros(2 * self.n_kept, dtype=torch.float64))
        self.register_buffer("var", torch.ones(2 * self.n_kept, dtype=torch.float64))

    def kinds(self, observation: Tensor) -> Tensor:
        """Kind of every row as an integer tensor (n,)."""
        if self.kind_column is None:
            return torch.zeros(observation.shape[0], dtype=torch.long, device=observation.device)
        return observation[:, self.kind_column].long()

    def forward(self, observation: Tensor) -> Tensor:
        """Network features (n, width) of observations (n, n_columns); outliers saturate."""
        values = self._standardised(observation).clamp(-self.LIMIT, self.LIMIT)
        return torch.cat([self._one_hot(observation), values], dim=-1).float()

    def linear(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a linear model per kind of decision.

        Args:
            observation: shape (n, n_columns).

        Returns:
            Features (n, `linear_width`), float64: a constant and the columns for the row's kind, zero for the others;
            and weights (n,) in (0, 1] that bound the leverage of outlying observations (nothing is clipped, so a
            truth that is linear stays linear).
        """
        values = self._standardised(observation)
        extended = functional.pad(values, (1, 0), value=1.0)
        gated = (self._one_hot(observation).unsqueeze(-1) * extended.unsqueeze(1)).flatten(1)
        outlying = values[:, self.n_kept :].abs().amax(dim=-1) / self.LIMIT
        return gated, outlying.clamp(min=1.0) ** -2

    @property
    def linear_width(self) -> int:
        """Number of features of `linear`."""
        return self.n_kinds * (1 + 2 * self.n_kept)

    def per_linear(self, constant: float, compressed: float, raw: float) -> NDArray[np.float64]:
        """One number per feature of `linear`, by its sort, shape (linear_width,)."""
        return np.tile(np.repeat([constant, compressed, raw], [1, self.n_kept, self.n_kept]), self.n_kinds)

    @torch.no_grad()
    def fit(self, observation: Tensor) -> None:
        """Set the statistics to those of a batch (n, n_columns)."""
        values = self.values(observation)
        self.mean.copy_(values.mean(0))
        self.var.copy_(values.var(0, correction=0))

    def _one_hot(self, observation: Tensor) -> Tensor:
        return functional.one_hot(self.kinds(observation), self.n_kinds).double()

    def _standardised(self, observation: Tensor) -> Tensor:
        return (self.values(observation) - self.mean) * torch.rsqrt(self.var + self.EPSILON)

    def values(self, observation: Tensor) -> Tensor:
        """The columns before they are standardised, compressed and raw, shape (n, 2 * n_kept), float64."""
        raw = observation[:, self.columns].double()
        return torch.cat([torch.sign(raw) * torch.log1p(raw.abs()), raw], dim=-1)


def mlp(width: int, hidden: tuple[int, ...]) -> tuple[nn.Sequential, int]:
    """Tanh layers of the given widths with orthogonal weights; returns the module and its output width."""
    layers: list[nn.Module] = []
    for size in hidden:
        linear = nn.Linear(width, size)
        nn.init.orthogonal_(linear.weight, gain=2.0**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
        width = size
    return nn.Sequential(*layers), width
