"""Loaders: RouteLLM on the real files, the others on files built from the published columns and statistics."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.features import hashed_features
from edgewise.envs.edge_experts.loaders import (
    load_embedllm,
    load_routellm,
    load_routerbench,
    load_routerdc,
    load_routing_table,
)

MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
SEVEN = (
    "mistralai/Mistral-7B-v0.1",
    "meta-math/MetaMath-Mistral-7B",
    "itpossible/Chinese-Mistral-7B-v0.1",
    "HuggingFaceH4/zephyr-7b-beta",
    "cognitivecomputations/dolphin-2.6-mistral-7b",
    "meta-llama/Meta-Llama-3-8B",
    "cognitivecomputations/dolphin-2.9-llama3-8b",
)
MMLU_TEST_SHARES = (0.621, 0.599, 0.574, 0.598, 0.605, 0.646, 0.595)
HUMANEVAL_MEANS = (0.290, 0.298, 0.214, 0.220, 0.451, 0.267, 0.494)


@pytest.fixture(scope="module")
def routellm(repository):
    from pathlib import Path

    place = Path(os.environ.get("EDGEWISE_DATA", repository.parent / "shared" / "data")) / "routellm"
    if not place.is_dir():
        pytest.skip(f"the RouteLLM files are not at {place} (set EDGEWISE_DATA)")
    return place


def test_routellm_mmlu_has_the_published_accuracies(routellm):
    table = load_routellm(routellm / "mmlu")
    assert table.quality.shape == (14_042, 2)
    assert len(table.tasks) == 57
    assert table.accuracy()[GPT4] == pytest.approx(0.8058, abs=5e-5)
    assert table.accuracy()[MIXTRAL] == pytest.approx(0.6808, abs=5e-5)
    assert table.quality.max(axis=1).mean() == pytest.approx(0.859, abs=1e-3)


def test_routellm_gsm8k_leaves_the_responses_out(routellm):
    table = load_routellm(routellm / "gsm8k_responses.csv")
    assert set(table.models) == {MIXTRAL, GPT4}
    assert len(table.questions) == 1319
    instance = table.instance(features=0)
    assert set(instance.prompts.O) == {200.0}
    assert instance.n == 6
    assert "hypothetical" in instance.source


def test_routellm_instances_repeat_each_model_on_its_hypothetical_devices(routellm):
    instance = load_routellm(routellm / "mmlu").merged("mmlu").instance(features=0)
    assert [expert.model for expert in instance.experts] == [MIXTRAL] * 3 + [GPT4] * 3
    assert (instance.prompts.Q[:, 0] == instance.prompts.Q[:, 2]).all()
    assert instance.categories == ("mmlu",)
    assert instance.prompts.I.mean() == pytest.approx(np.mean([4 * 29]), rel=0.5)


def routerdc_file(path, count, shares, generative=False):
    """A file with the columns of the real one whose statistics are these."""
    entries = []
    for x in range(count):
        scores = {}
        for model, share in zip(SEVEN, shares, strict=True):
            right = x < round(share * count)
            scores[model] = share if generative else (0.35 + 0.6 * x / count if right else 0.0)
        entries.append({"question": f"question {x}", "scores": scores, "cluster_id": x % 4})
    path.write_text(json.dumps(entries))


def test_routerdc_choice_scores_count_as_right_where_positive(tmp_path):
    routerdc_file(tmp_path / "mmlu_test.json", 4213, MMLU_TEST_SHARES)
    table = load_routerdc(tmp_path / "mmlu_test.json")
    assert table.models == SEVEN
    assert table.tasks == ("mmlu",)
    assert table.quality.mean(axis=0) == pytest.approx(MMLU_TEST_SHARES, abs=2e-4)
    raw = load_routerdc(tmp_path / "mmlu_test.json", correctness="score")
    assert ((raw.quality > 0) == (table.quality > 0)).all()
    assert raw.quality.max() < 1.0


def test_routerdc_generated_answers_keep_their_share(tmp_path):
    routerdc_file(tmp_path / "humaneval_test.json", 49, HUMANEVAL_MEANS, generative=True)
    routerdc_file(tmp_path / "mmlu_test.json", 100, MMLU_TEST_SHARES)
    table = load_routerdc(tmp_path)
    assert table.tasks == ("humaneval", "mmlu")
    code = table.quality[table.task == 0]
    assert code.mean(axis=0) == pytest.approx(HUMANEVAL_MEANS)
    instance = table.instance(features=8)
    assert instance.prompts.phi.shape == (149, 8)
    assert set(instance.prompts.O) == {250.0, 4.0}
    hardware = [(expert.hardware, expert.precision) for expert in instance.experts]
    assert hardware[:4] == hardware[4:] + hardware[3:4]  # seven models cycle over four kinds of device


def write(path, header, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def test_routerbench_columns_are_found_by_their_costs(tmp_path):
    header = ["", "sample_id", "prompt", "eval_name", "a/x", "y", "y|model_response", "a/x|model_response"]
    header += ["y|total_cost", "a/x|total_cost", "oracle_model_to_route_to"]
    rows = [
        [7, "mbpp.1", "['Write, \"code\"']", "mbpp", 1.0, 0.0, "['def']", "['x']", 0.1, 0.2, "a/x"],
        [9, "arc.1", "['Which?']", "arc_challenge", 0.0, 1.0, "['B']", "['A']", 0.1, 0.2, "y"],
    ]
    write(tmp_path / "rb.csv", header, rows)
    table = load_routerbench(tmp_path / "rb.csv")
    assert table.models == ("a/x", "y")
    assert table.quality.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert table.tasks == ("mbpp", "arc_challenge")


def test_embedllm_rows_become_a_table(tmp_path):
    header = ["", "prompt_id", "model_id", "category_id", "label", "model_name", "category", "prompt"]
    rows = [
        [0, 10, 0, 0, 1, "m0", "asdiv", "one"],
        [1, 10, 1, 0, 0, "m1", "asdiv", "one"],
        [2, 11, 1, 1, 1, "m1", "mmlu", "two"],
        [3, 10, 1, 0, 1, "m1", "asdiv", "one"],
    ]
    write(tmp_path / "train.csv", header, rows)
    table = load_embedllm(tmp_path / "train.csv")
    assert table.models == ("m0", "m1")
    assert table.questions == ("one", "two")
    assert table.quality.tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert load_routing_table(tmp_path / "train.csv", "embedllm").tasks == ("asdiv", "mmlu")


@pytest.mark.parametrize("form", ["routellm", "routerdc", "routerbench", "embedllm"])
def test_missing_and_foreign_files_are_refused(tmp_path, form):
    with pytest.raises(InvalidInputError, match="no such file"):
        load_routing_table(tmp_path / "missing", form)
    (tmp_path / "bad").write_bytes(b"\x80\x04\x95not text")
    with pytest.raises(InvalidInputError, match="bad"):
        load_routing_table(tmp_path / "bad", form)
    write(tmp_path / "other", ["colour", "prompt"], [["red", "x"]])
    with pytest.raises(InvalidInputError):
        load_routing_table(tmp_path / "other", form)


def test_scores_outside_their_range_are_refused(tmp_path):
    write(tmp_path / "m.csv", ["prompt", "model"], [["x", "1.5"]])
    with pytest.raises(InvalidInputError, match=r"m\.csv, row 1"):
        load_routellm(tmp_path / "m.csv")
    with pytest.raises(InvalidInputError, match="form"):
        load_routing_table(tmp_path / "m.csv", "pickle")


def test_features_tell_topics_apart_and_repeat():
    texts = [f"solve the equation x + {i} = {i * 3}" for i in range(20)]
    texts += [f"the capital of country {i} is which city" for i in range(20)]
    phi = hashed_features(texts, 6)
    assert phi.shape == (40, 6)
    assert np.allclose(phi, hashed_features(texts, 6), atol=1e-8)
    near = phi @ phi.T
    assert near[:20, :20].mean() > 2 * near[:20, 20:].mean()
    assert hashed_features(["one"], 4).shape == (1, 0)
    assert hashed_features(["", "a"], 4).shape[0] == 2
