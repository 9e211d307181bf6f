"""Test-time-training layers: primal and dual forms, causality, static limits, gradients, states (9.6 of the spec)."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from edgewise.agents.networks.ttt import INNERS, Inner, TTTLayer
from edgewise.agents.networks.ttt_learner import gelu_slope
from edgewise.envs.core.errors import InvalidInputError

WIDTH, HEADS, BATCH = 16, 2, 4


def layer(inner: Inner = "linear", seed: int = 0, minibatch: int = BATCH, **kwargs: Any) -> TTTLayer:
    """A layer in which every part matters: no parameter is left at a neutral start."""
    torch.manual_seed(seed)
    made = TTTLayer(WIDTH, HEADS, minibatch, inner, **({"eta_base": 2.0} | kwargs))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def inputs(n: int = 3, length: int = 20, seed: int = 1) -> Tensor:
    return torch.randn(n, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def by_steps(made: TTTLayer, x: Tensor, state: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, Tensor]:
    state = made.initial_state(len(x)) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        z, state = made.step(x[:, t], state, **kwargs)
        outputs.append(z)
    return torch.stack(outputs, 1), state


def by_autograd(made: TTTLayer, x: Tensor) -> Tensor:
    """The definition, slowly: gradients of the inner loss by autograd, for one sequence (T, width)."""
    heads, size = made.heads, made.size
    weights = [w.detach().clone() for w in made.weights]
    tokens = (1.0 / torch.arange(1, BATCH + 1) + made.token.detach()).clamp(min=0.0)

    def norm(z: Tensor) -> Tensor:
        normal = (z - z.mean(-1, keepdim=True)) / torch.sqrt(z.var(-1, correction=0, keepdim=True) + 1e-6)
        return made.norm.gain * normal + made.norm.bias

    def learner(u: Tensor, w: list[Tensor]) -> Tensor:
        u = u @ w[0] + w[1]
        if len(w) == 4:
            u = torch.nn.functional.gelu(u, approximate="tanh") @ w[2] + w[3]
        return norm(u)

    def heads_of(linear: Any, row: Tensor) -> Tensor:
        return linear(row).view(heads, 1, size).detach()

    outputs, sums = [], [torch.zeros_like(w) for w in weights]
    for t, row in enumerate(x):
        q, k, v = (heads_of(linear, row) for linear in (made.query, made.key, made.value))
        rate = (made.eta_base / size * torch.sigmoid(made.gate(row))).detach().view(heads, 1, 1)
        held = [w.clone().requires_grad_() for w in weights]
        loss = 0.5 * (learner(k, held) - (v - k)).square().sum()
        sums = [s + rate * g for s, g in zip(sums, torch.autograd.grad(loss, held), strict=True)]
        now = [w - tokens[t % BATCH] * s for w, s in zip(weights, sums, strict=True)]
        outputs.append(made.out(made.out_norm((q + learner(q, now)).flatten())).detach())
        if t % BATCH == BATCH - 1:
            kept = torch.ones(heads) if made.forget is None else 1.0 - torch.sigmoid(made.forget.detach())
            weights = [w + kept.view(heads, 1, 1) * (n - w) for w, n in zip(made.weights, now, strict=True)]
            weights, sums = [w.detach() for w in weights], [torch.zeros_like(s) for s in sums]
    return torch.stack(outputs)


@pytest.mark.parametrize("forgetting", [0.0, 0.3])
@pytest.mark.parametrize("inner", INNERS)
def test_both_forms_are_the_definition(inner: Inner, forgetting: float) -> None:
    made, x = layer(inner, forgetting=forgetting).double(), inputs(2, 11).double()
    expected = torch.stack([by_autograd(made, row) for row in x])
    torch.testing.assert_close(by_steps(made, x)[0], expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(made.sequence(x, made.initial_state(2))[0], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("inner", INNERS)
def test_primal_equals_dual_in_single_precision(inner: Inner) -> None:
    made, x = layer(inner), inputs(5, 40)
    steps, last = by_steps(made, x)
    dual, final = made.sequence(x, made.initial_state(5))
    assert last[:, :-1].abs().max() > 0.1  # it has moved
    torch.testing.assert_close(dual, steps, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(final, last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("forgetting", [0.0, 0.3])
@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("cuts", [(20, 40), (4, 24), (3, 10, 11, 29)])
def test_chunks_continue_a_sequence(inner: Inner, cuts: tuple[int, ...], forgetting: float) -> None:
    made, x = layer(inner, forgetting=forgetting).double(), inputs(3, 43).double()
    whole, final = made.sequence(x, made.initial_state(3))
    state, parts = made.initial_state(3), []
    for start, end in zip((0, *cuts), (*cuts, 43), strict=True):
        part, state = made.sequence(x[:, start:end], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(state, final, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("inner", INNERS)
def test_rows_may_stand_at_different_positions(inner: Inner) -> None:
    made, x = layer(inner).double(), inputs(4, 9).double()
    states = torch.cat([by_steps(made, x[i : i + 1, :i])[1] if i else made.initial_state(1) for i in range(4)])
    assert states[:, -1].tolist() == [0, 1, 2, 3]
    outputs, after = made.sequence(x, states)
    expected, last = by_steps(made, x, states)
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(after, last, rtol=1e-10, atol=1e-11)


def test_gelu_slope_is_the_derivative() -> None:
    x = torch.linspace(-4, 4, 50, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.gelu(x, approximate="tanh").sum().backward()
    torch.testing.assert_close(gelu_slope(x.detach()), x.grad)


@pytest.mark.parametrize("inner", INNERS)
def test_causality(inner: Inner) -> None:
    made, x = layer(inner), inputs()
    changed = x.clone()
    changed[:, 9] += 1.0
    left, right = (made.sequence(y, made.initial_state(3))[0] for y in (x, changed))
    assert torch.equal(left[:, :8], right[:, :8])  # whole mini-batches before
    torch.testing.assert_close(left[:, :9], right[:, :9], rtol=0, atol=1e-6)
    assert (left[:, 9:] - right[:, 9:]).abs().amax(-1).min() > 1e-4
    x.requires_grad_()
    made.sequence(x, made.initial_state(3))[0][:, 8].sum().backward()
    assert not x.grad[:, 9:].any()  # exactly: a product with 0, not a small number


@pytest.mark.parametrize("inner", INNERS)
def test_without_inner_steps_it_is_a_static_network_bit_for_bit(inner: Inner) -> None:
    made, x = layer(inner, eta_base=0.0), inputs()
    adaptive = layer(inner)
    state = made.initial_state(3)
    for t in range(10):
        u = q = made.query(x[:, t]).view(3, HEADS, 1, -1)
        for i in range(0, len(made.weights), 2):
            u = torch.nn.functional.gelu(u, approximate="tanh") if i else u
            u = u @ made.weights[i].expand(3, -1, -1, -1) + made.weights[i + 1]
        static = made.out(made.out_norm((q + made.norm(u)).flatten(1)))
        z, state = made.step(x[:, t], state)
        held, _ = adaptive.step(x[:, t], state, adapt=0.0)
        assert torch.equal(z, static)
        assert torch.equal(held, static)
    assert not state[:, :-1].any()
    sequence, last = made.sequence(x, made.initial_state(3))
    frozen, _ = adaptive.sequence(x, made.initial_state(3), adapt=0.0)
    assert torch.equal(sequence, frozen)
    assert not last[:, :-1].any()


@pytest.mark.parametrize("inner", INNERS)
def test_the_static_shortcut_is_what_vanishing_steps_come_to(inner: Inner) -> None:
    """Same outputs, states and gradients as the full forms with steps too small to matter."""
    static, full = (layer(inner, eta_base=eta, forgetting=0.3).double() for eta in (0.0, 1e-30))
    x = inputs().double()
    for made in (static, full):
        z, state = made.sequence(x, made.initial_state(len(x)))
        torch.testing.assert_close(by_steps(made, x), (z, state))
        z.square().sum().backward()
    torch.testing.assert_close(by_steps(static, x), by_steps(full, x))
    for (name, a), b in zip(static.named_parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(torch.zeros_like(a) if a.grad is None else a.grad, b.grad, msg=name)


@pytest.mark.parametrize("inner", INNERS)
def test_a_small_inner_step_lowers_the_loss_of_its_sample(inner: Inner) -> None:
    made = layer(inner, eta_base=0.05, minibatch=1)
    x = inputs(50, 1)[:, 0]
    state = made.initial_state(50)
    before = made.inner_loss(x, state)
    after = made.inner_loss(x, made.step(x, state)[1])
    assert (after < before).all()


@pytest.mark.parametrize("inner", INNERS)
def test_no_gradient_leaks_between_sequences(inner: Inner) -> None:
    made, x = layer(inner), inputs().requires_grad_()
    outputs, last = made.sequence(x, made.initial_state(3))
    (outputs[0].sum() + last[0].sum()).backward()
    assert x.grad[0].any()
    assert not x.grad[1:].any()


@pytest.mark.parametrize("inner", INNERS)
def test_every_chunk_sends_gradient_to_the_first_weights(inner: Inner) -> None:
    made, x = layer(inner), inputs(2, 60)
    _, state = made.sequence(x[:, :40], made.initial_state(2))
    made.zero_grad()
    made.sequence(x[:, 40:], state.detach())[0].square().sum().backward()  # a later chunk, from a stored state
    for weight in made.weights:
        assert weight.grad.abs().max() > 1e-4


def test_gradients_are_those_of_finite_differences() -> None:
    made, x = layer("mlp").double(), inputs(1, 9).double()

    def loss() -> Tensor:
        return made.sequence(x, made.initial_state(1))[0].square().sum()

    loss().backward()
    step = 1e-6
    for name, parameter in made.named_parameters():
        flat, place = parameter.data.view(-1), int(parameter.grad.abs().argmax())
        flat[place] += step
        up = loss().item()
        flat[place] -= 2 * step
        down = loss().item()
        flat[place] += step
        assert parameter.grad.view(-1)[place].item() == pytest.approx((up - down) / (2 * step), rel=1e-5), name


@pytest.mark.parametrize("inner", INNERS)
def test_settled_weights_are_the_present_ones(inner: Inner) -> None:
    made, x = layer(inner).double(), inputs(3, 10).double()
    _, state = by_steps(made, x)
    assert state[:, -1].tolist() == [2, 2, 2]
    settled = made.settled(state)
    assert not settled[:, settled.shape[1] // 2 :].any()
    # Held there, it reads what the running layer would read if the next inner gradients vanished; frozen stays put.
    z, after = made.step(x[:, 0], settled, adapt=0.0)
    assert torch.equal(after[:, :-1], settled[:, :-1])
    tokens = made._tokens().detach()
    half = sum(made._numbers)
    by_hand = state[:, :half] - tokens[1] * state[:, half:-1]
    torch.testing.assert_close(settled[:, :half], by_hand)
    assert z.isfinite().all()
    _, boundary = by_steps(made, x[:, :8])
    assert torch.equal(made.settled(boundary), boundary)


@pytest.mark.parametrize("length", [6, 8])
@pytest.mark.parametrize("inner", INNERS)
def test_settled_weights_are_those_that_the_last_input_was_read_with(inner: Inner, length: int) -> None:
    """Also where a mini-batch has just ended, when a part of them is forgotten already."""
    made, x = layer(inner, forgetting=0.3).double(), inputs(3, length).double()
    outputs, state = by_steps(made, x)
    again, _ = made.step(x[:, -1], made.settled(state), adapt=0.0)
    torch.testing.assert_close(again, outputs[:, -1])


def test_what_was_learned_is_forgotten_unless_the_weights_are_held() -> None:
    made, never, x = layer(forgetting=0.5), layer(forgetting=0.5), inputs(2, 4)
    made.forget.data[:] = torch.tensor([0.0, 30.0])  # the second head forgets everything
    never.forget.data[:] = -30.0
    _, state = by_steps(made, x)
    _, remembered = by_steps(never, x)
    first, second = ((s[:, : made._numbers[0]].view(2, HEADS, -1)) for s in (state, remembered))
    torch.testing.assert_close(first[:, 0], 0.5 * second[:, 0])
    assert first[:, 1].abs().max() < 1e-6 < second[:, 1].abs().max()
    _, held = by_steps(made, inputs(2, 8), remembered, adapt=0.0)
    assert torch.equal(held, remembered)


def test_state_dict_round_trip_includes_the_first_weights() -> None:
    made, other, x = layer(seed=0), layer(seed=5), inputs()
    assert {"weights.0", "weights.1", "token"} <= made.state_dict().keys()
    assert not torch.equal(*(m.sequence(x, m.initial_state(3))[0] for m in (made, other)))
    other.load_state_dict(made.state_dict())
    assert torch.equal(*(m.sequence(x, m.initial_state(3))[0] for m in (made, other)))


def test_the_same_seed_gives_the_same_layer() -> None:
    x = inputs()
    left, right = (layer(seed=3).sequence(x, torch.zeros(3, layer().state_width))[0] for _ in range(2))
    assert torch.equal(left, right)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner": "tanh"}, "layer must be one of linear, mlp, got 'tanh'"),
        ({"heads": 3}, "heads must be a positive divisor of width 16, got 3"),
        ({"heads": 0}, "heads must be"),
        ({"minibatch": 0}, "minibatch must be at least 1, got 0"),
        ({"eta_base": -1.0}, "eta_base must be a finite number >= 0, got -1.0"),
        ({"eta_base": math.nan}, "eta_base must be"),
        ({"forgetting": 1.0}, r"forgetting must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TTTLayer(**({"width": WIDTH, "heads": HEADS, "minibatch": BATCH} | arguments))


def test_the_self_supervised_task_may_have_other_inputs_and_weights() -> None:
    made, x = layer().double(), inputs(3, 9).double()
    key, value = inputs(3, 9, seed=2).double(), inputs(3, 9, seed=3).double()
    factor = torch.rand(3, 9, dtype=torch.float64)
    whole, last = made.sequence(x, made.initial_state(3).double(), key, value, factor)
    state, outputs = made.initial_state(3), []
    for t in range(9):
        z, state = made.step(x[:, t], state, key[:, t], value[:, t], factor[:, t])
        outputs.append(z)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(state, last, rtol=1e-10, atol=1e-11)
    assert not torch.allclose(whole, made.sequence(x, made.initial_state(3))[0], atol=1e-3)
