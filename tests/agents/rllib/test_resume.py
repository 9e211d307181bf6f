"""Killed with remote env runners and continued: weights, ratios and simulators go on, returns do not fall back."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgewise.train import checkpoint
from edgewise.train.run_folder import open_run, read_metrics

pytestmark = [pytest.mark.ray, pytest.mark.slow]

OMEGA = 0.5
ITERATION = 16 * 3 * 16  # decisions: per device and lane, devices, lanes
CONFIG: dict[str, Any] = {
    "name": "killed",
    "seed": 1,
    "steps": 24 * ITERATION,
    "log_every": ITERATION,
    "env": {
        "id": "edgewise/AoIOffloadGame-v0",
        "preset": "small",
        "horizon": 30.0,
        "objective": "team",
        "num_envs": 16,
    },
    "learner": {  # begins with waits that are much too long and learns fast: forgetting anything shows
        "algorithm": "async_fractional",
        "n_steps": 16,
        "batch_size": 256,
        "n_epochs": 4,
        "learning_rate": 0.01,
        "critic": "lstd",
        "gae_lambda": 0.5,
        "init_mean": 0.9,
        "init_scale": 0.5,
        "shared_ratio": True,
        "omega": OMEGA,
    },
    "checkpoints": {"every": 3 * ITERATION, "keep": 2},
    "cluster": {"num_env_runners": 2},
}


def children(parent: int) -> set[int]:
    """All processes below a process."""
    found: set[int] = set()
    for thread in Path(f"/proc/{parent}/task").glob("*"):
        try:
            below = {int(pid) for pid in (thread / "children").read_text().split()}
        except OSError:
            continue
        found |= below.union(*map(children, below))
    return found


def state(pid: int) -> tuple[str, str]:
    """Name and state of a process, empty if there is none."""
    try:
        _, name, rest = re.split(r"\((.*)\)", Path(f"/proc/{pid}/stat").read_text(), flags=re.DOTALL)
    except OSError:
        return "", ""
    return name, rest.split()[0]


def end(workers: set[int]) -> None:
    """Wait for the end of Ray's processes; its agents, which look for their raylet once a minute, are helped."""
    deadline = time.monotonic() + 60.0
    while left := {pid: state(pid)[0] for pid in workers if state(pid)[1] not in ("", "Z")}:
        for pid, name in left.items():
            if name.startswith(("ray::DashboardA", "ray::RuntimeEnv")):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline, f"Ray outlives its driver: {left}"
        time.sleep(0.1)


def rows_of(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    return [row for row in read_metrics(file) if row["kind"] == "train"] if file.exists() else []


@pytest.mark.timeout(600)
def test_a_killed_driver_with_remote_runners_goes_on_where_it_was(tmp_path):
    path, run = tmp_path / "killed.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(CONFIG))
    command = [sys.executable, "-m", "edgewise.train"]
    moment = random.Random(4)
    with subprocess.Popen([*command, str(path), "--out", str(run)], stdout=subprocess.DEVNULL) as driver:
        try:
            while len(rows_of(run)) < moment.randint(13, 16):
                assert driver.poll() is None
                time.sleep(0.01)
            time.sleep(moment.uniform(0.0, 0.3))
            workers = children(driver.pid)
        finally:
            os.kill(driver.pid, signal.SIGKILL)
    assert len(workers) >= 4  # Ray's daemons and two env runners
    end(workers)

    last = checkpoint.steps(run / "checkpoints")[-1]
    assert last >= 12 * ITERATION
    before = [row for row in rows_of(run) if row["step"] <= last]
    done = subprocess.run([*command, "--resume", str(run)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = rows_of(run)
    assert [row["step"] for row in rows] == list(range(ITERATION, CONFIG["steps"] + 1, ITERATION))
    assert [{**row, "seconds": 0} for row in rows[: len(before)]] == [{**row, "seconds": 0} for row in before]
    assert open_run(run).record["result"]["step"] == CONFIG["steps"]

    worst = max(row["measured_ratio"] for row in before[:3])
    for old, new in zip(rows[len(before) - 1 :], rows[len(before) : len(before) + 3], strict=False):
        # the coefficient moves on from where it was, by what the env runners measure now
        assert new["ratio"] == pytest.approx(old["ratio"] + OMEGA * (new["measured_ratio"] - old["ratio"]), rel=1e-6)
        # and that is what the last policy does, not an untrained one
        assert new["measured_ratio"] < 1.3 * old["measured_ratio"] < 0.6 * worst
