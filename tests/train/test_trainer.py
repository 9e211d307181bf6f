import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgewise.envs.core.errors import CheckpointError, InvalidInputError, MissingExtraError, StorageError
from edgewise.train import atomic, checkpoint, trainer
from edgewise.train.progress import Bar, Lines, make_progress
from edgewise.train.run_folder import create, open_run, read_metrics
from edgewise.train.verify import verify_run


def rows_without_time(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key != "seconds"} for row in read_metrics(folder / "metrics.jsonl")
    ]


def test_a_run_folder_holds_what_repeats_the_run(toy: ModuleType, tmp_path: Path) -> None:
    result = trainer.train(toy.config(), tmp_path / "run", evaluator=toy.evaluate, command=["edgewise", "train", "toy"])
    run = open_run(tmp_path / "run")
    assert run.config == toy.config()
    assert run.record["command"] == ["edgewise", "train", "toy"]
    assert {"created", "seeds", "versions", "git", "hardware"} <= run.record.keys()
    assert run.record["result"]["weights_sha256"] == result.weights_sha256
    rows = read_metrics(run.metrics)
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert {row["kind"] for row in rows} == {"train", "evaluation", "checkpoint"}
    assert rows[-1] == {"kind": "checkpoint", "step": 2000, "weights_sha256": result.weights_sha256}


def test_a_missing_extra_leaves_no_folder(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # importing it now fails
    with pytest.raises(MissingExtraError, match=r"edgewise\[sb3\]"):
        trainer.train(toy.config(tensorboard=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_last_checkpoints_and_the_best_are_kept(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", evaluator=toy.evaluate)
    scores = {
        row["step"]: row["evaluation/score"]
        for row in read_metrics(tmp_path / "run/metrics.jsonl")
        if row["kind"] == "evaluation"
    }
    best = min(scores, key=scores.__getitem__)
    run = open_run(tmp_path / "run")
    assert best < sorted(scores)[-2], "the toy must find its best early, or the test shows nothing"
    assert checkpoint.steps(run.checkpoints) == [best, *sorted(scores)[-2:]]
    assert run.checkpoint("best").name == checkpoint.folder_name(best)
    assert run.record["result"]["best_step"] == best


def test_without_an_evaluator_the_best_is_the_last(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.checkpoint("best") == run.checkpoint("last")


@pytest.mark.parametrize("stops", [[140], [150, 160, 900], [1999]])
def test_a_stopped_run_continues_exactly(toy: ModuleType, tmp_path: Path, stops: list[int]) -> None:
    straight = trainer.train(toy.config(), tmp_path / "straight", evaluator=toy.evaluate)
    trainer.train(toy.config(), tmp_path / "run", evaluator=toy.evaluate, stop_at=stops[0])
    for stop in stops[1:]:
        trainer.resume(tmp_path / "run", evaluator=toy.evaluate, stop_at=stop)
    continued = trainer.resume(tmp_path / "run", evaluator=toy.evaluate)
    assert continued.weights_sha256 == straight.weights_sha256
    assert rows_without_time(tmp_path / "run") == rows_without_time(tmp_path / "straight")


def test_a_finished_run_is_left_as_it_is(toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = trainer.train(toy.config(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = trainer.resume(tmp_path / "run", progress=Lines())
    assert (again.ran, again.weights_sha256) == (False, first.weights_sha256)
    assert "nothing to do" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if path.name != ".lock"} == {
        path: time for path, time in before.items() if path.name != ".lock"
    }


def test_a_folder_with_content_is_not_overwritten_unasked(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run")
    with pytest.raises(InvalidInputError, match=r"--resume .*--overwrite"):
        trainer.train(toy.config(seed=4), tmp_path / "run")
    assert open_run(tmp_path / "run").config.seed == 3
    trainer.train(toy.config(seed=4), tmp_path / "run", overwrite=True)
    assert open_run(tmp_path / "run").config.seed == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_overwriting_spares_what_is_no_run(toy: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="not a run folder"):
        trainer.train(toy.config(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_two_processes_cannot_train_one_run(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", stop_at=150)
    with open_run(tmp_path / "run").lock(), pytest.raises(InvalidInputError, match="another process"):
        trainer.resume(tmp_path / "run")


def test_metrics_shorter_than_the_checkpoint_says_are_an_error(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", stop_at=300)
    (tmp_path / "run/metrics.jsonl").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl.*rows are missing"):
        trainer.resume(tmp_path / "run")


def test_a_corrupt_last_checkpoint_names_the_way_out(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", stop_at=300)
    run = open_run(tmp_path / "run")
    (run.checkpoint("last") / "array_0000.npy").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"array_0000\.npy: truncated.*delete it to continue from step 150"):
        trainer.resume(tmp_path / "run")
    atomic.remove_folder(run.checkpoint("last"))
    straight = trainer.train(toy.config(), tmp_path / "straight")
    assert trainer.resume(tmp_path / "run").weights_sha256 == straight.weights_sha256


def test_a_full_disk_while_saving_loses_no_checkpoint(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = atomic.write_synced

    def full(path: Path, data: bytes) -> None:
        if "step_000000000600" in str(path) and path.name == "array_0001.npy":
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data)

    monkeypatch.setattr(atomic, "write_synced", full)
    with pytest.raises(StorageError, match=r"No space left on device; what was saved before is unchanged"):
        trainer.train(toy.config(), tmp_path / "run")
    monkeypatch.setattr(atomic, "write_synced", real)
    assert sorted(entry.name for entry in (tmp_path / "run/checkpoints").iterdir()) == [
        checkpoint.folder_name(300),
        checkpoint.folder_name(450),
    ]
    straight = trainer.train(toy.config(), tmp_path / "straight")
    assert trainer.resume(tmp_path / "run").weights_sha256 == straight.weights_sha256
    assert rows_without_time(tmp_path / "run") == rows_without_time(tmp_path / "straight")


def test_what_a_killed_process_left_is_cleaned(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", stop_at=300)
    (tmp_path / "run/checkpoints" / f"{atomic.PARTIAL}step_000000000450-ab").mkdir()
    (tmp_path / "run" / f"{atomic.PARTIAL}run.json-ab").write_text("{")
    trainer.resume(tmp_path / "run")
    assert not [path for path in (tmp_path / "run").rglob("*") if path.name.startswith((atomic.PARTIAL, atomic.TRASH))]


def test_verification_repeats_the_beginning_and_finds_changes(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", evaluator=toy.evaluate)
    assert all(check.holds for check in verify_run(tmp_path / "run"))
    rows = read_metrics(tmp_path / "run/metrics.jsonl")
    first = next(row for row in rows if row["kind"] == "checkpoint")
    first["weights_sha256"] = "0" * 64
    (tmp_path / "run/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    failed = [check for check in verify_run(tmp_path / "run") if not check.holds]
    assert any("training again for 150 decisions" in check.claim for check in failed)


def test_verification_finds_an_exchanged_checkpoint(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run")
    last = open_run(tmp_path / "run").checkpoint("last")
    state = checkpoint.load(last)
    weights = state.snapshot.arrays["weights"] + np.float64(1e-9)
    forged = type(state.snapshot)(arrays=state.snapshot.arrays | {"weights": weights}, meta=state.snapshot.meta)
    checkpoint.save(
        last.parent, forged, step=2000, learner="fractional_ppo", finished=True, trainer=state.manifest.trainer
    )
    failed = [check for check in verify_run(tmp_path / "run") if not check.holds]
    assert [check.claim for check in failed] == [f"{last.name} holds the weights recorded in metrics.jsonl"]


def test_training_with_remote_workers_is_not_repeated(tmp_path: Path, toy: ModuleType) -> None:
    settings = toy.config(
        env={"id": "edgewise/AoIOffloadGame-v0", "preset": "small", "num_envs": 4},
        learner={"algorithm": "async_fractional"},
        cluster={"num_env_runners": 2},
    )
    trainer.train(settings, tmp_path / "run", evaluator=toy.evaluate)
    checks = verify_run(tmp_path / "run")
    assert checks
    assert all(check.holds for check in checks)
    assert not any("training again" in check.claim for check in checks)


def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(toy: ModuleType, tmp_path: Path) -> None:
    straight = trainer.train(toy.config(), tmp_path / "straight", evaluator=toy.evaluate)
    program = [sys.executable, str(Path(__file__).with_name("toy.py")), str(tmp_path / "run")]
    moments, kills = random.Random(0), 0
    for _ in range(5):
        process = subprocess.Popen(program)
        started = time.monotonic()
        # The clock starts with the folder: before it there is nothing to lose.
        while not (tmp_path / "run/metrics.jsonl").exists() and time.monotonic() - started < 60:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 5
    subprocess.run(program, check=True)
    assert open_run(tmp_path / "run").record["result"]["weights_sha256"] == straight.weights_sha256
    assert rows_without_time(tmp_path / "run") == rows_without_time(tmp_path / "straight")


@pytest.mark.parametrize("stop", [450, 0], ids=["after a checkpoint", "before the first checkpoint"])
def test_tensorboard_shows_a_continued_run_as_one(toy: ModuleType, tmp_path: Path, stop: int) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = toy.config(tensorboard=True)
    trainer.train(config, tmp_path / "straight")
    if stop:
        trainer.train(config, tmp_path / "run", stop_at=stop)
    else:
        create(tmp_path / "run", config, [])
    # What a killed process may have written after its last checkpoint.
    loop = trainer._tensorboard(tmp_path / "run/tensorboard", stop)
    for step in (stop + 10, stop + 70):
        loop.add_scalar("norm", 99.0, step)
    loop.close()
    time.sleep(1.1)  # event files are ordered by the second they were made in
    trainer.resume(tmp_path / "run")
    curves = []
    for name in ("straight", "run"):
        events = EventAccumulator(str(tmp_path / name / "tensorboard")).Reload()
        curves.append([(event.step, event.value) for event in events.Scalars("norm")])
    assert curves[0] == curves[1]
    assert len(curves[0]) > 20


def test_progress_is_plain_lines_where_there_is_no_terminal(toy: ModuleType, tmp_path: Path) -> None:
    import io

    stream = io.StringIO()
    progress = make_progress(stream)
    assert isinstance(progress, Lines)
    trainer.train(toy.config(), tmp_path / "run", evaluator=toy.evaluate, progress=progress)
    lines = stream.getvalue().splitlines()
    assert lines[-1].startswith("2000/2000 decisions (100%)  score ")
    assert "\x1b" not in stream.getvalue()


def test_a_run_folder_names_unreadable_metrics(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", stop_at=150)
    with (tmp_path / "run/metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "train", "st')  # cut short by a kill: not an error
    assert len(read_metrics(tmp_path / "run/metrics.jsonl")) > 2
    with (tmp_path / "run/metrics.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: line \d+ is not a JSON object"):
        read_metrics(tmp_path / "run/metrics.jsonl")


def test_a_bar_shows_what_lines_would_say(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    bar = Bar()
    bar.start(100, 20)
    bar.message("[bold]taken literally")
    bar.update(60, {"ratio": 2.5})
    bar.update(100, {})
    bar.stop()
    out = capsys.readouterr().out
    assert "[bold]taken literally" in out
    assert "100/100" in out
    assert "ratio 2.5000" in out


def test_a_full_disk_under_tensorboard_is_one_sentence(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def add_scalar(self, *arguments: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trainer, "_tensorboard", lambda folder, step: Full())
    with pytest.raises(StorageError, match=r"tensorboard: No space left on device"):
        trainer.train(toy.config(tensorboard=True), tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(toy: ModuleType, tmp_path: Path) -> None:
    trainer.train(toy.config(), tmp_path / "run", stop_at=150)
    (tmp_path / "run").chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        trainer.resume(tmp_path / "run")


def test_a_path_below_a_file_is_one_sentence(toy: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/run: Not a directory"):
        trainer.train(toy.config(), tmp_path / "file" / "run")
