"""Bad seeds and masks to the age-minimal offloading environments, and steps before a reset or after the end."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from edgewise.envs.aoi_offload import parallel_env
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import digest

from .aoi_faces import EACH_FACE, FACES, GAME, SINGLE

BAD_SEEDS = [-1, 2**64, 1.5, "7", math.nan]


@pytest.mark.parametrize("seed", BAD_SEEDS, ids=repr)
@EACH_FACE
def test_impossible_seeds_are_refused(face, seed):
    driver = FACES[face]()
    with pytest.raises(InvalidInputError, match="seed"):
        driver.env.reset(seed=seed)


@pytest.mark.parametrize("seed", [[1, 2], [1, 2, 3, 4], [1, 2, -3], [1, 2, None], [[1], [2], [3]]], ids=repr)
def test_impossible_seed_lists_are_refused(seed):
    vec = gymnasium.make_vec(GAME, num_envs=3, preset="small")
    with pytest.raises(InvalidInputError, match="seed"):
        vec.reset(seed=seed)


@pytest.mark.parametrize("mask", [[True], [1, 0, 1], [False] * 3, "all", np.ones((3, 1), bool)], ids=repr)
def test_impossible_reset_masks_are_refused(mask):
    vec = gymnasium.make_vec(GAME, num_envs=3, preset="small", autoreset_mode=AutoresetMode.DISABLED)
    vec.reset(seed=0)
    state = digest(vec.unwrapped.get_state())
    with pytest.raises(InvalidInputError, match="reset_mask"):
        vec.reset(options={"reset_mask": mask})
    with pytest.raises(InvalidInputError, match="seed and a partial reset_mask"):
        vec.reset(seed=1, options={"reset_mask": np.array([True, False, False])})
    assert digest(vec.unwrapped.get_state()) == state


def test_the_parallel_view_needs_a_reset_first_and_after_the_end():
    env = parallel_env(preset="small", horizon=3.0)
    actions = {agent: {"server": 0, "wait": [0.0]} for agent in env.possible_agents}
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(actions)
    env.reset(seed=0)
    while env.agents:
        env.step(actions)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(actions)


@pytest.mark.parametrize("name", [SINGLE, GAME])
def test_stepping_needs_a_reset_first_and_after_the_end(name):
    good = {"server": 0, "wait": np.zeros(1, np.float32)}
    env = gymnasium.make(name, preset="small", horizon=3.0).unwrapped
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(good)
    env.reset(seed=0)
    while not env.step(good)[3]:
        pass
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(good)
    goods = {"server": np.zeros(2, np.int64), "wait": np.zeros((2, 1), np.float32)}
    for mode in AutoresetMode:
        vec = gymnasium.make_vec(name, num_envs=2, preset="small", horizon=3.0, autoreset_mode=mode)
        with pytest.raises(ResetNeeded, match="reset"):
            vec.step(goods)
    vec.reset(seed=0)
    while not vec.step(goods)[3].any():
        pass
    with pytest.raises(ResetNeeded, match="reset"):
        vec.step(goods)
