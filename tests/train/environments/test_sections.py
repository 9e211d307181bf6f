"""The environment sections: each family's model is chosen by the id, and the physics' own model checks the rest."""

from typing import Any

import gymnasium
import pytest

import edgewise  # noqa: F401
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.params import RouteParams
from edgewise.envs.model_caching.params import CachingParams
from edgewise.train.config import TrainConfig, load_config
from edgewise.train.config_io import validate
from edgewise.train.environments import AoIEnvConfig, CachingEnvConfig, ExpertsEnvConfig

CACHING, ROUTE = "edgewise/ModelCaching-v0", "edgewise/ExpertRoute-v0"


def caching(**env: Any) -> TrainConfig:
    content = {"name": "x", "steps": 100, "env": {"id": CACHING, **env}, "learner": {"algorithm": "t2drl"}}
    return validate(TrainConfig, content, "x")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"n_agents": 0}, "env.n_agents: "),
        ({"n_agent": 3}, "unknown field 'env.n_agent'; did you mean 'env.n_agents'?"),
        ({"preset": "drif"}, "must be one of drift, stationary, .*; did you mean 'drift'?"),
        ({"n_devices": 3}, "unknown field 'env.n_devices'"),
        ({"context_windows": [1, 2, 3]}, "env.context_windows"),
        ({"id": "edgewise/ModelCachin-v0"}, "env.id: must be one of .*did you mean 'edgewise/ModelCaching-v0'?"),
        ({"id": CACHING, "horizon": 0}, r"env.horizon: .*\[1, "),
        ({"id": CACHING, "horizon": 2.5}, r"env.horizon: .*multiple of 1"),
    ],
)
def test_a_caching_section_that_does_not_fit_is_one_sentence(env: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^x: .*{expected}"):
        caching(**env)


def test_a_learner_of_another_family_does_not_fit() -> None:
    content = {"name": "x", "steps": 1, "env": {"id": CACHING}, "learner": {"algorithm": "fractional_ppo"}}
    with pytest.raises(
        InvalidInputError, match=r"learner\.algorithm: must be one of t2drl in edgewise/ModelCaching-v0"
    ):
        validate(TrainConfig, content, "x")


def test_left_out_fields_keep_preset_and_mode() -> None:
    env = caching(preset="drift_proactive", mode="modern", n_gpus=3).env_as(CachingEnvConfig)
    assert env.params() == CachingParams.make("drift_proactive", mode="modern", n_gpus=3)
    made = gymnasium.make(env.id, **env.kwargs()).unwrapped
    assert made.params == env.params()  # type: ignore[attr-defined]


def test_every_physical_field_can_be_set() -> None:
    assert CachingParams.model_fields.keys() <= CachingEnvConfig.model_fields.keys()
    assert RouteParams.model_fields.keys() <= ExpertsEnvConfig.model_fields.keys()


def test_the_experts_environment_checks_its_section() -> None:
    assert ExpertsEnvConfig(id=ROUTE, k=2, queues=False).kwargs() == {
        "instance": "synthetic:0",
        "k": 2,
        "queues": False,
    }
    with pytest.raises(ValueError, match="k: "):
        ExpertsEnvConfig(id=ROUTE, k=99)
    with pytest.raises(ValueError, match="synthetic"):
        ExpertsEnvConfig(id=ROUTE, instance="synthetic:x")


def test_a_section_is_asked_for_as_what_it_is() -> None:
    assert isinstance(load_config("aoi_offload/demo").env_as(AoIEnvConfig), AoIEnvConfig)
    with pytest.raises(
        InvalidInputError, match=r"env\.id: must be of the family aoi_offload, got edgewise/ModelCaching"
    ):
        caching().env_as(AoIEnvConfig)


def test_a_section_without_an_id_is_that_of_one_device() -> None:
    content = {"name": "x", "steps": 1, "env": {"preset": "single"}, "learner": {"algorithm": "fractional_ppo"}}
    assert validate(TrainConfig, content, "x").env.id == "edgewise/AoIOffload-v0"
