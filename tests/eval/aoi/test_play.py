"""The loop that plays the game: the same counters as the compiled simulation, any mix of horizons, at speed."""

import time

import gymnasium
import numpy as np
import pytest

from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.policies import ScriptedPolicy
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.core.errors import InvalidInputError
from edgewise.eval.aoi.metrics import without_first_cycles
from edgewise.eval.aoi.play import everyone, first_completions, play

PARAMS = AoIParams.make("paper", n_devices=6, drop="authors:1.5")


class Fixed:
    """Every device goes to one place and waits the same time; notes what it sees."""

    def __init__(self, place=1, wait=0.25):
        self.place, self.wait, self.shapes, self.devices = place, wait, [], set()

    def act(self, obs):
        self.shapes.append(obs.shape)
        self.devices |= set(obs[:, 0].astype(int))
        return {"server": np.full(len(obs), self.place), "wait": np.full((len(obs), 1), self.wait, np.float32)}


def same(found, expected, lanes=slice(None)):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name][lanes], values, err_msg=name)


def test_all_devices_of_all_lanes_and_the_counters_of_the_compiled_run():
    policy = Fixed()
    found = play(PARAMS, everyone(policy), range(5, 12), 80.0, warmup=10.0)
    compiled = simulate(PARAMS, "server:1", "fixed:0.25", horizon=80.0, seeds=range(5, 12), warmup=10.0)
    same(found, compiled.statistics)
    assert policy.devices == set(range(6))
    assert policy.shapes[0] == (7, 7)


def test_every_lane_has_its_own_horizon():
    horizons = np.array([30.0, 120.0, 75.5])
    found = play(PARAMS, everyone(Fixed()), [1, 2, 3], horizons)
    for lane, horizon in enumerate(horizons):
        alone = simulate(PARAMS, "server:1", "fixed:0.25", horizon=float(horizon), seeds=[1 + lane])
        same(found, alone.statistics, slice(lane, lane + 1))


def test_some_devices_may_follow_rules_inside_the_simulator():
    policy = Fixed(place=2, wait=0.5)
    found = play(PARAMS, everyone(policy), [4, 5], 90.0, agents=[1, 3], others=("server:1", "fixed:0"))
    pair = [(device, "server:2", "fixed:0.5") for device in (1, 3)]
    same(found, simulate(PARAMS, "server:1", "fixed:0", horizon=90.0, seeds=[4, 5], deviator=pair).statistics)
    assert policy.devices == {1, 3}


def test_on_a_common_clock_it_is_the_synchronous_environment():
    env = gymnasium.make("edgewise/AoIOffloadGame-v0", params=PARAMS, horizon=60.0, sync_slot=0.7)
    env.reset(seed=3)
    truncated = False
    while not truncated:
        truncated = env.step({"server": 1, "wait": np.array([0.25], np.float32)})[3]
    found = play(PARAMS, everyone(Fixed()), [3, 4], 60.0, sync_slot=0.7)
    expected = env.unwrapped.statistics()
    free = play(PARAMS, everyone(Fixed()), [3, 4], 60.0)
    assert found["wait_sum"][0].sum() > 1.2 * free["wait_sum"][0].sum()
    late = np.flatnonzero(found["completions"][0] != expected["completions"])
    assert len(late) <= 1  # the environment ends with the event that crosses the horizon
    kept = np.delete(np.arange(PARAMS.n_devices), late)
    np.testing.assert_array_equal(found["area"][0][kept], expected["area"][kept])
    np.testing.assert_array_equal(found["time"][0][kept], expected["time"][kept])


def test_an_action_out_of_range_is_one_clear_error():
    with pytest.raises(InvalidInputError, match="wait of lane 0"):
        play(PARAMS, everyone(Fixed(wait=9.0)), [1, 2], 20.0)


def test_a_horizon_before_the_first_decision_plays_nothing():
    policy = Fixed()
    found = play(PARAMS, everyone(policy), [1], 1e-9)
    assert policy.shapes == []
    assert found["completions"].sum() == 0


def test_an_episode_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr("edgewise.eval.aoi.play.MAX_DECISIONS", 20)
    with pytest.raises(InvalidInputError, match=r"2 of 2 episodes did not reach 50 s within 20 decisions"):
        play(PARAMS, everyone(Fixed()), [1, 2], 50.0)


def test_a_network_of_two_layers_decides_fast_enough_for_long_stretches():
    """Measured quiet: above 800 000 decisions per second of CPU time; here only that it is not the Gymnasium loop."""
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(6, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 4)]
    network = torch.nn.Sequential(*layers)
    count = 0

    def decide(obs, lanes):
        nonlocal count
        count += len(obs)
        with torch.no_grad():
            out = network(torch.as_tensor(obs[:, 1:])).numpy()
        return 1 + out[:, :2].argmax(axis=1), np.clip(out[:, 2], 0.5, 1.5)

    params = AoIParams.make("paper")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        play(params, decide, range(512), 0.5)
        count, start = 0, time.process_time()
        play(params, decide, range(512), 12.0)
        assert count / (time.process_time() - start) > 150_000
    finally:
        torch.set_num_threads(threads)


def test_scripted_policies_play_too():
    policy = ScriptedPolicy("jsq", "fixed:0.4", params=PARAMS)

    class Plain:
        def act(self, obs):
            return policy.act(obs[:, 1:])

    found = play(PARAMS, everyone(Plain()), range(32), 200.0)
    compiled = simulate(PARAMS, "jsq", "fixed:0.4", horizon=200.0, seeds=32)
    ages = (found["area"] / found["time"]).mean()
    assert ages == pytest.approx(compiled.ages.mean(), rel=0.01)  # ties are broken by other draws


@pytest.mark.parametrize("drop", ["none", "authors:1.5", "deadline:1.5"])
def test_first_cycles_are_the_same_for_every_policy_and_can_be_left_out(drop):
    params = AoIParams.make("paper", drop=drop)
    first = first_completions(params, range(4), 100.0)
    assert first.shape == (4, 20)
    assert (first > 0).all()
    for rules in (("jsq", "fixed:1"), ("local", "uniform:2")):
        whole = simulate(params, *rules, horizon=100.0, seeds=4).statistics
        later = simulate(params, *rules, horizon=100.0, seeds=4, warmup=1e-9).statistics
        found = without_first_cycles(whole, first)
        for name in ("area", "time", "peak", "completions", "waits", "wait_sum"):
            np.testing.assert_allclose(found[name], later[name], rtol=1e-9, err_msg=name)
        np.testing.assert_array_equal(found["paper_area"], whole["paper_area"])
    early = first_completions(params, range(4), 0.5)  # differences of sums of other lengths: equal but for rounding
    np.testing.assert_array_equal(early > 0, first < 0.5)
    np.testing.assert_allclose(early, np.where(first < 0.5, first, 0.0), rtol=1e-9)
