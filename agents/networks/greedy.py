"""The greedy decisions of a hybrid actor, compiled.

Evaluations ask for a handful of decisions at a time, millions of times: there, most of the time of a small network is
what torch needs to begin each operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.aoi_offload.state import KIND
from .asynchronous import HybridActor, StackedLinear
from .hybrid import continuous_law

Floats = NDArray[np.float32]

_F = TypeVar("_F", bound=Callable[..., Any])


def _jit(function: _F) -> _F:
    return cast(_F, numba.njit(cache=True)(function))


class Mode(NamedTuple):
    """The most likely decisions of n rows: servers (n,) and waits as shares of the longest, (n, 1)."""

    server: NDArray[np.int64]
    wait: Floats


class GreedyActor:
    """The mode of an actor's law, but for the rounding of sums; later training does not change it.

    Args:
        actor: whose weights to copy.
    """

    def __init__(self, actor: HybridActor) -> None:
        self._family = actor.family
        heads = _copy(actor.choice), _copy(actor.location)
        weights, biases = zip(*map(_copy, actor.trunk), strict=True)
        output = tuple(np.concatenate(pair, axis=-1) for pair in zip(*heads, strict=True))
        self._members = [
            (tuple(w[member] for w in (*weights, output[0])), tuple(b[member, 0] for b in (*biases, output[1])))
            for member in range(actor.members)
        ]
        self._choices = heads[0][1].shape[-1]
        features = actor.features
        scale = features.mean, torch.rsqrt(features.var + features.EPSILON)
        self._columns, self._scale = features.columns.numpy().copy(), torch.stack(scale).numpy()
        self._kinds, self._limit = features.n_kinds, features.LIMIT
        self._spread = torch.zeros(1)  # a mode does not depend on it

    def __call__(self, observation: Floats, device: NDArray[np.int64]) -> Mode:
        """The mode at observations (n, 4 + N) of devices (n,)."""
        x = _features(observation, self._columns, self._scale, self._kinds, self._limit)
        if len(self._members) == 1:
            y = _network(x, *self._members[0])
        else:
            y = np.empty((len(x), len(self._members[0][1][-1])), np.float32)
            for member in np.unique(device):
                own = device == member
                y[own] = _network(x[own], *self._members[member])
        law = continuous_law(self._family, torch.from_numpy(y[:, self._choices :]), self._spread)
        return Mode(y[:, : self._choices].argmax(-1), law.mode().numpy())


def _copy(layer: torch.nn.Module) -> tuple[Floats, Floats]:
    assert isinstance(layer, StackedLinear)
    return layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()


@_jit
def _features(
    observation: Floats, columns: NDArray[np.int64], scale: NDArray[np.float64], n_kinds: int, limit: float
) -> Floats:
    """What `CompressedFeatures` makes of observations."""
    kept = len(columns)
    x = np.zeros((len(observation), n_kinds + 2 * kept), np.float32)
    for i in range(len(observation)):
        x[i, int(observation[i, KIND])] = 1.0
        for j in range(kept):
            raw = np.float64(observation[i, columns[j]])
            small = (np.sign(raw) * np.log1p(abs(raw)) - scale[0, j]) * scale[1, j]
            large = (raw - scale[0, kept + j]) * scale[1, kept + j]
            x[i, n_kinds + j] = min(max(small, -limit), limit)
            x[i, n_kinds + kept + j] = min(max(large, -limit), limit)
    return x


@_jit
def _network(x: Floats, weights: tuple[Floats, ...], biases: tuple[Floats, ...]) -> Floats:
    """Tanh layers and a linear one."""
    for layer in range(len(weights) - 1):
        x = np.tanh(np.dot(x, weights[layer]) + biases[layer])
    y: Floats = np.dot(x, weights[-1]) + biases[-1]
    return y
