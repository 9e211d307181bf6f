"""The cases of the conformance suite: every registered id with its variants, and every file in configs/."""

from __future__ import annotations

import copy
import importlib
import pickle
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import edgewise  # registers the ids

ROOT = Path(edgewise.__file__).parent
HORIZON = 10.0
"""Units of time: short, so that a few hundred decisions see several episode ends."""

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "edgewise/AoIOffload-v0": {
        "heterogeneous": {"preset": "heterogeneous"},
        "single": {"preset": "single"},
        "small-joint": {"preset": "small", "decision": "joint"},
        "team": {"preset": "small", "objective": "team", "background": "uniform", "background_wait": "uniform:1"},
        "joint-deadline": {"preset": "small", "decision": "joint", "drop": "deadline:1.5"},
        "heavy-tail": {"preset": "small", "service": "lognormal:1.5", "transmission": "fixed:0.2"},
        "pgoa-running": {"background": "pgoa", "drop": "cutoff:1.5", "drop_mean": "running"},
    },
    "edgewise/AoIOffloadGame-v0": {
        "heterogeneous": {"preset": "heterogeneous"},
        "single": {"preset": "single"},
        "team": {"preset": "small", "objective": "team"},
        "deadline": {
            "preset": "small",
            "drop": "deadline:1.5",
            "service": "hyperexp:4",
            "transmission": "shannon:10:5",
        },
    },
    "edgewise/DutchClock-v0": {
        "alternating": {"variant": "alternating"},
        "whole-auctions": {"preset": "small", "horizon": 1000.0},
        "whole-alternating": {"preset": "small", "variant": "alternating", "horizon": 1000.0, "values": "S2"},
        "fine": {"tick": 0.003, "values": "S3", "n_sellers": 7},
    },
    "edgewise/ExpertRoute-v0": {
        "groups": {"k": 2, "dynamic": True, "p_fail": 0.2, "tau": (1.0, 4.0, 10.0, 15.0), "quality": "bernoulli"},
        "per-second": {"objective": "per_second", "queues": False, "instance": "synthetic:1"},
        "cmdp": {"constraints": "cmdp", "hard_budget": True, "energy_budget": 2000.0, "rate": 2.0},
    },
    "edgewise/ExpertSelect-v0": {"topk": {"energy_model": "topk", "reveal_gain": True}},
    "edgewise/ExpertTwoLevel-v0": {
        "walk": {"drift": "walk", "epoch_prompts": 5},
        "agent": {"routing": "agent", "epoch_prompts": 3, "horizon": 12.0},
    },
    "edgewise/ModelCaching-v0": {
        "stationary": {"preset": "stationary"},
        "proactive": {"preset": "drift_proactive"},
        "literal": {"preset": "stationary", "mode": "paper_literal", "window_rule": "evict_on_overflow"},
        "modern": {"mode": "modern", "workload": "markov", "observe_more": True},
        "saturating-clip": {"n_agents": 5, "accuracy_model": "saturating", "window_rule": "clip", "gpu_watt": 0.05},
        "table-shared": {"n_agents": 8, "accuracy_model": "table", "weights_shared": True},
    },
}
"""Settings beside the defaults, by id; an id that is not here is tested with its defaults."""


@dataclass(frozen=True)
class Case:
    """One environment with its settings."""

    name: str
    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {"horizon": HORIZON} | self.kwargs

    def make(self, **overrides: Any) -> gymnasium.Env:
        return gymnasium.make(self.id, **self.settings | overrides)

    def make_vec(self, n: int, **overrides: Any) -> gymnasium.vector.VectorEnv:
        return gymnasium.make_vec(self.id, num_envs=n, **self.settings | overrides)


IDS = sorted(name for name in gymnasium.registry if name.startswith("edgewise/"))
REGISTERED = [Case(name, name) for name in IDS]
VARIED = [
    Case(f"{name}[{variant}]", name, kwargs) for name in IDS for variant, kwargs in VARIANTS.get(name, {}).items()
]
CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))


def config_case(path: Path) -> Case:
    """The training environment that a config file describes, with its own horizon."""
    from edgewise.train.config import load_config

    config = load_config(str(path))
    return Case(str(path.relative_to(ROOT)), config.env.id, config.env.kwargs())


def described_environments() -> dict[str, Case]:
    """Every environment that some config describes, once, by the first file that does."""
    found: dict[tuple[str, str], Case] = {}
    for path in CONFIGS:
        case = config_case(path)
        found.setdefault((case.id, repr(case.kwargs)), case)
    return {case.name: case for case in found.values()}


def game_modules() -> dict[str, Any]:
    """The packages that offer PettingZoo faces, by the id of the event stream beside them."""
    found = {}
    for name in IDS:
        package = importlib.import_module(gymnasium.spec(name).entry_point.split(":")[0].rpartition(".")[0])
        if "Game" in name:
            found[name] = package
    return found


def pytest_generate_tests(metafunc):
    every = REGISTERED + VARIED
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", every, ids=[case.name for case in every])
    if "registered" in metafunc.fixturenames:
        metafunc.parametrize("registered", REGISTERED, ids=[case.name for case in REGISTERED])
    if "described" in metafunc.fixturenames:
        environments = described_environments()
        metafunc.parametrize("described", environments.values(), ids=list(environments))
    if "game" in metafunc.fixturenames:
        games = [case for case in every if "Game" in case.id]
        metafunc.parametrize("game", games, ids=[case.name for case in games])


@contextmanager
def _only_warnings(expected: dict[str, str]):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    surprises = [
        f"{warning.category.__name__}: {warning.message} ({warning.filename}:{warning.lineno})"
        for warning in caught
        if not any(re.search(pattern, str(warning.message)) for pattern in expected)
    ]
    assert not surprises, "unexpected warnings:\n" + "\n".join(surprises)


@pytest.fixture
def only_warnings():
    """Context manager: warnings whose text matches no key of `expected` (pattern -> reason) fail the test."""
    return _only_warnings


@pytest.fixture(params=["copy", "pickle"])
def copy_of(request):
    """A function that copies an environment: by deepcopy, or through its pickle."""
    if request.param == "copy":
        return copy.deepcopy
    return lambda env: pickle.loads(pickle.dumps(env))  # noqa: S301


@pytest.fixture(scope="session")
def cases():
    return REGISTERED + VARIED


@pytest.fixture(scope="session")
def registered_cases():
    return REGISTERED


@pytest.fixture(params=[name for name in IDS if "Game" in name])
def small_aec(request):
    """A constructor of each game with few devices, quick to draw."""
    return partial(game_modules()[request.param].aec_env, preset="small", horizon=HORIZON)


@pytest.fixture
def faces(game):
    """(make_aec, make_parallel) of a game case."""
    package = game_modules()[game.id]
    return partial(package.aec_env, **game.settings), partial(package.parallel_env, **game.settings)
