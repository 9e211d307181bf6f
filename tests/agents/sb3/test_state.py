"""A learner restored into a fresh object continues bit for bit."""

import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from edgewise.agents.sb3.build import build
from edgewise.agents.sb3.state import restore, snapshot
from edgewise.agents.snapshot import Snapshot
from edgewise.envs.core.errors import CheckpointError
from edgewise.envs.core.seeding import SeedTree

LANES = 8
D3QN_DDPG = {
    "buffer_size": 1000,  # smaller than the run, so that the ring wraps
    "learning_starts": 200,
    "batch_size": 32,
    "gradient_steps": 2,
    "period": 128,
    "hidden": (8,),
}
SMALL: dict[str, dict[str, Any]] = {
    "fractional_ppo": {"n_steps": 16, "batch_size": 64, "n_epochs": 2, "hidden": (8,)},
    "ppo": {"n_steps": 16, "batch_size": 64, "n_epochs": 2, "hidden": (8,)},
    "fractional_d3qn_ddpg": D3QN_DDPG,
    "fractional_d3qn_ddpg in the game": D3QN_DDPG,
    "fractional_d3qn_ddpg in the game, independent": D3QN_DDPG | {"parameters": "per_device"},
}
ENV = {"preset": "small", "horizon": 20.0}


def make(case: str, seed: int = 3, **changes: Any) -> BaseAlgorithm:
    algorithm, _, where = case.partition(" ")
    env_id = "edgewise/AoIOffloadGame-v0" if where else "edgewise/AoIOffload-v0"
    return build(algorithm, env_id, ENV, num_envs=LANES, seed=seed, **(SMALL[case] | changes))


def through_json(state: Snapshot) -> Snapshot:
    meta = json.loads(json.dumps(state.meta, allow_nan=False))
    return Snapshot(tensors=state.tensors, arrays=state.arrays, meta=meta)


def assert_equal(left: Snapshot, right: Snapshot) -> None:
    assert left.tensors.keys() == right.tensors.keys()
    assert left.arrays.keys() == right.arrays.keys()
    for name, tensor in left.tensors.items():
        assert torch.equal(tensor, right.tensors[name]), name
    for name, array in left.arrays.items():
        assert array.tobytes() == right.arrays[name].tobytes(), name
    assert through_json(left).meta == through_json(right).meta


@pytest.mark.parametrize("algorithm", SMALL)
def test_continues_bit_for_bit(algorithm: str) -> None:
    whole = make(algorithm)
    whole.learn(2048)

    saved: list[Snapshot] = []

    class Boundary(BaseCallback):
        def _on_rollout_start(self) -> None:
            if self.num_timesteps >= 1024 and not saved:
                saved.append(through_json(snapshot(self.model)))

        def _on_step(self) -> bool:
            return True

    second = make(algorithm)
    second.learn(2048, callback=Boundary())
    assert_equal(snapshot(whole), snapshot(second))  # taking a snapshot changes nothing

    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    resumed = make(algorithm, seed=4)
    restore(resumed, saved[0])
    resumed.learn(2048 - resumed.num_timesteps, reset_num_timesteps=False)
    assert_equal(snapshot(whole), snapshot(resumed))


def test_libraries_get_the_seed_that_a_run_records() -> None:
    assert make("fractional_ppo", seed=3).seed == SeedTree(3).libraries


def test_another_seed_gives_other_weights() -> None:
    left, right = make("fractional_ppo", seed=3), make("fractional_ppo", seed=4)
    left.learn(512)
    right.learn(512)
    states = snapshot(left).tensors, snapshot(right).tensors
    assert any(not torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_refuses_another_learner() -> None:
    model = make("fractional_ppo")
    with pytest.raises(CheckpointError, match="not of PPO"):
        restore(make("ppo"), snapshot(model))


def test_refuses_other_shapes() -> None:
    state = snapshot(make("fractional_ppo"))
    with pytest.raises(CheckpointError, match="does not fit"):
        restore(make("fractional_ppo", hidden=(16,)), state)


def test_refuses_a_snapshot_that_lacks_a_part() -> None:
    model = make("fractional_ppo")
    model.learn(256)
    state = snapshot(model)
    arrays = {name: value for name, value in state.arrays.items() if name != "generator:torch"}
    with pytest.raises(CheckpointError, match="does not fit"):
        restore(make("fractional_ppo"), Snapshot(tensors=state.tensors, arrays=arrays, meta=state.meta))
