"""Quality against energy and delay budgets: parts (a) to (c) of the grid, a heat map and its two kinds of slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.edge_experts.constraints import make_constraints
from ...envs.edge_experts.instance import Instance
from ...envs.edge_experts.monotone import mask_of
from ...envs.edge_experts.objective import FacilityLocation
from ...envs.edge_experts.policies import select
from ...envs.edge_experts.serving import route
from ...envs.edge_experts.synthetic import DELAY_BUDGETS, ENERGY_BUDGETS, synthetic
from ..figures import ACCENT, GOOD, INK, LEARNER, MUTED, SERIES, WIDE, draw, legend_above
from ..statistics import Interval, bootstrap, difference
from ..study.tables import Cell as TableCell
from ..study.tables import Line, Table
from .cells import Budget, Part, Record, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, CALIBRATION = 1000, 400
"""Prompts for the gate and for its calibration; the rest of 2000 are for the test."""
RULES = ("random", "single_best", "fastest", "greenest", "greedy_gain", "greedy_density", "best_of_two", "optimum")
ROUTERS = ("gate", "mlp", "knn", "uniform", "oracle")
TITLE = "Quality by energy and delay budget"


def delay_levels() -> dict[str, tuple[float, ...]]:
    """Delay budgets from strict to lenient: the published three, and geometric means between them."""
    named = list(DELAY_BUDGETS.items())
    found: dict[str, tuple[float, ...]] = dict(named[:1])
    for (low, strict), (high, lenient) in pairwise(named):
        found[f"{low} to {high}"] = tuple(np.sqrt(np.multiply(strict, lenient)).tolist())
        found[high] = lenient
    return found


@dataclass(frozen=True, eq=False)
class Trained:
    """A synthetic instance with a gate that has seen graded answers of its first prompts only.

    Attributes:
        instance: the whole instance.
        labels: (M, n) graded answers, Bernoulli with the quality.
        train, calibration, test: rows.
        gate: logistic heads, calibrated.
        objective: value of a selection by the gate's qualities on the calibration rows.
    """

    instance: Instance
    labels: NDArray[np.float64]
    train: NDArray[np.int64]
    calibration: NDArray[np.int64]
    test: NDArray[np.int64]
    gate: Any
    objective: FacilityLocation


@lru_cache(maxsize=1)
def trained(seed: int, answers: bool = False) -> Trained:
    """Steps 1 to 5 of the method: split, grade, train once, calibrate, build the value of selections."""
    from ...agents.experts import train_gate

    instance, rng = synthetic(seed, answers=answers), np.random.default_rng([seed, 1])
    phi, quality = instance.prompts.phi, instance.prompts.Q
    labels = (rng.random(quality.shape) < quality).astype(float)
    rows = rng.permutation(len(quality))
    train, calibration, test = np.split(rows, [TRAIN, TRAIN + CALIBRATION])
    gate = train_gate(phi[train], labels[train])
    gate.calibrate(phi[calibration], labels[calibration])
    return Trained(instance, labels, train, calibration, test, gate, FacilityLocation(gate.quality(phi[calibration])))


def cells(budget: Budget) -> dict[str, Settings]:
    """One cell per instance."""
    return {f"budgets-{seed}": {"seed": seed} for seed in range(budget.seeds)}


def run(settings: Settings, budget: Budget) -> Record:
    """Every selection rule under every budget, served by the gate; the optimum's selection by every router."""
    from ...agents.experts import NeighbourRouter, best, train_gate

    found = trained(settings["seed"])
    prompts, test = found.instance.prompts, found.test
    phi, truth = prompts.phi, FacilityLocation(prompts.Q[test])
    hidden = train_gate(phi[found.train], found.labels[found.train], hidden=16, l2=1e-2, steps=100, seed=0)
    scores = {
        "gate": found.gate.scores(phi),
        "mlp": hidden.scores(phi),
        "knn": NeighbourRouter(phi[found.train], found.labels[found.train]).quality(phi),
        "uniform": np.random.default_rng(0).random(prompts.Q.shape),
        "oracle": prompts.Q,
    }
    rows = []
    for delay, tau in delay_levels().items():
        for energy in ENERGY_BUDGETS:
            budgets = found.instance.budgets.changed(E_max=energy, tau=tau)
            entry: Record = {"energy": energy, "delay": delay, "rules": {}, "routers": {}}
            for rule in RULES:
                subset = select(found.instance, rule, budgets, objective=found.objective, seed=settings["seed"])
                entry["rules"][rule] = _reached(found, subset, best(scores["gate"], subset)[:, 0] if subset else None)
                assert make_constraints(found.instance, budgets).feasible(mask_of(subset))
            chosen = subset  # of the last rule, the optimum
            for router in ROUTERS:
                choice = best(scores[router], chosen)[:, 0] if chosen else None
                entry["routers"][router] = _reached(found, chosen, choice)
            exact = select(found.instance, "optimum", budgets, objective=truth)
            entry["informed"] = truth(mask_of(exact))
            rows.append(entry)
    everyone = tuple(range(found.instance.n))
    alone = [_reached(found, (i,), np.full(len(phi), i)) for i in everyone]
    return {"rows": rows, "alone": alone, "all": _reached(found, everyone, best(scores["gate"], everyone)[:, 0])}


def _reached(found: Trained, subset: Sequence[int], choice: NDArray[np.int64] | None) -> Record:
    """What a selection promises, and what a router makes of it on the test prompts."""
    told: Record = {"subset": list(subset), "promised": found.objective(mask_of(list(subset)))}
    if choice is None:
        return told | {"quality": 0.0, "energy": 0.0, "delay": 0.0}
    served = route(found.instance, choice).metrics(rows=found.test)
    return told | {name: served[name] for name in ("quality", "energy", "delay")}


# --- tables and figures -----------------------------------------------------------------------------------------------


def _column(records: Sequence[Record], row: int, group: str, name: str, key: str = "quality") -> list[float]:
    return [record["result"]["rows"][row][group][name][key] for record in records]


def _mean(values: Sequence[float]) -> TableCell:
    found = bootstrap([values])
    return f"{found.estimate:.4f}", ends(found)


def ends(found: Interval, scale: float = 1.0, digits: int = 4) -> str:
    """An interval in brackets; nothing where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f"[{scale * found.low:.{digits}f}, {scale * found.high:.{digits}f}]"


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """Selections and routers under every budget."""
    if not records:
        return []
    rows = range(len(records[0]["result"]["rows"]))
    shown = ("optimum", "single_best", "greedy_density", "greedy_gain", "best_of_two", "random", "fastest", "greenest")
    by_rule, by_router = [], []
    for row in rows:
        entry = records[0]["result"]["rows"][row]
        name, remark = f"{entry['energy']:g} J", f"delay {entry['delay']}"
        ours, single = (_column(records, row, "rules", rule) for rule in ("optimum", "single_best"))
        gain = bootstrap([ours, single], difference)
        cells = [_mean(_column(records, row, "rules", rule)) for rule in shown]
        by_rule.append(Line(name, remark, [*cells, (f"{gain.estimate:+.4f}", ends(gain))]))
        informed = [record["result"]["rows"][row]["informed"] for record in records]
        spent = [_mean(_column(records, row, "routers", "gate", key)) for key in ("energy", "delay")]
        cells = [_mean(_column(records, row, "routers", router)) for router in ROUTERS]
        by_router.append(Line(name, remark, [*cells, _mean(informed), *((f"{float(v):.4g}", "") for v, _ in spent)]))
    seeds = len(records)
    over = f"{seeds} synthetic instance{'s' if seeds > 1 else ''} of twelve experts"
    intervals = " with 95 % bootstrap intervals over instances" if seeds > 1 else ""
    text = (
        f"Mean quality on the {2000 - TRAIN - CALIBRATION} test prompts of {over}{intervals}. A gate is trained once "
        f"on {TRAIN} prompts; every rule selects by the gate's qualities on {CALIBRATION} others; the gate routes "
        "within the selection. Last: the optimum's gain over the best single expert."
    )
    other = (
        "The optimum's selection, served by other routers, same prompts. k nearest neighbours (40), a perceptron with "
        "16 hidden units, uniform routing; oracle: routing that knows the quality; informed: value of the best "
        "selection that knows it, too. Last: energy and delay per prompt that the gate's routing takes, only the "
        "chosen expert running, without queues."
    )
    limitless = (
        "Every expert alone, and the gate among all of them, whether they fit any budgets or not, same prompts; energy "
        "and delay per prompt, only the chosen expert running, without queues."
    )
    heads = ["optimum", *shown[1:], "gain over single best"]
    second = ["gate", "perceptron", "nearest neighbours", "uniform", "oracle", "informed", "J", "s"]
    return [
        (TITLE, Table(["budgets", *heads], by_rule, text, (0, 1, 2, 8))),
        ("Without budgets", Table(["experts", "quality", "J", "s"], _limitless(records), limitless, (0, 1, 2))),
        ("Routers within the optimum's selection", Table(["budgets", *second], by_router, other, (0, 1, 2, 3, 4, 5))),
    ]


def _limitless(records: Sequence[Record]) -> list[Line]:
    """One line per expert, and one for all together."""
    names = [expert.id for expert in synthetic(0).experts]
    groups = [[record["result"]["alone"][i] for record in records] for i in range(len(names))]
    groups.append([record["result"]["all"] for record in records])
    lines = []
    for name, found in zip([*names, "all"], groups, strict=True):
        spent = [(f"{np.mean([each[key] for each in found]):.4g}", "") for key in ("energy", "delay")]
        remark = "the gate routes" if name == "all" else "alone"
        lines.append(Line(name, remark, [_mean([each["quality"] for each in found]), *spent]))
    return lines


def figures(records: Sequence[Record]) -> dict[str, str]:
    """Slices along both budgets, and the heat map."""
    if not records:
        return {}
    delays, energies = list(delay_levels()), list(ENERGY_BUDGETS)
    shape = (len(delays), len(energies))
    grids = {
        rule: np.mean([_grid(record, rule, shape) for record in records], axis=0)
        for rule in ("optimum", "single_best", "greedy_density", "random")
    }
    colours = {"optimum": LEARNER, "single_best": ACCENT, "greedy_density": SERIES[2], "random": MUTED}

    def paint(fig: Figure) -> None:
        left, middle, right = fig.subplots(1, 3, width_ratios=(1.0, 1.0, 1.1))
        at_delay, at_energy = delays.index("mid"), energies.index(1000.0)
        for rule, grid in grids.items():
            style = {"color": colours[rule], "marker": "o", "markersize": 4, "label": rule.replace("_", " ")}
            left.plot(range(len(delays)), grid[:, at_energy], **style)
            middle.semilogx(energies, grid[at_delay], **style)
        left.set_xticks(range(len(delays)), labels=[name.replace(" to ", "\nto ") for name in delays], fontsize=8)
        left.set(xlabel="delay budget, at 1000 J", ylabel="quality")
        middle.set_xticks(energies, labels=[f"{energy:g}" for energy in energies])
        middle.minorticks_off()
        middle.set(xlabel="energy budget (J), delay mid")
        legend_above(left, 2)
        grid = grids["optimum"]
        right.imshow(grid, cmap="Greys", alpha=0.45, aspect="auto", origin="lower")
        for y, x in np.ndindex(shape):
            right.text(x, y, f"{grid[y, x]:.3f}", ha="center", va="center", fontsize=8, color=INK)
        right.set_xticks(range(len(energies)), labels=[f"{energy:g}" for energy in energies])
        right.set_yticks(range(len(delays)), labels=delays, fontsize=8)
        right.set(xlabel="energy budget (J)", title="optimum, served by the gate")
        right.grid(False)
        right.title.set_color(GOOD)

    told = ", ".join(f"{energy:g} J: {value:.3f}" for energy, value in zip(energies, grids["optimum"][2], strict=True))
    alt = f"Quality of selections along the delay budget, along the energy budget, and over both. Delay mid: {told}."
    return {TITLE: draw("budgets", (WIDE[0], 3.8), paint, alt)}


def _grid(record: Record, rule: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    values = [row["rules"][rule]["quality"] for row in record["result"]["rows"]]
    return np.array(values).reshape(shape)


PART = Part(cells, run, tables, figures)
