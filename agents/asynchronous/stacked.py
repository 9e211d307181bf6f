"""The same network once per device, as one matrix: row m holds every parameter of device m.

A batched matrix product then serves all devices in one call, a device's parameters are picked by an index, and Adam is
a handful of operations on rows however many layers there are.
"""

from __future__ import annotations

from itertools import accumulate
from math import prod, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .memory import GRUWeights

Parameters = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
Rows = slice | Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # Adam's, as torch has them


def column(records: NDArray[np.void], name: str) -> Tensor:
    """A field of records as a tensor of its own."""
    return torch.from_numpy(np.ascontiguousarray(records[name]))


def linear_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """Shapes of one device's linear layer."""
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (1, outputs)}


def gru_shapes(name: str, inputs: int, size: int) -> Shapes:
    """Shapes of one device's gated recurrent unit."""
    return {
        f"{name}.w_in": (inputs, 3 * size),
        f"{name}.w_state": (size, 3 * size),
        f"{name}.b_in": (1, 3 * size),
        f"{name}.b_state": (1, 3 * size),
    }


def linear(parameters: Parameters, name: str, values: Tensor) -> Tensor:
    """Layer of D devices on values (D, n, inputs): shape (D, n, outputs)."""
    return torch.baddbmm(parameters[f"{name}.bias"], values, parameters[f"{name}.weight"])


def gru(parameters: Parameters, name: str) -> GRUWeights:
    """The recurrent units of D devices."""
    return GRUWeights(*(parameters[f"{name}.{part}"] for part in GRUWeights._fields))


class Stack:
    """Parameters of one network per device, and Adam's state.

    Args:
        devices: number of devices M.
        shapes: of one device's parameters, by name.
        rate: Adam's step.
        generator: draws the first parameters: uniform within 1/sqrt(fan-in), torch's own rule for linear and recurrent
            layers.
        orthogonal: names of weights that start orthogonal (and their biases zero) instead.
        max_norm: limit of a device's gradient norm; 0: none.
    """

    def __init__(
        self,
        devices: int,
        shapes: Shapes,
        rate: float,
        generator: torch.Generator,
        orthogonal: tuple[str, ...] = (),
        max_norm: float = 0.0,
    ) -> None:
        self._shapes = shapes
        self._sizes = [prod(shape) for shape in shapes.values()]
        ends = list(accumulate(self._sizes))
        self._places = {name: slice(end - size, end) for name, end, size in zip(shapes, ends, self._sizes, strict=True)}
        self._known: dict[tuple[str, ...], tuple[list[str], list[int]]] = {}
        self.rate, self.max_norm = rate, max_norm
        self.theta = torch.zeros(devices, sum(self._sizes))
        self._first, self._second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self._steps = torch.zeros(devices, 1)
        for name, values in self.views(self.theta).items():
            layer, _, part = name.rpartition(".")
            if f"{layer}.weight" in orthogonal:
                for value in values if part == "weight" else ():
                    nn.init.orthogonal_(value, generator=generator)
            else:
                # the fan-in of torch's recurrent layers is their width, for every one of their parameters
                fan_in = shapes[f"{layer}.weight"][0] if f"{layer}.weight" in shapes else shapes[f"{layer}.w_state"][0]
                values.uniform_(-1.0 / sqrt(fan_in), 1.0 / sqrt(fan_in), generator=generator)

    def views(self, theta: Tensor) -> Parameters:
        """Rows (D, P) as named parameters (D, ...)."""
        parts = theta.split(self._sizes, 1)
        return {name: part.view(-1, *shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}

    def at(self, rows: Rows, *layers: str) -> Parameters:
        """Parameters of some successive layers of some devices, for use without a gradient."""
        names, sizes = self._parts(layers)
        begin = self._places[names[0]].start
        parts = self.theta[:, begin : begin + sum(sizes)][rows].split(sizes, 1)
        return {name: part.view(-1, *self._shapes[name]) for name, part in zip(names, parts, strict=True)}

    def _parts(self, layers: tuple[str, ...]) -> tuple[list[str], list[int]]:
        """Names and sizes of the parameters of some layers; worked out once, because every decision asks."""
        if layers not in self._known:
            names = [name for name in self._shapes if name.rpartition(".")[0] in layers]
            self._known[layers] = (names, [prod(self._shapes[name]) for name in names])
        return self._known[layers]

    def leaf(self, rows: slice) -> Tensor:
        """Parameters (D, P) of some devices, from which a gradient can be taken; hand it to `step`."""
        return self.theta[rows].clone().requires_grad_()

    @torch.no_grad()
    def step(self, rows: slice, leaf: Tensor, active: Tensor | None = None) -> None:
        """One step of Adam on the rows, by the gradient of `leaf`.

        Args:
            rows: those given to `leaf`.
            leaf: what it returned, after ``backward``.
            active: which of the rows move, bool (D,); the others keep their parameters and moments. None: all.
        """
        assert leaf.grad is not None
        gradient = leaf.grad
        if self.max_norm:
            gradient = gradient * (self.max_norm / (gradient.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0)
        steps = self._steps[rows] + 1.0
        first = torch.lerp(self._first[rows], gradient, 1.0 - _BETAS[0])
        second = torch.lerp(self._second[rows], gradient * gradient, 1.0 - _BETAS[1])
        size = self.rate / (1.0 - _BETAS[0] ** steps)
        spread = second.sqrt() / (1.0 - _BETAS[1] ** steps).sqrt() + _EPSILON
        moved = self.theta[rows] - size * first / spread
        for mine, new in ((self.theta, moved), (self._first, first), (self._second, second), (self._steps, steps)):
            mine[rows] = new if active is None else torch.where(active.unsqueeze(1), new, mine[rows])

    def state(self) -> Parameters:
        """The live tensors that later training depends on."""
        return {"theta": self.theta, "first": self._first, "second": self._second, "steps": self._steps}
