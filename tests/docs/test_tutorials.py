"""The tutorials run as they stand, and what they teach works: each beats never waiting, none beats the optimum."""

import runpy
from pathlib import Path
from typing import Any

import pytest

BEST = 1.9  # s; the optimum is 1.9012, and never waiting gives 2
SAMPLING = 0.03  # s; generous for the tutorials that score by simulation


@pytest.fixture(scope="module")
def tutorials(repository: Path) -> Path:
    return repository / "docs" / "tutorials"


def run(path: Path) -> dict[str, Any]:
    return runpy.run_path(str(path), run_name="tutorial")


def test_every_tutorial_is_tested(tutorials: Path) -> None:
    names = {"torch_loop", "sb3_ppo", "torchrl_loop", "own_policy"}
    assert {path.stem for path in tutorials.glob("*.py")} == names


def test_torch_loop_learns_to_wait(tutorials: Path) -> None:
    result = run(tutorials / "torch_loop.py")
    assert BEST - SAMPLING < result["learned"] < 0.98 * result["zero_wait"]  # same service times for both
    assert result["zero_wait"] == pytest.approx(2.0, abs=SAMPLING)
    assert result["optimum"] == pytest.approx(1.901201, abs=1e-6)


def test_stable_baselines3_learns_with_and_without_our_learner(tutorials: Path) -> None:
    result = run(tutorials / "sb3_ppo.py")
    assert result["zero_wait"] == pytest.approx(2.0, abs=1e-4)
    assert BEST < result["stock_age"] < 1.99
    assert BEST < result["our_age"] < 1.95


def test_torchrl_learns_on_gymenv(tutorials: Path) -> None:
    result = run(tutorials / "torchrl_loop.py")
    assert BEST < result["learned"] < 1.98
    assert result["optimum"] == pytest.approx(1.901201, abs=1e-6)


def test_own_policy_meets_the_optimum_and_no_rule_passes_the_bound(tutorials: Path) -> None:
    result = run(tutorials / "own_policy.py")
    age, error = result["ages"][0.9]
    assert abs(age - result["optimum"].value) < 4 * error < 0.05
    assert result["ages"][0.0][0] == pytest.approx(2.0, abs=4 * result["ages"][0.0][1])
    ages = [age for age, _ in result["results"].values()]
    assert ages == sorted(ages, reverse=True)
    assert min(ages) > result["bound"].bound
    assert result["bound"].value is None
