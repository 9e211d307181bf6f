"""One small run through all commands, as a person would type them."""

import json
from pathlib import Path

import pytest

from edgewise.cli.main import main
from edgewise.train.config import load_config
from edgewise.train.trainer import train

pytest.importorskip("stable_baselines3", reason="needs the [sb3] extra")
pytest.importorskip("matplotlib", reason="needs the [eval] extra")

SMALL = ["--steps", "3000", "--env.num_envs", "16", "--checkpoints.every", "1000", "--log_every", "500"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "aoi_offload/demo", "--out", str(folder), *SMALL, "--learner.batch_size", "64"]) == 0
    assert main(["evaluate", str(folder), "--seeds", "3", "--horizon", "100"]) == 0
    return folder


def test_the_run_folder_is_complete(run: Path) -> None:
    names = {entry.name for entry in run.iterdir()}
    assert {"run.json", "metrics.jsonl", "tensorboard", "checkpoints", "evaluation.json", "report.html"} <= names
    record = json.loads((run / "run.json").read_text())
    assert record["config"]["env"]["num_envs"] == 16
    assert record["config"]["learner"]["batch_size"] == 64
    assert record["result"]["step"] >= 3000
    pickles = [path for path in run.rglob("*") if path.suffix in (".pkl", ".pt", ".pth", ".zip")]
    assert pickles == []


def test_resuming_a_finished_run_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_training_into_it_again_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "aoi_offload/demo", "--out", str(run)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_run_keeps_its_word(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "FAILED" not in out
    assert "training again for" in out
    assert "evaluating step_" in out


def test_a_forged_evaluation_fails_the_verification(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "evaluation.json"
    honest = file.read_text()
    content = json.loads(honest)
    content["quadrature"]["mean_age"] *= 0.99
    file.write_text(json.dumps(content))
    try:
        assert main(["verify", str(run)]) == 1
        assert capsys.readouterr().out.count("FAILED") == 1
    finally:
        file.write_text(honest)


def test_an_evaluation_left_behind_by_the_training_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "evaluation.json"
    honest = file.read_text()
    file.write_text(honest.replace(json.loads(honest)["checkpoint"], "step_000000000016"))
    try:
        assert main(["verify", str(run)]) == 1
        out = capsys.readouterr().out
        assert out.count("FAILED") == 1
        assert "training went on" in " ".join(out.split())
        assert main(["report", str(run)]) == 2
        assert f"run  edgewise evaluate {run}  again" in capsys.readouterr().err
    finally:
        file.write_text(honest)


def test_an_unfinished_training_is_evaluated_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config("aoi_offload/demo", {"steps": 3000, "env": {"num_envs": 16}, "checkpoints": {"every": 1000}})
    train(config, tmp_path / "run", command=[], stop_at=1000)
    assert main(["evaluate", str(tmp_path / "run"), "--seeds", "2", "--horizon", "50"]) == 0
    assert "the training is not finished" in capsys.readouterr().out


def test_the_report_is_drawn_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = run / "report.html"
    page.unlink()
    assert main(["report", str(run)]) == 0
    assert page.is_file()
    assert str(page) in capsys.readouterr().out.replace("\n", "")


def test_a_corrupt_checkpoint_is_one_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next((run / "checkpoints").glob("step_*/tensors.safetensors"))
    honest = file.read_bytes()
    file.write_bytes(honest[:-10])
    try:
        code = main(["evaluate", str(run), "--checkpoint", str(int(file.parent.name[5:]))])
    finally:
        file.write_bytes(honest)
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith(f"error: {file}: truncated")
    assert err.count("\n") == 1
