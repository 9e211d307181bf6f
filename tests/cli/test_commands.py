import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgewise.cli.main import main

SIMULATE = ["simulate", "aoi", "--devices", "4", "--edge-ghz", "41.8", "--horizon", "200", "--seeds", "3"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as stop:  # the parser's own way out
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_simulate_prints_the_promised_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *SIMULATE, "--policy", "jsq", "--wait", "fixed:1.0", "--drop", "authors:1.5", "--json")
    found = json.loads(out)
    assert code == 0
    keys = {"mean_age", "mean_age_authors", "stderr", "decisions", "drop_rate", "mean_wait", "server_shares", "seconds"}
    assert set(found) == keys
    assert 0 < found["stderr"] < found["mean_age"]
    assert found["mean_wait"] == pytest.approx(1.0)
    assert 0.1 < found["drop_rate"] < 0.4
    assert sum(found["server_shares"]) == pytest.approx(1.0)
    assert len(found["server_shares"]) == 2


def test_simulate_agrees_with_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    from edgewise.envs.aoi_offload.params import AoIParams
    from edgewise.envs.aoi_offload.simulate import simulate

    law = ["--service", "lognormal:1", "--drop", "cutoff:2", "--z-max", "5"]
    work = ["--local-ghz", "2", "--task-mbit", "10", "--density", "0.5"]
    _, out, _ = run(capsys, *SIMULATE, *law, *work, "--wait", "uniform:4", "--warmup", "20", "--json")
    params = AoIParams.make(
        n_devices=4,
        edge_ghz=(41.8,),
        service="lognormal:1",
        drop="cutoff:2",
        local_ghz=2.0,
        task_mbit=10.0,
        density=0.5,
        z_max=5.0,
    )
    expected = simulate(params, "jsq", "uniform:4", horizon=200.0, seeds=3, warmup=20.0)
    assert json.loads(out)["mean_age"] == float(expected.mean_age.mean())
    assert json.loads(out)["mean_age_authors"] is None  # an estimator of whole episodes
    _, out, _ = run(capsys, *SIMULATE, "--warmup", "20")
    assert "none with a warm-up" in out


def test_simulate_caching_prints_what_the_library_finds(capsys: pytest.CaptureFixture[str]) -> None:
    from edgewise.envs.model_caching.params import CachingParams
    from edgewise.envs.model_caching.simulate import simulate

    given = ["--agents", "6", "--gpus", "20", "--horizon", "30", "--seeds", "4", "--preset", "stationary"]
    code, out, _ = run(capsys, "simulate", "caching", "--policy", "density_ewma:3:0.7", *given, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"mean_cost", "stderr", "cost_terms", "loads", "local_ratio", "seconds"}
    assert list(found["cost_terms"]) == ["switching", "communication", "compute", "accuracy", "cloud"]
    assert sum(found["cost_terms"].values()) == pytest.approx(found["mean_cost"])
    params = CachingParams.make("stationary", n_agents=6, n_gpus=20)
    expected = simulate(params, "density_ewma:3:0.7", horizon=30, seeds=4)
    assert found["mean_cost"] == float(expected.cost.mean())
    assert found["stderr"] == pytest.approx(float(expected.cost.std(ddof=1)) / 2.0)
    assert (found["loads"], found["local_ratio"]) == (float(expected.loads.mean()), float(expected.local_ratio.mean()))
    _, out, _ = run(capsys, "simulate", "caching", *given)
    assert "served locally" in out


def test_simulate_caching_replays_a_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    rows = [f"2024-01-01 00:{m:02d}:{s:02d}.0000000,150,20" for m in range(10) for s in range(0, 60, 7)]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    trace = [
        "simulate",
        "caching",
        "--policy",
        "cloud",
        "--trace",
        str(path),
        "--slot",
        "60",
        "--horizon",
        "9",
        "--json",
    ]
    code, out, _ = run(capsys, *trace, "--trace-format", "azure", "--seeds", "1")
    found = json.loads(out)
    assert code == 0
    assert found["stderr"] is None
    assert found["cost_terms"]["cloud"] == found["mean_cost"] > 0.0
    *whole, _, _, _ = trace
    code, out, err = run(capsys, *whole, "--horizon", "100", "--trace-format", "azure", "--json")
    assert code == 0
    assert "has 10 slots of 60 s, all are simulated" in err
    code, ten, err = run(capsys, *whole, "--horizon", "10", "--trace-format", "azure", "--json")
    assert err == ""
    assert json.loads(ten)["mean_cost"] == json.loads(out)["mean_cost"]
    assert run(capsys, *trace)[0] == 2  # the format must be named
    path.write_text(path.read_text().replace(",150,", ",many,", 1))
    code, _, err = run(capsys, *trace, "--trace-format", "azure")
    assert code == 2
    assert all(word in err for word in ("requests.csv", "line 2", "ContextTokens"))


def test_one_seed_has_no_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "simulate", "aoi", "--devices", "2", "--horizon", "200", "--seeds", "1", "--json")
    assert json.loads(out)["stderr"] is None


def test_simulate_prints_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *SIMULATE)
    assert code == 0
    assert "mean age" in out
    assert "server shares" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "aoi", "--devices", "0"), ("devices",)),
        (("simulate", "aoi", "--wait", "fixed:9"), ("wait", "[0, 3] s")),
        (("simulate", "aoi", "--policy", "jqs"), ("policy", "jsq")),
        (("simulate", "aoi", "--service", "lognormal"), ("service", "lognormal:NUMBER")),
        (("simulate", "aoi", "--drop", "cutoff:-1"), ("drop", "(0, 1000]")),
        (("simulate", "aoi", "--horizon", "nan"), ("horizon",)),
        (("simulate", "aoi", "--seeds", "0"), ("seeds",)),
        (("train",), ("CONFIG", "aoi_offload/demo")),
        (("train", "aoi_offload/dmo"), ("did you mean 'aoi_offload/demo'",)),
        (("train", "aoi_offload/demo", "--env.n_device", "3"), ("did you mean 'env.n_devices'",)),
        (("train", "aoi_offload/demo", "--env.n_devices", "0"), ("env.n_devices", "[1, 1000000]")),
        (("train", "aoi_offload/demo", "--overwrit"), ("did you mean '--overwrite'",)),
        (("train", "aoi_offload/demo", "--resume", "runs/x"), ("--resume",)),
        (("train", "--resume", "/nowhere/run"), ("/nowhere/run", "run.json")),
        (("evaluate", "/nowhere/run"), ("/nowhere/run", "run.json")),
        (("report", "/nowhere/run"), ("/nowhere/run", "run.json")),
        (("verify", "/nowhere/run"), ("/nowhere/run", "run.json")),
        (("evaluate", "/nowhere/run", "--checkpoint", "newest"), ("checkpoint", "best, last or a step")),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_flag_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "simulate", "aoi", "--polcy", "jsq")
    assert code == 2
    assert "--policy" in out + err


def test_a_missing_extra_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_rich(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.partition(".")[0] == "rich":
            raise ModuleNotFoundError("No module named 'rich'", name="rich")
        return real(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", without_rich)
    code, _, err = run(capsys, *SIMULATE)
    assert code == 2
    assert 'pip install "edgewise[cli]"' in err


def test_envs_lists_every_id(capsys: pytest.CaptureFixture[str]) -> None:
    import gymnasium

    code, out, _ = run(capsys, "envs")
    assert code == 0
    for name in (name for name in gymnasium.registry if name.startswith("edgewise/")):
        assert name.partition("/")[2] in "".join(out.split())
    assert out.count("\n") < 80  # shapes, not bounds


def test_help_is_quick_and_names_every_command() -> None:
    program = (
        "import sys; from edgewise.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'stable_baselines3', 'ray', 'numba', 'scipy', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in out
    for command in ("train", "evaluate", "report", "verify", "simulate", "envs"):
        assert command in out


def test_the_commands_work_as_programs(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump({"name": "x", "stepz": 3}))
    for program in (["-m", "edgewise.cli", "train"], ["-m", "edgewise.train"]):
        done = subprocess.run([sys.executable, *program, str(bad)], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "unknown field 'stepz'; did you mean 'steps'?" in done.stderr
        assert "Traceback" not in done.stderr
