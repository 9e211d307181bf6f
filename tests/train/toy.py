"""A learner small enough to kill and continue many times: weights that wander by its own generator and momentum.

Run as a program it trains or continues a run folder with it, as `edgewise train` would.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.agents.snapshot import Snapshot
from edgewise.train import trainer
from edgewise.train.config import TrainConfig

BATCH = 10


class ToyPolicy:
    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def act(self, observation: np.ndarray) -> dict[str, Any]:
        return {"server": 0, "wait": np.abs(self.weights[:1])}


class ToyLearner:
    def __init__(self, config: TrainConfig, pause: float = 0.0) -> None:
        self._random = np.random.default_rng(config.seed)
        self._pause = pause
        self._steps = 0
        self._weights = np.zeros(5)
        self._momentum = np.zeros(5)
        self._norms: list[float] = []

    @property
    def steps(self) -> int:
        return self._steps

    def learn(self, total: int, boundary: Callable[[], None]) -> None:
        while self._steps < total:
            boundary()
            noise = self._random.normal(size=5)
            self._momentum = 0.9 * self._momentum + noise
            self._weights = 0.999 * self._weights + 0.01 * self._momentum
            self._steps += BATCH
            self._norms.append(float(np.linalg.norm(self._weights)))
            time.sleep(self._pause)

    def metrics(self) -> dict[str, float]:
        values = {"norm": float(np.mean(self._norms))} if self._norms else {}
        self._norms = []
        return values

    def snapshot(self) -> Snapshot:
        return Snapshot(
            arrays={"weights": self._weights.copy(), "momentum": self._momentum.copy()},
            meta={"steps": self._steps, "generator": self._random.bit_generator.state},
        )

    def restore(self, snapshot: Snapshot) -> None:
        self._weights = snapshot.arrays["weights"].astype(float)
        self._momentum = snapshot.arrays["momentum"].astype(float)
        self._steps = snapshot.meta["steps"]
        self._random.bit_generator.state = snapshot.meta["generator"]

    def policy(self) -> ToyPolicy:
        return ToyPolicy(self._weights)

    def close(self) -> None:
        pass


def evaluate(policy: ToyPolicy, config: TrainConfig) -> dict[str, float]:
    return {"score": float(np.abs(policy.weights).sum())}


def config(**changes: Any) -> TrainConfig:
    content: dict[str, Any] = {
        "name": "toy",
        "seed": 3,
        "steps": 2000,
        "log_every": 70,
        "tensorboard": False,
        "env": {"preset": "single", "num_envs": 1},
        "learner": {"algorithm": "fractional_ppo"},
        "checkpoints": {"every": 150, "keep": 2},
    }
    return TrainConfig.model_validate(content | changes)


if __name__ == "__main__":
    trainer.make_learner = lambda settings: ToyLearner(settings, pause=0.002)
    folder = Path(sys.argv[1])
    if folder.exists():
        trainer.resume(folder, evaluator=evaluate)
    else:
        trainer.train(config(), folder, evaluator=evaluate)
