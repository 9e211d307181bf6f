"""The shared faces around a toy system whose resets take time and whose episodes end in both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from edgewise.envs.core import InvalidInputError
from edgewise.envs.core.faces import LaneEnv, LaneVectorEnv
from edgewise.envs.testing import check_smdp, check_vector_equals_scalar

HORIZON = 6.0
BOX = spaces.Box(0.0, np.inf, (2,), np.float32)
ACTIONS = spaces.Discrete(3)


class Results:
    def __init__(self, lanes):
        self.obs, self.out = np.zeros((lanes, 2), np.float32), np.zeros((3, lanes))
        self.terminated, self.truncated = np.zeros(lanes, bool), np.zeros(lanes, bool)

    def take(self, other, lanes):
        self.obs[lanes], self.out[:, lanes] = other.obs[lanes], other.out[:, lanes]


class Parcels:
    """A parcel takes a random time, at the price of the action; every tenth is the last of its episode."""

    def __init__(self, lanes=1):
        self.lanes, self.seeded = lanes, False
        self.key = np.zeros((lanes, 3), np.int64)  # seed, episode, parcel
        self.time, self.over = np.zeros(lanes), np.zeros(lanes, bool)

    def seed(self, seeds):
        self.key[:, 0], self.key[:, 1], self.seeded = seeds.astype(np.int64), -1, True

    def draw(self, i):
        return np.random.default_rng(self.key[i]).random()

    def advance(self, results, i, price):
        duration = 0.5 + self.draw(i)
        self.key[i, 2] += 1
        self.time[i] += duration
        results.obs[i] = self.draw(i), self.time[i]
        results.out[:, i] = price * duration, duration, self.time[i]

    def reset(self, mask, results=None):
        results = results or Results(self.lanes)
        for i in np.flatnonzero(mask):
            self.key[i, 1:] = self.key[i, 1] + 1, 0
            self.time[i], self.over[i] = 0.0, False
            self.advance(results, i, 1.0)
        return results

    def step(self, actions, skip):
        results = Results(self.lanes)
        for i in np.flatnonzero(~skip):
            last = self.draw(i) > 0.9
            self.advance(results, i, float(actions[i]))
            results.terminated[i], results.truncated[i] = last, not last and self.time[i] >= HORIZON
        self.over = np.where(skip, self.over, results.terminated | results.truncated)
        return results

    def pending(self):
        results = Results(self.lanes)
        for i in range(self.lanes):
            results.obs[i] = self.draw(i), self.time[i]
        results.out[2] = self.time
        return results

    def info(self, results):
        cost, duration, time = results.out
        return {"cost": cost, "duration": duration, "time": time, "cost_terms": {"all": cost.copy()}}

    def get_state(self):
        return {name: getattr(self, name).copy() for name in ("key", "time", "over")}

    def set_state(self, state):
        for name, array in state.items():
            getattr(self, name)[...] = array
        self.seeded = True


class Env(LaneEnv):
    def __init__(self):
        super().__init__(Parcels(), BOX, ACTIONS)

    def report(self, results):
        info = self._system.info(results)
        terms = {"all": info["cost_terms"]["all"][0]}
        return results.obs[0], {name: info[name][0] for name in ("cost", "duration", "time")} | {"cost_terms": terms}

    def _begin(self):
        return self.report(self._system.reset(np.ones(1, bool)))

    def step(self, action):
        if self._done:
            raise ResetNeeded("over")
        results = self._system.step(np.array([action]), np.zeros(1, bool))
        terminated, truncated = bool(results.terminated[0]), bool(results.truncated[0])
        self._done = terminated or truncated
        obs, info = self.report(results)
        return obs, -info["cost"], terminated, truncated, info

    def _over(self, state):
        return state["over"]


class Vector(LaneVectorEnv[Results]):
    def __init__(self, lanes=3, mode: Any = "NEXT_STEP"):
        super().__init__(Parcels(lanes), BOX, ACTIONS, mode)

    def step(self, actions):
        return self._step(np.asarray(actions))

    def _advance(self, actions, skip):
        results = self._system.step(actions, skip)
        return results, results.terminated, results.truncated

    def _over(self, state):
        return state["over"].copy()


ONE = np.array([False, True, False])
PRICES = np.array([1, 2, 1])


def test_lanes_repeat_the_scalar_face_in_every_mode():
    assert check_vector_equals_scalar(Vector, Env, steps=120) > 60


@pytest.mark.parametrize("mode", AutoresetMode)
def test_both_faces_keep_the_semi_markov_contract(mode):
    check_smdp(Vector(3, mode), steps=200)
    check_smdp(Env(), steps=200)


def test_a_reset_step_is_empty_and_reports_the_true_stretch_beside():
    env = Vector()
    env.reset(seed=0)
    while not (over := np.logical_or(*env.step(PRICES)[2:4])).any():
        pass
    _, reward, _, _, info = env.step(PRICES)
    assert (info["_reset_info"] == over).all()
    for values in (info["cost"], info["duration"], info["cost_terms"]["all"], reward):
        assert ((values == 0.0) == over).all()
    assert (info["reset_info"]["duration"][over] > 0.0).all()
    assert (info["reset_info"]["time"][over] == info["time"][over]).all()


def test_a_partial_reset_leaves_the_other_lanes_where_they_are():
    env = Vector(mode="DISABLED")
    env.reset(seed=0)
    before, *_, told = env.step(PRICES)
    after, info = env.reset(options={"reset_mask": ONE})
    assert ((before == after).all(axis=1) == ~ONE).all()
    assert ((info["duration"] == 0.0) == ~ONE).all()
    assert (info["time"][~ONE] == told["time"][~ONE]).all()


def test_the_first_reset_and_a_seed_are_for_all_lanes():
    env = Vector(mode="DISABLED")
    with pytest.raises(InvalidInputError, match="partial reset_mask"):
        env.reset(options={"reset_mask": ONE})
    with pytest.raises(ResetNeeded):
        env.step(PRICES)
    env.reset()  # a seed is drawn
    with pytest.raises(InvalidInputError, match="partial reset_mask"):
        env.reset(seed=1, options={"reset_mask": ONE})


@pytest.mark.parametrize("mode", ["SAME_STEP", "DISABLED"])
def test_only_disabled_lanes_wait_for_a_reset(mode):
    env = Vector(mode=mode)
    env.reset(seed=0)
    while not np.logical_or(*env.step(PRICES)[2:4]).any():
        pass
    if mode == "SAME_STEP":
        env.step(PRICES)
    else:
        with pytest.raises(ResetNeeded, match="for its lane"):
            env.step(PRICES)


def test_a_state_carries_the_lanes_that_wait():
    env, other = Vector(), Vector()
    env.reset(seed=0)
    while not np.logical_or(*env.step(PRICES)[2:4]).any():
        pass
    other.set_state(env.get_state())
    mine, theirs = env.step(PRICES), other.step(PRICES)
    assert (mine[0] == theirs[0]).all()
    assert (mine[4]["_reset_info"] == theirs[4]["_reset_info"]).all()
    scalar, copy = Env(), Env()
    scalar.reset(seed=0)
    while not any(scalar.step(1)[2:4]):
        pass
    copy.set_state(scalar.get_state())
    with pytest.raises(ResetNeeded):
        copy.step(1)
