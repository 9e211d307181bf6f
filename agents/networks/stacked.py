"""Independent copies of a network, evaluated together."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state


class DeviceStack(nn.Module):
    """One network per device, all evaluated in one batched call.

    Column 0 of the first input says whose network a row goes through, the other columns are that network's input.

    Args:
        build: makes one network; every copy starts from weights of its own.
        devices: number of copies M.
    """

    def __init__(self, build: Callable[[], nn.Module], devices: int) -> None:
        super().__init__()
        networks = [build() for _ in range(devices)]
        parameters, buffers = stack_module_state(networks)
        self.devices = devices
        self._network = (networks[0],)  # in a tuple, so that its own parameters are not registered
        self._names = {_key(name): name for name in parameters}
        self._buffer_names = {_key(name): name for name in buffers}
        weights = {_key(name): nn.Parameter(value.detach()) for name, value in parameters.items()}
        self.weights = nn.ParameterDict(weights)
        for name, value in buffers.items():
            self.register_buffer(_key(name), value)

    def forward(self, rows: Tensor, *others: Tensor) -> Tensor:
        """Outputs (n, ...) of rows (n, 1 + width) and further inputs (n, ...)."""
        device = rows[:, 0].long()
        place = rank_in_group(device, self.devices)
        depth = int(place.max()) + 1
        inputs = []
        for values in (rows[:, 1:], *others):
            padded = values.new_zeros(self.devices, depth, values.shape[-1])
            padded[device, place] = values
            inputs.append(padded)
        state = {name: self.weights[key] for key, name in self._names.items()}
        state |= {name: self.get_buffer(key) for key, name in self._buffer_names.items()}
        (network,) = self._network

        def one(own: dict[str, Tensor], *given: Tensor) -> Tensor:
            output: Tensor = functional_call(network, own, given)
            return output

        outputs: Tensor = torch.vmap(one)(state, *inputs)
        return outputs[device, place]

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Let one copy `fit` its buffers to values and give the result to all: scales are common, weights are not."""
        (network,) = self._network
        network.fit(values)  # type: ignore[operator]  # only for networks that have it
        for key, name in self._buffer_names.items():
            self.get_buffer(key).copy_(network.get_buffer(name).expand_as(self.get_buffer(key)))


def rank_in_group(group: Tensor, groups: int) -> Tensor:
    """Rank of every row (n,) among the rows of its group, in order, from 0."""
    order = torch.argsort(group, stable=True)
    counts = torch.bincount(group, minlength=groups)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(group), device=group.device) - first[group[order]]
    return rank


def _key(name: str) -> str:
    """A dotted name as one that a container of parameters accepts."""
    return name.replace(".", "-")
