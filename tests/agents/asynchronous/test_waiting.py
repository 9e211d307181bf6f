"""The recurrent-critic PPO: advantages and importance ratios by hand, and what each defect does to them."""

from typing import Any

import numpy as np
import pytest
import torch

from edgewise.agents.asynchronous.records import Closed, wait_dtype
from edgewise.agents.asynchronous.waiting import RecurrentCriticPPO, _Batch
from edgewise.agents.config import RecurrentD3QNPPOConfig

LANES, DEVICES, SIZE = 3, 2, 4
BOTH = slice(0, DEVICES)


def make(*defects: str, lanes: int = LANES, batch: int = 24, **changes: Any) -> RecurrentCriticPPO:
    settings = {"memory": SIZE, "wait_batch": batch, "wait_scale": 1.0} | changes
    config = RecurrentD3QNPPOConfig(defects=defects, **settings)  # type: ignore[arg-type]
    return RecurrentCriticPPO(config, lanes, DEVICES, 1, torch.Generator().manual_seed(0))


def play(model: RecurrentCriticPPO, decisions: int, random: np.random.Generator, lanes: int = LANES) -> None:
    """Devices take turns at random; the best action is half the feature's sign, and each decision ends at once."""
    everywhere = np.arange(lanes)
    for _ in range(decisions):
        devices = random.integers(DEVICES, size=lanes)
        x = random.choice([-1.0, 1.0], (lanes, 1)).astype(np.float32)
        action, fields = model.act(everywhere, devices, x, random)
        records = np.zeros(lanes, wait_dtype(1, SIZE))
        for name, value in {**fields, "x": x, "next_x": -x, "cost": (action - 0.5 * x[:, 0]) ** 2}.items():
            records[name] = value
        model.add(Closed(everywhere, devices, records))


def importance(model: RecurrentCriticPPO, batch: _Batch) -> torch.Tensor:
    mean, variance = model._law(model.actor.views(model.actor.theta), torch.from_numpy(batch.records["x"].copy()))
    return model._importance(batch, mean, variance)


def test_importance_ratios_are_one_before_the_first_step() -> None:
    model = make()
    play(model, 30, np.random.default_rng(0))
    batch = model._batch(BOTH)
    assert batch.mask.sum() == 30 * LANES
    assert (abs(batch.records["action"][batch.mask]) > 1.0).any()  # samples outside the range are scored as drawn
    ratio = importance(model, batch)
    assert ratio.shape == batch.mask.shape
    assert ratio[torch.from_numpy(batch.mask)].numpy() == pytest.approx(1.0, abs=1e-5)


def test_scoring_clamped_actions_moves_the_ratios_of_just_those() -> None:
    model = make("clamped_actions_scored")
    play(model, 30, np.random.default_rng(0))
    batch = model._batch(BOTH)
    ratio = importance(model, batch).numpy()[batch.mask]
    clamped = abs(batch.records["action"][batch.mask]) == 1.0
    assert clamped.any()
    assert ratio[~clamped] == pytest.approx(1.0, abs=1e-5)
    assert (abs(ratio[clamped] - 1.0) > 1e-3).all()


def test_crossed_log_probabilities_score_every_action_under_every_state() -> None:
    model = make("crossed_log_probs")
    play(model, 30, np.random.default_rng(0))
    batch = model._batch(BOTH)
    ratio = importance(model, batch).detach()
    n = batch.mask.shape[1]
    assert ratio.shape == (DEVICES, n, n)
    mean, variance = model._law(model.actor.views(model.actor.theta), torch.from_numpy(batch.records["x"].copy()))
    law = torch.distributions.Normal(mean[1, 5], variance[1, 5].sqrt())
    action, old = (torch.tensor(batch.records[name][1, 2]) for name in ("action", "log_prob"))
    assert float(ratio[1, 2, 5]) == pytest.approx(float((law.log_prob(action) - old).exp().detach()), rel=1e-4)


@pytest.mark.parametrize(("defect", "apart"), [("", True), ("crossed_log_probs", False)])
def test_a_crossed_policy_cannot_learn_to_depend_on_the_state(defect: str, apart: bool) -> None:
    model = make(*([defect] if defect else []), lanes=8, batch=64, actor_learning_rate=0.01)
    random = np.random.default_rng(1)
    for _ in range(15):
        play(model, 16, random, lanes=8)
        model.train(BOTH, np.zeros(DEVICES))
    x = np.array([[1.0], [-1.0]], np.float32)
    for device in range(DEVICES):
        low, high = model.mean(np.full(2, device), x)[::-1]
        assert (high - low > 0.5) == apart
        assert apart or abs(high - low) < 0.3


def rows(lanes: list[int], first: list[bool]) -> _Batch:
    records = np.zeros((1, len(lanes)), wait_dtype(1, SIZE))
    records["first"] = first
    return _Batch(records, np.array([lanes]), np.ones((1, len(lanes)), bool))


REWARD, VALUE, NEXT = (np.array([row], np.float32) for row in ([1, 2, 3, 4], [0.5, 1, 2, 1], [2, 1, 3, 0.5]))


def test_advantages_are_bootstrapped_and_end_with_the_episode_and_the_lane() -> None:
    model = make(discount=0.5, gae_lambda=0.8)
    errors = [1 + 0.5 * 2 - 0.5, 2 + 0.5 * 1 - 1, 3 + 0.5 * 3 - 2, 4 + 0.5 * 0.5 - 1]
    chained = [errors[0] + 0.4 * errors[1], errors[1], errors[2], errors[3]]
    target, advantage = model._targets(rows([0, 0, 0, 1], [True, False, True, False]), REWARD, VALUE, NEXT)
    assert target[0] == pytest.approx(np.array(chained) + VALUE[0])
    assert advantage[0] == pytest.approx((chained - np.mean(chained)) / np.std(chained, ddof=1))


def test_batch_returns_stop_with_the_batch_and_are_standardised() -> None:
    model = make("batch_returns", discount=0.5)
    sums = [1 + 0.5 * 2, 2.0, 3.0, 4.0]
    target, advantage = model._targets(rows([0, 0, 0, 1], [True, False, True, False]), REWARD, VALUE, NEXT)
    assert target[0] == pytest.approx((sums - np.mean(sums)) / np.std(sums, ddof=1), abs=1e-5)
    assert advantage == pytest.approx(target - VALUE)
    # where episodes are joined, no record is the first of one, and the sum runs on
    joined, _ = model._targets(rows([0, 0, 0, 1], [False] * 4), REWARD, VALUE, NEXT)
    sums = [1 + 0.5 * (2 + 0.5 * 3), 2 + 0.5 * 3, 3.0, 4.0]
    assert joined[0] == pytest.approx((sums - np.mean(sums)) / np.std(sums, ddof=1), abs=1e-5)


def states(model: RecurrentCriticPPO, batch: _Batch, leaf: torch.Tensor) -> torch.Tensor:
    return model._values(BOTH, leaf, batch, model._events(batch))


def test_the_critics_states_are_those_of_acting_unless_they_are_mixed() -> None:
    for defects, same in (((), True), (("mixed_memory",), False)):
        model = make(*defects)
        play(model, 30, np.random.default_rng(0))
        model.history.forget(np.array([1]))  # an episode of lane 1 ends
        play(model, 5, np.random.default_rng(1))
        batch = model._batch(BOTH)
        with torch.no_grad():
            found = states(model, batch, model.critic.theta)
            x, memory = (torch.from_numpy(batch.records[name].copy()) for name in ("x", "memory"))
            expected = model._value(model.critic.views(model.critic.theta), x, memory)
        mask = torch.from_numpy(batch.mask)
        assert torch.allclose(found[mask], expected[mask], atol=1e-6) == same


def test_what_one_device_writes_is_trained_by_what_another_reads() -> None:
    for defects, reaches in (((), True), (("mixed_memory",), False)):
        model = make(*defects)
        play(model, 30, np.random.default_rng(0))
        batch = model._batch(BOTH)
        leaf = model.critic.leaf(BOTH)
        values = states(model, batch, leaf)
        (values[0] * torch.from_numpy(batch.mask[0])).sum().backward()  # of device 0 only
        assert leaf.grad is not None
        gradient = model.critic.views(leaf.grad)["memory.w_in"].abs().sum((1, 2))
        assert gradient[0] > 0.0
        assert bool(gradient[1] > 0.0) == reaches


def test_a_single_device_can_be_trained_through_the_memory_of_all() -> None:
    model = make(batch=10, updates="single", period=1)
    before = (model.actor.theta.clone(), model.critic.theta.clone())
    play(model, 40, np.random.default_rng(0))
    model.train(slice(1, 2), np.zeros(DEVICES))
    for stack, old in zip((model.actor, model.critic), before, strict=True):
        assert (stack.theta != old).any(1).tolist() == [False, True]
    assert (model._counts.sum(0) > 0).tolist() == [True, False]


def test_records_older_than_the_history_keep_their_stored_state() -> None:
    model = make()
    play(model, 1, np.random.default_rng(0))
    for _ in range(model.history._kept // 8):
        play(model, 8, np.random.default_rng(2), lanes=1)
        model._counts[...] = np.minimum(model._counts, 1)
    batch = model._batch(BOTH)
    events = model._events(batch)
    old = batch.mask & (batch.lanes == 0) & (batch.records["position"] == 0)
    assert old.any()
    assert events.stored[old].all()
    assert not events.stored[batch.mask & (batch.lanes == 1)].any()


def test_devices_are_due_alone_or_together() -> None:
    for updates, expected in (("single", [slice(1, 2)]), ("together", [])):
        model = make(updates=updates, period=1, batch=4)
        closed = Closed(np.array([0, 2]), np.array([1, 1]), np.zeros(2, wait_dtype(1, SIZE)))
        for number in range(2):
            assert model.due(closed) == [], number
            model.add(closed)
        assert model.due(closed) == expected
        model.add(Closed(closed.lanes, np.zeros(2, np.int64), closed.records))
        model.add(Closed(closed.lanes, np.zeros(2, np.int64), closed.records))
        if updates == "together":
            assert model.due(closed) == [BOTH]
