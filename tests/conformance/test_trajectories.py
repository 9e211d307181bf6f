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


def test_a_thousand_steps_are_the_same_in_two_fresh_processes(registered):
    code = (
        "import edgewise, gymnasium\n"
        "from edgewise.envs.testing import trajectory_hash\n"
        f"env = gymnasium.make({registered.id!r}, **{registered.settings!r})\n"
        f"print(trajectory_hash(env, steps={STEPS}))\n"
    )
    hashes = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            timeout=140,
            env=os.environ | {"PYTHONHASHSEED": hashseed},
        ).stdout.strip()
        for hashseed in ("0", "1")
    ]
    assert hashes == [trajectory_hash(registered.make(), steps=STEPS)] * 2


def test_uncompiled_code_takes_the_same_steps_bit_for_bit(case):
    """The kernel's own source is its reference: coverage and debuggers see what the compiled code does."""
    code = (
        "import edgewise, gymnasium\n"
        "from edgewise.envs.testing import trajectory_hash\n"
        f"env = gymnasium.make({case.id!r}, **{case.settings!r})\n"
        "print(trajectory_hash(env, steps=200))\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=140,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    ).stdout.strip()
    assert plain == trajectory_hash(case.make(), steps=200)


def test_trajectories_equal_the_golden_ones(case):
    found = trajectory_hash(case.make(), steps=STEPS, digits=DIGITS)
    if case.name not in GOLDEN:
        pytest.fail(f'golden.json lacks this new case; add "{case.name}": "{found}"')
    assert found == GOLDEN[case.name], (
        f"{case.name} no longer does what it did when it was released (now {found}). A released id never changes: "
        "register the new behaviour under the next version (-v1, ...), with a line in the Version history of its "
        "docstring, and leave this hash as it is"
    )


def test_golden_hashes_belong_to_existing_cases(case_names):
    assert set(GOLDEN) <= case_names, "an id or variant was removed; keep it, or retire it with its golden hash"
