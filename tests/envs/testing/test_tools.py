"""The checkers' own tools: random actions, digests, one lane's info."""

from __future__ import annotations

import time

import numpy as np
import pytest
from gymnasium import spaces

from edgewise.envs.testing import Actor, digest, draw_actions, trajectory_hash
from edgewise.envs.testing.lanes import lane_info

SPACES = {
    "discrete": spaces.Discrete(5, start=-2),
    "box": spaces.Box(np.array([-1, 0], dtype=np.float32), np.array([1, 3], dtype=np.float32)),
    "half box": spaces.Box(np.array([0, -np.inf, -np.inf]), np.array([np.inf, 2.0, np.inf]), dtype=np.float64),
    "integers": spaces.Box(-3, 3, (2, 2), np.int8),
    "multi-discrete": spaces.MultiDiscrete([2, 7]),
    "bits": spaces.MultiBinary(4),
    "dict": spaces.Dict({"server": spaces.Discrete(3), "wait": spaces.Box(0, 3, (1,), np.float32)}),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (2,)))),
    "text": spaces.Text(4),
}


@pytest.mark.parametrize("name", SPACES)
def test_draws_lie_in_their_space_vary_and_repeat(name):
    space = SPACES[name]
    draws = draw_actions(space, np.random.default_rng(1), 300)
    assert all(space.contains(action) for action in draws)
    assert len({digest(action) for action in draws}) > 1
    again = draw_actions(space, np.random.default_rng(1), 300)
    assert digest(*draws) == digest(*again) != digest(*draw_actions(space, np.random.default_rng(2), 300))


def test_boxes_reach_both_bounds_and_discretes_every_value():
    waits = np.array(draw_actions(SPACES["dict"]["wait"], np.random.default_rng(0), 1000))
    assert 0.05 < np.mean(waits == 0) < 0.15
    assert 0.05 < np.mean(waits == 3) < 0.15
    assert set(map(int, draw_actions(SPACES["discrete"], np.random.default_rng(0), 200))) == {-2, -1, 0, 1, 2}


def test_an_actor_repeats_itself_after_a_restart_and_survives_being_written_to():
    actor = Actor(SPACES["dict"], seed=3)
    first = [actor(None, {}) for _ in range(5)]
    before = digest(first)
    first[0]["wait"][:] = -1
    actor.restart()
    assert digest([actor(None, {}) for _ in range(5)]) == before


def test_drawing_is_much_faster_than_sampling():
    space = SPACES["dict"]
    sampled, drawn = [], []
    for _ in range(7):  # the least of several turns, in processor time: other processes delay some, not all
        begin = time.process_time()
        for _ in range(1000):
            space.sample()
        sampled.append(time.process_time() - begin)
        begin = time.process_time()
        draw_actions(space, np.random.default_rng(0), 1000)
        drawn.append(time.process_time() - begin)
    assert min(drawn) < min(sampled) / 3


def test_digests_compare_numbers_by_value_and_arrays_by_bits():
    assert digest(1, 0.0, True) == digest(np.float64(1), -0.0, np.True_)
    assert digest(1) != digest(True)
    assert digest(np.zeros(2)) != digest(np.zeros(2, dtype=np.float32)) != digest(np.zeros((1, 2), dtype=np.float32))
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": (2, None), "a": 1}) != digest({"a": 1, "b": [2, 0]})
    assert digest(1.0) != digest(1.0 + 1e-15)


def test_rounded_digests_forgive_the_last_bits_only():
    values = np.array([1.2345678901, 1e-9])
    assert digest(values, digits=6) == digest(values * (1 + 1e-13), digits=6)
    assert digest(values, digits=6) != digest(values * (1 + 1e-4), digits=6)


def test_the_trajectory_hash_follows_the_seed_and_the_policy(toys):
    def policy(observation, info, generator):
        return {"server": 0, "wait": np.zeros(1, dtype=np.float32)}

    one = trajectory_hash(toys.Env(), steps=200)
    assert one == trajectory_hash(toys.Env(), steps=200)
    others = [trajectory_hash(toys.Env(), steps=200, **k) for k in ({"seed": 1}, {"policy": policy}, {"digits": 6})]
    assert len({one, *others}) == 4


def test_a_lanes_info_is_what_its_masks_say():
    mask = np.array([True, False])
    infos = {
        "cost": np.array([1.0, 2.0]),
        "_cost": mask,
        "kind": np.array([3, 4]),
        "cost_terms": {"all": np.array([5, 6])},
    }
    assert lane_info(infos, 0) == {"cost": 1.0, "kind": 3, "cost_terms": {"all": 5}}
    assert lane_info(infos, 1) == {"kind": 4, "cost_terms": {"all": 6}}
