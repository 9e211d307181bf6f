"""A run killed at any moment and continued is, bit for bit, the run that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3", reason="needs the [sb3] extra")
pytest.importorskip("safetensors", reason="needs the [sb3] extra")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("algorithm", "kills"),
    [
        ("fractional_ppo", 10),
        ("fractional_d3qn_ddpg", 3),
        ("t2drl", 3),
        pytest.param("async_fractional", 3, marks=pytest.mark.ray),
        pytest.param("recurrent_d3qn_ppo", 3, marks=pytest.mark.slow),
    ],
)
def test_killed_and_continued_is_the_same_run(tmp_path: Path, algorithm: str, kills: int) -> None:
    program = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), algorithm, str(kills), "0"]
    done = subprocess.run(
        program, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["killed"]) == kills
    assert found["other"]["weights"] == found["one"]["weights"]
    assert found["other"]["metrics"] == found["one"]["metrics"]
    assert found["other"] == found["one"]
