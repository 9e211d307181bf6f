"""The asynchronous learner as a whole: it continues exactly, stays small, learns, and has every variant."""

import gc
import json
import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from edgewise.agents.asynchronous import RecurrentD3QNPPO, ablation_variants
from edgewise.agents.config import RECURRENT_DEFECTS, RecurrentD3QNPPOConfig
from edgewise.agents.snapshot import Snapshot
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.train import checkpoint
from edgewise.train.config import TrainConfig
from edgewise.train.learners import make_learner, policy_from

WORLD: dict[str, Any] = {"preset": "small", "drop": "authors:1.5", "horizon": 20.0}
QUICK: dict[str, Any] = {"wait_batch": 16, "sequence": 4, "epochs": 2, "server_steps": 2, "replay": 8}


def make(lanes: int = 4, seed: int = 3, **hyper: Any) -> RecurrentD3QNPPO:
    return RecurrentD3QNPPO(env_kwargs=WORLD, num_envs=lanes, seed=seed, **{**QUICK, **hyper})


def ignore() -> None:
    """A boundary at which nothing happens."""


def through_files(snapshot: Snapshot, path: Path) -> Snapshot:
    checkpoint.save(path, snapshot, step=1, learner="recurrent_d3qn_ppo")
    return checkpoint.load(path / checkpoint.folder_name(1)).snapshot


def assert_equal(first: Snapshot, second: Snapshot) -> None:
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name]), name
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes(), name
    assert json.dumps(first.meta) == json.dumps(second.meta)


@pytest.mark.parametrize(("lanes", "fidelity"), [(4, "corrected"), (2, "paper")])
def test_a_restored_learner_continues_bit_for_bit(lanes: int, fidelity: str, tmp_path: Path) -> None:
    whole, kept = make(lanes, fidelity=fidelity, period=1), []

    def keep() -> None:
        if not kept:
            kept.append(through_files(whole.snapshot(), tmp_path))

    whole.learn(1600, keep)
    other = make(lanes, seed=9, fidelity=fidelity, period=1)
    other.restore(kept[0])
    assert 1000 <= other.steps < 1000 + lanes
    other.learn(1600, ignore)
    assert whole.outer_loop.updates > 0
    assert_equal(whole.snapshot(), other.snapshot())


def test_seeds_decide_everything() -> None:
    runs = [make(seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        run.learn(600, ignore)
    assert_equal(runs[0].snapshot(), runs[1].snapshot())
    assert not torch.equal(runs[0].waiting.actor.theta, runs[2].waiting.actor.theta)


def test_foreign_snapshots_are_refused() -> None:
    snapshot = make().snapshot()
    for other in (make(lanes=2), make(memory=4)):
        with pytest.raises(CheckpointError, match="does not fit"):
            other.restore(snapshot)
    with pytest.raises(CheckpointError, match="does not fit"):
        make().restore(Snapshot(tensors={}, arrays=snapshot.arrays, meta=snapshot.meta))


def resident() -> int:
    """Memory of this process in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("fidelity", ["corrected", "paper"])
def test_memory_stays_flat(fidelity: str) -> None:
    learner = make(2 if fidelity == "paper" else 8, fidelity=fidelity)
    learner.learn(1500, ignore)
    learner.metrics()
    memory, objects = resident(), len(gc.get_objects())
    learner.learn(3500 if fidelity == "paper" else 8000, ignore)
    learner.metrics()
    assert resident() - memory < 8 * 2**20  # the released code: about 20 kB per decision
    assert abs(len(gc.get_objects()) - objects) < 500


@pytest.mark.parametrize("name", ablation_variants(repairs=True))
def test_every_variant_trains(name: str) -> None:
    config = ablation_variants(repairs=True, **QUICK, period=1)[name]
    learner = RecurrentD3QNPPO(env_kwargs=WORLD, num_envs=4, seed=0, **config.model_dump())
    before = [part.theta.clone() for part in (learner.offloading.online, learner.waiting.actor, learner.waiting.critic)]
    learner.learn(500, ignore)
    after = [part.theta for part in (learner.offloading.online, learner.waiting.actor, learner.waiting.critic)]
    for old, new in zip(before, after, strict=True):
        assert torch.isfinite(new).all()
        assert (old != new).any(1).all()
    assert learner.outer_loop.updates > 0
    metrics = learner.metrics()
    assert all(np.isfinite(value) for value in metrics.values())
    assert {"episode/age", "loss/server", "loss/actor", "loss/critic", "ratio"} <= metrics.keys()


def test_variants_are_the_corrected_and_the_released_learner_and_single_defects() -> None:
    variants = ablation_variants()
    assert list(variants)[:2] == ["corrected", "paper"]
    assert variants["corrected"] == RecurrentD3QNPPOConfig()
    assert set(variants["paper"].defects) == set(RECURRENT_DEFECTS)
    for defect in RECURRENT_DEFECTS:
        assert variants[f"corrected+{defect}"] == RecurrentD3QNPPOConfig(defects=(defect,))
        repaired = ablation_variants(repairs=True)[f"paper-{defect}"]
        assert repaired.server_scale == 1000.0
        assert set(repaired.defects) == set(RECURRENT_DEFECTS) - {defect}
    assert RecurrentD3QNPPO.__doc__ is not None
    for defect in RECURRENT_DEFECTS:
        assert f"``{defect}``" in RecurrentD3QNPPO.__doc__


def test_a_released_configuration_reads_back_and_can_be_changed() -> None:
    config = RecurrentD3QNPPOConfig(fidelity="paper", epochs=3, defects=())
    assert (config.epochs, config.wait_batch, config.defects) == (3, 64, ())
    assert RecurrentD3QNPPOConfig(**json.loads(config.model_dump_json())) == config
    with pytest.raises(ValidationError, match="period"):
        RecurrentD3QNPPOConfig(updates="single")
    with pytest.raises(InvalidInputError, match="defects"):
        make(defects=("bad_luck",))


def test_one_ratio_per_device_or_one_for_all() -> None:
    for defects, equal in (((), False), (("shared_ratio",), True)):
        learner = make(defects=defects)
        learner.learn(800, ignore)
        assert (np.ptp(learner.ratio) == 0.0) == equal
        assert (learner.ratio < 5.0).all()


def test_the_ratio_follows_pooled_sums_or_the_last_episode() -> None:
    learner = make(omega=1.0)
    learner.records.measured[...] = [[6.0, 0.0, 3.0], [2.0, 0.0, 4.0]]
    learner._move_ratio()
    assert learner.ratio.tolist() == [3.0, 5.0, 0.75]
    assert (learner.records.measured == 0.0).all()
    last = make(omega=1.0, defects=("last_episode_ratio", "shared_ratio"))
    last._move_ratio()  # no episode has ended yet
    assert last.ratio.tolist() == [5.0] * 3
    last.records.episode_age[...] = [1.0, 2.0, 6.0]
    last._move_ratio()
    assert last.ratio.tolist() == [3.0] * 3


def test_random_servers_become_rare_unless_there_are_none() -> None:
    learner = make(epsilon=0.1, explore_share=0.5)
    learner._total = 1000
    found = []
    for learner._steps in (0, 250, 500, 900):
        found.append(learner.epsilon)
    assert found == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert make(defects=("no_exploration",)).epsilon == 0.0


def test_the_policy_answers_stream_observations_alone_and_in_batches() -> None:
    learner = make()
    learner.learn(300, ignore)
    policy = learner.policy()
    env: Any = gymnasium.make_vec("edgewise/AoIOffloadGame-v0", num_envs=300, **WORLD)
    obs, _ = env.reset(seed=0)
    for _ in range(20):
        actions = policy.act(obs)
        assert env.action_space.contains({"server": actions["server"], "wait": actions["wait"]})
        obs, *_ = env.step(actions)
    for row in (0, 7, 299):
        single = policy.act(obs[row])
        assert single["server"] == policy.act(obs)["server"][row]
        assert single["wait"] == pytest.approx(policy.act(obs)["wait"][row], abs=1e-5)
    devices = np.repeat(obs[:1], 3, axis=0)
    devices[:, 0] = range(3)
    assert len(np.unique(policy.act(devices)["wait"])) == 3  # everyone has weights of its own


def test_training_goes_through_the_run_configuration() -> None:
    config = TrainConfig(
        name="game",
        steps=1200,
        env={"id": "edgewise/AoIOffloadGame-v0", "num_envs": 4, **WORLD},
        learner={"algorithm": "recurrent_d3qn_ppo", **QUICK},
    )
    learner = make_learner(config)
    pauses: list[int] = []
    learner.learn(config.steps, lambda: pauses.append(learner.steps))
    assert pauses == [1000]
    assert learner.steps == 1200
    obs = np.array([1.0, 1.0, 0.5, 1.0, 0.5, 2.0], np.float32)
    expected, found = (policy.act(obs) for policy in (learner.policy(), policy_from(config, learner.snapshot())))
    assert found["server"] == expected["server"]
    assert found["wait"] == expected["wait"]
    learner.close()
    with pytest.raises(InvalidInputError, match="event stream"):
        RecurrentD3QNPPO("edgewise/AoIOffload-v0", {"preset": "small"}, num_envs=2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_corrected_learner_learns_to_use_the_edges_and_not_to_wait_for_others() -> None:
    learner = RecurrentD3QNPPO(env_kwargs={"drop": "authors:1.5", "horizon": 300.0}, num_envs=16, seed=1)
    learner.learn(100_000, ignore)
    learner.metrics()
    learner.learn(150_000, ignore)
    metrics = learner.metrics()
    assert metrics["decision/local"] < 0.05  # before learning 0.3
    assert metrics["decision/wait"] < 0.8  # before learning 1.5 s; the selfish equilibrium does not wait
    assert learner.ratio.mean() < 1.9  # before learning about 4.6 s; the selfish equilibrium is at 1.75 s
