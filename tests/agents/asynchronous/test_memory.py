"""The recurrence with weights that change from event to event, against torch's own cells."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edgewise.agents.asynchronous.memory import GRUWeights, advance, scan

UNITS, WIDTH, SIZE, EVENTS = 3, 4, 5, 12


def cells() -> list[torch.nn.GRUCell]:
    torch.manual_seed(0)
    return [torch.nn.GRUCell(WIDTH, SIZE).double() for _ in range(UNITS)]


def weights_of(units: list[torch.nn.GRUCell]) -> GRUWeights:
    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(unit, name).detach() for unit in units])

    def leaf(values: Tensor) -> Tensor:
        return values.contiguous().requires_grad_()

    return GRUWeights(
        leaf(stacked("weight_ih").mT),
        leaf(stacked("weight_hh").mT),
        leaf(stacked("bias_ih").unsqueeze(1)),
        leaf(stacked("bias_hh").unsqueeze(1)),
    )


def events() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    starts = np.zeros(EVENTS, bool)
    starts[[0, 5, 6]] = True
    return (
        random.normal(size=(EVENTS, WIDTH)),
        random.integers(UNITS, size=EVENTS),
        starts,
        random.normal(size=(EVENTS, SIZE)),
    )


def by_cells(units: list[torch.nn.GRUCell]) -> tuple[Tensor, Tensor]:
    inputs, which, starts, initial = events()
    before, after = [], []
    for t in range(EVENTS):
        state = torch.from_numpy(initial[t]) if starts[t] else after[-1]
        before.append(state)
        after.append(units[which[t]](torch.from_numpy(inputs[t : t + 1]), state.unsqueeze(0)).squeeze(0))
    return torch.stack(before), torch.stack(after)


def test_states_and_gradients_equal_those_of_cells_that_take_turns() -> None:
    units = cells()
    weights = weights_of(units)
    found, expected = scan(*events(), weights), by_cells(units)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    factors = torch.rand(2, EVENTS, SIZE, dtype=torch.float64)
    for states in (found, expected):
        sum((factor * state).sum() for factor, state in zip(factors, states, strict=True)).backward()
    for name, torch_name in zip(GRUWeights._fields, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), strict=True):
        mine = getattr(weights, name).grad
        theirs = torch.stack([getattr(unit, torch_name).grad for unit in units])
        torch.testing.assert_close(mine, theirs.mT if theirs.ndim == 3 else theirs.unsqueeze(1))


def test_a_start_cuts_the_gradient_and_the_state() -> None:
    weights = weights_of(cells())
    inputs, which, starts, initial = events()
    _, after = scan(inputs, which, starts, initial, weights)
    changed = inputs.copy()
    changed[4] += 1.0
    _, other = scan(changed, which, starts, initial, weights)
    differs = (after != other).any(1).numpy()
    assert differs.tolist() == [False] * 4 + [True] + [False] * (EVENTS - 5)


def test_separate_events_need_no_gradient() -> None:
    weights = weights_of(cells())
    inputs, _, _, initial = events()
    rows = slice(0, UNITS)
    _, after = scan(inputs[rows], np.arange(UNITS), np.ones(UNITS, bool), initial[rows], weights)
    assert advance(inputs[rows], initial[rows], weights) == pytest.approx(after.detach().numpy())
