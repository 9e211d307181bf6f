"""Scripted policies that act on observations."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from edgewise.envs.aoi_offload import AoIParams, ScriptedPolicy
from edgewise.envs.aoi_offload.state import JOINT, OFFLOAD, QUEUES, UPDATE

SINGLE = "edgewise/AoIOffload-v0"


@pytest.mark.parametrize("decision", ["staged", "joint"])
def test_potential_game_offloading_ends_at_the_edges(decision):
    """The edges serve 17 times faster than the device: after the exploration nothing is computed locally."""
    env = gymnasium.make(SINGLE, preset="paper", horizon=1e6, decision=decision)
    policy = ScriptedPolicy("pgoa:60", "fixed:0.5", env.unwrapped.params)
    obs, info = env.reset(seed=1)
    chosen = []
    while len(chosen) < 400:
        action = policy(obs)
        if info["kind"] in (OFFLOAD, JOINT):
            chosen.append(action["server"])
        obs, _, _, _, info = env.step(action)
    assert set(chosen[:40]) == {0, 1, 2}
    assert 0 not in chosen[100:]
    assert set(chosen[100:]) == {1, 2}
    policy.reset()
    forgetful = [policy(np.array([OFFLOAD, 1, 1, 0, 0, 0], np.float32))["server"] for _ in range(40)]
    assert 0 in forgetful


def test_every_row_learns_what_the_kernel_would_learn_for_that_device():
    """With running means the kernel keeps PGOA's books for every device: an independent record of the same delays."""
    vec = gymnasium.make_vec(SINGLE, num_envs=5, preset="small", drop="cutoff:1.5", drop_mean="running", horizon=1e6)
    world = vec.unwrapped._system.world
    policy = ScriptedPolicy("pgoa", "fixed:0.2", vec.unwrapped.params, seed=3)
    obs, _ = vec.reset(seed=0)
    for _ in range(300):
        action = policy(obs)
        game, memory, device = policy._game, world.memory[:, 0], world.device[:, 0]
        np.testing.assert_allclose(game.delay_sum, memory["delay_sum"], rtol=1e-5)
        np.testing.assert_array_equal(game.delays, memory["delays"])
        np.testing.assert_array_equal(game.attempts, device["attempts"] + (obs[:, 0] == OFFLOAD))
        obs, *_ = vec.step(action)
    assert (game.delays > 3).all()


def test_after_exploring_the_least_expected_delay_is_chosen():
    params = AoIParams.make("small", n_devices=9)
    policy = ScriptedPolicy("pgoa:1", params=params)  # attempts start at 1: it never explores

    def see(kind, delay, queue):
        return policy(np.array([kind, delay, delay, 0.0, queue], np.float32))["server"]

    assert QUEUES == 4
    assert see(OFFLOAD, 9.0, 2) == 0  # nothing known: optimistic, the lowest index
    see(UPDATE, 4.0, 0)  # the local place takes 4 s
    assert see(OFFLOAD, 4.0, 1) == 1  # never tried, believed to take no time
    see(UPDATE, 2.0, 0)  # 1 s per task: the other one and ours
    assert see(OFFLOAD, 2.0, 2) == 1  # 3 s against 4 s
    assert see(OFFLOAD, 2.0, 4) == 0  # after a drop: 5 s against 4 s
    see(UPDATE, 8.0, 0)  # counts for the place that completed it: 6 s on average
    assert see(OFFLOAD, 8.0, 4) == 1
    assert see(OFFLOAD, 8.0, 6) == 0


def test_a_batch_of_another_size_starts_new_learners():
    params = AoIParams.make("small")
    policy = ScriptedPolicy("pgoa:1", params=params)
    policy(np.array([OFFLOAD, 1, 1, 0, 0], np.float32))
    policy(np.array([UPDATE, 5, 5, 0, 0], np.float32))
    assert policy(np.array([OFFLOAD, 5, 5, 0, 0], np.float32))["server"] == 1
    assert policy(np.array([[OFFLOAD, 5, 5, 0, 0]] * 3, np.float32))["server"].tolist() == [0, 0, 0]


def test_potential_game_offloading_without_edges_is_local():
    assert (
        ScriptedPolicy("pgoa", params=AoIParams.make("single"))(np.array([OFFLOAD, 1, 1, 0], np.float32))["server"] == 0
    )
