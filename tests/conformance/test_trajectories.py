"""Determinism across processes, and golden trajectories: what an id does never changes again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgewise.envs.testing import trajectory_hash

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
STEPS = 1000
DIGITS = 6
"""Significant digits of golden hashes: processors and C libraries may differ in a logarithm's last bit."""


HASHES = """
import json, sys
import edgewise, gymnasium
from edgewise.envs.testing import trajectory_hash
cases, steps = json.load(sys.stdin)
print(json.dumps([trajectory_hash(gymnasium.make(name, **settings), steps=steps) for name, settings in cases]))
"""


def hashes(cases, steps, **environment):
    """Trajectory hashes of cases, all computed in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", HASHES],
        input=json.dumps([[(case.id, case.settings) for case in cases], steps]),
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | environment,
    )
    return dict(zip((case.name for case in cases), json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def uncompiled(cases):
    return hashes(cases, 200, NUMBA_DISABLE_JIT="1")


@pytest.fixture(scope="module")
def two_processes(registered_cases):
    return [hashes(registered_cases, STEPS, PYTHONHASHSEED=seed) for seed in ("0", "1")]


def test_a_thousand_steps_are_the_same_in_two_fresh_processes(registered, two_processes):
    found = [process[registered.name] for process in two_processes]
    assert found == [trajectory_hash(registered.make(), steps=STEPS)] * 2


def test_uncompiled_code_takes_the_same_steps_bit_for_bit(case, uncompiled):
    """The kernel's own source is its reference: coverage and debuggers see what the compiled code does."""
    assert uncompiled[case.name] == trajectory_hash(case.make(), steps=200)


def test_trajectories_equal_the_golden_ones(case):
    found = trajectory_hash(case.make(), steps=STEPS, digits=DIGITS)
    if case.name not in GOLDEN:
        pytest.fail(f'golden.json lacks this new case; add "{case.name}": "{found}"')
    assert found == GOLDEN[case.name], (
        f"{case.name} no longer does what it did when it was released (now {found}). A released id never changes: "
        "register the new behaviour under the next version (-v1, ...), with a line in the Version history of its "
        "docstring, and leave this hash as it is"
    )


def test_golden_hashes_belong_to_existing_cases(cases):
    assert set(GOLDEN) <= {case.name for case in cases}, (
        "an id or variant was removed; keep it, or retire it with its golden hash"
    )
