"""Policies in the background: asked one by one or for all lanes at once, they play the same game."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from edgewise.envs.aoi_offload.env import BatchBackground
from edgewise.envs.core.errors import InvalidInputError

FIELDS = {"n_devices": 5, "edge_ghz": (20.0, 30.0), "drop": "authors:1.5", "horizon": 30.0}


def one(obs):
    """Depends on the observation only."""
    queues = obs[4:]
    return {"server": int(np.argmin(queues)) + 1 if queues.min() < 3 else 0, "wait": obs[1:2] / 2 % 1.5}


def many(obs):
    """The same for a batch of event-stream observations."""
    rows = [one(row[1:]) for row in obs]
    return {
        "server": np.array([row["server"] for row in rows]),
        "wait": np.array([row["wait"] for row in rows], np.float32),
    }


def batch(action, lanes):
    return {"server": np.full(lanes, action["server"]), "wait": np.full((lanes, 1), action["wait"], np.float32)}


@pytest.mark.parametrize("decision", ["staged", "joint"])
def test_asked_together_or_one_by_one_the_devices_do_the_same(decision):
    lanes, action = 4, {"server": 1, "wait": 0.3}
    together, apart = (
        gymnasium.make_vec("edgewise/AoIOffload-v0", lanes, decision=decision, background=background, **FIELDS)
        for background in (BatchBackground(many), one)
    )
    single = gymnasium.make("edgewise/AoIOffload-v0", decision=decision, background=BatchBackground(many), **FIELDS)
    (obs, info), (other, _) = together.reset(seed=3), apart.reset(seed=3)
    alone, _ = single.reset(seed=4)
    over = False
    for _ in range(60):
        np.testing.assert_array_equal(obs, other)
        if not over:
            np.testing.assert_array_equal(obs[1], alone)
            alone, _, _, over, _ = single.step({"server": 1, "wait": np.full(1, 0.3, np.float32)})
        obs, *_, info = together.step(batch(action, lanes))
        other, *_, info_other = apart.step(batch(action, lanes))
        np.testing.assert_array_equal(info["cost"], info_other["cost"])


def test_a_batch_names_the_devices_that_ask_and_leaves_out_the_learner():
    asked = []

    def watch(obs):
        asked.append(obs)
        return many(obs)

    env = gymnasium.make_vec("edgewise/AoIOffload-v0", 8, background=BatchBackground(watch), **FIELDS)
    env.reset(seed=0)
    for _ in range(10):
        env.step(batch({"server": 0, "wait": 1.0}, 8))
    rows = np.concatenate(asked)
    assert rows.shape[1] == 7
    assert rows.dtype == np.float32
    assert set(rows[:, 0]) == {1.0, 2.0, 3.0, 4.0}
    assert max(map(len, asked)) > 4  # several lanes at once


@pytest.mark.parametrize(
    "bad",
    [
        lambda obs: None,
        lambda obs: {"server": np.zeros(len(obs)), "wait": np.zeros((len(obs), 1))},
        lambda obs: {"server": np.zeros(len(obs) + 1, int), "wait": np.zeros((len(obs), 1))},
        lambda obs: {"server": np.zeros(len(obs), int), "wait": np.full((len(obs), 1), np.nan)},
        lambda obs: {"server": np.full(len(obs), 9), "wait": np.zeros((len(obs), 1))},
    ],
)
def test_a_batch_that_is_answered_badly_ends_the_episodes(bad):
    env = gymnasium.make_vec("edgewise/AoIOffload-v0", 3, background=BatchBackground(bad), **FIELDS).unwrapped
    with pytest.raises(InvalidInputError, match=r"^background: "):
        env.reset(seed=0)
    with pytest.raises(ResetNeeded):
        env.step(batch({"server": 0, "wait": 1.0}, 3))
