"""The evaluation of model caching: the same demand for all, variants, references, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgewise.cli.verification import verify_evaluation
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.seeding import SeedTree
from edgewise.envs.model_caching.simulate import simulate
from edgewise.eval.caching.evaluation import BUDGETS
from edgewise.eval.caching.results import (
    FROZEN_0,
    FROZEN_W,
    HINDSIGHT,
    LIFELONG,
    LOOKAHEAD,
    STATIC_NET,
    CachingEvaluation,
)
from edgewise.eval.caching.rules import GRIDS, tuned
from edgewise.eval.caching.verdict import verdict
from edgewise.eval.evaluate import evaluate_run
from edgewise.train.environments import CachingEnvConfig
from edgewise.train.run_folder import open_run, read_metrics


def params(folder: Path):
    return open_run(folder).config.env_as(CachingEnvConfig).params()


def test_every_policy_of_the_table_is_there(evaluation: CachingEvaluation) -> None:
    labels = {row.label: row.kind for row in evaluation.rows}
    assert {label for label, kind in labels.items() if kind == "test_time"} == {FROZEN_0, FROZEN_W, LIFELONG}
    assert {label for label, kind in labels.items() if kind == "clairvoyant"} == {HINDSIGHT, LOOKAHEAD}
    assert {label for label, kind in labels.items() if kind == "causal"} == set(GRIDS)
    assert {"cloud", "fifo", "lfu", "lru", "laot", "random", "admission_lfu", "gdsf", STATIC_NET, "learner"} <= set(
        labels
    )
    assert [row.cost.estimate for row in evaluation.rows] == sorted(row.cost.estimate for row in evaluation.rows)


def test_scripted_policies_meet_the_evaluation_seeds(evaluation: CachingEvaluation, runs: dict[str, Path]) -> None:
    first = SeedTree(5).evaluate
    assert evaluation.first_seed == first
    seeds = [first + lane for lane in range(evaluation.n_seeds)]
    for name in ("lfu", "static"):
        found = simulate(params(runs["t2drl"]), name, horizon=12, seeds=seeds)
        row = evaluation.row(HINDSIGHT if name == "static" else name)
        assert row.per_seed == found.cost.tolist()
        assert row.loads == pytest.approx(found.loads.mean())
        assert row.terms == pytest.approx({term: part.mean() for term, part in found.cost_terms.items()})


def test_differences_are_paired_and_parts_add_up(evaluation: CachingEvaluation) -> None:
    ours = np.array(evaluation.learner.per_seed)
    for row in evaluation.rows:
        assert sum(row.terms.values()) == pytest.approx(row.cost.estimate)
        if row.kind != "learner":
            assert row.relative is not None
            assert row.relative.estimate == pytest.approx(ours.mean() / np.mean(row.per_seed) - 1.0)
            assert row.relative.n == evaluation.n_seeds
        assert row.accuracy is None or 0.0 <= row.accuracy <= 1.0


def test_nobody_is_below_the_bound(evaluation: CachingEvaluation) -> None:
    bound = evaluation.bound
    assert bound.episodes == BUDGETS["smoke"].bounds
    cheapest = min(np.mean(row.per_seed[: bound.episodes]) for row in evaluation.rows)
    assert 0.0 < bound.bound <= cheapest + 1e-9
    assert bound.lookahead_gap >= 0.0


def test_inner_steps_make_the_difference(evaluation: CachingEvaluation) -> None:
    frozen, held = (evaluation.variant(label) for label in (FROZEN_0, FROZEN_W))
    assert frozen is not None
    assert held is not None
    assert frozen.per_seed != evaluation.learner.per_seed != held.per_seed
    assert evaluation.inner_steps


def test_the_control_has_no_drift(evaluation: CachingEvaluation, runs: dict[str, Path]) -> None:
    assert [row.label for row in evaluation.control] == ["learner", FROZEN_0, FROZEN_W, LIFELONG, STATIC_NET]
    assert evaluation.control[0].per_seed != evaluation.learner.per_seed
    # The static network freezes W_0 whatever it is told, so its row there is a plain deployment.
    again = evaluate_run(runs["static"], budget="smoke", write=False, command=[])
    assert isinstance(again, CachingEvaluation)
    assert again.control[0].per_seed == evaluation.control[-1].per_seed
    assert again.learner.per_seed == evaluation.variant(STATIC_NET).per_seed  # type: ignore[union-attr]
    assert again.variants == []


def test_the_recorded_episode_is_the_first_one(evaluation: CachingEvaluation) -> None:
    episode = evaluation.episode
    total = sum(sum(part) for part in episode.terms.values())
    assert total / len(episode.cache) == pytest.approx(evaluation.learner.per_seed[0], rel=1e-4)
    used = np.array(episode.cache) @ np.array(episode.memory)
    assert (used <= episode.capacity).all()


def test_rules_are_tuned_by_what_they_cost(runs: dict[str, Path]) -> None:
    system, episodes = params(runs["t2drl"]), [(7, 0), (8, 0)]
    rule, tried = tuned(system, "density_memoryless", episodes, 12.0, share=9)
    costs = {
        one: simulate(system, one, horizon=12, seeds=[7, 8]).cost.mean() for one in GRIDS["density_memoryless"][::9]
    }
    assert tried == len(costs)
    assert costs[rule] == pytest.approx(min(costs.values()))


def test_checkpoints_are_scored_by_their_cost(runs: dict[str, Path]) -> None:
    rows = [row for row in read_metrics(open_run(runs["t2drl"]).metrics) if row["kind"] == "evaluation"]
    assert len(rows) == 2
    for row in rows:
        assert row["evaluation/score"] == row["evaluation/cost"] > 0.0
        assert 0.0 <= row["evaluation/local_ratio"] <= 1.0


def test_a_stored_evaluation_is_repeated(evaluation: CachingEvaluation, runs: dict[str, Path]) -> None:
    (check,) = verify_evaluation(runs["t2drl"])
    assert check.holds, check.detail
    stored = json.loads((runs["t2drl"] / "evaluation.json").read_text())
    assert stored["learner"]["per_seed"] == evaluation.learner.per_seed


def test_the_verdict_names_its_level(evaluation: CachingEvaluation) -> None:
    result = verdict(evaluation)
    assert result["tone"] in ("good", "plain", "bad")
    assert "Adapting at test time" in result["text"]
    better = {
        "relative": evaluation.row("gdsf").relative.model_copy(update={"estimate": -0.5, "low": -0.6, "high": -0.4})
    }  # type: ignore[union-attr]
    rows = [row.model_copy(update=better) for row in evaluation.scripted]
    good = verdict(evaluation.model_copy(update={"scripted": rows}))
    assert good["tone"] == "good"
    assert "50.0 % below the better causal rule" in good["text"]


def test_what_does_not_fit_is_refused(runs: dict[str, Path]) -> None:
    for changes, message in (
        ({"nash": True}, "--exploitability needs a game"),
        ({"seeds": 0}, "seeds must be an integer in"),
        ({"horizon": 2.5}, "horizon must be a whole number of slots"),
        ({"static": runs["t2drl"]}, "learner.backbone ttt and learner.eta_base 0"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            evaluate_run(runs["t2drl"], budget="smoke", write=False, command=[], **changes)  # type: ignore[arg-type]
