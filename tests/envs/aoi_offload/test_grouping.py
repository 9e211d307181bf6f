"""Lanes of the event stream interleave devices: returns are right per (lane, device), and wrong along a lane."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from edgewise.envs.aoi_offload import aec_env

LANES, DEVICES, STEPS, DISCOUNT = 3, 3, 400, 0.9
SETTINGS = {"preset": "small", "drop": "authors:1.5", "horizon": 1e6}


def returns(rewards):
    """Discounted sums of what follows each decision, one factor per decision."""
    total, sums = 0.0, []
    for reward in reversed(rewards):
        total = reward + DISCOUNT * total
        sums.append(total)
    return np.array(sums[::-1])


@pytest.fixture(scope="module")
def stream():
    """(rewards, durations, time, devices) of a constant policy, each (1 + steps, lanes); row 0 is the reset."""
    vec = gymnasium.make_vec("edgewise/AoIOffloadGame-v0", num_envs=LANES, **SETTINGS)
    _, info = vec.reset(seed=7)
    action = {"server": np.ones(LANES, np.int64), "wait": np.full((LANES, 1), 0.4)}
    rows = [(-info["cost"], info["duration"], info["time"], info["device"])]
    for _ in range(STEPS):
        _, reward, _, truncated, info = vec.step(action)
        assert not truncated.any()
        rows.append((reward, info["duration"], info["time"], info["device"]))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def games():
    """Per lane and agent: the rewards that the AEC environment gives for the same decisions."""
    lanes = []
    for lane in range(LANES):
        env = aec_env(**SETTINGS)
        env.reset(seed=7 + lane)
        rewards = [[] for _ in range(DEVICES)]
        for _ in range(STEPS):
            env.step({"server": 1, "wait": [0.4]})
            rewards[env.possible_agents.index(env.agent_selection)].append(env.last()[1])
        lanes.append(rewards)
    return lanes


def test_grouped_by_lane_and_device_returns_are_those_of_each_agent(stream, games):
    rewards, _, _, devices = stream
    for lane in range(LANES):
        for m in range(DEVICES):
            own = rewards[1:, lane][devices[1:, lane] == m]
            assert len(own) > 50
            assert returns(own) == pytest.approx(returns(games[lane][m]), rel=1e-12)


def test_along_a_lane_returns_mix_the_devices_and_are_wrong(stream, games):
    rewards, _, _, devices = stream
    for lane in range(LANES):
        mixed = returns(rewards[1:, lane])
        for m in range(DEVICES):
            right = returns(games[lane][m])
            wrong = mixed[devices[1:, lane] == m]
            assert np.median(np.abs(wrong / right - 1.0)) > 0.1


def test_along_a_lane_durations_count_every_second_once_per_device(stream):
    _, durations, time, devices = stream
    for lane in range(LANES):
        for m in range(DEVICES):
            mine = devices[:, lane] == m
            assert durations[mine, lane].sum() == pytest.approx(time[mine, lane][-1], rel=1e-9)
        assert durations[:, lane].sum() > 0.9 * DEVICES * time[-1, lane]
