"""The learner as the training loop sees it: steps, metrics, whole state, policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from edgewise.agents.config import AsyncFractionalConfig, ClusterConfig
from edgewise.agents.rllib.build import algorithm_config
from edgewise.agents.rllib.learner import RLlibLearner, policy_from_snapshot
from edgewise.agents.snapshot import Snapshot
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.train import checkpoint

pytestmark = pytest.mark.ray

GAME, DEVICE = "edgewise/AoIOffloadGame-v0", "edgewise/AoIOffload-v0"
SMALL: dict[str, Any] = {
    "n_steps": 8,
    "lookback": 12,
    "batch_size": 64,
    "n_epochs": 2,
    "hidden": (16, 16),
    "gru_width": 8,
    "learning_rate": 1e-3,
}
ITERATION = 8 * 3 * 4  # decisions: per device and lane, devices, lanes
OBSERVATIONS = np.array(
    [[0, 0, 1.5, 1.5, 0.0, 2.0], [1, 1, 0.7, 2.0, 1.3, 0.0], [2, 0, 0.1, 0.1, 0.0, 3.0]], np.float32
)


def make(env: str = GAME, **changes: Any) -> RLlibLearner:
    return RLlibLearner(
        AsyncFractionalConfig(**{**SMALL, **changes}),
        env,
        {"preset": "small", "horizon": 8.0, "objective": "team" if changes.get("chain") == "system" else "selfish"},
        num_envs=4,
        seed=5,
        total_steps=10 * ITERATION,
    )


def train(learner: RLlibLearner, iterations: int) -> list[Snapshot]:
    """Snapshots before every iteration and after the last."""
    found: list[Snapshot] = []
    per_iteration = ITERATION if learner.algorithm.config.env == GAME else ITERATION // 3
    learner.learn(learner.steps + iterations * per_iteration, lambda: found.append(learner.snapshot()))
    return [*found, learner.snapshot()]


def different(one: Snapshot, other: Snapshot) -> list[str]:
    """Names of tensors and arrays that are not the same, bit for bit."""
    assert one.tensors.keys() == other.tensors.keys()
    assert one.arrays.keys() == other.arrays.keys()
    tensors = [name for name in one.tensors if not torch.equal(one.tensors[name], other.tensors[name])]
    return tensors + [name for name in one.arrays if one.arrays[name].tobytes() != other.arrays[name].tobytes()]


def saved(snapshot: Snapshot, folder: Path) -> Snapshot:
    """A snapshot written to disk and read again."""
    checkpoint.save(folder, snapshot, step=1, learner="async_fractional")
    return checkpoint.load(folder / checkpoint.folder_name(1)).snapshot


def test_env_runners_share_the_lanes_and_a_small_rollout_is_one_minibatch():
    config = algorithm_config(
        AsyncFractionalConfig(n_steps=8, learning_rate=1e-3, fixed_wait=0.5, learn="server"),
        GAME,
        {"preset": "small"},
        num_envs=12,
        seed=5,
        total_steps=1000,
        cluster=ClusterConfig(num_env_runners=3, num_learners=2),
    )
    assert (config.num_envs_per_env_runner, config.rollout_fragment_length) == (4, 8 * 3)
    assert config.train_batch_size_per_learner == config.minibatch_size == 8 * 3 * 12 // 2
    assert config.lr == [[0, 1e-3], [1000, 0.0]]
    assert config.fixed_wait == "fixed:0.5"


def test_it_counts_measures_and_starts_no_ray():
    learner = make(critic="recurrent")
    calls = []
    learner.learn(2 * ITERATION, lambda: calls.append(learner.steps))
    assert calls == [0, ITERATION]
    assert learner.steps == 2 * ITERATION
    values = learner.metrics()
    assert {"ratio", "measured_ratio", "policy_loss", "value_loss_cost", "entropy", "kl"} <= values.keys()
    assert all(type(value) is float and np.isfinite(value) for value in values.values())
    assert learner.metrics() == {}
    assert not ray.is_initialized()
    learner.close()


@pytest.mark.parametrize(
    ("env", "changes"),
    [
        (GAME, {"chain": "system", "gae_lambda_final": 0.9, "averaging": 3.0, "min_scale_final": 0.01}),
        (GAME, {"critic": "recurrent"}),
        (GAME, {"critic": "lstd", "parameters": "per_device", "learn": "wait", "horizon": 5.0, "anneal": False}),
        (GAME, {"critic": "centralised", "shared_ratio": True, "learn": "server", "gamma": 0.99}),
        (DEVICE, {"critic": "memoryless", "fractional": False}),
    ],
)
def test_continued_from_files_it_is_bit_for_bit_the_same_run(tmp_path, env, changes):
    straight = make(env, **changes)
    snapshots = train(straight, 4)
    straight.close()
    continued = make(env, **changes)
    continued.restore(saved(snapshots[2], tmp_path))
    again = train(continued, 2)
    assert different(snapshots[2], again[0]) == []
    assert different(snapshots[4], again[2]) == []
    assert continued.steps == straight.steps
    continued.close()


def test_the_least_spread_falls_along_its_schedule():
    learner = make(init_scale=0.01, min_scale=0.2, min_scale_final=0.1, learning_rate=1e-9)
    snapshots = train(learner, 4)
    learner.close()
    (name,) = [name for name in snapshots[0].tensors if name.endswith("log_scale") and "average" not in name]
    spreads = [snapshot.tensors[name].exp().max().item() for snapshot in snapshots]
    # the schedule moves after an update; a spread that was raised stays where it is, as the learning rate is nothing
    assert spreads == pytest.approx([0.01, 0.2, 0.2, 0.2, 0.2])
    lower = make(init_scale=0.01, min_scale=0.2, min_scale_final=0.1, learning_rate=1e-9)
    state = snapshots[3]
    state.tensors[name] = state.tensors[name] - 10.0
    lower.restore(state)
    (_, after) = train(lower, 1)
    lower.close()
    assert after.tensors[name].exp().max().item() == pytest.approx(0.2 - 0.1 * 3 / 10)


def test_a_learner_that_has_gone_on_can_be_put_back():
    """RLlib leaves out weights that are not newer than its own: here they must be taken."""
    learner = make()
    snapshots = train(learner, 3)
    learner.restore(snapshots[1])
    again = train(learner, 2)
    assert different(snapshots[1], again[0]) == []
    assert different(snapshots[3], again[2]) == []
    learner.close()


def test_the_learning_rate_falls_over_the_whole_training_interrupted_or_not():
    learner = make()
    state = train(learner, 5)[-1]
    half = learner.metrics()["actor_learning_rate"]
    learner.close()
    continued = make()
    continued.restore(state)
    train(continued, 4)
    rates = continued.metrics()["actor_learning_rate"]
    assert 0.0 < rates < half < 1e-3
    continued.close()


def test_the_policy_is_greedy_and_stays_what_it_was():
    learner = make()
    train(learner, 1)
    policy = learner.policy()
    actions = policy.act(OBSERVATIONS)
    assert actions["server"].shape == (3,)
    assert actions["wait"].shape == (3, 1)
    assert actions["wait"].dtype == np.float32
    for row, observation in enumerate(OBSERVATIONS):
        single = policy.act(observation)
        assert single["server"] == actions["server"][row]
        assert single["wait"] == pytest.approx(actions["wait"][row], rel=1e-5)
    train(learner, 3)
    later = policy.act(OBSERVATIONS)
    assert np.array_equal(later["wait"], actions["wait"])
    assert not np.array_equal(learner.policy().act(OBSERVATIONS)["wait"], actions["wait"])
    learner.close()


def test_with_averaging_the_policy_is_that_of_the_averaged_weights():
    learner = make(averaging=0.0)
    (*_, snapshot) = train(learner, 3)
    own = learner.policy().act(OBSERVATIONS)
    prefix = "module:average.module."
    averaged = {
        f"module:actor.{name.removeprefix(prefix)}": t for name, t in snapshot.tensors.items() if prefix in name
    }
    assert averaged.keys() == {name for name in snapshot.tensors if name.startswith("module:actor.")}
    plain = make()
    present = policy_from_snapshot(plain.algorithm.config, snapshot).act(OBSERVATIONS)
    moved = Snapshot({**snapshot.tensors, **averaged}, snapshot.arrays, snapshot.meta)
    expected = policy_from_snapshot(plain.algorithm.config, moved).act(OBSERVATIONS)
    assert np.array_equal(own["wait"], expected["wait"])
    assert not np.array_equal(own["wait"], present["wait"])
    for one in (learner, plain):
        one.close()


def test_the_policy_of_a_snapshot_needs_no_algorithm(tmp_path):
    learner = make(parameters="per_device")
    snapshot = saved(train(learner, 2)[-1], tmp_path)
    config, own = learner.algorithm.config, learner.policy().act(OBSERVATIONS)
    learner.close()
    read = policy_from_snapshot(config, snapshot).act(OBSERVATIONS)
    assert np.array_equal(read["wait"], own["wait"])
    assert np.array_equal(read["server"], own["server"])


def test_observations_of_another_game_are_refused():
    learner = make()
    policy = learner.policy()
    learner.close()
    with pytest.raises(InvalidInputError, match="observation must be of width 6"):
        policy.act(OBSERVATIONS[:, 1:])
    with pytest.raises(InvalidInputError, match="devices 0 to 2 in column 0"):
        policy.act(OBSERVATIONS + 1.0)


@pytest.mark.parametrize("spoil", ["weights", "runner", "counters", "nothing"])
def test_a_snapshot_that_does_not_fit_is_one_sentence(spoil):
    learner = make()
    snapshot = train(learner, 1)[-1]
    tensors, arrays, meta = dict(snapshot.tensors), dict(snapshot.arrays), dict(snapshot.meta)
    if spoil == "weights":
        tensors.pop("module:actor.choice.bias")
    elif spoil == "runner":
        name = next(name for name in arrays if name.endswith("simulator/device"))
        arrays[name] = arrays[name][:1]
    elif spoil == "counters":
        meta["state"] = {**meta["state"], "counters": {}}
    else:
        meta = {}
    with pytest.raises(CheckpointError) as caught:
        learner.restore(Snapshot(tensors, arrays, meta))
    assert "\n" not in str(caught.value)
    learner.close()
