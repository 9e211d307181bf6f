"""Networks of the dueling double DQN and of DDPG for hybrid decisions."""

import math

import torch
from torch import Tensor, nn

from .features import mlp


class BatchMoments(nn.Module):
    """The batch normalisation of the released code: moments of the batch in training, mean 0 and variance 1 in use.

    Its moving statistics are never updated there and its scale and shift are not trained, so the network that acts is
    not the one that was trained. Only for reproducing that defect.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Normalise a batch (n, width) in training mode, hand it through otherwise."""
        if not self.training or values.shape[0] < 2:
            return values
        return (values - values.mean(0)) * torch.rsqrt(values.var(0, correction=0) + 1e-3)


class DuelingQ(nn.Module):
    """Q(s, a) = V(s) + A(s, a) - mean A(s, .), each a network (if it has layers) plus a linear model.

    Args:
        features: width of the input.
        n_choices: number of actions.
        hidden: widths of the hidden layers; none: a linear model only.
        n_linear: how many of the last features the linear model sees.
    """

    def __init__(self, features: int, n_choices: int, hidden: tuple[int, ...], n_linear: int) -> None:
        super().__init__()
        trunk, width = mlp(features, hidden)
        self.trunk = trunk if hidden else None
        width = width if hidden else 0
        self.n_linear = n_linear
        self.value = nn.Linear(width + n_linear, 1)
        self.advantage = nn.Linear(width + n_linear, n_choices)
        for head in (self.value, self.advantage):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Values (n, n_choices) of features (n, features)."""
        latent = features[:, -self.n_linear :]
        if self.trunk is not None:
            latent = torch.cat([self.trunk(features), latent], dim=-1)
        advantage = self.advantage(latent)
        values: Tensor = self.value(latent) + advantage - advantage.mean(-1, keepdim=True)
        return values


class WaitActor(nn.Module):
    """Deterministic wait w = sigmoid(f(s)), as a share of its range.

    Args:
        features: width of the input.
        hidden: widths of the hidden layers.
        init_mean: w before training.
        batch_moments: reproduce the released code's batch normalisation.
    """

    def __init__(self, features: int, hidden: tuple[int, ...], init_mean: float, batch_moments: bool = False) -> None:
        super().__init__()
        trunk, width = mlp(features, hidden)
        self.trunk = nn.Sequential(BatchMoments(), *trunk, BatchMoments()) if batch_moments else trunk
        self.head = nn.Linear(width, 1)
        nn.init.orthogonal_(self.head.weight, gain=0.01)
        nn.init.constant_(self.head.bias, math.log(init_mean / (1.0 - init_mean)))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, 1) of the wait."""
        logit: Tensor = self.head(self.trunk(features))
        return logit


class WaitCritic(nn.Module):
    """Q(s, w): a network (if it has layers) plus a model that is quadratic in w, as the cost of waiting is.

    Args:
        features: width of the state input.
        hidden: widths of the hidden layers; none: the quadratic model only.
        n_linear: how many of the last features the quadratic model sees.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, features: int, hidden: tuple[int, ...], n_linear: int) -> None:
        super().__init__()
        trunk, width = mlp(features + 1, hidden)
        self.trunk = trunk if hidden else None
        width = width if hidden else 0
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.n_linear = n_linear
        self.head = nn.Linear(width + 2 * n_linear + 2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def fit(self, wait: Tensor) -> None:
        """Standardise waits by those of a batch, any shape."""
        self.centre.copy_(wait.mean())
        self.spread.copy_(wait.std() + 1e-6)

    def forward(self, features: Tensor, wait: Tensor) -> Tensor:
        """Values (n,) of waits (n, 1)."""
        wait = (wait - self.centre) / self.spread
        seen = features[:, -self.n_linear :]
        latent = torch.cat([seen, wait * seen, wait, wait * wait], dim=-1)
        if self.trunk is not None:
            latent = torch.cat([self.trunk(torch.cat([features, wait], dim=-1)), latent], dim=-1)
        value: Tensor = self.head(latent)
        return value.squeeze(-1)
