"""Bad actions to the age-minimal offloading environments: one clear error, and nothing has moved."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.aoi_offload.state import JOINT, OFFLOAD, UPDATE
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import digest

from .aoi_faces import EACH_FACE, FACES, GAME, N_EDGES, SINGLE, Z_MAX, driven_to, refuses

out_of_range = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.floats(max_value=-1e-30, allow_nan=False),
    st.floats(min_value=Z_MAX * 1.001, allow_nan=False),
)


@EACH_FACE
@given(wait=out_of_range, dtype=st.sampled_from([np.float32, np.float64]))
def test_waits_out_of_range_are_refused(face, wait, dtype):
    with np.errstate(over="ignore"):
        value = np.array([wait]).astype(dtype)
    driver = driven_to(face, (UPDATE, JOINT))
    refuses(driver, {"server": 0, "wait": value}, "wait", "[0, 3] s")


@EACH_FACE
@given(server=st.one_of(st.integers(-(2**63), -1), st.integers(N_EDGES + 1, 2**63 - 1)))
def test_servers_out_of_range_are_refused(face, server):
    driver = driven_to(face, (OFFLOAD, JOINT))
    refuses(driver, {"server": server, "wait": np.zeros(1, np.float32)}, "server", "[0, 1]")


SCALAR_FACES = pytest.mark.parametrize("face", [name for name in FACES if "vector" not in name])


@SCALAR_FACES
@given(server=st.one_of(st.integers(max_value=-(2**63) - 1), st.integers(min_value=2**63)))
def test_servers_beyond_64_bits_are_refused(face, server):
    driver = driven_to(face, (OFFLOAD, JOINT))
    refuses(driver, {"server": server, "wait": np.zeros(1, np.float32)}, "server")


BAD_SERVERS = [1.0, math.nan, None, "1", np.array([0, 1]), np.array([1.0]), [0], {}]
BAD_WAITS = [np.zeros(2), np.zeros(0), np.zeros((2, 1)), np.zeros((1, 1)), np.zeros(()), 1.0]
BAD_WAITS += [None, "soon", "3", np.array(["1"]), [None], {}, np.array([1j])]
NO_ACTIONS = [None, 3, "wait", [], (0, 1.0), np.zeros(2), {}, {"server": 0}, {"wait": np.zeros(1)}]


@SCALAR_FACES
@pytest.mark.parametrize("server", BAD_SERVERS, ids=repr)
def test_malformed_servers_are_refused(face, server):
    refuses(driven_to(face, (OFFLOAD, JOINT)), {"server": server, "wait": np.zeros(1, np.float32)}, "server")


@SCALAR_FACES
@pytest.mark.parametrize("wait", BAD_WAITS, ids=repr)
def test_malformed_waits_are_refused(face, wait):
    refuses(driven_to(face, (UPDATE, JOINT)), {"server": 0, "wait": wait}, "wait")


@SCALAR_FACES
@pytest.mark.parametrize("action", NO_ACTIONS, ids=repr)
def test_what_is_no_action_is_refused(face, action):
    refuses(FACES[face](), action, "action")


@pytest.mark.parametrize("name", [SINGLE, GAME])
@pytest.mark.parametrize(
    ("actions", "word"),
    [
        ({"server": np.zeros(2, np.int64), "wait": np.zeros((3, 1))}, "server"),
        ({"server": np.zeros((3, 1), np.int64), "wait": np.zeros((3, 1))}, "server"),
        ({"server": np.zeros(3), "wait": np.zeros((3, 1))}, "server"),
        ({"server": np.zeros(3, np.int64), "wait": np.zeros(3)}, "wait"),
        ({"server": np.zeros(3, np.int64), "wait": np.zeros((2, 1))}, "wait"),
        ({"server": np.zeros(3, np.int64), "wait": np.array([["a"], ["b"], ["c"]])}, "wait"),
        ({"server": np.full(3, 2**64 - 1, np.uint64), "wait": np.full((3, 1), np.nan)}, "of lane 0"),
        ({"server": np.zeros(3, np.int64)}, "wait"),
        (None, "actions"),
        ([{}, {}, {}], "actions"),
    ],
)
def test_malformed_batches_are_refused(name, actions, word):
    vec = gymnasium.make_vec(name, num_envs=3, preset="small", horizon=1e6)
    vec.reset(seed=0)
    state = digest(vec.unwrapped.get_state())
    with pytest.raises(InvalidInputError, match=word):
        vec.step(actions)
    assert digest(vec.unwrapped.get_state()) == state


def test_the_unused_part_of_an_action_is_ignored():
    for kind, action in (
        (UPDATE, {"server": 99, "wait": np.ones(1, np.float32)}),
        (OFFLOAD, {"server": 1, "wait": np.array([np.nan], np.float32)}),
    ):
        one, two = driven_to("staged", (kind,)), driven_to("staged", (kind,))
        clean = {"server": 1, "wait": np.ones(1, np.float32)}
        assert one.act(action) == two.act(clean)
