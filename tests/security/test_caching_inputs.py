"""Bad input to the model-caching environment: one clear error, and nothing has moved."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import digest

ID = "edgewise/ModelCaching-v0"
GOOD = {"cache": np.ones(10, np.int8), "local_share": np.ones(10, np.float32)}


def refuses(action, word):
    env = gymnasium.make(ID, preset="stationary").unwrapped
    env.reset(seed=3)
    before = digest({k: v.tolist() for k, v in env.get_state().items()})
    with pytest.raises(InvalidInputError, match=word) as error:
        env.step(action)
    assert "\n" not in str(error.value)
    assert digest({k: v.tolist() for k, v in env.get_state().items()}) == before
    env.step(GOOD)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-9, 1.0001], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_out_of_range_are_refused(value, dtype):
    share = np.ones(10, dtype)
    share[7] = value
    refuses(GOOD | {"local_share": share}, r"local_share\[7\]")


@given(st.integers(-(2**63), 2**63 - 1).filter(lambda bit: bit not in (0, 1)))
def test_bits_out_of_range_are_refused(bit):
    cache = np.ones(10, np.int64)
    cache[2] = bit
    refuses(GOOD | {"cache": cache}, "cache")


BAD_CACHES = [None, 1, np.ones(9, np.int8), np.ones((1, 10), np.int8), np.ones(10), ["a"] * 10, [[1], [0, 1]], {}]
BAD_SHARES = [None, 1.0, np.ones(11), np.ones((10, 1)), np.ones(10, complex), ["1"] * 10, [None] * 10, {}]
NO_ACTIONS = [None, 3, "cache", [], np.zeros(10), {}, {"cache": GOOD["cache"]}, {"local_share": GOOD["local_share"]}]


@pytest.mark.parametrize("cache", BAD_CACHES, ids=repr)
def test_malformed_caches_are_refused(cache):
    refuses(GOOD | {"cache": cache}, "cache")


@pytest.mark.parametrize("share", BAD_SHARES, ids=repr)
def test_malformed_shares_are_refused(share):
    refuses(GOOD | {"local_share": share}, "local_share")


@pytest.mark.parametrize("action", NO_ACTIONS, ids=repr)
def test_what_is_no_action_is_refused(action):
    refuses(action, "action")


def test_a_bad_row_of_a_batch_moves_no_lane():
    vec = gymnasium.make_vec(ID, 3, preset="stationary").unwrapped
    batch = {key: np.stack([value] * 3) for key, value in GOOD.items()}
    with pytest.raises(ResetNeeded):
        gymnasium.make_vec(ID, 3, preset="stationary", autoreset_mode="DISABLED").step(batch)
    vec.reset(seed=0)
    before = digest({k: v.tolist() for k, v in vec.get_state().items()})
    batch["local_share"][1, 4] = np.nan
    with pytest.raises(InvalidInputError, match=r"local_share\[4\] of lane 1"):
        vec.step(batch)
    assert digest({k: v.tolist() for k, v in vec.get_state().items()}) == before


@pytest.mark.parametrize(("field", "value"), [
    ("preset", "drfit"), ("preset", [1]), ("mode", "literal"), ("mode", 3), ("n_agents", 0), ("n_agents", 2.5),
    ("n_gpus", -1), ("models", ()), ("models", ("gpt-5",)), ("alpha", (0.4,)), ("alpha", (0.4, 1.5)), ("beta", 1.0),
    ("beta", math.nan), ("zeta", -1), ("paths", 0), ("input_tokens", (5, 2)), ("context_windows", (0, 1)),
    ("window_rule", "slid"), ("accuracy_model", "log"), ("total_demand", 1e5), ("zipf", -1), ("shift_every", -1),
    ("burst_rates", (0, 0)), ("lambda_MB", math.inf), ("horizon", 0), ("horizon", math.nan), ("horizon", "x"),
    ("instance_seed", -1), ("trace", "x"), ("workload", "zipf"), ("trace_slots", (5, 5)),
])  # fmt: skip
def test_bad_arguments_name_their_field(field, value):
    for make in (lambda **kw: gymnasium.make(ID, **kw), lambda **kw: gymnasium.make_vec(ID, 2, **kw)):
        with pytest.raises(InvalidInputError, match=field) as error:
            make(**{field: value})
        assert "\n" not in str(error.value)


def test_near_misses_are_suggested():
    with pytest.raises(InvalidInputError, match="did you mean 'lambda_MB'"):
        gymnasium.make(ID, lambda_mb=1.0)


def test_foreign_states_are_refused():
    env = gymnasium.make(ID, preset="stationary").unwrapped
    env.reset(seed=0)
    env.step(GOOD)
    state = env.get_state()

    def corrupt(name, column, value):
        broken = {key: array.copy() for key, array in state.items()}
        broken[name][column][...] = value
        return broken

    bad = [None, {}, state | {"more": 1}, {k: v for k, v in state.items() if k != "agent"}]
    bad += [state | {"agent": state["agent"][:, :5]}, state | {"agent": np.zeros(state["agent"].shape)}]
    bad += [corrupt("agent", c, v) for c, v in (("rank", 10), ("rank", -1), ("rank", 3), ("cache", 2), ("burst", -1),
            ("kappa", np.nan), ("context", -1.0), ("input", np.inf), ("demand", -1))]  # fmt: skip
    bad += [corrupt("lane", c, v) for c, v in (("time", -1), ("first", 7), ("done", 2))]
    before = digest({k: v.tolist() for k, v in env.get_state().items()})
    for broken in bad:
        with pytest.raises(InvalidInputError, match="state"):
            env.set_state(broken)
        assert digest({k: v.tolist() for k, v in env.get_state().items()}) == before


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "x"])
def test_impossible_seeds_are_refused(seed):
    env = gymnasium.make(ID).unwrapped
    with pytest.raises(InvalidInputError, match="seed"):
        env.reset(seed=seed)
