"""FractionalD3QNDDPG: targets, masks, exploration and every named defect of the released code."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from edgewise.agents.sb3.build import build, policy_of, wait_function
from edgewise.agents.sb3.d3qn_ddpg import PAPER_DEFECTS, FractionalD3QNDDPG
from edgewise.envs.aoi_offload.update_or_wait import wait_rule_value
from edgewise.envs.core.errors import InvalidInputError

SMALL: dict[str, Any] = {
    "buffer_size": 4000,
    "learning_starts": 400,
    "batch_size": 32,
    "gradient_steps": 2,
    "period": 256,
    "hidden": (8,),
}


def make(lanes: int = 8, preset: str = "small", **changes: Any) -> FractionalD3QNDDPG:
    model = build(
        "fractional_d3qn_ddpg",
        env_kwargs={"preset": preset, "horizon": 40.0},
        num_envs=lanes,
        seed=2,
        **(SMALL | changes),
    )
    assert isinstance(model, FractionalD3QNDDPG)
    return model


def samples(kinds: list[int], following: list[int]) -> ReplayBufferSamples:
    n = len(kinds)
    generator = torch.Generator().manual_seed(0)
    observations, after = (3.0 * torch.rand(n, 5, generator=generator) for _ in range(2))
    observations[:, 0], after[:, 0] = torch.tensor(kinds), torch.tensor(following)
    carrier = 2.0 * torch.rand(n, 3, generator=generator) - 1.0
    reward = torch.arange(1.0, n + 1.0).unsqueeze(1)
    discount = torch.linspace(0.5, 0.9, n).unsqueeze(1)
    return ReplayBufferSamples(observations, carrier, after, torch.zeros(n, 1), reward, discount)


def randomised(model: FractionalD3QNDDPG) -> FractionalD3QNDDPG:
    torch.manual_seed(1)
    for online, target in model.policy.pairs():
        for parameter in (*online.parameters(), *target.parameters()):
            torch.nn.init.normal_(parameter)
    return model


def test_targets_follow_the_kind_of_the_next_decision() -> None:
    model = randomised(make(horizon=10.0, critic_hidden=(8,)))
    model.scale = 2.0
    batch = samples([0, 1, 2, 2], [1, 0, 2, 2])
    policy = model.policy
    with torch.no_grad():
        features = policy.extractor(batch.next_observations)
        server_target, wait_target = model._targets(batch, features)
        choice = policy.q(features).argmax(-1)  # the online network chooses, the target values
        q = policy.q_target(features)[torch.arange(4), choice]
        v = policy.critic_target(features, torch.sigmoid(policy.actor_target(features)))
    reward, discount = batch.rewards[:, 0] / 2.0, batch.discounts[:, 0]  # type: ignore[index]
    assert torch.allclose(wait_target[0], reward[0] + discount[0] * q[0])  # an update is followed by its offload
    assert torch.allclose(server_target[1], reward[1] + discount[1] * v[1])
    assert torch.allclose(server_target[2:], reward[2:] + discount[2:] * q[2:])
    assert torch.allclose(wait_target[2:], reward[2:] + discount[2:] * v[2:])


def test_average_targets_subtract_the_gain_and_paper_discounts_per_decision() -> None:
    average = randomised(make())
    batch = samples([0, 1], [1, 0])._replace(discounts=torch.ones(2, 1))
    with torch.no_grad():
        features = average.policy.extractor(batch.next_observations)
        average.gain = 0.0
        first = average._targets(batch, features)[0] + average.gain
        second = average._targets(batch, features)[0] + average.gain
        assert torch.allclose(first, second)
        assert average.gain != 0.0
        paper = randomised(make(fidelity="paper"))
        features = paper.policy.extractor(batch.next_observations)
        _, wait_target = paper._targets(batch, features)
        best = paper.policy.q(features).argmax(-1)
        q = paper.policy.q_target(features)[torch.arange(2), best]
    assert torch.allclose(wait_target[0], batch.rewards[0, 0] + 0.99 * q[0])


def test_networks_learn_only_from_the_decisions_they_take() -> None:
    for kind, moved, still in ((0, "critic", "q"), (1, "q", "critic")):
        model = make()
        before = {name: [p.clone() for p in getattr(model.policy, name).parameters()] for name in (moved, still)}
        model._update(samples([kind] * 8, [1 - kind] * 8))
        after = {name: list(getattr(model.policy, name).parameters()) for name in (moved, still)}
        assert any(not torch.equal(a, b) for a, b in zip(before[moved], after[moved], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(before[still], after[still], strict=True))


def test_measuring_lanes_do_not_explore_once_learning_has_begun() -> None:
    model = make(lanes=64)
    model.learn(64)
    model.num_timesteps, model._current_progress_remaining = 10_000, 1.0
    model._last_obs = np.tile(np.array([2.0, 1.0, 1.0, 0.0, 1.0], np.float32), (64, 1))
    actions, stored = model._sample_action(model.learning_starts, None, 64)
    assert np.array_equal(actions, stored)
    assert len(np.unique(actions[:32, 0])) == 32
    assert len(np.unique(actions[:32, 1:], axis=0)) == 2
    assert len(np.unique(actions[32:], axis=0)) == 1


def stored_buffer(defect: str, steps: int = 80) -> FractionalD3QNDDPG:
    model = make(defects=(defect,) if defect else ())
    model.learn(8 * steps)
    return model


def test_doubled_area_and_absolute_sums_are_priced_as_released() -> None:
    plain, doubled = make(), make(defects=("doubled_area",))
    cost, duration = np.array([3.0, 8.0]), np.array([1.0, 2.0])
    for model in (plain, doubled):
        assert model.replay_buffer is not None
        model.replay_buffer.ratio = 5.0
    assert plain.replay_buffer.price(cost, duration).tolist() == [2.0, 2.0]  # type: ignore[union-attr]
    assert doubled.replay_buffer.price(cost, duration).tolist() == [-1.0, -6.0]  # type: ignore[union-attr]
    absolute = stored_buffer("cumulative_absolute_cost")
    buffer = absolute.replay_buffer
    assert buffer is not None
    assert absolute.calibrated
    assert (buffer.price(cost, duration) == -np.abs(-(cost - buffer.ratio * duration))).all()
    rows = buffer.size()
    ended = buffer.dones[:rows].astype(bool)
    grows = np.diff(buffer.durations[:rows], axis=0) >= 0.0
    assert grows[~ended[:-1]].all()  # sums since the episode began ...
    assert (~grows[ended[:-1]]).all()  # ... start anew with it
    assert ended.any()
    assert not (np.diff(stored_buffer("").replay_buffer.durations[:rows], axis=0)[~ended[:-1]] >= 0).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("defects", [(), ("doubled_area",)])
def test_the_area_is_doubled_before_and_after_it_is_pulled_in(defects: tuple[str, ...]) -> None:
    """The limits are quantiles of what was measured: a factor on all areas moves them, too."""
    model = make(defects=defects, winsorise=0.05)
    model.learn(8 * 80)
    buffer, factor = model.replay_buffer, 2.0 if defects else 1.0
    assert buffer is not None
    assert buffer.cost_limits is not None
    costs = np.linspace(0.0, buffer.costs.max(), 50)
    low, high = (limit / factor for limit in buffer.cost_limits)
    assert costs[0] < low < high < costs[-1]
    expected = -factor * np.clip(costs, low, high) * buffer.reward_scale
    assert buffer.price(costs, np.zeros(50)) == pytest.approx(expected)


def test_greedy_decisions_draw_nothing() -> None:
    """An evaluation during training must leave the training as it is."""
    policy = policy_of(make())
    before = torch.get_rng_state()
    decided = policy.act(np.tile(np.array([2.0, 1.0, 1.0, 0.0, 1.0], np.float32), (4, 1)))
    assert decided["server"].shape == (4,)
    assert torch.equal(torch.get_rng_state(), before)


def test_exploration_collapses_after_twenty_decisions() -> None:
    model = make(lanes=64, defects=("exploration_collapse",))
    model.learn(64)
    model._last_obs = np.tile(np.array([2.0, 1.0, 1.0, 0.0, 1.0], np.float32), (64, 1))
    model._ages[:] = np.where(np.arange(64) < 32, 19, 20)
    actions, _ = model._sample_action(10**6, None, 64)
    assert len(np.unique(actions[:32, 1:], axis=0)) == 2
    assert len(np.unique(actions[32:, 1:], axis=0)) == 1


def test_waits_are_stored_in_seconds_only_as_a_defect() -> None:
    model = make(lanes=64, defects=("wait_in_seconds",))
    model.learn(64)
    actions, stored = model._sample_action(10**6, None, 64)
    assert stored[:, 0] == pytest.approx(1.5 * (actions[:, 0] + 1.0))  # the longest wait is 3 s
    assert np.array_equal(actions[:, 1:], stored[:, 1:])


def test_batch_normalisation_trains_another_network_than_it_deploys() -> None:
    for defects, equal in (((), True), (("batch_norm",), False)):
        policy = make(defects=defects).policy
        torch.nn.init.normal_(policy.actor.head.weight)
        features = torch.randn(20, policy.extractor.features_dim)
        training, acting = policy.actor.train()(features), policy.actor.eval()(features)
        assert torch.allclose(training, acting) == equal


def test_offload_only_never_waits_and_never_trains_the_actor() -> None:
    model = make(defects=("offload_only",))
    before = [p.clone() for p in model.policy.actor.parameters()]
    model.learn(800)
    assert model.replay_buffer is not None
    assert (model.replay_buffer.actions[: model.replay_buffer.size(), :, 0] == -1.0).all()
    assert all(torch.equal(a, b) for a, b in zip(before, model.policy.actor.parameters(), strict=True))


def test_paper_fidelity_is_all_defects_of_the_algorithm_and_trains() -> None:
    model = make(fidelity="paper", critic_hidden=(8,))
    assert model.defects == PAPER_DEFECTS
    model.learn(1200)
    assert model._n_updates > 0
    assert all(torch.isfinite(value).all() for value in model.policy.state_dict().values())
    with pytest.raises(InvalidInputError, match="defects"):
        make(defects=("bad_luck",))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_reaches_the_optimum_of_a_lone_device() -> None:
    model = build("fractional_d3qn_ddpg", env_kwargs={"preset": "single"}, num_envs=64, seed=0)
    model.learn(200_000)
    value = wait_rule_value(wait_function(policy_of(model)), "exponential", z_max=20.0)
    assert value < 1.92  # the optimum is 1.901201, zero wait 2
