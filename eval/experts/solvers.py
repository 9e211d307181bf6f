"""The solvers' cost: against HiGHS, on the largest instances, without structure, and along the number of experts."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...envs.edge_experts.constraints import Constraints, make_constraints
from ...envs.edge_experts.costs import means
from ...envs.edge_experts.dmo import Solution, branch_and_reduce, brute_force, polyblock
from ...envs.edge_experts.instance import Instance
from ...envs.edge_experts.milp import solve_milp
from ...envs.edge_experts.objective import value_of_quality
from ...envs.edge_experts.optimum import solve_facility, warm_up
from ...envs.edge_experts.synthetic import DELAY_BUDGETS, section9
from ..formats import NOTHING
from ..study.tables import Cell as TableCell
from ..study.tables import Line, Table
from .cells import Budget, Part, Record, Settings

SHARES = (0.1, 0.2, 0.4)
"""Energy budgets as shares of all experts' energy."""
DELAYS = ("off", "mid")
AGREEMENT = 1e-6
"""Optima of two exact solvers may differ by this."""
_ENUMERATED, _GENERAL, _VERTICES = 12, 16, 12
"""Most experts for brute force, the general branch and bound, and polyblocks."""


def cells(budget: Budget) -> dict[str, Settings]:
    """Cells without HiGHS first, then its comparison, one seed after the other."""
    found: dict[str, Settings] = {}
    for n in budget.sizes:
        found[f"size-{n}"] = _settings("size", n, budget.prompts[0], 0.2, "mid", 0, 0.0, budget)
    for seed in range(budget.solver_seeds):
        for share in SHARES:
            name = f"uniform-{share:g}-{seed}"
            found[name] = _settings("uniform", budget.large, budget.prompts[0], share, "off", seed, 0.0, budget)
            for delay in DELAYS:
                name = f"large-{share:g}-{delay}-{seed}"
                found[name] = _settings("large", budget.large, budget.prompts[0], share, delay, seed, 1e-3, budget)
    for seed in range(budget.solver_seeds):
        for prompts in reversed(budget.prompts):
            for share in SHARES:
                for delay in DELAYS:
                    name = f"highs-{prompts}-{share:g}-{delay}-{seed}"
                    settings = _settings("highs", budget.compared, prompts, share, delay, seed, 0.0, budget)
                    found[name] = settings | {"highs_limit": budget.limit}
    return found


def _settings(
    kind: str, n: int, prompts: int, share: float, delay: str, seed: int, eps: float, budget: Budget
) -> Settings:
    return {
        "kind": kind,
        "n": n,
        "prompts": prompts,
        "share": share,
        "delay": delay,
        "seed": seed,
        "eps": eps,
        "limit": budget.own_limit,
    }


def run(settings: Settings, budget: Budget) -> Record:
    """Solve one instance."""
    instance = section9(settings["n"], settings["prompts"], settings["seed"])
    if settings["kind"] == "uniform":
        quality = np.random.default_rng(settings["seed"]).random(instance.prompts.Q.shape)
        instance = replace(instance, prompts=replace(instance.prompts, Q=quality))
    tau = None if settings["delay"] == "off" else DELAY_BUDGETS[settings["delay"]]
    energy = settings["share"] * float(means(instance)[0].sum())
    constraints = make_constraints(instance, instance.budgets.changed(E_max=energy, tau=tau))
    assert constraints.problem is not None
    function = value_of_quality(instance)
    problem = constraints.problem(function.gains())
    warm_up()  # compiling is no part of the time
    started = time.process_time()
    ours = solve_facility(problem, eps=settings["eps"], time_limit=settings["limit"])
    result: Record = {"ours": _told(ours) | {"processor": time.process_time() - started}}
    if settings["kind"] == "highs":
        started = time.process_time()
        witness = solve_milp(instance, constraints, function, time_limit=settings["highs_limit"])
        spent = time.process_time() - started  # its model is built in between: a few hundredths of a second
        result["highs"] = {
            "value": witness.value,
            "bound": witness.bound if math.isfinite(witness.bound) else None,
            "seconds": witness.seconds,
            "processor": spent,
            "finished": witness.finished,
        }
    if settings["kind"] == "size":
        result |= _general(instance, constraints, settings["limit"])
    return result


def _told(found: Solution) -> Record:
    told: Record = {"value": found.value, "bound": found.bound, "seconds": found.seconds, "nodes": found.nodes}
    return told | {"status": found.status, "experts": len(found.subset), "evaluations": found.evaluations}


def _general(instance: Instance, constraints: Constraints, limit: float) -> Record:
    """The solvers for any increasing functions, where they are fast enough."""
    n, rows, found = instance.n, constraints.rows, {}
    options: dict[str, Any] = {"time_limit": limit, "check": False}
    if n <= _GENERAL:
        additive = ((constraints.energy + constraints.idle).tolist(), float(constraints.budgets.E_max or 0.0))
        f = value_of_quality(instance)
        found["boxes"] = _told(branch_and_reduce(f, rows, n, additive=additive, **options))
    if n <= _VERTICES:
        found["polyblock"] = _told(polyblock(value_of_quality(instance), rows, n, **options))
    if n <= _ENUMERATED:
        found["brute_force"] = _told(brute_force(value_of_quality(instance), rows, n))
    return found


# --- tables -----------------------------------------------------------------------------------------------------------


def tables(records: Sequence[Record]) -> list[tuple[str, Table]]:
    """Against HiGHS, the largest instances, qualities without structure, cost along n."""
    kinds = defaultdict(list)
    for record in records:
        kinds[record["settings"]["kind"]].append(record)
    makers = {
        "highs": ("Certified selection against HiGHS", _against_highs),
        "large": ("The largest instances", _large),
        "uniform": ("Qualities without structure", _large),
        "size": ("Cost along the number of experts", _sizes),
    }
    return [(title, make(kinds[kind])) for kind, (title, make) in makers.items() if kinds[kind]]


def _grouped(records: Sequence[Record]) -> dict[tuple[Any, ...], list[Record]]:
    found = defaultdict(list)
    for record in records:
        s = record["settings"]
        found[-s["prompts"], s["share"], s["delay"] != "off"].append(record)
    return {key: found[key] for key in sorted(found)}


def clock(seconds: float) -> str:
    """Seconds to three digits."""
    return f"{seconds:.3f}" if seconds < 10 else f"{seconds:.1f}"


def speed_ups(records: Sequence[Record]) -> list[float]:
    """How many times faster than HiGHS every instance was solved; unfinished ones count its limit."""
    return [_counted(record) / record["result"]["ours"]["seconds"] for record in records]


def _counted(record: Record) -> float:
    witness = record["result"]["highs"]
    return float(witness["seconds"] if witness["finished"] else record["settings"]["highs_limit"])


def _agreement(compared: int, apart: float | None) -> str:
    wrong = apart is not None and apart > AGREEMENT
    return f"{compared} compared" + (", and one of the solvers is wrong" if wrong else "")


def _against_highs(records: Sequence[Record]) -> Table:
    lines = []
    for (prompts, share, _), group in _grouped(records).items():
        ours = [record["result"]["ours"]["seconds"] for record in group]
        done = [record["result"] for record in group if record["result"]["highs"]["finished"]]
        apart = max((abs(r["ours"]["value"] - r["highs"]["value"]) for r in done), default=None)
        ups = speed_ups(group)
        cut = len(group) - len(done)
        spent, theirs = ([r["result"][who]["processor"] for r in group] for who in ("ours", "highs"))
        by_processor = [other / own for own, other in zip(spent, theirs, strict=True)]
        cells: list[TableCell] = [
            (f"{100 * share:.0f} %", f"delay {group[0]['settings']['delay']}"),
            (str(len(group)), ""),
            (clock(statistics.median(ours)), f"at most {clock(max(ours))}"),
            (clock(statistics.median(map(_counted, group))), f"{cut} of {len(group)} cut off" if cut else ""),
            (f"{'≥ ' if cut else ''}{statistics.median(ups):.0f} ×", f"at least {min(ups):.0f} ×"),
            (f"{clock(statistics.median(spent))} and {clock(statistics.median(theirs))}", ""),
            (f"{'≥ ' if cut else ''}{statistics.median(by_processor):.0f} ×", f"at least {min(by_processor):.0f} ×"),
            (NOTHING if apart is None else f"{apart:.1e}", _agreement(len(done), apart)),
        ]
        lines.append(Line(f"{-prompts} prompts", f"{group[0]['settings']['n']} experts", cells))
    limits = sorted({record["settings"]["highs_limit"] for record in records})
    headings = [
        "prompts",
        "energy budget",
        "instances",
        "ours (s)",
        "HiGHS (s)",
        "faster",
        "processor (s)",
        "faster by processor",
        "optima differ by",
    ]
    text = (
        "Exact selection (eps = 0) and HiGHS (`scipy.optimize.milp`, relative gap 1e-7) on the same instances in the "
        "same run, medians, model building excluded from both; the energy budget is a share of all experts' energy. An "
        f"instance that HiGHS does not finish counts as its limit of {', '.join(f'{limit:g}' for limit in limits)} s, "
        "so the ratio is then a lower bound. Processor: both times on the processor, ours and HiGHS', without what "
        "other processes took of it meanwhile; where seconds and processor are far apart, the machine was not idle."
    )
    return Table(headings, lines, text)


def _large(records: Sequence[Record]) -> Table:
    lines = []
    for (prompts, share, _), group in _grouped(records).items():
        ours = [record["result"]["ours"] for record in group]
        seconds, gaps = [o["seconds"] for o in ours], [o["bound"] - o["value"] for o in ours]
        cut = sum(o["status"] == "time_limit" for o in ours)
        cells: list[TableCell] = [
            (f"{100 * share:.0f} %", f"delay {group[0]['settings']['delay']}"),
            (str(len(group)), ""),
            (clock(statistics.median(seconds)), f"at most {clock(max(seconds))}"),
            (f"{cut} of {len(group)}", ""),
            (f"{statistics.median(gaps):.1e}", f"at most {max(gaps):.1e}"),
            (f"{statistics.median(o['value'] for o in ours):.4f}", ""),
            (f"{statistics.median(o['nodes'] for o in ours):.0f}", ""),
        ]
        lines.append(Line(f"{-prompts} prompts", f"{group[0]['settings']['n']} experts", cells))
    settings = records[0]["settings"]
    what = (
        "Qualities drawn uniformly and independently: no expert is better than another, and bounds are weak"
        if settings["kind"] == "uniform"
        else "The synthetic instance's generator"
    )
    headings = ["prompts", "energy budget", "instances", "seconds", "cut off", "certified gap", "value", "boxes"]
    text = f"{what}; eps = {settings['eps']:g}, limit {settings['limit']:g} s; medians."
    return Table(headings, lines, text)


def _sizes(records: Sequence[Record]) -> Table:
    methods = {"ours": "compiled", "boxes": "general boxes", "polyblock": "polyblocks", "brute_force": "brute force"}
    lines = []
    for record in sorted(records, key=lambda r: r["settings"]["n"]):
        result, cells = record["result"], []
        for name in methods:
            found = result.get(name)
            if found is None:
                cells.append((NOTHING, ""))
                continue
            late = ", cut off" if found["status"] == "time_limit" else ""
            work = f"{found['evaluations']} values" if found["evaluations"] else f"{found['nodes']} boxes"
            cells.append((clock(found["seconds"]), work + late))
        lines.append(Line(str(record["settings"]["n"]), f"{result['ours']['value']:.4f}", cells))
    settings = records[0]["settings"]
    text = (
        f"Seconds to the certified optimum, {settings['prompts']} prompts, energy {100 * settings['share']:.0f} % of "
        f"all experts', delay {settings['delay']}, limit {settings['limit']:g} s. The general solvers take any "
        "increasing functions; values: subsets of which the objective was computed."
    )
    return Table(["experts", *methods.values()], lines, text)


PART = Part(cells, run, tables)
