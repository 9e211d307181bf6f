"""Backgrounds that fail end the episode, and leave an environment that can be reset."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import digest

from .aoi_faces import SINGLE, make

NO_BACKGROUND = [{"server": 9, "wait": [math.nan]}, {"server": 0}, None, ZeroDivisionError]


class FailingOnce:
    """A background that behaves for a while, then answers badly once."""

    def __init__(self, bad, after):
        self.bad, self.left = bad, after

    def __call__(self, obs):
        self.left -= 1
        if self.left != 0:
            return {"server": 0, "wait": [1.0]}
        if self.bad is ZeroDivisionError:
            raise self.bad
        return self.bad


def failure(bad):
    return pytest.raises(bad) if bad is ZeroDivisionError else pytest.raises(InvalidInputError, match=r"^background: ")


@pytest.mark.parametrize("bad", NO_BACKGROUND, ids=repr)
@pytest.mark.parametrize("after", [1, 40])
def test_a_background_that_fails_ends_the_episode(bad, after):
    good = {"server": 0, "wait": np.ones(1, np.float32)}
    env = make(SINGLE, background=FailingOnce(bad, after))
    with failure(bad):
        env.reset(seed=0)
        while True:
            env.step(good)
    with pytest.raises(ResetNeeded):
        env.step(good)
    fresh = make(SINGLE, background=FailingOnce(None, -1))
    fresh.reset(seed=5)
    env.reset(seed=5)
    assert digest(*env.step(good)) == digest(*fresh.step(good))


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("bad", NO_BACKGROUND, ids=repr)
@pytest.mark.parametrize("after", [1, 40])
def test_a_background_that_fails_ends_the_episodes_of_all_lanes(bad, after, mode):
    good = {"server": np.zeros(3, np.int64), "wait": np.ones((3, 1), np.float32)}
    kwargs = {"num_envs": 3, "preset": "small", "autoreset_mode": mode}
    env = gymnasium.make_vec(SINGLE, background=FailingOnce(bad, after), **kwargs).unwrapped
    with failure(bad):
        env.reset(seed=0)
        while True:
            env.step(good)
    with pytest.raises(ResetNeeded, match="half-way"):
        env.step(good)
    with pytest.raises(ResetNeeded, match="half-way"):
        env.reset(options={"reset_mask": np.array([True, False, True])})
    fresh = gymnasium.make_vec(SINGLE, background=FailingOnce(None, -1), **kwargs).unwrapped
    fresh.reset(seed=5)
    env.reset(seed=5)
    assert digest(*env.step(good)) == digest(*fresh.step(good))
