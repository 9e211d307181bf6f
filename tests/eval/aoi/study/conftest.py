"""A study of seconds: the smallest system, four learners, one sweep of two points, two defects."""

import dataclasses

import pytest

from edgewise.eval.aoi.exploitability import NashBudget
from edgewise.eval.aoi.game import GameBudget
from edgewise.eval.aoi.study import findings, plan

CHECK = NashBudget(devices=1, screening_seeds=1, screening_horizon=15.0, seeds=2, horizon=20.0, decisions=0)
EVALUATION = GameBudget(seeds=2, stretch_seeds=3, stretch_horizon=40.0, nash=CHECK, references=CHECK)
TINY = plan.Budget(
    seeds=1,
    every_point=False,
    evaluation=EVALUATION,
    brief=EVALUATION,
    training={
        "steps": 600,
        "log_every": 200,
        "checkpoints.every": 200,
        "checkpoints.evaluate": False,
        "tensorboard": False,
        "env.num_envs": 2,
        "env.horizon": 30.0,
        "env.n_devices": 3,
    },
    learner={"async_fractional": {"learner.n_steps": 16}},
)


@pytest.fixture
def tiny(monkeypatch):
    """The budget, under the name ``tiny``; the plan is cut down in its modules."""
    variants = plan.fidelity_cells

    def two_defects(budget):
        return {name: cells for name, cells in variants(budget).items() if name in ("corrected", "corrected+single_q")}

    sweep = plan.Sweep(
        "drop",
        "Drop coefficient",
        "drop coefficient",
        (plan.Point("1.5", 1.5), plan.Point("cut", None, {"env.drop": "cutoff:1.5"}, smoke=True)),
    )
    monkeypatch.setitem(plan.BUDGETS, "tiny", TINY)
    for module in (plan, findings):
        monkeypatch.setattr(module, "LEARNED", ("team_authors", "selfish_authors", "recurrent_d3qn_ppo"))
        monkeypatch.setattr(module, "SWEEPS", (sweep,))
        monkeypatch.setattr(module, "fidelity_cells", two_defects)
    return TINY


@pytest.fixture
def longer(monkeypatch, tiny):
    """The same with more training: cells of the other budget are in its way."""
    budget = dataclasses.replace(tiny, training={**tiny.training, "steps": 800})
    monkeypatch.setitem(plan.BUDGETS, "longer", budget)
    return budget
