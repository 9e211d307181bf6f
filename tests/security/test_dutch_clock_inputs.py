"""Bad input to the clock environment: one clear error, and nothing has moved."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

import edgewise  # noqa: F401  # registers the id
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching import DutchClockEnv, DutchClockParams, DutchClockVectorEnv
from edgewise.envs.testing import digest

BAD_ACTIONS = {
    "too large": 5,
    "negative": -1,
    "enormous": 1 << 80,
    "float": 1.0,
    "nan": math.nan,
    "text": "2",
    "none": None,
    "array": np.array([1, 2]),
    "dict": {"step": 1},
}


@pytest.mark.parametrize("name", BAD_ACTIONS)
@pytest.mark.parametrize("variant", ["sweep", "alternating"])
def test_a_bad_action_is_named_and_nothing_moves(name, variant):
    env, control = (DutchClockEnv(variant=variant) for _ in range(2))
    for each in (env, control):
        each.reset(seed=0)
        each.step(1)
    with pytest.raises(InvalidInputError, match="action"):
        env.step(BAD_ACTIONS[name])
    assert digest(*env.step(2)) == digest(*control.step(2))


@pytest.mark.parametrize(
    "actions",
    [[0, 1], [0, 1, 5], [0, -1, 0], [0.0, 1.0, 2.0], [[0, 1, 2]], None, "012", [0, 1, math.nan]],
    ids=str,
)
def test_bad_vector_actions_move_no_lane(actions):
    envs, control = (DutchClockVectorEnv(3) for _ in range(2))
    for each in (envs, control):
        each.reset(seed=0)
    with pytest.raises(InvalidInputError, match="action"):
        envs.step(actions)
    good = np.array([0, 1, 2])
    assert digest(*envs.step(good)) == digest(*control.step(good))


def test_the_message_names_the_lane():
    envs = DutchClockVectorEnv(3)
    envs.reset(seed=0)
    with pytest.raises(InvalidInputError, match=r"action of lane 2 must be an integer in \[0, 4\], got 9"):
        envs.step(np.array([0, 1, 9]))


BAD_SETTINGS = {
    "n_buyers": {"n_buyers": 0},
    "n_sellers": {"n_sellers": 2.5},
    "values": {"values": "S4"},
    "tick": {"tick": math.nan},
    "message_cost": {"message_cost": -1.0},
    "horizon": {"horizon": 0},
    "variant": {"variant": "crossing"},
    "preset": {"preset": "paper"},
    "did you mean 'n_buyers'": {"n_buyer": 3},
    "params": {"params": {"tick": 0.1}},
    "params excludes": {"params": DutchClockParams(), "tick": 0.1},
}


@pytest.mark.parametrize("message", BAD_SETTINGS)
@pytest.mark.parametrize("make", [DutchClockEnv, DutchClockVectorEnv])
def test_bad_settings_are_named(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make(**BAD_SETTINGS[message])


BAD_LANES = {
    "num_envs": {"num_envs": 0},
    "autoreset_mode": {"autoreset_mode": "SOMETIMES"},
    "max_episode_steps": {"max_episode_steps": 10},
}


@pytest.mark.parametrize("message", BAD_LANES)
def test_bad_lanes_are_named(message):
    with pytest.raises(InvalidInputError, match=message):
        DutchClockVectorEnv(**BAD_LANES[message])


@given(
    st.one_of(st.floats(), st.text(), st.integers(max_value=-1), st.integers(min_value=2**64), st.booleans().map(str))
)
def test_bad_seeds_are_named(seed):
    for env in (DutchClockEnv(preset="small"), DutchClockVectorEnv(2, preset="small")):
        with pytest.raises(InvalidInputError, match="seed"):
            env.reset(seed=seed)


def test_bad_masks_are_named():
    envs = DutchClockVectorEnv(2)
    envs.reset(seed=0)
    for mask in ([True], [1, 0], [False, False]):
        with pytest.raises(InvalidInputError, match="reset_mask"):
            envs.reset(options={"reset_mask": np.array(mask)})
    with pytest.raises(InvalidInputError, match="exclude each other"):
        envs.reset(seed=1, options={"reset_mask": np.array([True, False])})
    with pytest.raises(InvalidInputError, match="list of 2"):
        envs.reset(seed=[1, 2, 3])


def test_steps_before_a_reset_and_after_an_end_are_refused():
    env, envs = DutchClockEnv(), DutchClockVectorEnv(2, autoreset_mode="DISABLED", horizon=1)
    for each, action in ((env, 0), (envs, np.zeros(2, int))):
        with pytest.raises(ResetNeeded):
            each.step(action)
    envs.reset(seed=0)
    envs.step(np.zeros(2, int))
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(2, int))


def corrupt(state, name, index, value, field=None):
    target = state[name] if field is None else state[name][field]
    target[index] = value


CORRUPTIONS = {
    "order beyond the agents": ("buyer_order", (0, 0), 10**6, None),
    "order twice the same": ("buyer_order", (0, 1), "first", None),
    "negative order": ("seller_order", (0, 0), -5, None),
    "stop ahead of the clock": ("buyer_stop", (0, 0), 99, None),
    "count beyond the agents": ("lane", 0, 10**9, "bought"),
    "negative count": ("lane", 0, -1, "sold"),
    "clock beyond the range": ("lane", 0, 10**9, "buyer_clock"),
    "pairs beyond the counts": ("lane", 0, 999, "pairs"),
    "unknown turn": ("lane", 0, 7, "turn"),
    "unknown state": ("lane", 0, 7, "state"),
    "value not a number": ("value", (0, 0), math.nan, None),
    "cost infinite": ("cost", (0, 0), math.inf, None),
    "owed not a number": ("lane", 0, math.nan, "owed"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_state_that_no_auction_can_have_is_refused(name):
    env = DutchClockEnv()
    env.reset(seed=0)
    for _ in range(30):
        env.step(0)
    state = env.get_state()
    array, index, value, field = CORRUPTIONS[name]
    if value == "first":
        value = state[array][0, 0]
    corrupt(state, array, index, value, field)
    before = digest(env.get_state()["lane"].tobytes(), env.get_state()["buyer_order"])
    with pytest.raises(InvalidInputError, match="state"):
        env.set_state(state)
    assert digest(env.get_state()["lane"].tobytes(), env.get_state()["buyer_order"]) == before


def test_states_of_other_markets_are_refused():
    env, other = DutchClockEnv(), DutchClockEnv(preset="small")
    env.reset(seed=0)
    with pytest.raises(InvalidInputError, match="state"):
        other.set_state(env.get_state())
    with pytest.raises(InvalidInputError, match="state"):
        env.set_state({})


def test_make_passes_the_errors_on():
    with pytest.raises(InvalidInputError, match="tick"):
        gymnasium.make("edgewise/DutchClock-v0", tick=0.0)
