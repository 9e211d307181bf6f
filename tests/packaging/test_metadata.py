"""Figures and names that stand in more than one file are the same in all of them."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import edgewise

# Import names whose distribution is called otherwise.
DISTRIBUTIONS = {"stable_baselines3": "stable-baselines3", "yaml": "PyYAML"}


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, str]:
    lines = [line for line in (repository / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements(project: dict[str, Any]) -> dict[str, list[Requirement]]:
    table = {"": project["project"]["dependencies"], **project["project"]["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in table.items()}


def test_version_is_the_same_everywhere(repository: Path, project: dict[str, Any]) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    newest = re.search(r"^## \[([^\]]+)\]", (repository / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert {edgewise.__version__, project["project"]["version"], str(citation["version"]), newest[1]} == {"0.1.0"}


def test_torch_is_held(pins: dict[str, str]) -> None:
    assert pins["torch"] == "2.13.0"


def test_every_requirement_is_pinned_within_its_range(project: dict[str, Any], pins: dict[str, str]) -> None:
    for extra, wanted in requirements(project).items():
        for requirement in wanted:
            if requirement.name != "edgewise":
                pin = pins[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(pin), f"[{extra}] {requirement} excludes the pinned {pin}"


def test_all_means_every_extra_for_users(project: dict[str, Any]) -> None:
    extras = set(project["project"]["optional-dependencies"])
    (everything,) = requirements(project)["all"]
    assert everything.extras == extras - {"all", "dev"}


def test_required_modules_belong_to_the_extra_that_is_named(
    repository: Path, project: dict[str, Any], source_files: list[str]
) -> None:
    wanted = {extra: {canonicalize_name(r.name) for r in rows} for extra, rows in requirements(project).items()}
    calls = 0
    for name in source_files:
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((repository / name).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                module, extra = (ast.literal_eval(argument) for argument in node.args)
                top = module.partition(".")[0]
                distribution = canonicalize_name(DISTRIBUTIONS.get(top, top))
                assert distribution in wanted[extra], f"{name}: {module} is not in [{extra}]"
                calls += 1
    assert calls > 0
