"""Gated recurrent units whose weights change from event to event: the history of an asynchronous system as a state.

One state is handed along a sequence of events, and each event applies the weights of the device that acts. No library's
recurrent layer does that (their weights are those of the whole sequence), and a Python loop over torch operations costs
a hundred times as much at these widths, so the recurrence and its gradient are compiled.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

_compiled: Any = numba.njit(cache=True, error_model="numpy", nogil=True)


class GRUWeights(NamedTuple):
    """Weights of G units, gates in torch's order (reset, update, new).

    Attributes:
        w_in: shape (G, I, 3H).
        w_state: shape (G, H, 3H).
        b_in: shape (G, 1, 3H).
        b_state: shape (G, 1, 3H).
    """

    w_in: Tensor
    w_state: Tensor
    b_in: Tensor
    b_state: Tensor


@_compiled  # type: ignore[untyped-decorator]
def _forward(
    inputs: Array,
    which: Array,
    starts: Array,
    initial: Array,
    w_in: Array,
    w_state: Array,
    b_in: Array,
    b_state: Array,
    before: Array,
    after: Array,
    gates: Array,
) -> None:
    """States before and after every event; ``gates`` keeps reset, update, new and the state's part of new."""
    size = initial.shape[1]
    from_in, from_state = np.empty(3 * size, before.dtype), np.empty(3 * size, before.dtype)
    for t in range(inputs.shape[0]):
        g = which[t]
        for j in range(size):
            before[t, j] = initial[t, j] if starts[t] else after[t - 1, j]
        for k in range(3 * size):
            from_in[k], from_state[k] = b_in[g, 0, k], b_state[g, 0, k]
        for i in range(inputs.shape[1]):
            for k in range(3 * size):
                from_in[k] += inputs[t, i] * w_in[g, i, k]
        for j in range(size):
            for k in range(3 * size):
                from_state[k] += before[t, j] * w_state[g, j, k]
        for j in range(size):
            reset = 1.0 / (1.0 + math.exp(-(from_in[j] + from_state[j])))
            update = 1.0 / (1.0 + math.exp(-(from_in[size + j] + from_state[size + j])))
            new = math.tanh(from_in[2 * size + j] + reset * from_state[2 * size + j])
            gates[t, 0, j], gates[t, 1, j] = reset, update
            gates[t, 2, j], gates[t, 3, j] = new, from_state[2 * size + j]
            after[t, j] = new + update * (before[t, j] - new)


@_compiled  # type: ignore[untyped-decorator]
def _backward(
    inputs: Array,
    which: Array,
    starts: Array,
    w_state: Array,
    before: Array,
    gates: Array,
    d_before: Array,
    d_after: Array,
    d_w_in: Array,
    d_w_state: Array,
    d_b_in: Array,
    d_b_state: Array,
) -> None:
    """Add the gradients of the weights to the last four arguments."""
    size = before.shape[1]
    carry = np.zeros(size, before.dtype)  # gradient of the state handed on to the next event
    d_in, d_state = np.empty(3 * size, before.dtype), np.empty(3 * size, before.dtype)
    for t in range(inputs.shape[0] - 1, -1, -1):
        g = which[t]
        for j in range(size):
            reset, update, new, part = gates[t, 0, j], gates[t, 1, j], gates[t, 2, j], gates[t, 3, j]
            d = d_after[t, j] + carry[j]
            d_new = d * (1.0 - update) * (1.0 - new * new)
            d_reset = d_new * part * reset * (1.0 - reset)
            d_update = d * (before[t, j] - new) * update * (1.0 - update)
            d_in[j], d_in[size + j], d_in[2 * size + j] = d_reset, d_update, d_new
            d_state[j], d_state[size + j], d_state[2 * size + j] = d_reset, d_update, d_new * reset
            carry[j] = d * update + d_before[t, j]
        for k in range(3 * size):
            d_b_in[g, 0, k] += d_in[k]
            d_b_state[g, 0, k] += d_state[k]
        for i in range(inputs.shape[1]):
            for k in range(3 * size):
                d_w_in[g, i, k] += inputs[t, i] * d_in[k]
        for j in range(size):
            total = carry[j]
            for k in range(3 * size):
                d_w_state[g, j, k] += before[t, j] * d_state[k]
                total += w_state[g, j, k] * d_state[k]
            carry[j] = 0.0 if starts[t] else total


def _arrays(weights: tuple[Tensor, ...]) -> list[Array]:
    return [weight.detach().contiguous().numpy() for weight in weights]


class _Scan(torch.autograd.Function):
    """`scan` with its gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: Array, which: Array, starts: Array, initial: Array, *weights: Tensor) -> Any:
        shape = (len(inputs), initial.shape[1])
        before, after = np.empty(shape, initial.dtype), np.empty(shape, initial.dtype)
        gates = np.empty((shape[0], 4, shape[1]), initial.dtype)
        arrays = _arrays(weights)
        _forward(inputs, which, starts, initial, *arrays, before, after, gates)
        ctx.saved = (inputs, which, starts, arrays[1], before, gates, [array.shape for array in arrays])
        return torch.from_numpy(before), torch.from_numpy(after)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        inputs, which, starts, w_state, before, gates, shapes = ctx.saved
        results = [np.zeros(shape, before.dtype) for shape in shapes]
        _backward(inputs, which, starts, w_state, before, gates, *_arrays(gradients), *results)
        return None, None, None, None, *map(torch.from_numpy, results)


def scan(inputs: Array, which: Array, starts: Array, initial: Array, weights: GRUWeights) -> tuple[Tensor, Tensor]:
    """Hand a state along a sequence of events, differentiably in the weights.

    Args:
        inputs: what each event tells, shape (T, I), of the weights' type.
        which: the unit that each event applies, int64 (T,).
        starts: whether the state before an event is `initial` instead of the one after the event before it, bool (T,);
            the first must be set.
        initial: shape (T, H); rows without a start are not read.
        weights: of G units.

    Returns:
        States before and after every event, each (T, H).
    """
    before, after = _Scan.apply(inputs, which, starts, initial, *weights)  # type: ignore[no-untyped-call]
    return before, after


def advance(inputs: Array, states: Array, weights: GRUWeights) -> Array:
    """The states (n, H) that n separate events leave, each with its own unit; without a gradient.

    Args:
        inputs: shape (n, I).
        states: before the events, shape (n, H).
        weights: of n units.
    """
    after = np.empty_like(states)
    gates = np.empty((len(states), 4, states.shape[1]), states.dtype)
    everywhere = np.ones(len(states), np.bool_)
    _forward(inputs, np.arange(len(states)), everywhere, states, *_arrays(weights), np.empty_like(states), after, gates)
    return after
