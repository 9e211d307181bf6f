"""The study of edge experts end to end in seconds: cells once, whatever is there in the results, tables and a page."""

from __future__ import annotations

import csv
import html
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.envs.edge_experts.loaders import HYPOTHETICAL_ROUTELLM
from edgewise.envs.edge_experts.synthetic import synthetic
from edgewise.eval.experts import budgets, cells, gaps, learners, routellm, solvers, study

TINY = cells.Budget(1, 1, 5.0, 5.0, 5, 6, (60,), (3,), 3, 2, 512)


def questions(folder: Path) -> Path:
    """Two subjects: the better model fails on questions with a word that the other one knows."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for subject, odd in (("mmlu_law", "statute"), ("mmlu_art", "canvas")):
        with (folder / f"{subject}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["prompt", *HYPOTHETICAL_ROUTELLM])
            for number in range(150):
                strange = number % 3 == 0
                weak, strong = strange or rng.random() < 0.4, not strange and rng.random() < 0.95
                writer.writerow([f"{odd if strange else 'plain'} question {number}", weak, strong])
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The finished study."""
    out, lines = tmp_path_factory.mktemp("study"), []
    data = questions(out / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cells.BUDGETS, "tiny", TINY)
        patch.setattr(budgets, "ENERGY_BUDGETS", (500.0, 1000.0))
        patch.setattr(budgets, "TRAIN", 300)
        patch.setattr(gaps, "TRAIN", 300)
        patch.setattr(learners, "CONFIGS", ("route_per_joule_d3qn",))
        results = study.reproduce("tiny", out, data=data, report=lines.append, command=["edgewise", "reproduce", "a&b"])
        stamp = (out / "cells" / "gap" / "gap-bce-0.json").stat().st_mtime_ns
        again = study.reproduce("tiny", out, only=["gap"], report=lines.append, command=["edgewise", "a&b"])
    assert (out / "cells" / "gap" / "gap-bce-0.json").stat().st_mtime_ns == stamp
    assert again["parts"] == results["parts"]  # the others are in the folder
    assert lines[-1] == "gap: 3 of 3 cells are finished"
    return out, results


def test_everything_is_recorded(done):
    out, results = done
    assert json.loads((out / study.RESULTS).read_text())["parts"] == results["parts"]
    assert set(results["parts"]) == set(study.PARTS)
    page = (out / study.PAGE).read_text()
    for title, _ in study.tables(results):
        assert title in html.unescape(page)
    assert "a&amp;b" in page
    assert page.count("<svg") == 1


def test_exact_solvers_agree(done):
    _, results = done
    records = results["parts"]["solvers"]
    compared = [r["result"] for r in records if r["settings"]["kind"] == "highs"]
    assert len(compared) == len(solvers.SHARES) * len(solvers.DELAYS)
    for result in compared:
        assert result["highs"]["finished"]
        assert result["ours"]["value"] == pytest.approx(result["highs"]["value"], abs=solvers.AGREEMENT)
    (size,) = [r["result"] for r in records if r["settings"]["kind"] == "size"]
    values = [found["value"] for found in size.values()]
    assert len(values) == 4
    assert values == pytest.approx([values[0]] * 4, abs=1e-9)


def test_what_highs_does_not_finish_counts_its_limit():
    base = {"ours": {"seconds": 0.5}, "highs": {"seconds": 130.0, "finished": False}}
    assert solvers.speed_ups([{"settings": {"highs_limit": 120.0}, "result": base}]) == [240.0]
    done = {"ours": {"seconds": 0.5}, "highs": {"seconds": 10.0, "finished": True}}
    assert solvers.speed_ups([{"settings": {"highs_limit": 120.0}, "result": done}]) == [20.0]


def test_no_rule_promises_more_than_the_optimum(done):
    _, results = done
    (record,) = results["parts"]["budgets"]
    assert len(record["result"]["rows"]) == 2 * len(budgets.delay_levels())
    for row in record["result"]["rows"]:
        best = row["rules"]["optimum"]["promised"]
        assert all(rule["promised"] <= best + 1e-12 for rule in row["rules"].values())
        assert row["routers"]["oracle"]["quality"] <= row["informed"] + 1e-12
        assert row["routers"]["gate"]["quality"] <= row["routers"]["oracle"]["quality"] + 1e-12
    alone = [found["quality"] for found in record["result"]["alone"]]
    rng = np.random.default_rng([0, 1])
    rng.random((2000, 12))  # the graded answers
    test = rng.permutation(2000)[300 + budgets.CALIBRATION :]
    assert alone == pytest.approx(synthetic(0).prompts.Q[test].mean(axis=0))
    assert record["result"]["all"]["quality"] > max(alone)
    levels = np.array(list(budgets.delay_levels().values()))
    assert (np.diff(levels, axis=0) > 0).all()  # from strict to lenient


def test_logistic_heads_have_no_gap_and_mixtures_do(done):
    _, results = done
    gaps = {record["settings"]["loss"]: record["result"] for record in results["parts"]["gap"]}
    assert all(found["subsets"] == 4 for found in gaps.values())
    assert max(map(abs, gaps["bce"]["quality"])) < 2e-3
    assert len(gaps["mixture_ce"]["entropy"]) == 4
    assert not gaps["bce"]["entropy"]


def test_trained_policies_are_held_against_the_optimum_and_the_best_rule(done):
    _, results = done
    (record,) = results["parts"]["learners"]
    found = record["result"]
    assert (found["algorithm"], found["mode"], found["objective"]) == ("fractional_d3qn_ddpg", "route", "per_joule")
    assert found["decisions"] >= 512
    assert 0 < found["rule"]["regret"] < found["learner"]["regret"] < 1  # hardly trained
    (_, table), (_, rules) = learners.PART.tables([record])
    assert table.lines[0].cells[2][0] == f"{100 * found['learner']['regret']:.2f}"
    shown = {line.name: float(line.cells[0][0]) for line in rules.lines}
    assert shown == {rule["label"]: pytest.approx(100 * rule["regret"], abs=0.01) for rule in found["rules"]}
    scripted = [shown[rule["label"]] for rule in found["rules"] if rule["kind"] == "scripted"]
    assert shown[found["rule"]["label"]] == min(scripted)
    told = {"regret": 0.25, "exceeded": {"delay": 0.1}}
    other = record | {"result": found | {"mode": "select", "worst": 0.5, "learner": told}}
    line = learners.PART.tables([other, other])[0][1].lines[0]
    assert line.cells[2][1] == "[25.00, 25.00] (delay)"
    assert [line.cells[i][0] for i in (1, 2, 3)] == [f"2 × {found['decisions']}", "25.00", "50.00"]


def test_real_tables_are_cross_fitted(done):
    _, results = done
    records = results["parts"]["routellm"]
    assert sum(record["result"]["test"] for record in records) == 300
    for number, row in enumerate(records[0]["result"]["rows"]):
        for record in records:
            rules = record["result"]["rows"][number]["rules"]
            assert rules["optimum"]["value"] >= max(rules[r]["value"] for r in routellm.RULES) - 1e-12
        if row["both_fit"] and row["energy"] == 200.0:  # the gate reads the word that tells the models apart
            gain = routellm.pooled(records, number, "single_best")
            assert gain.low > 0.1
        assert gain_of_nothing(records, number)
    assert any(row["both_fit"] for row in records[0]["result"]["rows"])


def gain_of_nothing(records, number):
    """Differences count every question once."""
    counts = [sum(record["result"]["rows"][number]["differences"]["random"]) for record in records]
    return sum(counts) == 300


def test_answers_judge_all_rules_on_the_same_prompts(done):
    _, results = done
    (record,) = results["parts"]["answers"]
    rules = record["result"]["rules"]
    assert rules["gate, Top-1"]["quality"] > rules["majority vote"]["quality"]
    assert rules["gate, Top-1"]["energy"] < rules["gate, Top-2"]["energy"] < rules["majority vote"]["energy"]
    assert rules["cascade, 0.5"]["energy"] <= rules["cascade, 0.9"]["energy"]


def test_cells_with_other_settings_and_damaged_ones_are_refused(done, monkeypatch):
    out, _ = done
    monkeypatch.setitem(cells.BUDGETS, "tiny", replace(TINY, gap_experts=4))
    with pytest.raises(CheckpointError, match="experts = "):
        study.reproduce("tiny", out, only=["gap"], command=[])
    path = out / "cells" / "gap" / "gap-bce-0.json"
    kept = path.read_bytes()
    for damaged in (b"{", b"[]", b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="gap-bce-0"):
            study.reproduce("tiny", out, only=["gap"], command=[])
    path.write_bytes(kept)


def test_bad_input_is_refused(tmp_path):
    for wrong in ({"budget": "fast"}, {"only": ["rl"]}, {"seeds": 0}, {"limit": 0.0}, {"only": ["routellm"]}):
        with pytest.raises(InvalidInputError):
            study.reproduce(**({"budget": "smoke", "out": tmp_path} | wrong))
    assert not list(tmp_path.iterdir())


def test_intervals_over_prompts_are_those_of_the_bootstrap():
    rng = np.random.default_rng(0)
    values = rng.choice([-1.0, 0.0, 1.0], size=400, p=[0.1, 0.7, 0.2])
    found = cells.over_prompts(values)
    means = rng.choice(values, size=(4000, 400)).mean(axis=1)
    assert found.estimate == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)
    different, counts = np.unique(values, return_counts=True)
    assert cells.over_prompts(different, counts) == found
    assert cells.over_prompts([1.0, 1.0]).low == 1.0
