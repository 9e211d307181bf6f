"""Every face of the age-minimal offloading environments, driven alike."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest

from edgewise.envs.aoi_offload import aec_env, parallel_env
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import Actor, digest

SINGLE, GAME = "edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"
N_EDGES, Z_MAX = 1, 3.0


class Scalar:
    """How to drive one face: the pending kind, one action for the pending decision, and what then comes back."""

    def __init__(self, make):
        self.env = make()
        self.env.reset(seed=3)
        self.actor = Actor(self.env.action_space, 0)
        self.kind = self.env.reset(seed=3)[1]["kind"]

    def act(self, action):
        observation, reward, *flags, info = self.env.step(action)
        self.kind = info["kind"]
        return digest(observation, reward, flags, info)

    def good(self):
        return self.actor(None, {})


class Vector(Scalar):
    """Lane 1 gets the action under test, its neighbours a good one."""

    def __init__(self, make):
        self.env = make()
        _, info = self.env.reset(seed=3)
        self.kind = info["kind"][1]
        self.actor = Actor(self.env.single_action_space, 0)

    def act(self, action):
        good = {"server": 0, "wait": np.zeros(1, np.float32)}
        rows = [good, action, good]
        batch = {key: np.array([row[key] for row in rows]) for key in ("server", "wait")}
        observations, rewards, *flags, info = self.env.step(batch)
        self.kind = info["kind"][1]
        return digest(observations, rewards, flags, info)


class AEC(Scalar):
    def __init__(self, make):
        self.env = make()
        self.env.reset(seed=3)
        self.actor = Actor(self.env.action_space(self.env.agent_selection), 0)
        self.kind = self.env.last()[4]["kind"]

    def act(self, action):
        self.env.step(action)
        self.kind = self.env.last()[4]["kind"]
        return digest(self.env.agent_selection, *self.env.last())


class Parallel(Scalar):
    def __init__(self, make):
        self.env = make()
        self.heard = self.env.reset(seed=3)[1]
        self.actor = Actor(self.env.action_space("device_0"), 0)
        self.kind = self.pending()["kind"]

    def pending(self):
        return next(info for info in self.heard.values() if info["must_act"])

    def act(self, action):
        ignored = {"server": 0, "wait": np.zeros(1, np.float32)}
        actions = {agent: action if info["must_act"] else ignored for agent, info in self.heard.items()}
        result = self.env.step(actions)
        self.heard = result[-1]
        self.kind = self.pending()["kind"]
        return digest(*result)


def make(name, **kwargs):
    return gymnasium.make(name, preset="small", horizon=1e6, **kwargs).unwrapped


FACES = {
    "staged": lambda: Scalar(lambda: make(SINGLE)),
    "joint": lambda: Scalar(lambda: make(SINGLE, decision="joint")),
    "stream": lambda: Scalar(lambda: make(GAME)),
    "vector": lambda: Vector(lambda: gymnasium.make_vec(SINGLE, num_envs=3, preset="small", horizon=1e6)),
    "stream vector": lambda: Vector(lambda: gymnasium.make_vec(GAME, num_envs=3, preset="small", horizon=1e6)),
    "aec": lambda: AEC(lambda: aec_env(preset="small", horizon=1e6)),
    "parallel": lambda: Parallel(lambda: parallel_env(preset="small", horizon=1e6)),
}
EACH_FACE = pytest.mark.parametrize("face", FACES)


def driven_to(face, kinds):
    """A face whose pending decision is of one of these kinds."""
    driver = FACES[face]()
    for _ in range(50):
        if driver.kind in kinds:
            return driver
        driver.act(driver.good())
    raise AssertionError(f"no decision of kind {kinds} in 50 decisions")


def refuses(driver, action, *words):
    """The action raises one sentence with these words, and the environment then goes on as if nothing had happened."""
    control = copy.deepcopy(driver)
    with pytest.raises(InvalidInputError) as error:
        driver.act(action)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
    assert [driver.act(driver.good()) for _ in range(5)] == [control.act(control.good()) for _ in range(5)]
