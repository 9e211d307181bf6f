"""Staggered first episodes: only when they end changes, and only once."""

import gymnasium
import numpy as np

import edgewise  # noqa: F401

ID, LANES, HORIZON = "edgewise/AoIOffloadGame-v0", 4, 40.0


def run(steps, **kwargs):
    envs = gymnasium.make_vec(ID, num_envs=LANES, preset="small", horizon=HORIZON, autoreset_mode="SAME_STEP", **kwargs)
    envs.reset(seed=3)
    ends = [[] for _ in range(LANES)]
    action = {"server": np.ones(LANES, int), "wait": np.full((LANES, 1), 0.5)}
    state = None
    for step in range(steps):
        *_, truncated, info = envs.step(action)
        for i in np.flatnonzero(truncated):
            ends[i].append(info["time"][i])
        if step == steps // 2:
            state = envs.unwrapped.get_state()
    return envs.unwrapped, ends, state


def test_first_episodes_end_in_turn_and_later_ones_at_the_horizon():
    _, ends, _ = run(1200, stagger=True)
    for lane, times in enumerate(ends):
        assert len(times) >= 3
        first = HORIZON * (lane + 1) / LANES
        assert first <= times[0] < first + 5.0
        assert all(HORIZON <= time < HORIZON + 5.0 for time in times[1:])


def test_the_last_lane_is_one_that_is_not_staggered():
    _, plain, _ = run(600)
    _, staggered, _ = run(600, stagger=True)
    assert staggered[-1] == plain[-1]
    assert staggered[0] != plain[0]


def test_a_restored_state_ends_where_the_saved_one_does():
    envs, _, state = run(60, stagger=True)
    action = {"server": np.ones(LANES, int), "wait": np.full((LANES, 1), 0.5)}
    envs.set_state(state)
    first = [envs.step(action)[3] for _ in range(400)]
    other, _, _ = run(1, stagger=True)
    other.set_state(state)
    again = [other.step(action)[3] for _ in range(400)]
    np.testing.assert_array_equal(first, again)
    assert np.any(first)
