"""One pass over the test half of a trace: which half is measured, how, and how the study shows it."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.policies import ScriptedPolicy
from edgewise.envs.model_caching.simulate import play_slots
from edgewise.envs.model_caching.state import COST, LOADS
from edgewise.envs.model_caching.trace_split import TraceSplit
from edgewise.eval.caching.evaluation import BUDGETS
from edgewise.eval.caching.opponents import training_episodes
from edgewise.eval.caching.results import STATIC_NET, CachingEvaluation, TraceEvaluation
from edgewise.eval.caching.rules import EWMA, tuned
from edgewise.eval.caching.study import findings, plan
from edgewise.eval.caching.study.page import tables
from edgewise.eval.caching.trace import BLOCK, FILE_NAME, evaluate_trace
from edgewise.eval.caching.verdict import verdict
from edgewise.eval.evaluate import evaluate_run
from edgewise.eval.results import read_as
from edgewise.eval.statistics import difference, nested_bootstrap
from edgewise.train.run_folder import open_run


@pytest.fixture(scope="module")
def found(trace_runs: dict[str, Path], split: TraceSplit) -> TraceEvaluation:
    return evaluate_trace(trace_runs["t2drl"], split, BUDGETS["smoke"], static=trace_runs["static"])


def test_policies_pass_once_over_the_test_half(found: TraceEvaluation, split: TraceSplit) -> None:
    slots = [
        out[:, 0].copy() for out in play_slots(split.test, ScriptedPolicy("lfu", split.test), [(0, 0)], split.slots)
    ]
    row = found.row("lfu")
    assert len(slots) == found.slots == split.slots
    assert row.per_seed == [float(out[COST]) for out in slots]
    assert row.cost.estimate == pytest.approx(np.mean(row.per_seed))
    assert row.loads == pytest.approx(np.mean([out[LOADS] for out in slots]))


def test_rules_are_tuned_on_the_training_half(
    found: TraceEvaluation, split: TraceSplit, trace_runs: dict[str, Path]
) -> None:
    budget = BUDGETS["smoke"]
    training = training_episodes(open_run(trace_runs["t2drl"]).config, budget.tuning)
    assert training.params == split.train
    rule, _ = tuned(split.train, EWMA, training.episodes, 12, budget.share)
    assert found.row(EWMA).rule == rule


def test_slots_are_resampled_in_blocks_and_pairs(found: TraceEvaluation) -> None:
    ours, theirs = np.array(found.learner.per_seed), np.array(found.row("cloud").per_seed)
    expected = nested_bootstrap([ours[None], theirs[None]], difference, block=BLOCK)
    shown = found.row("cloud").difference
    assert shown is not None
    assert (shown.estimate, shown.low, shown.high) == (expected.estimate, expected.low, expected.high)
    assert found.block == BLOCK


def test_it_is_stored_and_has_the_static_network(found: TraceEvaluation, trace_runs: dict[str, Path]) -> None:
    assert read_as(TraceEvaluation, trace_runs["t2drl"], FILE_NAME) == found
    assert {row.label for row in found.variants} == {"frozen-0", "frozen-W", "lifelong", STATIC_NET}
    assert "lambda_MB" in found.split


def test_an_evaluation_on_the_training_half_says_so(trace_runs: dict[str, Path]) -> None:
    found = evaluate_run(trace_runs["t2drl"], budget="smoke", write=False)
    assert isinstance(found, CachingEvaluation)
    assert found.replayed == "slots 0 to 60 of requests.csv"
    assert "All episodes replay slots 0 to 60 of requests.csv, as training did" in verdict(found)["text"]


def test_a_run_of_another_system_is_refused(runs: dict[str, Path], split: TraceSplit) -> None:
    with pytest.raises(InvalidInputError, match="was not trained on the training half of this trace"):
        evaluate_trace(runs["t2drl"], split, BUDGETS["smoke"])


def test_the_study_trains_on_the_first_half_and_names_its_runs(split: TraceSplit) -> None:
    with pytest.raises(InvalidInputError, match="part trace needs --data"):
        plan.chosen(("trace",))
    (part,) = plan.chosen(("trace",), {"trace": split})
    cells = plan.all_cells((part,), plan.BUDGETS["smoke"])
    assert [cell.name for cell in cells] == ["trace_static-0", "trace_t2drl-0", "trace_gru-0"]
    assert [cell.static for cell in cells] == [None, "trace_static-0", None]
    for cell in cells:
        assert cell.trace is split
        assert cell.config.env.trace_slots == (0, 60)  # type: ignore[union-attr]


def test_the_table_says_what_it_passed_over(
    found: TraceEvaluation, split: TraceSplit, trace_runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = plan.Part("trace", "Replayed", {plan.T2DRL: "drift_t2drl"}, trace=split)
    cell = plan.Cell(open_run(trace_runs["t2drl"]).config, trace=split)
    monkeypatch.setattr(plan.Cell, "folder", lambda cell, out: trace_runs["t2drl"])
    monkeypatch.setattr(findings, "part_cells", lambda part, budget: {plan.T2DRL: [cell]})
    shown = findings.collect("smoke", plan.BUDGETS["smoke"], [part], Path(), [], {})
    (line,) = shown.tables[0].lines
    assert line.cost.estimate == pytest.approx(found.learner.cost.estimate)
    assert line.cost.low == found.learner.cost.low
    captions = [table.caption for _, table in tables(shown)]
    assert any(found.split in caption and f"blocks of {BLOCK} slots" in caption for caption in captions)
