"""A tiny run of T2DRL, trained once, and its evaluation."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.envs.model_caching.trace_split import TraceSplit, split_trace
from edgewise.eval.caching.results import CachingEvaluation
from edgewise.eval.evaluate import evaluate_run, score_checkpoint
from edgewise.train.config import TrainConfig
from edgewise.train.trainer import train

LEARNER: dict[str, Any] = {
    "algorithm": "t2drl",
    "n_steps": 8,
    "chunk": 4,
    "batch_size": 16,
    "n_epochs": 1,
    "width": 8,
    "heads": 2,
    "intermediate": 8,
}


def tiny(**changes: Any) -> TrainConfig:
    """Four servers, six agents, episodes of 12 slots."""
    content: dict[str, Any] = {
        "name": "tiny",
        "seed": 5,
        "steps": 256,
        "log_every": 64,
        "tensorboard": False,
        "env": {"id": "edgewise/ModelCaching-v0", "n_agents": 6, "shift_every": 4, "horizon": 12, "num_envs": 4},
        "learner": LEARNER,
        "checkpoints": {"every": 128},
    }
    return TrainConfig.model_validate(content | changes)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders by name: ``t2drl``, and ``static``, the same network trained without inner steps."""
    pytest.importorskip("stable_baselines3", reason="needs the [sb3] extra")
    folder = tmp_path_factory.mktemp("caching")
    made = {"t2drl": tiny(), "static": tiny(name="static", learner={**LEARNER, "eta_base": 0.0})}
    for name, config in made.items():
        train(config, folder / name, evaluator=score_checkpoint, command=["edgewise", "train"])
    return {name: folder / name for name in made}


@pytest.fixture(scope="session")
def evaluation(runs: dict[str, Path]) -> CachingEvaluation:
    """The evaluation of the run of T2DRL beside the static network, stored in its folder."""
    found = evaluate_run(runs["t2drl"], budget="smoke", static=runs["static"], command=["edgewise", "evaluate"])
    assert isinstance(found, CachingEvaluation)
    return found


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> TraceSplit:
    """A trace of 600 requests in about 300 s, in halves of 60 slots, for six agents."""
    path, rng, now = tmp_path_factory.mktemp("trace") / "requests.csv", np.random.default_rng(4), datetime(2024, 1, 1)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for _ in range(600):
        now += timedelta(microseconds=int(rng.exponential(5e5)))
        lines.append(f"{now:%Y-%m-%d %H:%M:%S.%f}0,{rng.integers(50, 2000)},{rng.integers(10, 300)}")
    path.write_text("\n".join(lines) + "\n")
    return split_trace(str(path), slots=60, n_agents=6)


@pytest.fixture(scope="session")
def trace_runs(split: TraceSplit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same two runs, trained on the first half of the trace."""
    pytest.importorskip("stable_baselines3", reason="needs the [sb3] extra")
    folder = tmp_path_factory.mktemp("on_trace")
    env = {"id": "edgewise/ModelCaching-v0", "n_agents": 6, "horizon": 12, "num_envs": 4, **split.fields("train")}
    made = {
        "t2drl": tiny(env=env, steps=96),
        "static": tiny(name="static", env=env, steps=96, learner={**LEARNER, "eta_base": 0.0}),
    }
    for name, config in made.items():
        train(config, folder / name, evaluator=score_checkpoint, command=["edgewise", "train"])
    return {name: folder / name for name in made}
