"""One copy of a backbone per item: what is remembered of an item is its own, how to remember is common to all."""

from __future__ import annotations

import torch
from torch import Tensor

from .backbones import Backbone


class ItemwiseBackbone(Backbone):
    """Runs a backbone once per item, with the same weights and a state for each.

    A copy sees the entries of its item beside their mean over all items, and the decision on its item. What it learns
    about one item holds for every other, and nothing depends on the order of the items.

    Args:
        inner: the backbone, for observations of 2 E entries and decisions of 2.
        items: number I of items.
    """

    def __init__(self, inner: Backbone, items: int) -> None:
        super().__init__()
        self.inner, self.items = inner, items
        self.width, self.copies = inner.width, items
        self.state_width = items * inner.state_width
        self.adapts_in_training = inner.adapts_in_training

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[Tensor, Tensor]:
        """Features (n, I * width) of observations (n, I * E), blocks of the items' entries; see `Backbone.step`."""
        features, states = self.inner.step(self._split(obs).flatten(0, 1), self._states(state), adapt)
        return features.view(len(obs), -1), states.reshape(state.shape)

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None, adapt: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Features (n, T, I * width) along sequences (n, T, I * E); see `Backbone.sequence`."""
        features, states = self.inner.sequence(
            self._rows(self._split(obs)),
            self._states(state),
            None if actions is None else self._rows(self._decisions(actions)),
            adapt,
        )
        own = features.unflatten(0, (len(obs), self.items)).transpose(1, 2).flatten(2)
        return own, states.reshape(state.shape)

    def note_action(self, state: Tensor, action: Tensor) -> Tensor:
        """See `Backbone.note_action`."""
        decisions = self._decisions(action).flatten(0, 1)
        return self.inner.note_action(self._states(state), decisions).reshape(state.shape)

    def settled(self, state: Tensor) -> Tensor:
        """See `Backbone.settled`."""
        return self.inner.settled(self._states(state)).reshape(state.shape)

    def auxiliary_loss(self, obs: Tensor, actions: Tensor, valid: Tensor) -> Tensor | None:
        """See `Backbone.auxiliary_loss`."""
        rows, decisions = self._rows(self._split(obs)), self._rows(self._decisions(actions))
        return self.inner.auxiliary_loss(rows, decisions, valid.repeat_interleave(self.items, 0))

    def _split(self, obs: Tensor) -> Tensor:
        """What every copy sees, (..., I, 2 E), of observations (..., I * E)."""
        own = obs.unflatten(-1, (self.items, -1))
        return torch.cat([own, own.mean(-2, keepdim=True).expand_as(own)], dim=-1)

    def _decisions(self, actions: Tensor) -> Tensor:
        """Share and score of every item, (..., I, 2), of carriers (..., 2 I)."""
        return torch.stack(actions.chunk(2, dim=-1), dim=-1)

    def _rows(self, values: Tensor) -> Tensor:
        """(n, T, I, ...) as (n I, T, ...): every item's sequence is a row."""
        return values.transpose(1, 2).flatten(0, 1)

    def _states(self, state: Tensor) -> Tensor:
        return state.reshape(len(state) * self.items, self.inner.state_width)
