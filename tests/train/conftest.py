import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def toy_module() -> ModuleType:
    """The toy learner's file as a module: test folders are no packages."""
    spec = importlib.util.spec_from_file_location("edgewise_toy_learner", Path(__file__).with_name("toy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy(toy_module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The training loop with the toy learner in place of the real ones."""
    monkeypatch.setattr("edgewise.train.trainer.make_learner", toy_module.ToyLearner)
    return toy_module
