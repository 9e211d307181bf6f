"""`edgewise select`: the promised JSON, words for people, and what is refused."""

from __future__ import annotations

import json

import pytest

from edgewise.cli.main import main
from edgewise.envs.edge_experts.files import save
from edgewise.envs.edge_experts.synthetic import synthetic

GOLDEN = ["select", "synthetic:0", "--energy", "1000", "--delay", "1,4,10,15"]
KEYS = {"subset", "experts", "value", "bound", "gap", "seconds", "status", "binding", "next_expert"}


def run(capsys, *arguments):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_json_has_the_promised_keys_and_the_golden_answer(capsys):
    code, out, _ = run(capsys, *GOLDEN, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == KEYS
    assert found["subset"] == [0, 1, 10]
    assert found["experts"] == ["qwen-1.5b-orin-fp16", "llama3.2-3b-orin-w4", "mistral-24b-4090-q4"]
    assert found["value"] == pytest.approx(0.759480, abs=1e-6)
    assert found["bound"] == found["value"]
    assert found["gap"] == 0
    assert found["status"] == "optimal"
    assert "energy" in found["binding"]
    assert set(found["next_expert"]) == {"index", "gain", "energy", "delay"}
    assert len(found["next_expert"]["delay"]) == 4


def test_without_json_it_explains_in_words_and_tables(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # narrow tables break words
    code, out, _ = run(capsys, *GOLDEN)
    assert code == 0
    assert out.startswith("Select 3 of 12 experts: qwen-1.5b-orin-fp16, llama3.2-3b-orin-w4, mistral-24b-4090-q4.")
    assert "This is the optimum" in out
    assert "0.759480" in out
    assert "What keeps it out: energy" in out
    assert "jetson-agx-orin" in out
    assert "delay of reasoning" in out


def test_an_instance_file_with_its_own_budgets(capsys, tmp_path):
    save(synthetic(0).with_budgets(E_max=1000.0, tau=(1, 4, 10, 15)), tmp_path / "edge.json")
    _, out, _ = run(capsys, "select", str(tmp_path / "edge.json"), "--json")
    assert json.loads(out)["subset"] == [0, 1, 10]
    _, out, _ = run(capsys, "select", str(tmp_path / "edge.json"), "--energy", "250", "--json")
    assert json.loads(out)["subset"] == [0, 3]


def test_options_reach_the_solver(capsys):
    _, out, _ = run(capsys, *GOLDEN, "--eps", "0.5", "--json")
    loose = json.loads(out)
    assert loose["status"] == "eps"
    assert 0 < loose["gap"] <= 0.5
    _, out, _ = run(capsys, *GOLDEN, "--energy-model", "topk", "--k", "1", "--json")
    assert json.loads(out)["value"] > 0.7595  # only the costliest expert counts
    _, out, _ = run(capsys, "select", "synthetic:0", "--json")
    assert json.loads(out)["next_expert"] is None
    _, out, _ = run(capsys, "select", "synthetic:0")
    assert "No further expert would add anything." in out
    _, out, _ = run(capsys, "select", "synthetic:0", "--energy", "0")
    assert out.startswith("Select 0 of 12 experts: nothing.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("synthetic:0", "--delay", "1,4"), ("4 numbers", "got 2", "reasoning")),
        (("synthetic:0", "--delay", "1,4,10,15,20"), ("4 numbers", "got 5")),
        (("synthetic:0", "--delay", "1,4,ten,15"), ("delay", "separated by commas")),
        (("synthetic:0", "--delay", "1,4,10,-1"), ("delay", ">= 0")),
        (("synthetic:0", "--delay", "1,4,10,nan"), ("tau", "finite")),
        (("synthetic:0", "--energy", "-1"), ("E_max", "greater than or equal to 0")),
        (("synthetic:0", "--energy", "nan"), ("E_max", "finite")),
        (("synthetic:x",), ("instance", "SEED")),
        (("somewhere",), ("instance", ".json")),
        (("missing.json",), ("missing.json", "cannot be read")),
        (("synthetic:0", "--eps", "-1"), ("eps",)),
        (("synthetic:0", "--time-limit", "0"), ("time_limit",)),
        (("synthetic:0", "--k", "0"), ("k",)),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "select", *arguments, "--json")
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert all(word in err for word in words), err


def test_an_interrupted_search_still_answers(capsys, monkeypatch):
    from edgewise.envs.edge_experts.optimum import warm_up
    from edgewise.envs.edge_experts.search import Search

    def stopped(self):
        raise KeyboardInterrupt

    warm_up()
    monkeypatch.setattr(Search, "advance", stopped)
    code, out, _ = run(capsys, *GOLDEN, "--json")
    found = json.loads(out)
    assert code == 130
    assert found["status"] == "interrupted"
    assert 0.7 < found["value"] <= 0.759481 < found["bound"]
