"""Evaluating a run folder: what is written, what an interruption leaves, what the command says."""

import json
import sys

import pytest

from edgewise.envs.aoi_offload.policies import ScriptedPolicy
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.eval.__main__ import main
from edgewise.eval.aoi.results import Evaluation
from edgewise.eval.evaluate import evaluate_run, parse_checkpoint
from edgewise.eval.results import FILE_NAME, read_as
from edgewise.train.config import TrainConfig
from edgewise.train.run_folder import create


def test_checkpoints_by_name():
    assert [parse_checkpoint(text) for text in ("best", "last", "1200")] == ["best", "last", 1200]
    with pytest.raises(InvalidInputError, match="checkpoint"):
        parse_checkpoint("../../x")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run folder whose policy is the optimal rule, as if it had been trained."""
    env = {"preset": "single", "horizon": 50.0}
    settings = TrainConfig.model_validate(
        {"name": "t", "seed": 3, "steps": 1000, "env": env, "learner": {"algorithm": "fractional_ppo"}}
    )
    run = create(tmp_path / "run", settings, ["edgewise", "train", "x.yaml"])
    (run.checkpoints / "step_000000001000").mkdir()
    policy = ScriptedPolicy("local", "threshold:0.9012", params=settings.env.params())
    monkeypatch.setattr("edgewise.eval.evaluate.load_policy", lambda run_dir, checkpoint: (policy, settings))
    monkeypatch.setattr("edgewise.train.checkpoint.best_step", lambda path: 1000)
    return run.path


def test_evaluate_run_writes_what_it_returns(folder):
    found = evaluate_run(folder, seeds=3, command=["edgewise", "evaluate", "x"])
    assert read_as(Evaluation, folder) == found
    assert found.checkpoint == "step_000000001000"
    stored = json.loads((folder / FILE_NAME).read_text())
    assert stored["command"] == ["edgewise", "evaluate", "x"]
    assert stored["n_seeds"] == 3
    again = evaluate_run(folder, seeds=3, command=["edgewise", "evaluate", "x"], write=False)
    volatile = {"created": "", "seconds": 0.0, "optimum": None}
    assert again.model_copy(update=volatile) == found.model_copy(update=volatile)


def test_a_full_disk_keeps_the_earlier_evaluation(folder, monkeypatch):
    evaluate_run(folder, seeds=2)
    before = (folder / FILE_NAME).read_bytes()

    def full(path, data):
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgewise.train.atomic.write_synced", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate_run(folder, seeds=3)
    assert (folder / FILE_NAME).read_bytes() == before
    assert not [entry for entry in folder.iterdir() if entry.name.startswith(".partial")]


def test_the_command_prints_the_table_and_writes_the_report(folder, capsys):
    pytest.importorskip("matplotlib")
    assert main([str(folder), "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    for word in ("learner", "zero wait", "optimum", "1.9012", "report.html"):
        assert word in out, word
    assert (folder / "report.html").is_file()
    (folder / "report.html").unlink()
    assert main([str(folder), "--report-only"]) == 0
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_a_missing_extra_is_named_before_the_evaluation(folder, capsys, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)  # importing it fails
    assert main([str(folder), "--seeds", "2"]) == 2
    assert "edgewise[eval]" in capsys.readouterr().err
    assert not (folder / FILE_NAME).exists()


def test_bad_input_to_the_command_is_one_line_and_exit_code_two(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    with pytest.raises(CheckpointError):
        read_as(Evaluation, tmp_path)
