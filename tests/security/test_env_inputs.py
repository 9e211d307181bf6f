"""Bad input to the age-minimal offloading environments: one clear error, and nothing has moved."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from hypothesis import assume, given
from hypothesis import strategies as st

from edgewise.envs.aoi_offload import AoIParams, aec_env, parallel_env
from edgewise.envs.aoi_offload.policies import rule
from edgewise.envs.aoi_offload.state import JOINT, OFFLOAD, UPDATE
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import Actor, digest
from edgewise.envs.testing.lanes import batch_actions

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


CONSTRUCTORS = {
    "single": lambda **kwargs: gymnasium.make(SINGLE, **kwargs),
    "single vector": lambda **kwargs: gymnasium.make_vec(SINGLE, **{"num_envs": 2} | kwargs),
    "stream": lambda **kwargs: gymnasium.make(GAME, **kwargs),
    "stream vector": lambda **kwargs: gymnasium.make_vec(GAME, **{"num_envs": 2} | kwargs),
    "aec": aec_env,
    "parallel": parallel_env,
}
BAD_ARGUMENTS = [
    ("preset", "papre"),
    ("preset", [1]),
    ("n_devices", 0),
    ("n_devices", 2.5),
    ("n_devices", "many"),
    ("edge_ghz", (0.0,)),
    ("edge_ghz", (3.0, math.nan)),
    ("edge_ghz", 3.0),
    ("local_ghz", -1.0),
    ("local_ghz", (1.0, 2.0)),
    ("task_mbit", 0.0),
    ("density", math.inf),
    ("service", "exponentail"),
    ("service", "lognormal:-1"),
    ("service", "hyperexp:1"),
    ("drop", "authors"),
    ("drop", "authors:0"),
    ("drop", "cutoff:nan"),
    ("drop_mean", "median"),
    ("transmission", "fixed:-1"),
    ("transmission", "shannon:10"),
    ("z_max", 0.0),
    ("z_max", math.inf),
    ("initial_queue_limit", -1),
    ("horizon", 0.0),
    ("horizon", -5),
    ("horizon", math.nan),
    ("horizon", "long"),
    ("objective", "greedy"),
    ("params", {"n_devices": 3}),
]


@pytest.mark.parametrize("face", CONSTRUCTORS)
@pytest.mark.parametrize(("field", "value"), BAD_ARGUMENTS, ids=lambda part: repr(part))
def test_impossible_arguments_are_refused_by_name(face, field, value):
    with pytest.raises(InvalidInputError, match=field) as error:
        CONSTRUCTORS[face](**{field: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("face", CONSTRUCTORS)
def test_a_misspelt_argument_gets_a_suggestion(face):
    with pytest.raises(InvalidInputError, match="did you mean 'n_devices'"):
        CONSTRUCTORS[face](n_device=3)


@pytest.mark.parametrize(
    ("face", "field", "value"),
    [
        ("single", "decision", "stagd"),
        ("single", "decision", [1]),
        ("single vector", "decision", {}),
        ("single", "background", "jsqq"),
        ("single", "background", 7),
        ("single", "background", "server:9"),
        ("single", "background_wait", "fixed:-1"),
        ("single", "background_wait", "uniform:3:1"),
        ("single", "background_wait", "fixed:99"),
        ("single", "background_wait", 1.0),
        ("single vector", "background_wait", None),
        ("single", "render_mode", "svg3d"),
        ("stream", "render_mode", "svg3d"),
        ("aec", "render_mode", "svg3d"),
        ("single vector", "num_envs", 0),
        ("single vector", "num_envs", 2.5),
        ("single vector", "num_envs", True),
        ("stream vector", "num_envs", -1),
        ("stream vector", "autoreset_mode", "SOMETIMES"),
        ("stream vector", "autoreset_mode", None),
        ("single vector", "max_episode_steps", 100),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode.*:UserWarning")
def test_impossible_face_arguments_are_refused_by_name(face, field, value):
    with pytest.raises(InvalidInputError, match=f"^{field} "):
        CONSTRUCTORS[face](**{field: value})


@given(value=st.none() | st.floats() | st.lists(st.integers(), max_size=2) | st.binary(max_size=3))
def test_a_rule_that_is_no_text_is_refused_by_name(value):
    params = AoIParams.make("small")
    for kwargs, field in (({"server": value}, "policy"), ({"wait": value}, "wait")):
        with pytest.raises(InvalidInputError, match=f"^{field} must be"):
            rule(params, **kwargs)


NO_BACKGROUND = [{"server": 9, "wait": [math.nan]}, {"server": 0}, None, ZeroDivisionError]


class FailingOnce:
    """A background that behaves for a while, then answers badly once."""

    def __init__(self, bad, after):
        self.bad, self.left = bad, after

    def __call__(self, obs):
        self.left -= 1
        if self.left != 0:
            return {"server": 0, "wait": [1.0]}
        if self.bad is ZeroDivisionError:
            raise self.bad
        return self.bad


def failure(bad):
    return pytest.raises(bad) if bad is ZeroDivisionError else pytest.raises(InvalidInputError, match=r"^background: ")


@pytest.mark.parametrize("bad", NO_BACKGROUND, ids=repr)
@pytest.mark.parametrize("after", [1, 40])
def test_a_background_that_fails_ends_the_episode(bad, after):
    good = {"server": 0, "wait": np.ones(1, np.float32)}
    env = make(SINGLE, background=FailingOnce(bad, after))
    with failure(bad):
        env.reset(seed=0)
        while True:
            env.step(good)
    with pytest.raises(ResetNeeded):
        env.step(good)
    fresh = make(SINGLE, background=FailingOnce(None, -1))
    fresh.reset(seed=5)
    env.reset(seed=5)
    assert digest(*env.step(good)) == digest(*fresh.step(good))


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("bad", NO_BACKGROUND, ids=repr)
@pytest.mark.parametrize("after", [1, 40])
def test_a_background_that_fails_ends_the_episodes_of_all_lanes(bad, after, mode):
    good = {"server": np.zeros(3, np.int64), "wait": np.ones((3, 1), np.float32)}
    kwargs = {"num_envs": 3, "preset": "small", "autoreset_mode": mode}
    env = gymnasium.make_vec(SINGLE, background=FailingOnce(bad, after), **kwargs).unwrapped
    with failure(bad):
        env.reset(seed=0)
        while True:
            env.step(good)
    with pytest.raises(ResetNeeded, match="half-way"):
        env.step(good)
    with pytest.raises(ResetNeeded, match="half-way"):
        env.reset(options={"reset_mask": np.array([True, False, True])})
    fresh = gymnasium.make_vec(SINGLE, background=FailingOnce(None, -1), **kwargs).unwrapped
    fresh.reset(seed=5)
    env.reset(seed=5)
    assert digest(*env.step(good)) == digest(*fresh.step(good))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(field=st.sampled_from(sorted(AoIParams.model_fields)) | st.text(max_size=12), value=json_like)
def test_any_parameter_is_either_accepted_or_explained_in_one_sentence(field, value):
    assume(field not in ("preset", "cls"))  # Python's own error: given twice
    try:
        AoIParams.make(**{field: value})
    except InvalidInputError as error:
        message = str(error)
    else:
        return
    assert message
    assert "\n" not in message


BAD_SEEDS = [-1, 2**64, 1.5, "7", math.nan]


@pytest.mark.parametrize("seed", BAD_SEEDS, ids=repr)
@EACH_FACE
def test_impossible_seeds_are_refused(face, seed):
    driver = FACES[face]()
    with pytest.raises(InvalidInputError, match="seed"):
        driver.env.reset(seed=seed)


@pytest.mark.parametrize("seed", [[1, 2], [1, 2, 3, 4], [1, 2, -3], [1, 2, None], [[1], [2], [3]]], ids=repr)
def test_impossible_seed_lists_are_refused(seed):
    vec = gymnasium.make_vec(GAME, num_envs=3, preset="small")
    with pytest.raises(InvalidInputError, match="seed"):
        vec.reset(seed=seed)


@pytest.mark.parametrize("mask", [[True], [1, 0, 1], [False] * 3, "all", np.ones((3, 1), bool)], ids=repr)
def test_impossible_reset_masks_are_refused(mask):
    vec = gymnasium.make_vec(GAME, num_envs=3, preset="small", autoreset_mode=AutoresetMode.DISABLED)
    vec.reset(seed=0)
    state = digest(vec.unwrapped.get_state())
    with pytest.raises(InvalidInputError, match="reset_mask"):
        vec.reset(options={"reset_mask": mask})
    with pytest.raises(InvalidInputError, match="seed and a partial reset_mask"):
        vec.reset(seed=1, options={"reset_mask": np.array([True, False, False])})
    assert digest(vec.unwrapped.get_state()) == state


def test_the_parallel_view_needs_a_reset_first_and_after_the_end():
    env = parallel_env(preset="small", horizon=3.0)
    actions = {agent: {"server": 0, "wait": [0.0]} for agent in env.possible_agents}
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(actions)
    env.reset(seed=0)
    while env.agents:
        env.step(actions)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(actions)


@pytest.mark.parametrize("name", [SINGLE, GAME])
def test_stepping_needs_a_reset_first_and_after_the_end(name):
    good = {"server": 0, "wait": np.zeros(1, np.float32)}
    env = gymnasium.make(name, preset="small", horizon=3.0).unwrapped
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(good)
    env.reset(seed=0)
    while not env.step(good)[3]:
        pass
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(good)
    goods = {"server": np.zeros(2, np.int64), "wait": np.zeros((2, 1), np.float32)}
    for mode in AutoresetMode:
        vec = gymnasium.make_vec(name, num_envs=2, preset="small", horizon=3.0, autoreset_mode=mode)
        with pytest.raises(ResetNeeded, match="reset"):
            vec.step(goods)
    vec.reset(seed=0)
    while not vec.step(goods)[3].any():
        pass
    with pytest.raises(ResetNeeded, match="reset"):
        vec.step(goods)


@pytest.mark.parametrize("name", [SINGLE, GAME])
def test_foreign_states_are_refused_whole(name):
    env = gymnasium.make(name, preset="small").unwrapped
    env.reset(seed=0)
    before = digest(env.get_state())
    good = env.get_state()
    other = gymnasium.make(name, preset="paper").unwrapped
    other.reset(seed=0)
    for key in good:
        for broken in (
            {k: v for k, v in good.items() if k != key},
            good | {key: good[key][..., None]},
            good | {key: good[key].tobytes()},
            good | {key: np.zeros(good[key].shape, np.float16)},
            good | {key: None},
        ):
            with pytest.raises(InvalidInputError, match=key):
                env.set_state(broken)
    with pytest.raises(InvalidInputError, match="state"):
        env.set_state(other.get_state())
    assert digest(env.get_state()) == before


FORGERIES = """
import os, signal
import gymnasium, numpy as np, edgewise
from edgewise.envs.core.errors import InvalidInputError

good = {"server": 0, "wait": np.ones(1, np.float32)}
refused = 0
for name, devices in (("edgewise/AoIOffload-v0", 3), ("edgewise/AoIOffloadGame-v0", 40)):
    env = gymnasium.make(name, horizon=1e9, n_devices=devices).unwrapped
    env.reset(seed=0)
    env.step(good)
    start = env.get_state()
    for key, array in start.items():
        for field in array.dtype.names or [None]:
            for value in (-1, -7, 1 << 30, 77, float("nan"), float("inf")):
                forged = {k: v.copy() for k, v in start.items()}
                column = forged[key] if field is None else forged[key][field]
                if not np.isfinite(value) and column.dtype.kind != "f":
                    continue
                column[...] = np.array(value).astype(column.dtype)
                child = os.fork()
                if child == 0:
                    signal.alarm(10)
                    try:
                        env.set_state(forged)
                    except InvalidInputError:
                        os._exit(1)
                    for _ in range(30):
                        env.step(good)
                    os._exit(0)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if status not in (0, 1):
                    print(name, key, field, value, "exit status", status)
                refused += status == 1
print("refused", refused > 100)
"""


def test_states_with_garbage_inside_neither_crash_nor_hang_the_process():
    """Compiled code would follow forged indices without a bounds check, so they must not get there."""
    done = subprocess.run([sys.executable, "-c", FORGERIES], capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout.split("\n") == ["refused True", ""]


def test_every_state_of_a_run_is_accepted():
    """Also with more devices than one group of timers, queues that drop tasks, and lanes that are over."""
    for kwargs in (
        {"preset": "small", "drop": "deadline:1.5", "transmission": "fixed:0.3"},
        {"preset": "single"},
        {"n_devices": 70, "drop": "cutoff:1.5", "drop_mean": "running"},
        {"preset": "heterogeneous", "objective": "team"},
    ):
        vec = gymnasium.make_vec(GAME, num_envs=3, horizon=8.0, **kwargs)
        vec.reset(seed=0)
        actors = [Actor(vec.single_action_space, i) for i in range(3)]
        for _ in range(150):
            before = digest(vec.unwrapped.get_state())
            vec.unwrapped.set_state(vec.unwrapped.get_state())
            assert digest(vec.unwrapped.get_state()) == before
            vec.step(batch_actions(vec.single_action_space, [actor(None, {}) for actor in actors]))
