"""A study trains and evaluates its cells once, continues after an interruption, and records what the targets need."""

import json

import pytest

pytest.importorskip("stable_baselines3")

from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.eval.aoi.study import single as module
from edgewise.eval.aoi.study.single import Budget, Target, reproduce
from edgewise.eval.results import FILE_NAME
from edgewise.train.progress import Silent


@pytest.fixture
def tiny(monkeypatch):
    """Two configurations, two seeds, a few thousand decisions each."""
    targets = (Target("aoi_offload/single_fractional", 0.01), Target("aoi_offload/heterogeneous", 0.01))
    monkeypatch.setattr(module, "TARGETS", targets)
    monkeypatch.setitem(module.BUDGETS, "tiny", Budget(seeds=2, share=0.01, evaluation_seeds=3))


def run(out):
    lines = []
    results = reproduce("tiny", out, make_progress=Silent, report=lines.append, command=["edgewise", "x"])
    return results, lines


def test_cells_are_run_once_and_recorded(tiny, tmp_path):
    results, lines = run(tmp_path)
    assert json.loads((tmp_path / module.RESULTS).read_text()) == results
    assert len(lines) == 4
    single, heterogeneous = results["rows"]
    for row in results["rows"]:
        excess = sorted(cell["excess"] for cell in row["cells"])
        assert row["median_excess"] == pytest.approx(sum(excess) / 2)
        assert row["met"] == (row["median_excess"] <= row["limit"])
    assert {cell["against"] for cell in single["cells"]} == {"optimum"}
    assert all(cell["excess"] >= -1e-9 for cell in single["cells"])  # nobody beats a certified optimum
    for cell in heterogeneous["cells"]:
        assert cell["against"].startswith("local, ")
        assert cell["excess"] == cell["relative_interval"][1] > cell["relative_interval"][0]

    folders = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    before = [(folder / FILE_NAME).stat().st_mtime_ns for folder in folders]
    (folders[0] / FILE_NAME).unlink()  # as if cut off between training and evaluation
    again, _ = run(tmp_path)
    assert [row["cells"] for row in again["rows"]] == [row["cells"] for row in results["rows"]]
    after = [(folder / FILE_NAME).stat().st_mtime_ns for folder in folders]
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True, True, True]


def test_other_runs_in_the_way_are_refused(tiny, tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setitem(module.BUDGETS, "tiny", Budget(seeds=1, share=0.02, evaluation_seeds=3))
    with pytest.raises(CheckpointError, match="another configuration"):
        run(tmp_path)


def test_unknown_budget(tmp_path):
    with pytest.raises(InvalidInputError, match="smoke"):
        reproduce("fast", tmp_path, make_progress=Silent)
