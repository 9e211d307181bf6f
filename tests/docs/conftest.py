"""The pages, and the script that fills them, which lies outside the package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every page; those about RLlib are made from code that needs Ray."""
    if "page" in metafunc.fixturenames:
        for_rllib = [path for path in PAGES if "edgewise.agents.rllib" in path.read_text()]
        pages = [pytest.param(path, marks=[pytest.mark.ray] if path in for_rllib else []) for path in PAGES]
        metafunc.parametrize("page", pages, ids=lambda path: str(path.relative_to(DOCS)))


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """docs/build.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(DOCS))  # as where the script is run
    spec.loader.exec_module(module)
    return module
