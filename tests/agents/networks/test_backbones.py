"""Backbones that carry a state: steps are sequences, resets are zeros, sizes are equal."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from edgewise.agents.config import BACKBONES, BackboneName, CacheNetworkFields
from edgewise.agents.networks.backbones import INNER_LOSSES, Backbone, InnerLoss, TTTBackbone
from edgewise.agents.networks.caching import cache_network, parameter_counts, parameter_table
from edgewise.agents.networks.pad import PADBackbone
from edgewise.envs.core.errors import InvalidInputError

D, ITEMS = 9, 3


def network(backbone: BackboneName, **kwargs: object) -> Backbone:
    torch.manual_seed(0)
    return cache_network(D, ITEMS, CacheNetworkFields(backbone=backbone, **kwargs)).backbone  # type: ignore[arg-type]


def data(n: int = 3, length: int = 12) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    obs = torch.randn(n, length, D, generator=draw)
    return obs, torch.rand(n, length, 2 * ITEMS, generator=draw) * 2.0 - 1.0


def by_steps(made: Backbone, obs: Tensor, actions: Tensor, adapt: float) -> tuple[Tensor, Tensor]:
    state, outputs = made.initial_state(len(obs)), []
    for t in range(obs.shape[1]):
        features, state = made.step(obs[:, t], state, adapt)
        state = made.note_action(state, actions[:, t])
        outputs.append(features)
    return torch.stack(outputs, 1), state


CASES = [(name, {}) for name in BACKBONES] + [
    ("ttt", {"layers": 2}),
    ("ttt", {"layer": "mlp"}),
    *(("ttt", {"inner_loss": loss}) for loss in INNER_LOSSES[1:]),
]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_steps_chunks_and_whole_episodes_agree(name: BackboneName, kwargs: dict[str, object]) -> None:
    made = network(name, **kwargs)
    obs, actions = data()
    adapt = float(made.adapts_in_training)
    steps, last = by_steps(made, obs, actions, adapt)
    whole, final = made.sequence(obs, made.initial_state(3), actions, adapt)
    torch.testing.assert_close(steps, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, final, rtol=1e-4, atol=1e-5)
    first, state = made.sequence(obs[:, :5], made.initial_state(3), actions[:, :5], adapt)
    second, state = made.sequence(obs[:, 5:], state, actions[:, 5:], adapt)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, final, rtol=1e-4, atol=1e-5)
    assert steps.shape[-1] == made.width
    assert state.shape[-1] == made.state_width


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_a_zeroed_row_starts_an_episode_and_rows_do_not_mix(name: BackboneName, kwargs: dict[str, object]) -> None:
    made = network(name, **kwargs)
    obs, actions = data()
    _, state = by_steps(made, obs, actions, 1.0)
    state[1] = 0.0
    features, _ = made.step(obs[:, 0], state)
    alone, _ = made.step(obs[1:2, 0], made.initial_state(1))
    torch.testing.assert_close(features[1:2], alone, rtol=1e-5, atol=1e-6)
    inputs = obs.clone().requires_grad_()
    made.sequence(inputs, made.initial_state(3), actions)[0][2].sum().backward()
    assert inputs.grad is not None
    assert inputs.grad[2].any()
    assert not inputs.grad[:2].any()


@pytest.mark.parametrize("loss", INNER_LOSSES)
def test_inner_losses_differ_and_move_the_weights(loss: InnerLoss) -> None:
    made = network("ttt", inner_loss=loss)
    obs, actions = data()
    _, state = by_steps(made, obs, actions, 1.0)
    assert isinstance(made, TTTBackbone)
    inner = state[:, sum(made._past) :]
    assert inner[:, :-1].abs().max() > 1e-3
    _, held = by_steps(made, obs, actions, 0.0)
    assert not held[:, sum(made._past) :][:, :-1].any()
    if loss in ("next_obs_prediction", "inverse_dynamics"):  # nothing to predict in the first slot
        _, first = made.step(obs[:, 0], made.initial_state(3))
        assert not first[:, sum(made._past) :][:, :-1].any()


def test_a_corrupted_view_depends_on_the_position_alone() -> None:
    made = network("ttt", inner_loss="obs_reconstruction")
    assert {0.0, 1.0} == set(made.get_buffer("kept").unique().tolist())
    assert "kept" in made.state_dict()


def test_inverse_dynamics_reads_the_decisions() -> None:
    made = network("ttt", inner_loss="inverse_dynamics")
    obs, actions = data()
    left, right = (by_steps(made, obs, given, 1.0)[0] for given in (actions, -actions))
    assert torch.equal(left[:, 0], right[:, 0])
    assert not torch.allclose(left[:, 4], right[:, 4], atol=1e-4)
    with pytest.raises(InvalidInputError, match="needs the decisions"):
        made.sequence(obs, made.initial_state(3))


@pytest.mark.parametrize("name", ["ttt", "pad"])
def test_held_states_stay_where_they_are(name: BackboneName) -> None:
    made = network(name)
    obs, actions = data(3, 10)
    _, state = by_steps(made, obs, actions, 1.0)
    held = made.settled(state)
    kept = held
    for t in range(8):
        _, kept = made.step(obs[:, t], kept, 0.0)
    assert held.abs().sum() > 0.0
    if name == "ttt":
        assert torch.equal(kept[:, :-1], held[:, :-1])
    else:
        assert isinstance(made, PADBackbone)
        assert torch.equal(kept[:, -made._parts[-1] :], held[:, -made._parts[-1] :])


def test_pad_descends_its_loss_in_deployment_and_each_row_its_own() -> None:
    made = network("pad", eta_base=0.05)
    assert isinstance(made, PADBackbone)
    obs, actions = data(4, 2)
    state = made.note_action(made.step(obs[:, 0], made.initial_state(4))[1], actions[:, 0])
    _, after = made.step(obs[:, 1], state)

    def loss(row: int, weights: Tensor) -> float:
        weight, bias = weights[row : row + 1].split(made._parts[3:], dim=-1)
        pair = [made._encode(obs[row : row + 1, t], weight, bias) for t in range(2)]
        return made._inverse_loss(made.inverse(torch.cat(pair, -1)), actions[row : row + 1, 0]).item()

    own = sum(made._parts[3:])
    for row in range(4):
        assert loss(row, after[:, -own:]) < loss(row, state[:, -own:])
    alone = made.note_action(made.step(obs[2:3, 0], made.initial_state(1))[1], actions[2:3, 0])
    torch.testing.assert_close(made.step(obs[2:3, 1], alone)[1], after[2:3])
    assert not made.step(obs[:, 1], state, adapt=0.0)[1][:, -own:].any()


@pytest.mark.parametrize(("obs_dim", "items"), [(42, 10), (101, 20), (126, 25)])
@pytest.mark.parametrize("settings", [CacheNetworkFields(), CacheNetworkFields(layer="mlp", separate_critic=True)])
def test_all_backbones_have_about_the_same_size(obs_dim: int, items: int, settings: CacheNetworkFields) -> None:
    counts = parameter_counts(obs_dim, items, settings)
    assert set(counts) == set(BACKBONES)
    for name, count in counts.items():
        assert count == pytest.approx(counts["ttt"], rel=0.05), name
    table = parameter_table(obs_dim, items, settings)
    assert [line.split()[0] for line in table.splitlines()] == list(BACKBONES)
    assert f"{counts['gru']:,}" in table


def test_a_given_width_is_taken() -> None:
    assert network("gru", hidden=7).width == 7
    made = network("mlp", hidden=5)
    assert sum(value.numel() for value in made.parameters()) == D * 5 + 5 + 5 * 5 + 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 30}, "heads: must divide width = 30, got 4"),
        ({"backbone": "cnn"}, "Input should be 'ttt', 'mlp', 'lstm', 'gru' or 'pad'"),
        ({"backbone": "gru", "inner_loss": "inverse_dynamics"}, "inner_loss: is for the backbones ttt"),
        ({"backbone": "gru", "eta_base": 0.1}, "eta_base: is for the backbones ttt, pad"),
        ({"hidden": 8}, "hidden: is for the backbones mlp, lstm, gru, pad, got 8"),
        ({"backbone": "gru", "hidden": 8, "heads": 2}, "heads: is for the backbones ttt"),
        ({"eta_base": float("nan")}, "eta_base"),
        ({"init_cache": 1.0}, "init_cache"),
        ({"layers": 0}, "layers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CacheNetworkFields(**fields)  # type: ignore[arg-type]


def test_networks_refuse_what_only_code_can_give() -> None:
    with pytest.raises(InvalidInputError, match="inner_loss must be one of"):
        TTTBackbone(D, 2, inner_loss="other")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="layers must be at least 1"):
        TTTBackbone(D, 2, layers=0)
    with pytest.raises(InvalidInputError, match="eta_base must be"):
        PADBackbone(D, 2, 8, eta_base=np.inf)
