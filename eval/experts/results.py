"""What an evaluation of edge experts found, as data: values are better when larger."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ..estimates import FINITE, Estimate
from ..results import AnyEvaluation

Kind = Literal["learner", "scripted", "reference"]
"""The trained policy; a rule that obeys the budgets and sees what it may; one that knows or uses more."""


class Row(BaseModel):
    """One policy on the evaluation budgets or episodes.

    Attributes:
        label: name for tables.
        kind: see `Kind`.
        value: value f(S) of a selection; of routing what is earned per unit of the objective (prompt, J or s); of
            an epoch what it earns after paying for loading and violations.
        per_seed: the same per budget or episode, in order.
        shortfall: how far below the certified optimum, as a share of it; None where no optimum is known.
        quality: mean quality of the answers.
        energy: J per prompt.
        delay: mean, s.
        late: share of the prompts answered after their delay budget; None for selections, which keep theirs.
        refused: share of the epochs in which the selection exceeded a budget; None elsewhere.
        uses: by constraint what an episode used of it, as a share of what it may use; empty where none is reported.
        shares: (categories, experts) of a category's prompts, which expert answers them.
        difference: learner minus this policy on the same budgets or episodes; None for the learner.
    """

    model_config = FINITE
    label: str
    kind: Kind
    value: Estimate
    per_seed: list[float]
    shortfall: Estimate | None
    quality: float
    energy: float
    delay: float
    late: float | None
    refused: float | None = None
    uses: dict[str, Estimate] = {}
    shares: list[list[float]]
    difference: Estimate | None = None

    @property
    def exceeded(self) -> dict[str, float]:
        """Constraints whose use is above what is allowed, the whole interval, and by how much."""
        low = {name: use.estimate if use.low is None else use.low for name, use in self.uses.items()}
        return {name: use.estimate - 1.0 for name, use in self.uses.items() if low[name] > 1.0}


class BudgetRow(BaseModel):
    """One pair of budgets and what was selected under it.

    Attributes:
        energy: budget, J.
        tau: budget of every category, s.
        grid: its place in the heat maps (delay, energy); None for budgets drawn between them.
        optimum: certified best value.
        bound: its proven upper bound, equal to the optimum where the proof is complete.
        best: experts of an optimal selection.
        value: the learner's.
        chosen: experts that the learner selected.
        regret: share of the optimum that the learner misses.
    """

    model_config = FINITE
    energy: float
    tau: list[float]
    grid: tuple[int, int] | None
    optimum: float
    bound: float
    best: list[int]
    value: float
    chosen: list[int]
    regret: float


class Point(BaseModel):
    """A point in the space of quality, energy (J per prompt) and delay (s).

    Attributes:
        label: name.
        kind: ``expert`` alone, ``learner``, ``reference`` or ``scripted``.
        hardware: kind of device, of an expert.
        quality: mean.
        energy: J per prompt.
        delay: s.
    """

    model_config = FINITE
    label: str
    kind: Literal["expert", "learner", "scripted", "reference"]
    hardware: str = ""
    quality: float
    energy: float
    delay: float


class Target(BaseModel):
    """The certified optimum of routing, or of epochs.

    Attributes:
        value: best value, or a bound on it.
        exact: whether it can be reached.
        method: how it was obtained.
        seconds: time for it.
    """

    model_config = FINITE
    value: float
    exact: bool
    method: str
    seconds: float


class ExpertsEvaluation(AnyEvaluation):
    """A complete evaluation of one checkpoint.

    Attributes:
        mode: ``select``, ``route``, or ``epochs``: selections under drifting budgets.
        objective: ``sum``, ``per_joule`` or ``per_second``.
        instance: where experts and prompts come from.
        experts: ids.
        categories: names.
        learner: the trained policy.
        others: rules and references, best first.
        budgets: of selections: every evaluated pair of budgets; the heat maps' grid first.
        energies, delays: of selections: names of the heat maps' columns and rows.
        target: of routing and of epochs: the certified optimum or bound.
        points: what the front is drawn from.
    """

    mode: Literal["select", "route", "epochs"]
    objective: Literal["sum", "per_joule", "per_second"]
    instance: str
    experts: list[str]
    categories: list[str]
    learner: Row
    others: list[Row]
    budgets: list[BudgetRow]
    energies: list[str]
    delays: list[str]
    target: Target | None
    points: list[Point]

    @property
    def rows(self) -> list[Row]:
        """All policies, best first."""
        return sorted([self.learner, *self.others], key=lambda row: -row.value.estimate)

    @property
    def best_rule(self) -> Row:
        """The best rule that obeys the budgets and sees what it may; any if none keeps the constraints."""
        rules = [row for row in self.others if row.kind == "scripted"]
        return max([row for row in rules if not row.exceeded] or rules, key=lambda row: row.value.estimate)

    @property
    def worst(self) -> BudgetRow | None:
        """The budgets with the largest regret."""
        return max(self.budgets, key=lambda row: row.regret, default=None)

    @property
    def unit(self) -> str:
        """What a value is counted per."""
        if self.mode == "epochs":
            return "epoch"
        return {"sum": "prompt", "per_joule": "J", "per_second": "s"}[self.objective]
