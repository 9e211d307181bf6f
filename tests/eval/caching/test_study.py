"""The study: its plan, its cells, its tables and targets."""

import dataclasses
from pathlib import Path

import pytest

from edgewise.agents.config import T2DRLConfig
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.eval.caching.study import findings, plan
from edgewise.eval.caching.study.page import tables
from edgewise.eval.caching.study.run import reproduce
from edgewise.eval.estimates import Estimate
from edgewise.train.config_io import packaged
from edgewise.train.progress import Silent


def estimate(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(estimate=value, low=value - spread, high=value + spread, confidence=0.95, n=5)


def test_every_configuration_of_the_study_is_packaged_and_of_one_length() -> None:
    names = {name for part in plan.PARTS for name in part.learners.values()}
    assert {plan.FOLDER + name for name in names} <= set(packaged())
    budget = plan.BUDGETS["full"]
    configs = [cell.config for cell in plan.all_cells(plan.PARTS, budget)]
    assert {config.steps for config in configs} == {300_000}
    assert {config.env.num_envs for config in configs} == {16}
    changed = {"backbone", "eta_base", *(name.partition(".")[2] for one in plan.REMEDIES.values() for name in one)}
    own = {"inner_loss", "forgetting", "aux_coef", "predict_next"}  # of the inner steps, and of PAD's encoder
    (published,) = (config for config in configs if config.name == "proactive_published")
    assert published.learner == T2DRLConfig()  # the paper's numbers; all others have ours
    configs.remove(published)
    learners = [config.learner.model_dump(exclude=changed | own | {"bid_value"}) for config in configs]
    assert all(learner == learners[0] for learner in learners)  # also from part to part
    for part in plan.PARTS:
        cells = [cell for runs in plan.part_cells(part, budget).values() for cell in runs]
        configs = [cell.config for cell in cells if cell.config != published]
        learners = [config.learner.model_dump(exclude=changed | own) for config in configs]
        assert all(learner == learners[0] for learner in learners)  # they differ in the network only
        outer = {(config.learner.predict_next, config.learner.aux_coef) for config in configs}
        assert part.name == "remedies" or outer <= {(True, 0.5), (False, 0.1)}  # the latter is PAD's


def test_cells_are_run_once_and_after_what_they_are_compared_with() -> None:
    cells = plan.all_cells(plan.PARTS, plan.BUDGETS["full"])
    names = [cell.name for cell in cells]
    assert len(names) == len(set(names))
    for cell in cells:
        assert cell.static is None or names.index(cell.static) < names.index(cell.name)
    once = plan.all_cells(plan.chosen(("ablations",)), plan.BUDGETS["full"])
    assert [cell.name for cell in once] == [
        "proactive_static-0",
        "proactive_t2drl-0",
        "proactive_pad-0",
        "proactive_published-0",
    ]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="only must be one or more of drift, proactive"):
        reproduce("smoke", tmp_path, only=["drifts"], make_progress=Silent)
    with pytest.raises(InvalidInputError, match="budget must be one of smoke, full"):
        reproduce("huge", tmp_path, make_progress=Silent)


def against(label: str, value: float) -> findings.Against:
    return findings.Against(label=label, cost=estimate(60.0 / (1.0 + value)), relative=estimate(value))


def table(name: str, values: dict[str, float], adapted: dict[str, float], control: dict[str, float]) -> findings.Table:
    line = findings.Line(
        label=plan.T2DRL,
        runs=[],
        cost=estimate(60.0),
        per_run=[60.0],
        loads=0.5,
        local_ratio=0.6,
        against=[against(label, value) for label, value in values.items()],
        adapted=[against(label, value) for label, value in adapted.items()],
        control=[against(label, value) for label, value in control.items()],
        parameters=1000,
        slots_per_second=600.0,
        milliseconds=1.0,
    )
    return findings.Table(name=name, title=name, episodes=100, lines=[line], learners=[])


def test_targets_are_held_against_the_right_numbers() -> None:
    drift = table(
        "drift",
        {"look-ahead": 0.09, "density_ewma": 0.04, "density_memoryless": 0.01, "fifo": -0.3, "lfu": -0.3, "cloud": 0.0},
        {},
        {},
    )
    proactive = table(
        "proactive", {}, {"frozen-0": -0.02, "frozen-W": -0.005, "static-net": 0.02}, {"static-net": 0.02}
    )
    found = {check.target: check.met for check in findings.checks([drift, proactive])}
    assert list(found.values()) == [True, True, True, True, False, True, False, False, False, True]
    assert "density" not in str(found)
    missing = findings.checks([drift])
    assert [check.met for check in missing][5:9] == [None] * 4


@pytest.mark.slow
def test_the_smoke_study_runs_is_not_repeated_and_refuses_another_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_baselines3", reason="needs the [sb3] extra")
    pytest.importorskip("matplotlib")
    said: list[str] = []
    found = reproduce("smoke", tmp_path, make_progress=Silent, report=said.append, command=["edgewise"])
    assert [part.name for part in found.tables] == list(plan.BUDGETS["smoke"].parts)
    assert said[-1].startswith("12/12")
    assert found.tables[-1].online is not None
    assert {line.label for line in found.tables[0].lines} == {"T2DRL", "static-net", "MLP", "LSTM", "GRU"}
    for _, shown in tables(found):
        assert all(len(line.cells) == len(shown.headings) - 1 for line in shown.lines)
    page = (tmp_path / "study.html").read_text()
    assert "://" not in page
    again = reproduce("smoke", tmp_path, make_progress=Silent, report=said.append, command=["edgewise"])
    assert said[-1] == "12 of 12 cells are finished"
    assert again.tables == found.tables
    longer = dataclasses.replace(plan.BUDGETS["smoke"], training={**plan.BUDGETS["smoke"].training, "steps": 720})
    monkeypatch.setitem(plan.BUDGETS, "longer", longer)
    with pytest.raises(CheckpointError, match="holds a run with another configuration"):
        reproduce("longer", tmp_path, make_progress=Silent, report=said.append, command=["edgewise"])
