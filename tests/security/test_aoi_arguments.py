"""Impossible arguments of the age-minimal offloading environments are refused by name, in one sentence."""

from __future__ import annotations

import math

import gymnasium
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgewise.envs.aoi_offload import AoIParams, aec_env, parallel_env
from edgewise.envs.aoi_offload.policies import rule
from edgewise.envs.core.errors import InvalidInputError

from .aoi_faces import GAME, SINGLE

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
