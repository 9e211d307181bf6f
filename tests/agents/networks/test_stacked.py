"""Copies of a network that are evaluated together are the networks one by one, and learn apart."""

import torch

from edgewise.agents.networks.d3qn_ddpg import DuelingQ, WaitCritic
from edgewise.agents.networks.stacked import DeviceStack, rank_in_group

DEVICES, WIDTH = 4, 6


def stacked_and_single(kind: str) -> tuple[DeviceStack, list[torch.nn.Module]]:
    made: list[torch.nn.Module] = []

    def build() -> torch.nn.Module:
        network = DuelingQ(WIDTH, 3, (5,), 4) if kind == "q" else WaitCritic(WIDTH, (5,), 4)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
        made.append(network)
        return network

    torch.manual_seed(0)
    return DeviceStack(build, DEVICES), made


def rows(devices: list[int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    own = torch.tensor(devices, dtype=torch.float32).unsqueeze(1)
    return torch.cat([own, torch.randn(len(devices), WIDTH, generator=generator)], dim=1)


def test_every_row_goes_through_its_own_network() -> None:
    given = rows([2, 0, 2, 3, 2, 0])  # device 1 has none
    stack, networks = stacked_and_single("q")
    expected = torch.stack([networks[int(row[0])](row[None, 1:])[0] for row in given])
    assert torch.allclose(stack(given), expected, atol=1e-6)
    assert not torch.allclose(expected[0], networks[0](given[:1, 1:])[0])


def test_further_inputs_and_buffers_follow() -> None:
    given, wait = rows([1, 1, 3]), torch.tensor([[0.1], [0.2], [0.9]])
    stack, networks = stacked_and_single("critic")
    waits = torch.tensor([0.0, 1.0, 2.0, 5.0])
    stack.fit(waits)
    for network in networks:
        network.fit(waits)  # type: ignore[operator]
    each = [networks[int(row[0])](row[None, 1:], w[None])[0] for row, w in zip(given, wait, strict=True)]
    assert torch.allclose(stack(given, wait), torch.stack(each), atol=1e-6)
    again, _ = stacked_and_single("critic")
    assert not torch.allclose(again(given, wait), stack(given, wait))
    again.load_state_dict(stack.state_dict())
    assert torch.equal(again(given, wait), stack(given, wait))


def test_gradients_reach_the_networks_that_were_used() -> None:
    stack, _ = stacked_and_single("q")
    wait = torch.nn.Parameter(torch.zeros(()))
    given = rows([2, 0, 2])
    given[:, 3] += wait
    stack(given).square().sum().backward()
    assert wait.grad is not None
    assert wait.grad != 0.0  # inputs get theirs too
    for weight in stack.parameters():
        assert weight.grad is not None
        used = weight.grad.flatten(1).abs().sum(1) > 0
        assert not used[1]
        assert not used[3]
    assert all(used[[0, 2]])


def test_rank_in_group() -> None:
    group = torch.tensor([3, 1, 3, 3, 0, 1])
    assert rank_in_group(group, 5).tolist() == [0, 0, 1, 2, 0, 1]
    assert rank_in_group(torch.zeros(0, dtype=torch.long), 5).tolist() == []
