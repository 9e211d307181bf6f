"""The recurrent dueling DQN: targets and gradients by torch's own layers, and what each defect does to them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from edgewise.agents.asynchronous.offloading import RecurrentD3QN, _Batch
from edgewise.agents.asynchronous.records import Closed, server_dtype
from edgewise.agents.config import RecurrentD3QNPPOConfig

DEVICES, FEATURES, CHOICES, LENGTH, SIZE = 2, 3, 3, 4, 5
RATIO = np.array([1.0, 2.0])
BOTH = slice(0, DEVICES)


def make(*defects: str, **changes: Any) -> RecurrentD3QN:
    settings = {"sequence": LENGTH, "memory": SIZE, "server_hidden": 6, "server_scale": 2.0, "server_batch": 2}
    config = RecurrentD3QNPPOConfig(defects=defects, **(settings | changes))  # type: ignore[arg-type]
    model = RecurrentD3QN(config, 2, DEVICES, FEATURES, CHOICES, torch.Generator().manual_seed(0))
    # Far enough apart that they prefer other servers somewhere; numpy's draws are the same on every processor.
    model.target += torch.from_numpy(np.random.default_rng(1).normal(size=model.target.shape).astype(np.float32))
    return model


def sequences(number: int = 2) -> _Batch:
    random = np.random.default_rng(0)
    records = np.zeros((DEVICES, number, LENGTH), server_dtype(FEATURES))
    records["x"] = random.normal(size=records["x"].shape)
    records["next_x"] = random.normal(size=records["x"].shape)
    records["cost"], records["duration"] = random.uniform(0, 4, (2, *records.shape))
    records["server"] = random.integers(CHOICES, size=records.shape)
    records["first"][1, 0, 2] = True
    initial = random.normal(size=(DEVICES, number, SIZE)).astype(np.float32)
    return _Batch(records, initial, np.ones((DEVICES, number), np.float32))


def q_by_layers(model: RecurrentD3QN, theta: Tensor, x: Tensor, state: Tensor) -> Tensor:
    """Q of one device's row (P,) on one feature vector and state."""
    p = {name: value[0] for name, value in model.online.views(theta.unsqueeze(0)).items()}
    latent = x
    for layer in ("trunk.0", "trunk.1"):
        latent = torch.relu(latent @ p[f"{layer}.weight"] + p[f"{layer}.bias"][0])
    advantage = latent @ p["advantage.weight"] + p["advantage.bias"][0]
    value = torch.relu(torch.cat([latent, state]) @ p["value.0.weight"] + p["value.0.bias"][0])
    return value @ p["value.1.weight"] + p["value.1.bias"][0] + advantage - advantage.mean()


def cell(model: RecurrentD3QN, theta: Tensor) -> torch.nn.GRUCell:
    p = {name: value[0] for name, value in model.online.views(theta.unsqueeze(0)).items()}
    unit = torch.nn.GRUCell(FEATURES + CHOICES, SIZE)
    names = {"weight_ih": "w_in", "weight_hh": "w_state", "bias_ih": "b_in", "bias_hh": "b_state"}
    unit.load_state_dict({name: p[f"memory.{mine}"].T.squeeze() for name, mine in names.items()})
    return unit


@torch.no_grad()
def by_hand(model: RecurrentD3QN, batch: _Batch, double: bool) -> tuple[Tensor, Tensor]:
    """Values of the chosen servers and bootstrapped targets, record by record."""
    values, targets = torch.zeros(DEVICES, 2, LENGTH), torch.zeros(DEVICES, 2, LENGTH)
    for device in range(DEVICES):
        thetas = (model.online.theta[device], model.target[device])
        units = [cell(model, theta) for theta in thetas]
        for number in range(2):
            states = [torch.from_numpy(batch.initial[device, number])] * 2
            for t, record in enumerate(batch.records[device, number]):
                if record["first"]:
                    states = [torch.zeros(SIZE)] * 2
                x, next_x = (torch.from_numpy(record[name].copy()) for name in ("x", "next_x"))
                chosen = torch.tensor(int(record["server"]))
                values[device, number, t] = q_by_layers(model, thetas[0], x, states[0])[chosen]
                inputs = torch.cat([x, one_hot(chosen, CHOICES)]).unsqueeze(0)
                states = [unit(inputs, s.unsqueeze(0))[0] for unit, s in zip(units, states, strict=True)]
                online, old = (q_by_layers(model, *pair) for pair in zip(thetas, [next_x] * 2, states, strict=True))
                best = online.argmax() if double else old.argmax()
                reward = -(record["cost"] - RATIO[device] * record["duration"]) / 2.0
                targets[device, number, t] = reward + 0.99 * old[best]
    return values.flatten(1), targets.flatten(1)


def errors(model: RecurrentD3QN, batch: _Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values, targets, rewards and the leaf they depend on."""
    leaf = model.online.leaf(BOTH)
    reward = torch.from_numpy((-model._price(batch.records, RATIO) / 2.0).astype(np.float32)).flatten(1)
    return *model._errors(BOTH, leaf, batch, reward), reward, leaf


@pytest.mark.parametrize("double", [True, False])
def test_values_and_targets_are_those_of_a_recurrent_dueling_double_network(double: bool) -> None:
    model, batch = make(*(() if double else ("single_q",))), sequences()
    q, target, _, _ = errors(model, batch)
    expected = by_hand(model, batch, double)
    torch.testing.assert_close(q.detach(), expected[0])
    torch.testing.assert_close(target, expected[1])
    assert not torch.allclose(target, by_hand(model, batch, not double)[1])


def test_without_bootstrap_the_target_is_the_reward() -> None:
    _, target, reward, _ = errors(make("no_bootstrap"), sequences())
    assert torch.equal(target, reward)


def test_the_value_heads_memory_is_trained_unless_it_is_detached() -> None:
    for defects, trained in (((), True), (("untrained_memory",), False)):
        model = make(*defects)
        q, target, _, leaf = errors(model, sequences())
        ((q - target) ** 2).sum().backward()
        assert leaf.grad is not None
        gradients = model.online.views(leaf.grad)
        assert gradients["value.0.weight"].abs().sum() > 0.0
        moves = [bool(gradients[f"memory.{name}"].abs().sum() > 0.0) for name in ("w_in", "w_state", "b_in", "b_state")]
        assert moves == [trained] * 4


def test_padding_neither_trains_nor_counts() -> None:
    batch = sequences()
    batch.weight[:, 1] = 0.0
    alone = _Batch(batch.records[:, :1], batch.initial[:, :1], batch.weight[:, :1])
    models = [make(), make()]
    losses = [model._step(BOTH, each, RATIO) for model, each in zip(models, (batch, alone), strict=True)]
    assert losses[0] == pytest.approx(losses[1])
    torch.testing.assert_close(models[0].online.theta, models[1].online.theta)
    batch.weight[1] = 0.0
    before = models[0].online.theta.clone()
    models[0]._step(BOTH, batch, RATIO)
    assert (models[0].online.theta != before).any(1).tolist() == [True, False]
    assert models[0].updates.tolist() == [2, 1]


def test_target_copies_come_at_their_interval() -> None:
    model = make(target_every=3)
    for step in range(1, 7):
        model._step(slice(1, 2), _Batch(*(part[1:] for part in sequences())), RATIO[1:])
        assert torch.equal(model.target[1], model.online.theta[1]) == (step % 3 == 0)
    assert not torch.equal(model.target[0], model.online.theta[0])


def fill(model: RecurrentD3QN, count: int, lanes: tuple[int, ...] = (0, 1)) -> list[int]:
    """Give device 1 records in some lanes; returns the devices that had a new sequence, one after another."""
    random, done = np.random.default_rng(3), []
    for number in range(count):
        records = np.zeros(len(lanes), server_dtype(FEATURES))
        records["x"] = random.normal(size=records["x"].shape)
        records["cost"] = number
        closed = Closed(np.array(lanes), np.ones(len(lanes), np.int64), records)
        done += model.add(closed).tolist()
    return done


def test_sequences_are_successive_decisions_and_each_begins_with_the_state_that_the_last_one_left() -> None:
    model = make()
    assert fill(model, 2 * LENGTH + 1, lanes=(0,)) == [1, 1]
    stored = model._replay[1, :2]
    assert stored["cost"].tolist() == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    assert (model._initial[1, 0] == 0.0).all()
    unit, state = cell(model, model.online.theta[1]), torch.zeros(1, SIZE)
    for record in stored[0]:
        inputs = torch.cat([torch.from_numpy(record["x"].copy()), torch.tensor([1.0, 0.0, 0.0])])
        state = unit(inputs.unsqueeze(0), state)
    assert model._initial[1, 1] == pytest.approx(state[0].detach().numpy(), abs=1e-6)


def test_replay_draws_from_the_past_and_without_it_each_sequence_is_used_once() -> None:
    model = make("no_replay", server_batch=2)
    fill(model, 2 * LENGTH)
    batches = model._latest(BOTH)
    costs = [batch.records["cost"][1, batch.weight[1] > 0, 0].tolist() for batch in batches]
    assert costs == [[0.0, 0.0], [4.0, 4.0]]
    assert not any(batch.weight[0].any() for batch in batches)
    assert model.train(BOTH, RATIO, 5, np.random.default_rng(0)) is None
    fill(model, LENGTH, lanes=(1,))
    assert model.train(BOTH, RATIO, 5, np.random.default_rng(0)) is not None
    assert model.updates.tolist() == [0, 1]
    kept = make(server_batch=64, replay=3)
    fill(kept, 2 * LENGTH)  # four sequences, of which three are kept
    batch = kept._sample(BOTH, np.random.default_rng(0))
    assert set(batch.records["cost"][1, :, 0]) == {0.0, 4.0}
    assert batch.weight.mean(1).tolist() == [0.0, 1.0]
    kept.train(BOTH, RATIO, 5, np.random.default_rng(0))
    assert kept.updates.tolist() == [0, 5]


def test_exploration_is_over_all_servers() -> None:
    model = make()
    random, devices = np.random.default_rng(0), np.zeros(3000, np.int64)
    features = np.zeros((3000, FEATURES), np.float32)
    best = model.greedy(devices, features)
    assert len(set(best.tolist())) == 1
    shares = np.bincount(model.act(devices, features, 0.3, random), minlength=CHOICES) / 3000
    assert shares == pytest.approx(np.where(np.arange(CHOICES) == best[0], 0.8, 0.1), abs=0.03)
    assert np.array_equal(model.act(devices, features, 0.0, random), best)
