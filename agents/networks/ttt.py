"""Test-time-training layers: hidden state = the weights of a small learner, updated by a self-supervised loss.

Per head of width f, with base weights W of the running mini-batch of b positions:

========= =========================================================================================
part      formula
========= =========================================================================================
views     k = theta_K x, v = theta_V x, q = theta_Q x
learner   f(u; W) = u + LN(u W + c), or u + LN(GELU(u W1 + c1) W2 + c2) with W1 of shape (f, 4 f)
loss      1/2 of the squared distance from f(k; W) - k to v - k
step      W_t = W - tok_p (sum over the mini-batch's positions s up to t of lr_s grad loss(W; x_s))
forget    where a mini-batch ends, W - W_0 is multiplied by a number of the head, 1 as published
output    z_t = f(q_t; W_t): adapt first, then read
========= =========================================================================================

What is carried from one position to the next is the *difference* W - W_0, the accumulated gradients and the position
in the mini-batch, all zero at the start of an episode. So every chunk of a sequence, whatever it starts from, sends
gradient to W_0.

*Source*: Sun et al., arXiv 2407.04620.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.core.errors import InvalidInputError
from .ttt_learner import AffineMap, HeadNorm, gelu_slope

Inner = Literal["linear", "mlp"]
INNERS: tuple[Inner, ...] = get_args(Inner)

_EXPANSION = 4  # width of the hidden layer of the MLP learner, in widths of a head
_STD = 0.02  # of the first inner weights and gates


class Views(NamedTuple):
    """What the layer makes of its input.

    Attributes:
        query: read from the updated learner, shape (..., H, b, f); of single positions b is 1.
        key: input of the self-supervised task, same shape.
        target: what the learner's normalised output should be, v - k, same shape.
        rate: inner learning rates, shape (..., H, b).
        kept: share of W - W_0 that is left where a mini-batch ends, shape (..., H, b).
    """

    query: Tensor
    key: Tensor
    target: Tensor
    rate: Tensor
    kept: Tensor


class TTTLayer(nn.Module):
    """A multi-head test-time-training layer, `TTT-Linear` or `TTT-MLP`.

    `step` advances by one position and forms the updated weights (primal form); `sequence` runs many positions a
    mini-batch at a time without forming them (dual form). Both give the same numbers up to rounding.

    A state is a matrix with one row per sequence: differences of the inner weights from W_0, accumulated gradients,
    position in the mini-batch. Zeros start an episode.

    Args:
        width: width of inputs and outputs.
        heads: number of heads H; must divide `width`.
        minibatch: positions b between two changes of the base weights.
        inner: the learner, ``linear`` or ``mlp``.
        eta_base: base learning rate of the inner steps, before the gate and the division by the head's width f; 0 makes
            a static network.
        forgetting: share of W - W_0 that is forgotten where a mini-batch ends, before training: every head learns its
            own. What is observed may drift, and steps alone never unlearn. 0: nothing is forgotten, as published.

    Raises:
        InvalidInputError: a value outside its range.

    *Source*: arXiv 2407.04620.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        minibatch: int,
        inner: Inner = "linear",
        eta_base: float = 1.0,
        forgetting: float = 0.0,
    ) -> None:
        super().__init__()
        if inner not in INNERS:
            raise InvalidInputError.of("layer", f"one of {', '.join(INNERS)}", inner)
        if heads < 1 or width % heads:
            raise InvalidInputError.of("heads", f"a positive divisor of width {width}", heads)
        if minibatch < 1:
            raise InvalidInputError.of("minibatch", "at least 1", minibatch)
        if not 0.0 <= eta_base < math.inf:
            raise InvalidInputError.of("eta_base", "a finite number >= 0", eta_base)
        if not 0.0 <= forgetting < 1.0:
            raise InvalidInputError.of("forgetting", "in [0, 1)", forgetting)
        self.heads, self.size, self.minibatch = heads, width // heads, minibatch
        self.inner, self.eta_base = inner, eta_base
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.gate = nn.Linear(width, heads)
        nn.init.normal_(self.gate.weight, std=_STD)
        nn.init.zeros_(self.gate.bias)
        self.forget = (
            nn.Parameter(torch.full((heads,), math.log(forgetting / (1.0 - forgetting)))) if forgetting else None
        )
        sizes = (self.size, self.size) if inner == "linear" else (self.size, _EXPANSION * self.size, self.size)
        self.weights = nn.ParameterList()  # W_0, c_0 of every affine map, in order
        for before, after in pairwise(sizes):
            self.weights.append(nn.Parameter(_STD * torch.randn(heads, before, after)))
            self.weights.append(nn.Parameter(torch.zeros(heads, 1, after)))
        self.norm = HeadNorm(heads, self.size)
        self.token = nn.Parameter(torch.zeros(minibatch))
        self.register_buffer("_harmonic", 1.0 / torch.arange(1, minibatch + 1), persistent=False)
        self.out_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width, bias=False)
        self._numbers = [weight.numel() for weight in self.weights]
        self.state_width = 2 * sum(self._numbers) + 1

    # --- states -------------------------------------------------------------------------------------------------------

    def initial_state(self, n: int) -> Tensor:
        """States (n, `state_width`) of episodes that begin."""
        return self.out.weight.new_zeros(n, self.state_width)

    def settled(self, state: Tensor) -> Tensor:
        """What to hold the weights at: those that the last input was read with, as the base of a new mini-batch.

        Args:
            state: shape (n, `state_width`), not itself from here.
        """
        half = sum(self._numbers)
        position = state[:, -1].long()
        factor = torch.where(position > 0, self._tokens()[position - 1], torch.zeros_like(state[:, -1]))
        delta = state[:, :half] - factor.unsqueeze(-1) * state[:, half:-1]
        if self.forget is not None:  # where a mini-batch has just ended, undo what was forgotten after the reading
            kept = self._by_weight((1.0 - torch.sigmoid(self.forget)).unsqueeze(0))
            delta = torch.where((position == 0).unsqueeze(-1), delta / kept, delta)
        return torch.cat([delta, torch.zeros_like(state[:, half:])], dim=-1)

    def _by_weight(self, heads: Tensor) -> Tensor:
        """A number of every head (n, H) for each of its inner weights, (n, half a state)."""
        return torch.cat([heads.repeat_interleave(count // self.heads, -1) for count in self._numbers], dim=-1)

    def _tokens(self) -> Tensor:
        harmonic: Tensor = self._harmonic  # type: ignore[assignment]
        return (harmonic + self.token).clamp(min=0.0)

    def _unpack(self, state: Tensor) -> tuple[list[AffineMap], Tensor]:
        """Affine maps at the base weights, and positions (n,)."""
        *parts, position = state.split([*self._numbers, *self._numbers, 1], dim=-1)
        shaped = [
            part.unflatten(-1, tuple(weight.shape))
            for part, weight in zip(parts, [*self.weights, *self.weights], strict=True)
        ]
        count = len(self.weights)
        maps = [
            AffineMap(
                self.weights[i] + shaped[i],
                self.weights[i + 1] + shaped[i + 1],
                shaped[count + i],
                shaped[count + i + 1],
            )
            for i in range(0, count, 2)
        ]
        return maps, position.squeeze(-1).long()

    # --- the layer ----------------------------------------------------------------------------------------------------

    def views(
        self, x: Tensor, key: Tensor | None = None, value: Tensor | None = None, adapt: float | Tensor = 1.0
    ) -> Views:
        """Views of inputs (n, b, width).

        Args:
            x: what is read with, and what sets the inner learning rates.
            key: input of the self-supervised task; None: `x`.
            value: its target; None: `x`.
            adapt: factor of the inner learning rates, one number or one per input (n, b); 0 freezes the weights.
        """
        q, k, v = (
            layer(given).unflatten(-1, (self.heads, self.size)).transpose(-2, -3)
            for layer, given in (
                (self.query, x),
                (self.key, x if key is None else key),
                (self.value, x if value is None else value),
            )
        )
        factor = adapt.unsqueeze(-1) if isinstance(adapt, Tensor) else adapt
        rate = self.eta_base / self.size * factor * torch.sigmoid(self.gate(x))
        kept = torch.ones_like(rate) if self.forget is None else 1.0 - factor * torch.sigmoid(self.forget)
        return Views(q, k, v - k, rate.transpose(-1, -2), kept.expand_as(rate).transpose(-1, -2))

    def step(
        self,
        x: Tensor,
        state: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        adapt: float | Tensor = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Adapt to one input per sequence, then read.

        Args:
            x: inputs (n, width).
            state: states (n, `state_width`).
            key: see `views`, shape (n, width).
            value: see `views`, shape (n, width).
            adapt: see `views`, a number or shape (n,).

        Returns:
            Outputs (n, width) and the next states.
        """
        if self.eta_base == 0.0:
            z, state = self._static(x.unsqueeze(-2), state)
            return z.squeeze(-2), state
        key, value = (None if given is None else given.unsqueeze(-2) for given in (key, value))
        factor = adapt.unsqueeze(-1) if isinstance(adapt, Tensor) else adapt
        views = self.views(x.unsqueeze(-2), key, value, factor)
        maps, position = self._unpack(state)
        written, gradients = self._inner_gradients(maps, views)
        sums = [m.sums(u, g, views.rate) for m, u, g in zip(maps, written, gradients, strict=True)]
        token = self._tokens()[position].view(-1, 1, 1, 1)
        u = views.query
        for index, (m, (weight_sum, offset_sum)) in enumerate(zip(maps, sums, strict=True)):
            u = functional.gelu(u, approximate="tanh") if index else u
            u = u @ (m.weight - token * weight_sum) + (m.offset - token * offset_sum)
        flat_sums = torch.cat([part.flatten(1) for pair in sums for part in pair], dim=-1)
        half = sum(self._numbers)
        full = (position == self.minibatch - 1).unsqueeze(-1)
        kept = self._by_weight(views.kept[..., -1])
        delta = torch.where(full, kept * (state[:, :half] - self._tokens()[-1] * flat_sums), state[:, :half])
        flat_sums = torch.where(full, torch.zeros_like(flat_sums), flat_sums)
        following = ((position + 1) % self.minibatch).to(state.dtype).unsqueeze(-1)
        z = views.query + self.norm(u)
        return self._output(z).squeeze(-2), torch.cat([delta, flat_sums, following], dim=-1)

    def sequence(
        self,
        x: Tensor,
        state: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        adapt: float | Tensor = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Adapt and read along sequences, each from a state of its own, at any position of a mini-batch.

        Args:
            x: inputs (n, T, width).
            state: states (n, `state_width`).
            key: see `views`, shape (n, T, width).
            value: see `views`, shape (n, T, width).
            adapt: see `views`, a number or shape (n, T).

        Returns:
            Outputs (n, T, width) and the states after the last input.
        """
        if self.eta_base == 0.0:
            return self._static(x, state)
        views = self.views(x, key, value, adapt)
        maps, position = self._unpack(state)
        length, b = x.shape[1], self.minibatch
        first = int(position.max()) if len(position) else 0
        batches = -(-(first + length) // b)
        # Sequences are shifted right so that mini-batches lie below each other; what is beside them has rate 0.
        place = position.unsqueeze(-1) + torch.arange(length, device=x.device)
        views = Views(*(_shifted(view, place, batches * b) for view in views))
        outputs = []
        for number in range(batches):
            part = Views(*(view[:, :, number * b : (number + 1) * b] for view in views))
            complete = position + length >= (number + 1) * b
            z, maps = self._mini_batch(part, maps, complete)
            outputs.append(z)
        z = torch.cat(outputs, dim=2)
        index = place.view(len(place), 1, length, 1).expand(-1, self.heads, -1, self.size)
        base = [weight for m in maps for weight in (m.weight, m.offset)]
        deltas = [(now - start).flatten(1) for now, start in zip(base, self.weights, strict=True)]
        rest = [part.flatten(1) for m in maps for part in (m.weight_sum, m.offset_sum)]
        following = ((position + length) % b).to(state.dtype).unsqueeze(-1)
        return self._output(z.gather(2, index)), torch.cat([*deltas, *rest, following], dim=-1)

    def _static(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """What any sequence (n, T, width) comes to without inner steps: read with the weights there are."""
        maps, position = self._unpack(state)
        query: Tensor = self.query(x).unflatten(-1, (self.heads, self.size)).transpose(-2, -3)
        u = query
        for index, m in enumerate(maps):
            u = m.base(functional.gelu(u, approximate="tanh") if index else u)
        following = ((position + x.shape[1]) % self.minibatch).to(state.dtype).unsqueeze(-1)
        return self._output(query + self.norm(u)), torch.cat([state[:, :-1], following], dim=-1)

    def _mini_batch(self, views: Views, maps: list[AffineMap], complete: Tensor) -> tuple[Tensor, list[AffineMap]]:
        """Outputs (n, H, b, f) of one mini-batch in dual form, and the maps that the next one starts from."""
        written, gradients = self._inner_gradients(maps, views)
        token = self._tokens()
        u = views.query
        following = []
        kept, ends = views.kept[..., -1:].unsqueeze(-1), complete.view(-1, 1, 1, 1)
        for index, (m, w, g) in enumerate(zip(maps, written, gradients, strict=True)):
            u = functional.gelu(u, approximate="tanh") if index else u
            u = m.updated(u, w, g, token, views.rate)
            first = self.weights[2 * index], self.weights[2 * index + 1]
            following.append(m.following(m.sums(w, g, views.rate), first, token[-1], kept, ends))
        return views.query + self.norm(u), following

    def _inner_gradients(self, maps: list[AffineMap], views: Views) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs of every affine map and loss gradients with respect to its outputs, at the base weights."""
        first = maps[0].base(views.key)
        if len(maps) == 1:
            return [views.key], [self.norm.error_gradient(first, views.target)]
        hidden = functional.gelu(first, approximate="tanh")
        outer = self.norm.error_gradient(maps[1].base(hidden), views.target)
        return [views.key, hidden], [outer @ maps[1].weight.transpose(-1, -2) * gelu_slope(first), outer]

    def inner_loss(self, x: Tensor, state: Tensor) -> Tensor:
        """Self-supervised loss (n,) of inputs (n, width) at the base weights of the states, summed over the heads."""
        views = self.views(x.unsqueeze(-2))
        maps, _ = self._unpack(state)
        u = views.key
        for index, m in enumerate(maps):
            u = m.base(functional.gelu(u, approximate="tanh") if index else u)
        error: Tensor = self.norm(u) - views.target
        return 0.5 * error.square().sum((1, 2, 3))

    def _output(self, z: Tensor) -> Tensor:
        """Heads (n, H, b, f) joined, normalised and mapped to (n, b, width)."""
        joined = z.transpose(-2, -3).flatten(-2)
        result: Tensor = self.out(self.out_norm(joined))
        return result


def _shifted(view: Tensor, place: Tensor, length: int) -> Tensor:
    """Rows (n, H, T, ...) moved to their places (n, T) on an axis of the given length, zeros elsewhere."""
    if view.shape[2] == length:
        return view
    trailing = view.shape[3:]
    index = place.view(place.shape[0], 1, -1, *(1 for _ in trailing)).expand_as(view)
    return view.new_zeros(*view.shape[:2], length, *trailing).scatter(2, index, view)
