"""Backbones of actor-critics that carry a state: test-time training, and its neighbours of equal size.

Every backbone maps observations to features and a flat state (n, S) to the next one. A state of zeros starts an
episode, so a reset is a product, and one kind of buffer, checkpoint and library plug serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.core.errors import InvalidInputError
from .features import mlp
from .ttt import Inner, TTTLayer

InnerLoss = Literal["ttt", "obs_reconstruction", "next_obs_prediction", "inverse_dynamics"]
INNER_LOSSES: tuple[InnerLoss, ...] = get_args(InnerLoss)
CORRUPTION = 0.15
"""Share of an observation's entries that a corrupted view has set to 0."""


class Backbone(nn.Module):
    """From observations to features, with a state.

    Attributes:
        width: width of the features.
        state_width: numbers S of a state; 0 for a memoryless backbone.
        copies: sets of features C; where there are several, they lie behind each other, (n, C * width).
        adapts_in_training: whether rollouts adapt as deployment does.
    """

    width: int
    state_width: int
    copies: int = 1
    adapts_in_training: bool = True

    def initial_state(self, n: int) -> Tensor:
        """States (n, S) of episodes that begin: zeros."""
        return next(self.parameters()).new_zeros(n, self.state_width)

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[Tensor, Tensor]:
        """Features (n, width) and next states of one observation (n, D) per sequence.

        Args:
            obs: observations.
            state: states (n, S).
            adapt: factor of the inner learning rates; 0 freezes what would adapt. Gated memories have none.
        """
        raise NotImplementedError

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None, adapt: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Features (n, T, width) and last states along sequences.

        Args:
            obs: observations (n, T, D).
            state: states (n, S) before the first of them.
            actions: the decisions taken (n, T, A), for backbones that read them.
            adapt: as in `step`.
        """
        raise NotImplementedError

    def note_action(self, state: Tensor, action: Tensor) -> Tensor:
        """The state (n, S) after a decision (n, A), for backbones that read it later."""
        return state

    def settled(self, state: Tensor) -> Tensor:
        """The state (n, S) to hold what was learned so far at, see `TTTLayer.settled`."""
        return state

    def auxiliary_loss(self, obs: Tensor, actions: Tensor, valid: Tensor) -> Tensor | None:
        """Self-supervised loss that belongs to the training of the outer weights; None: none.

        Args:
            obs: observations (n, T, D).
            actions: decisions (n, T, A).
            valid: which of them are data, boolean (n, T).
        """
        return None


class TTTBlock(nn.Module):
    """Residual block around a `TTTLayer`: norm, layer, norm, gated MLP.

    Args:
        width: width of inputs and outputs.
        intermediate: width inside the gated MLP.
        layer: the layer.
    """

    def __init__(self, width: int, intermediate: int, layer: TTTLayer) -> None:
        super().__init__()
        self.layer = layer
        self.norm, self.mlp_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.up, self.gate = (nn.Linear(width, intermediate, bias=False) for _ in range(2))
        self.down = nn.Linear(intermediate, width, bias=False)

    def step(
        self,
        x: Tensor,
        state: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        adapt: float | Tensor = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Outputs (n, width) and next states of inputs (n, width); arguments as in `TTTLayer.step`."""
        z, state = self.layer.step(*self._normalised(x, state, key, value), adapt)
        return self._rest(x + z), state

    def sequence(
        self,
        x: Tensor,
        state: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        adapt: float | Tensor = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Outputs (n, T, width) and last states of inputs (n, T, width); arguments as in `TTTLayer.sequence`."""
        z, state = self.layer.sequence(*self._normalised(x, state, key, value), adapt)
        return self._rest(x + z), state

    def _normalised(
        self, x: Tensor, state: Tensor, key: Tensor | None, value: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        key, value = (None if given is None else self.norm(given) for given in (key, value))
        return self.norm(x), state, key, value

    def _rest(self, x: Tensor) -> Tensor:
        normal = self.mlp_norm(x)
        inner: Tensor = self.down(functional.silu(self.gate(normal)) * self.up(normal))
        return x + inner


class TTTBackbone(Backbone):
    """Embedding, then `TTTBlock` layers: features are read from weights that adapt to every observation.

    The inner loss compares a key's image with a target. Beside the layer's own views (``ttt``), the key can be the
    embedding of a corrupted observation (``obs_reconstruction``), of the previous observation
    (``next_obs_prediction``), or of both observations with the decision between them as target
    (``inverse_dynamics``). The latter two pause in the first slot of an episode.

    Args:
        obs_dim: width D of an observation.
        action_dim: width A of a decision.
        width: width of embedding and features.
        intermediate: width of the gated MLPs.
        layers: number of blocks.
        heads: heads per layer.
        minibatch: positions between changes of the base weights.
        layer: ``linear`` or ``mlp``, the inner learner.
        eta_base: base inner learning rate; 0 makes a static network.
        inner_loss: see above.
        forgetting: see `TTTLayer`.

    Raises:
        InvalidInputError: a value outside its range.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        width: int = 32,
        intermediate: int = 32,
        layers: int = 1,
        heads: int = 4,
        minibatch: int = 4,
        layer: Inner = "linear",
        eta_base: float = 1.0,
        inner_loss: InnerLoss = "ttt",
        forgetting: float = 0.0,
    ) -> None:
        super().__init__()
        if inner_loss not in INNER_LOSSES:
            raise InvalidInputError.of("inner_loss", f"one of {', '.join(INNER_LOSSES)}", inner_loss)
        if layers < 1:
            raise InvalidInputError.of("layers", "at least 1", layers)
        self.width, self.inner_loss, self.minibatch = width, inner_loss, minibatch
        self.embed = nn.Sequential(nn.Linear(obs_dim, width), nn.LayerNorm(width))
        self.blocks = nn.ModuleList(
            TTTBlock(width, intermediate, TTTLayer(width, heads, minibatch, layer, eta_base, forgetting))
            for _ in range(layers)
        )
        self.norm = nn.RMSNorm(width)
        self.pair = nn.Linear(2 * width, width) if inner_loss == "inverse_dynamics" else None
        self.decision = nn.Linear(action_dim, width) if inner_loss == "inverse_dynamics" else None
        if inner_loss == "obs_reconstruction":
            # One fixed corruption per position: chunks, steps and deployments see the same views.
            self.register_buffer("kept", (torch.rand(minibatch, obs_dim) >= CORRUPTION).float())
        # Of the last slot: observation, 1 once there is one, decision.
        past = obs_dim + 1 if inner_loss in ("next_obs_prediction", "inverse_dynamics") else 0
        self._past = [obs_dim, 1, action_dim if self.pair is not None else 0] if past else [0, 0, 0]
        self._layer_width = next(self._layers()).state_width
        self.state_width = sum(self._past) + layers * self._layer_width

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `Backbone.step`."""
        features, state = self.sequence(obs.unsqueeze(1), state, None, adapt, dual=False)
        return features.squeeze(1), state

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None, adapt: float = 1.0, dual: bool = True
    ) -> tuple[Tensor, Tensor]:
        """See `Backbone.sequence`; without `dual` position by position in primal form."""
        past, inner = state.split([sum(self._past), state.shape[1] - sum(self._past)], dim=-1)
        x = self.embed(obs)
        key, value, factor = self._task(obs, x, past, inner, actions, adapt)
        states = []
        for block, part in zip(self.blocks, inner.split(self._layer_width, dim=-1), strict=True):
            assert isinstance(block, TTTBlock)
            x, after = (block.sequence if dual else _by_steps(block))(x, part, key, value, factor)
            states.append(after)
        if self._past[0]:
            decision = actions[:, -1] if actions is not None else past[:, sum(self._past[:2]) :]
            past = torch.cat([obs[:, -1], torch.ones_like(past[:, :1]), decision[:, : self._past[2]]], dim=-1)
        features: Tensor = self.norm(x)
        return features, torch.cat([past, *states], dim=-1)

    def _task(
        self, obs: Tensor, x: Tensor, past: Tensor, inner: Tensor, actions: Tensor | None, adapt: float
    ) -> tuple[Tensor | None, Tensor | None, float | Tensor]:
        """Key, target and factor of the rates of the self-supervised task."""
        if self.inner_loss == "ttt":
            return None, None, adapt
        if self.inner_loss == "obs_reconstruction":
            place = inner[:, self._layer_width - 1].long().unsqueeze(-1) + torch.arange(obs.shape[1], device=obs.device)
            kept: Tensor = self.kept  # type: ignore[assignment]
            return self.embed(obs * kept[place % self.minibatch]), x, adapt
        first, known, decision = past.split(self._past, dim=-1)
        previous = self.embed(torch.cat([first.unsqueeze(1), obs[:, :-1]], dim=1))
        factor = torch.cat([known, torch.ones_like(obs[:, 1:, 0])], dim=1) * adapt
        if self.pair is None or self.decision is None:
            return previous, x, factor
        decisions = decision.unsqueeze(1)
        if obs.shape[1] > 1:
            if actions is None:
                raise InvalidInputError("inverse_dynamics needs the decisions of a sequence")
            decisions = torch.cat([decisions, actions[:, :-1]], dim=1)
        return self.pair(torch.cat([previous, x], dim=-1)), self.decision(decisions), factor

    def _layers(self) -> Iterator[TTTLayer]:
        for block in self.blocks:
            assert isinstance(block, TTTBlock)
            yield block.layer

    def note_action(self, state: Tensor, action: Tensor) -> Tensor:
        """See `Backbone.note_action`."""
        if not self._past[2]:
            return state
        before = sum(self._past[:2])
        return torch.cat([state[:, :before], action, state[:, before + self._past[2] :]], dim=-1)

    def settled(self, state: Tensor) -> Tensor:
        """See `Backbone.settled`."""
        past, *inner = state.split([sum(self._past), *([self._layer_width] * len(self.blocks))], dim=-1)
        held = [layer.settled(part) for layer, part in zip(self._layers(), inner, strict=True)]
        return torch.cat([past, *held], dim=-1)


def _by_steps(block: TTTBlock) -> Any:
    """A block's `step` with the arguments of its `sequence`, for sequences of one position."""

    def run(
        x: Tensor, state: Tensor, key: Tensor | None, value: Tensor | None, adapt: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        key, value = (None if given is None else given.squeeze(1) for given in (key, value))
        factor = adapt.squeeze(1) if isinstance(adapt, Tensor) else adapt
        y, state = block.step(x.squeeze(1), state, key, value, factor)
        return y.unsqueeze(1), state

    return run


class MLPBackbone(Backbone):
    """A memoryless network of two tanh layers.

    Args:
        obs_dim: width D of an observation.
        hidden: width of both layers.
    """

    state_width = 0

    def __init__(self, obs_dim: int, hidden: int) -> None:
        super().__init__()
        self.layers, self.width = mlp(obs_dim, (hidden, hidden))

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `Backbone.step`."""
        return self.layers(obs), state

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None, adapt: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """See `Backbone.sequence`."""
        return self.layers(obs), state


class GatedBackbone(Backbone):
    """Embedding, then a torch LSTM or GRU.

    Args:
        kind: ``lstm`` or ``gru``.
        obs_dim: width D of an observation.
        hidden: width of the recurrent state and of the features.
        embed: width of the embedding.
    """

    def __init__(self, kind: Literal["lstm", "gru"], obs_dim: int, hidden: int, embed: int = 32) -> None:
        super().__init__()
        self.width = hidden
        self.embed = nn.Sequential(nn.Linear(obs_dim, embed), nn.LayerNorm(embed))
        self.memory: nn.LSTM | nn.GRU = (nn.LSTM if kind == "lstm" else nn.GRU)(embed, hidden, batch_first=True)
        self.state_width = 2 * hidden if kind == "lstm" else hidden

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[Tensor, Tensor]:
        """See `Backbone.step`."""
        features, state = self.sequence(obs.unsqueeze(1), state)
        return features.squeeze(1), state

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None, adapt: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """See `Backbone.sequence`."""
        x = self.embed(obs)
        parts = tuple(part.unsqueeze(0).contiguous() for part in state.split(self.width, dim=-1))
        if len(parts) == 1:
            features, last = self.memory(x, parts[0])
            return features, last.squeeze(0)
        features, (hidden, cell) = self.memory(x, parts)
        return features, torch.cat([hidden.squeeze(0), cell.squeeze(0)], dim=-1)
