"""The distribution as a user without the extras gets it: a wheel, unpacked outside the checkout."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def project(repository: Path) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def source_files(repository: Path) -> list[str]:
    """Every file of the package, relative to the root, in the order of their names."""
    folders = [path.parent for path in repository.glob("*/__init__.py")] + [repository / "configs"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [repository / "__init__.py", repository / "py.typed"]
    return sorted(str(path.relative_to(repository)) for path in files if "__pycache__" not in path.parts)


@pytest.fixture(scope="session")
def wheel_contents(repository: Path, source_files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a freshly built wheel, in a folder that can be put on the path."""
    work = tmp_path_factory.mktemp("wheel")
    for name in [*source_files, "pyproject.toml", "README.md", "LICENSE"]:
        (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, work / "source" / name)
    # Files that must stay out: the root is the package, so setuptools could take them for modules of it.
    for name in ("tests/test_stray.py", "docs/stray.py"):
        (work / "source" / name).parent.mkdir(parents=True)
        (work / "source" / name).touch()
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    build = [sys.executable, "-m", "pip", "wheel", *offline, "-w", ".", "./source"]
    done = subprocess.run(build, cwd=work, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = work.glob("edgewise-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "site")
    return work / "site"
