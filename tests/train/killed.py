"""Trains once undisturbed and once killed and continued again and again; prints what became of both as JSON.

    python killed.py FOLDER ALGORITHM KILLS SEED

One process imports everything and forks the runs, so that a kill costs no start-up time.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.utils.tensorboard  # noqa: F401 - imported once, before the forks

from edgewise.eval.evaluate import score_checkpoint
from edgewise.train import checkpoint, trainer
from edgewise.train.config import TrainConfig
from edgewise.train.run_folder import open_run, read_metrics

SETTINGS: dict[str, dict[str, Any]] = {
    "fractional_ppo": {"steps": 12_000, "learner": {"n_steps": 32, "batch_size": 128, "n_epochs": 2}},
    "fractional_d3qn_ddpg": {  # the buffer wraps around, and half of the training explores less and less
        "steps": 2_000,
        "learner": {
            "buffer_size": 1000,
            "learning_starts": 200,
            "batch_size": 64,
            "period": 256,
            "explore_share": 0.5,
            "hidden": [16, 16],
        },
    },
    "async_fractional": {
        "steps": 4_000,
        "env": {"id": "edgewise/AoIOffloadGame-v0", "horizon": 12.0},
        "learner": {"n_steps": 4, "lookback": 16, "batch_size": 64, "n_epochs": 2, "hidden": [16, 16], "gru_width": 8},
    },
    "t2drl": {
        "steps": 2_400,
        "env": {"id": "edgewise/ModelCaching-v0", "preset": "drift", "n_agents": 5, "horizon": 12.0},
        "learner": {
            "n_steps": 4,
            "chunk": 4,
            "batch_size": 16,
            "n_epochs": 2,
            "width": 8,
            "heads": 2,
            "sticky": 2.0,
            "item_head": 4,
            "per_item": True,
            "fill": True,
            "own_credit": True,
            "bid_value": 0.1,
            "inner_loss": "next_obs_prediction",
            "forgetting": 0.5,
            "predict_next": True,
        },
    },
    "recurrent_d3qn_ppo": {
        "steps": 24_000,
        "env": {"id": "edgewise/AoIOffloadGame-v0", "horizon": 12.0},
        "learner": {"replay": 8, "sequence": 4, "server_hidden": 16},
    },
}


def config(algorithm: str) -> TrainConfig:
    chosen = SETTINGS[algorithm]
    return TrainConfig.model_validate(
        {
            "name": "killed",
            "seed": 11,
            "steps": chosen["steps"],
            "log_every": chosen["steps"] // 40,
            "env": {"preset": "small", "num_envs": 8, "horizon": 20.0, **chosen.get("env", {})},
            "learner": {"algorithm": algorithm, **chosen["learner"]},
            "checkpoints": {"every": chosen["steps"] // 12, "keep": 2},
        }
    )


def fork(work: Callable[[], Any]) -> int:
    """Run `work` in a child process; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def finished(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def seen_step(metrics: Path) -> int:
    """The last step in a metrics file that another process may be writing or cutting."""
    try:
        rows = metrics.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    return max((int(json.loads(row)["step"]) for row in rows if row.endswith(b"\n")), default=0)


def killed_at(child: int, metrics: Path, step: int, delay: float) -> bool:
    """Kill a run `delay` seconds after it is seen to have come to `step`; False if it ended by itself before."""
    while seen_step(metrics) < step:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def without_ids(value: Any) -> Any:
    """A state without the names that RLlib gives to episodes: they are random and nothing depends on them."""
    if isinstance(value, dict):
        return {name: without_ids(inner) for name, inner in value.items() if name != "ids"}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value


def describe(folder: Path) -> dict[str, Any]:
    run = open_run(folder)
    state = checkpoint.load(run.checkpoint("last")).snapshot
    whole = hashlib.sha256(json.dumps(without_ids(state.meta), sort_keys=True).encode())
    for name in sorted(state.arrays):
        whole.update(name.encode() + state.arrays[name].tobytes())
    return {
        "weights": run.record["result"]["weights_sha256"],
        "state": whole.hexdigest(),
        "kept": checkpoint.steps(run.checkpoints),
        "metrics": [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run.metrics)],
    }


def main() -> None:
    root, algorithm, kills, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    settings = config(algorithm)

    def start(folder: Path, **options: Any) -> None:
        if folder.exists():
            trainer.resume(folder, evaluator=score_checkpoint)
        else:
            trainer.train(settings, folder, evaluator=score_checkpoint, command=[], **options)

    start(root / "warm", stop_at=1)  # compiles the kernels and imports the rest, for all children
    begin = time.monotonic()
    assert finished(fork(lambda: start(root / "straight")))
    length = time.monotonic() - begin
    # Where a kill strikes follows the run's progress, not the clock, so that a busy machine changes nothing.
    # The delay lets it strike anywhere between two rows: in an update, an evaluation or the writing of a checkpoint.
    moments, killed = random.Random(seed), []
    for step in sorted([0, *moments.sample(range(1, settings.steps * 3 // 4), kills - 1)]):
        child = fork(lambda: start(root / "killed"))
        if not killed_at(child, root / "killed" / "metrics.jsonl", step, moments.uniform(0.0, length / 20)):
            break  # it had failed
        killed.append(step)
    assert finished(fork(lambda: start(root / "killed")))
    print(json.dumps({"killed": killed, "one": describe(root / "straight"), "other": describe(root / "killed")}))


if __name__ == "__main__":
    main()
