"""Deviating devices: every kind does what it says, in both arenas, on the same draws."""

import numpy as np
import pytest

from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.policies import ScriptedPolicy
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.eval.aoi.deviations import Deviants, Deviation, Job, PolicyArena, ScriptedArena, candidates, exchangeable

PARAMS = AoIParams.make("paper", n_devices=6, drop="authors:1.5")
ONE_EDGE = AoIParams.make("small")  # no ties between edges: both arenas draw the same


class Rule:
    """A scripted rule for every device, on event-stream observations."""

    def __init__(self, server, wait, params=PARAMS):
        self._policy = ScriptedPolicy(server, wait, params=params)

    def act(self, obs):
        return self._policy.act(obs[..., 1:])


class Longer:
    """A learned policy's stand-in: place 1, and a wait of its own; counts its calls."""

    def __init__(self, wait):
        self.wait, self.rows = wait, 0

    def act(self, obs):
        self.rows += len(obs)
        assert obs.shape[1] == 6
        return {"server": np.ones(len(obs), int), "wait": np.full((len(obs), 1), self.wait)}


def observations(devices, delay=0.5, queues=(3.0, 1.0)):
    obs = np.zeros((len(devices), 7), np.float32)
    obs[:, 0], obs[:, 2], obs[:, 5:] = devices, delay, queues
    return obs


def test_only_the_deviating_devices_of_a_lane_do_something_else():
    learned = Longer(2.0)
    deviations = [
        None,
        Deviation("fixed", 0.7),
        Deviation("threshold", 0.8),
        Deviation("scaled", 2.0),
        Deviation("learned", 0.0, learned),
        Deviation("scaled", 0.5),
        Deviation("threshold", 0.2),
    ]
    decide = Deviants(PARAMS, Rule("server:1", "fixed:1"), deviations, [(2, 4)] * 7)
    lanes = np.arange(7)
    for device in (2, 4):
        server, wait = decide(observations([device] * 7), lanes)
        np.testing.assert_array_equal(server, [1, 2, 2, 1, 1, 1, 2])
        np.testing.assert_allclose(wait, [1.0, 0.7, 0.3, 2.0, 2.0, 0.5, 0.0], atol=1e-6)
    server, wait = decide(observations([3] * 7), lanes)
    assert (server == 1).all()
    assert (wait == 1.0).all()
    assert learned.rows == 2
    # lanes are told apart by their number, not by their row
    server, wait = decide(observations([2, 2]), np.array([3, 1]))
    np.testing.assert_allclose(wait, [2.0, 0.7], atol=1e-6)
    assert decide(observations([2], delay=0.1), np.array([2]))[1][0] == pytest.approx(0.7)


def test_a_scaled_wait_stays_within_its_range():
    decide = Deviants(PARAMS, Rule("server:1", "fixed:2.5"), [Deviation("scaled", 2.0)], [(0,)])
    assert decide(observations([0]), np.array([0]))[1][0] == PARAMS.z_max


@pytest.mark.parametrize("wait", ["uniform:3", "uniform:1:2", "uniform:1"])
def test_a_scaled_random_wait_is_cut_and_not_drawn_again(wait):
    """Both arenas: twice the draw, at most the longest wait."""
    deviation, seeds = Deviation("scaled", 2.0), list(range(60))
    scripted = ScriptedArena(ONE_EDGE, ("server:1", wait))
    decided = PolicyArena(ONE_EDGE, Rule("server:1", wait, ONE_EDGE))
    jobs = [Job((0,), deviation)]
    ages = [arena.ages(jobs, seeds, 200.0).mean() for arena in (scripted, decided)]
    assert ages[0] == pytest.approx(ages[1], rel=0.01)


def test_ties_of_the_shortest_queue_go_either_way():
    decide = Deviants(PARAMS, Rule("server:1", "fixed:1"), [Deviation("fixed", 0.0)], [(0,)])
    lanes = np.zeros(200, int)
    assert set(decide(observations([0] * 200, queues=(2.0, 2.0)), lanes)[0]) == {1, 2}
    assert set(decide(observations([0] * 200, queues=(2.0, 1.0)), lanes)[0]) == {2}


@pytest.mark.parametrize(
    "deviation",
    [
        None,
        Deviation("fixed", 0.3),
        Deviation("threshold", 0.6),
        Deviation("scaled", 0.0),
        Deviation("scaled", 2.0),
        Deviation("learned", 0.0, ScriptedPolicy("local", "threshold:1", params=ONE_EDGE)),
    ],
    ids=["conform", "fixed", "threshold", "scaled-0", "scaled-2", "learned"],  # the same in every worker process
)
@pytest.mark.parametrize("wait", ["fixed:0.4", "threshold:0.5"])
def test_both_arenas_find_the_same_ages(deviation, wait):
    jobs, seeds = [Job((1,), deviation), Job((0, 2), deviation)], [3, 4, 5]
    scripted = ScriptedArena(ONE_EDGE, ("jsq", wait)).ages(jobs, seeds, 150.0, 10.0)
    played = PolicyArena(ONE_EDGE, Rule("jsq", wait, ONE_EDGE)).ages(jobs, seeds, 150.0, 10.0)
    assert scripted.shape == (2, 3)
    # float32 observations and waits now and then change the order of two events
    np.testing.assert_allclose(scripted, played, rtol=1e-2)
    assert np.isclose(scripted, played, rtol=1e-5).mean() > 0.6


def test_ages_are_those_of_the_groups_and_chunks_of_lanes_change_nothing(monkeypatch):
    jobs = [Job((0,), None), Job((1, 3), None), Job((1,), Deviation("fixed", 0.2))]
    arena = PolicyArena(PARAMS, Rule("server:1", "fixed:1"))
    whole = arena.ages(jobs, [7, 8], 100.0)
    alone = simulate(PARAMS, "server:1", "fixed:1", horizon=100.0, seeds=[7, 8]).ages
    np.testing.assert_allclose(whole[0], alone[:, 0], rtol=1e-9)
    np.testing.assert_allclose(whole[1], alone[:, [1, 3]].mean(axis=1), rtol=1e-9)
    monkeypatch.setattr("edgewise.eval.aoi.deviations.LANES", 3)
    np.testing.assert_allclose(arena.ages(jobs[:2], [7, 8], 100.0), whole[:2], rtol=1e-9)


def test_the_candidates_are_the_grids_and_the_scaled_own_policy():
    found = candidates(AoIParams.make("paper"))
    by_kind = {kind: [d.number for d in found if d.kind == kind] for kind in ("fixed", "threshold", "scaled")}
    np.testing.assert_allclose(by_kind["fixed"], np.arange(31) / 10)
    np.testing.assert_allclose(by_kind["threshold"], np.arange(31) / 10)
    assert by_kind["scaled"] == [0.0, 0.5, 2.0]
    assert len({d.label for d in found}) == len(found)


def test_devices_are_alike_if_neither_physics_nor_policy_tells_them_apart():
    class Own:
        def act(self, obs):
            return {"server": np.ones(len(obs), int), "wait": 0.1 * obs[:, :1]}

    assert exchangeable(ONE_EDGE, Rule("server:1", "threshold:1", ONE_EDGE), [0, 2], 5)
    assert not exchangeable(ONE_EDGE, Own(), [0, 2], 5)
    assert exchangeable(ONE_EDGE, Own(), [1], 5)
    mixed = AoIParams.make("small", local_ghz=(2.5, 2.5, 5.0))
    assert not exchangeable(mixed, Rule("server:1", "fixed:1", mixed), [0, 2], 5)
    assert exchangeable(mixed, Rule("server:1", "fixed:1", mixed), [0, 1], 5)
