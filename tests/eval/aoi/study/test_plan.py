"""The study's plan: every baseline and point once, on one system, nothing run twice."""

import pytest

from edgewise.agents.config import RECURRENT_DEFECTS
from edgewise.envs.core.errors import InvalidInputError
from edgewise.eval.aoi.study import plan
from edgewise.eval.aoi.study.plan import BUDGETS, FOLDER, LEARNED, PARTS, SWEEPS, all_cells, point_cells
from edgewise.train.config_io import packaged

FULL, SMOKE = BUDGETS["full"], BUDGETS["smoke"]


def values(name):
    sweep = next(sweep for sweep in SWEEPS if sweep.name == name)
    return [point_cells(sweep, point, FULL)[0].config.env.params() for point in sweep.points]


def test_every_game_configuration_has_a_place():
    names = {name.removeprefix(FOLDER) for name in packaged() if name.startswith(FOLDER)}
    assert names == {*LEARNED, plan.TEAM_NONE, "demo"}


def test_learned_baselines_meet_one_system():
    cells = [cell for name in LEARNED for cell in plan.learned_cells(name, FULL)]
    assert {cell.config.env.params() for cell in cells} == {cells[0].config.env.params()}
    assert cells[0].config.env.params().drop == "authors:1.5"
    assert len(cells) == 10 * len(LEARNED)
    assert {cell.config.seed for cell in cells} == set(range(10))
    assert {cell.config.name for cell in cells if cell.nash} == {plan.SELFISH}


def test_the_sweeps_are_those_of_the_specification():
    assert [params.n_devices for params in values("devices")] == [5, 10, 15, 20, 25, 30, 40]
    pairs = [params.edge_ghz for params in values("edge_capacity")]
    assert pairs == [(v, v) for v in (20.9, 31.35, 41.8, 52.25, 62.7)] + [(3.0, 8.0)]
    assert [params.local_ghz for params in values("device_capacity")] == [1.5, 2.0, 2.5, 3.0, 3.5]
    assert [params.density for params in values("density")] == [0.15, 0.297, 0.45]
    assert [params.task_mbit for params in values("task_size")] == [10, 20, 30, 40, 50]
    assert [params.drop for params in values("drop")] == [f"authors:{k}" for k in ("0.5", "1", "1.5", "2", "3")] + [
        "none"
    ]
    assert [params.service for params in values("service")] == ["exponential", "lognormal:0.5", "lognormal:1"]
    for sweep in SWEEPS:
        if sweep.name != "drop":
            assert {params.drop for params in values(sweep.name)} == {"authors:1.5"}


def test_the_usual_system_is_trained_once():
    cells = all_cells(FULL)
    assert len({cell.name for cell in cells}) == len(cells)
    own = sum(1 for sweep in SWEEPS for point in sweep.points if point.overrides)
    assert own == 27
    assert len(all_cells(FULL, ("sweeps",))) == 10 * (own + 2)  # with the usual system, and it without drops
    contents = {cell.config.model_dump_json(exclude={"name"}) for cell in cells if "fidelity" not in cell.name}
    assert len(contents) == sum(1 for cell in cells if "fidelity" not in cell.name)


def test_the_ablation_has_every_defect_on_its_own():
    variants = plan.fidelity_cells(SMOKE)
    assert list(variants)[:2] == ["corrected", "paper"]
    assert len(variants) == 2 + len(RECURRENT_DEFECTS)
    for defect in RECURRENT_DEFECTS:
        (cell,) = variants[f"corrected+{defect}"]
        assert cell.config.learner.defects == (defect,)
    assert variants["paper"][0].config.learner.defects == RECURRENT_DEFECTS
    assert variants["paper"][0].config.learner.period > 0  # the released settings, too
    assert variants["corrected"][0].config.learner.defects == ()


def test_a_small_budget_has_two_points_per_sweep():
    assert [len(sweep.chosen(SMOKE)) for sweep in SWEEPS] == [2] * len(SWEEPS)
    assert len(all_cells(SMOKE)) < 45


def test_the_objectives_are_part_of_the_baselines():
    objectives = all_cells(FULL, ("objectives",))
    assert {(cell.config.env.objective, cell.config.env.drop) for cell in objectives} == {
        ("team", "authors:1.5"),
        ("selfish", "authors:1.5"),
        ("team", "none"),
    }
    baselines = {cell.name: cell for cell in all_cells(FULL, ("baselines",))}
    assert all(baselines[cell.name] == cell for cell in objectives)


def test_unknown_parts():
    with pytest.raises(InvalidInputError, match=", ".join(PARTS)):
        all_cells(SMOKE, ("sweep",))
