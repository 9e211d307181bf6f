"""The root of the repository is the package: what that layout needs to stay whole."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SELF = Path(__file__).name

# Who may import whom; the command line stands on top.
MAY_IMPORT = {
    "envs": {"envs"},
    "agents": {"agents", "envs"},
    "train": {"train", "agents", "envs"},
    "eval": {"eval", "train", "agents", "envs"},
    "cli": {"cli", "eval", "train", "agents", "envs"},
}


def imports(path: Path, package: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Dotted names of everything that a module imports, however deep in its functions, and whether relatively.

    `package` is the package that the module lies in, seen from the root: ("envs", "core").
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            base = ["edgewise", *package[: len(package) - node.level + 1]]
            yield from ((".".join([*base, node.module or alias.name]), True) for alias in node.names)


@pytest.fixture(scope="module")
def imported(repository: Path, source_files: list[str]) -> dict[str, set[tuple[str, bool]]]:
    modules = [name for name in source_files if name.endswith(".py")]
    return {name: set(imports(repository / name, Path(name).parts[:-1])) for name in modules}


def test_package_list_equals_the_tree(project: dict[str, Any], source_files: list[str]) -> None:
    folders = {Path(name).parent for name in source_files if Path(name).name == "__init__.py"}
    expected = sorted(".".join(["edgewise", *folder.parts]) for folder in folders)
    assert sorted(project["tool"]["setuptools"]["packages"]) == expected


def test_every_folder_with_code_is_a_package(source_files: list[str]) -> None:
    with_code = {str(Path(name).parent) for name in source_files if name.endswith(".py")}
    assert {folder for folder in with_code if f"{folder}/__init__.py".removeprefix("./") not in source_files} == set()


def test_no_other_module_at_the_root(repository: Path) -> None:
    assert [path.name for path in repository.glob("*.py")] == ["__init__.py"]


def test_wheel_holds_exactly_the_source_files(wheel_contents: Path, source_files: list[str]) -> None:
    shipped = [str(path.relative_to(wheel_contents)) for path in wheel_contents.rglob("*") if path.is_file()]
    code = sorted(name for name in shipped if ".dist-info/" not in name)
    assert code == sorted(f"edgewise/{name}" for name in source_files)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in shipped)


def test_typings_are_links_to_the_sources(repository: Path, source_files: list[str]) -> None:
    links = {path.name: os.readlink(path) for path in (repository / "typings" / "edgewise").iterdir()}
    top = {Path(name).parts[0] for name in source_files}
    assert links == {name: f"../../{name}" for name in top}


def test_inside_the_package_imports_are_relative(imported: dict[str, set[tuple[str, bool]]]) -> None:
    for name, targets in imported.items():
        absolute = {target for target, relative in targets if target.partition(".")[0] == "edgewise" and not relative}
        assert not absolute, f"{name} imports {absolute} absolutely"


def test_direction_of_imports(imported: dict[str, set[tuple[str, bool]]]) -> None:
    for name, targets in imported.items():
        folder = Path(name).parts[0]
        if folder in MAY_IMPORT:
            ours = {target.split(".")[1] for target, relative in targets if relative}
            assert ours <= MAY_IMPORT[folder] | {"__version__"}, f"{name} imports {ours - MAY_IMPORT[folder]}"


def test_frameworks_stay_in_their_folders(imported: dict[str, set[tuple[str, bool]]]) -> None:
    homes = {
        "stable_baselines3": ("agents/sb3/",),
        "ray": (
            "agents/rllib/",
            "eval/aoi/study/parallel.py",
        ),  # the second is the one module that starts parallel runs
        "torch": ("agents/", "train/"),
    }
    for name, targets in imported.items():
        for framework, allowed in homes.items():
            used = any(target.partition(".")[0] == framework for target, _ in targets)
            assert not used or name.startswith(allowed), f"{name} imports {framework}"


def test_physics_does_not_know_gymnasium(imported: dict[str, set[tuple[str, bool]]]) -> None:
    physics = [name for name in imported if name.startswith("envs/") and name.endswith(("kernel.py", "params.py"))]
    assert physics
    for name in physics:
        assert not any(target.partition(".")[0] in ("gymnasium", "pettingzoo") for target, _ in imported[name]), name


def test_no_file_names_a_package_index(repository: Path) -> None:
    banned = ["pypi.org", "pythonhosted.org", "download.pytorch.org", "--index-url", "--find-links", "PIP_INDEX"]
    made = re.compile(r"\.git|\.venv.*|\.cache|.*_cache|__pycache__|.*\.egg-info|\.hypothesis|runs|build|dist")
    found = []
    for folder, children, names in os.walk(repository):
        children[:] = [child for child in children if not made.fullmatch(child)]
        for name in names:
            if Path(folder, name).is_symlink():
                continue
            text = Path(folder, name).read_bytes().decode("utf-8", errors="ignore")
            found += [f"{name}: {word}" for word in banned if word in text and name != SELF]
    assert found == []
