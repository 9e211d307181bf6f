"""Examples in docstrings do what they say."""

import doctest
import importlib
import pkgutil

import pytest

import edgewise.agents
import edgewise.envs

MODULES = [
    info.name
    for package in (edgewise.envs, edgewise.agents)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
WITH_EXAMPLES = {f"edgewise.envs.aoi_offload.{name}" for name in ("env", "game", "stream")}
WITH_EXAMPLES |= {f"edgewise.envs.model_caching.{name}" for name in ("dutch_clock", "env", "game")}


def needs_ray(name: str) -> bool:
    return name.startswith("edgewise.agents.rllib")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.ray] if needs_ray(name) else []) for name in MODULES]
)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES


def test_the_environments_have_examples() -> None:
    assert set(MODULES) >= WITH_EXAMPLES
