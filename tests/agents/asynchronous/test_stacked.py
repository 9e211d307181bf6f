"""Networks of all devices as one matrix, and Adam on its rows."""

import pytest
import torch

from edgewise.agents.asynchronous.stacked import Stack, gru_shapes, linear, linear_shapes

SHAPES = {**linear_shapes("first", 3, 16), **linear_shapes("second", 16, 2), **gru_shapes("memory", 4, 5)}


def make(devices: int = 4, max_norm: float = 0.0) -> Stack:
    return Stack(devices, SHAPES, 0.01, torch.Generator().manual_seed(0), ("first.weight",), max_norm)


def loss(stack: Stack, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    parameters = stack.views(theta)
    return (linear(parameters, "second", linear(parameters, "first", x).tanh()) ** 2).sum((1, 2))


def test_first_parameters_follow_torchs_rules_and_differ_between_devices() -> None:
    stack = make()
    parameters = stack.views(stack.theta)
    assert [tuple(value.shape) for value in parameters.values()] == [(4, *shape) for shape in SHAPES.values()]
    for value in parameters["first.weight"]:
        assert torch.allclose(value @ value.T, torch.eye(3), atol=1e-5)
    assert (parameters["first.bias"] == 0.0).all()
    for name, fan_in in (("second.weight", 16), ("second.bias", 16), ("memory.w_in", 5), ("memory.b_state", 5)):
        assert 0.8 * fan_in**-0.5 < parameters[name].abs().max() <= fan_in**-0.5
    assert len({tuple(row.tolist()) for row in stack.theta}) == 4


def test_adam_on_rows_equals_torchs_adam_on_each_device() -> None:
    stack = make()
    x = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(1))
    single = [row.clone().requires_grad_() for row in stack.theta]
    optimizers = [torch.optim.Adam([row], lr=0.01) for row in single]
    for rows in (slice(0, 4), slice(1, 3), slice(0, 4), slice(2, 3)):
        leaf = stack.leaf(rows)
        loss(stack, leaf, x[rows]).sum().backward()
        stack.step(rows, leaf)
        for device in range(4)[rows]:
            optimizers[device].zero_grad()
            loss(stack, single[device].unsqueeze(0), x[device : device + 1]).sum().backward()
            optimizers[device].step()
    torch.testing.assert_close(stack.theta, torch.stack([row.detach() for row in single]))


def test_inactive_rows_keep_parameters_and_moments() -> None:
    stack = make()
    for _ in range(2):
        before = {name: value.clone() for name, value in stack.state().items()}
        leaf = stack.leaf(slice(0, 4))
        loss(stack, leaf, torch.ones(4, 2, 3)).sum().backward()
        stack.step(slice(0, 4), leaf, torch.tensor([True, False, True, False]))
        for name, value in stack.state().items():
            moved = (value != before[name]).any(1)
            assert moved.tolist() == [True, False, True, False], name


def test_the_norm_of_each_devices_gradient_is_limited() -> None:
    stack = make(max_norm=0.5)
    leaf = stack.leaf(slice(0, 4))
    leaf.grad = torch.zeros_like(leaf)
    leaf.grad[0, :2] = torch.tensor([3.0, 4.0])
    leaf.grad[1, :2] = torch.tensor([0.3, 0.0])
    stack.step(slice(0, 4), leaf)
    first = stack.state()["first"]
    assert first[0, :2].tolist() == pytest.approx([0.1 * 0.3, 0.1 * 0.4], rel=1e-4)
    assert first[1, :2].tolist() == pytest.approx([0.1 * 0.3, 0.0], rel=1e-4)


def test_layers_can_be_picked_for_any_order_of_devices() -> None:
    stack = make()
    picked = stack.at(torch.tensor([3, 0, 3]), "second")
    assert picked.keys() == {"second.weight", "second.bias"}
    whole = stack.views(stack.theta)
    assert torch.equal(picked["second.weight"], whole["second.weight"][[3, 0, 3]])
