"""A device that learns against frozen others: in the right place, for itself alone, and better than it began."""

import numpy as np
import pytest

from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.eval.aoi import best_response
from edgewise.eval.aoi.best_response import train_deviation
from edgewise.eval.aoi.deviations import Deviation, Job, PolicyArena, ScriptedArena

pytest.importorskip("stable_baselines3")


class Patient:
    """Every device joins the shortest queue and waits; device `own` waits longer; sees the true indices."""

    def __init__(self, wait=0.5, own=None):
        self.wait, self.own, self.seen = wait, own, set()

    def act(self, obs):
        self.seen |= set(obs[:, 0].astype(int))
        wait = np.full((len(obs), 1), self.wait, np.float32)
        wait[obs[:, 0] == self.own] = 2.0
        return {"server": 1 + obs[:, 5:].argmin(axis=1), "wait": wait}


def test_the_learner_takes_the_place_of_its_device():
    params = AoIParams.make("small", local_ghz=(2.5, 5.0, 9.0))
    profile = Patient()
    policy = train_deviation(profile, params, 2, decisions=64, seed=1)
    assert profile.seen == {0, 1}  # all but the learner, under their own indices
    action = policy.act(np.array([[0.0, 0.5, 0.5, 0.0, 2.0]], np.float32))
    assert action["server"].shape == (1,)
    assert 0.0 <= float(action["wait"][0, 0]) <= params.z_max


def test_capacities_move_with_the_devices():
    params = AoIParams.make("small", local_ghz=(2.5, 5.0, 9.0))
    moved = best_response._exchanged(params, 2)
    assert moved.local_ghz == (9.0, 5.0, 2.5)
    np.testing.assert_array_equal(moved.scales(), params.scales()[[2, 1, 0]])
    same = AoIParams.make("small")
    assert best_response._exchanged(same, 2) == same


@pytest.mark.slow
@pytest.mark.parametrize("scripted", [False, True])
def test_it_finds_most_of_what_impatience_brings(scripted):
    """Among patient devices: the best threshold gains 33 %, the best fixed wait 32 %."""
    params = AoIParams.make("paper", drop="authors:1.5")
    profile = ("jsq", "fixed:1") if scripted else Patient(1.0)
    policy = train_deviation(profile, params, 3, decisions=500_000, seed=0)
    arena = ScriptedArena(params, profile) if scripted else PolicyArena(params, profile)
    jobs = [Job((3,), None), Job((3,), Deviation("learned", 0.0, policy))]
    ages = arena.ages(jobs, range(100, 116), 1500.0, 50.0).mean(axis=1)
    assert 1.0 - ages[1] / ages[0] > 0.30
