"""The figures of edge experts, drawn as `eval.figures` draws: inline SVG in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..figures import ACCENT, GOOD, HALF, INK, LEARNER, MUTED, PANEL, SERIES, WIDE, decisions_axis, draw, legend_above
from .results import BudgetRow, ExpertsEvaluation, Point, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*X"
_COLOURS = {"learner": LEARNER, "reference": GOOD, "scripted": MUTED}
_NAMES = {"learner": "learner", "reference": "optimum and references", "scripted": "rules"}


def front(points: Sequence[Point], selections: bool) -> str:
    """Quality against energy and against delay; experts alone carry the mark of their device."""
    axes: tuple[tuple[str, str], ...] = (("energy", "energy (J per prompt)"), ("delay", "delay (s)"))

    def paint(fig: Figure) -> None:
        for ax, (name, label) in zip(fig.subplots(1, 2, sharey=True), axes, strict=True):
            _cloud(ax, points, name, selections)
            _log_axis(ax)
            ax.set_xlabel(label)
        fig.axes[0].set_ylabel("quality")
        handles, labels = fig.axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper left", ncols=6, frameon=False)

    best = max(points, key=lambda point: point.quality)
    alt = (
        f"Quality against energy and delay of {len(points)} points; the highest quality is {best.quality:.3f} "
        f"({best.label}) at {best.energy:.3g} J."
    )
    return draw("front", (WIDE[0], 4.2), paint, alt)


def _log_axis(ax: Axes) -> None:
    """A logarithmic axis with plain numbers that do not run into each other."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _cloud(ax: Axes, points: Sequence[Point], name: str, selections: bool) -> None:
    """Points, and the staircase that no expert alone surpasses."""
    alone = [point for point in points if point.kind == "expert"]
    devices = sorted({point.hardware for point in alone})
    for device, marker, colour in zip(devices, _MARKERS, SERIES * 2, strict=False):
        here = [point for point in alone if point.hardware == device]
        places = [getattr(point, name) for point in here]
        ax.plot(places, [point.quality for point in here], marker, color=colour, markersize=6, label=device)
    steps, highest = [], -1.0
    for point in sorted(alone, key=lambda point: (getattr(point, name), -point.quality)):
        if point.quality > highest:
            highest = point.quality
            steps.append((getattr(point, name), point.quality))
    ax.step(*zip(*steps, strict=True), where="post", color=MUTED, linewidth=1.0, linestyle=":", label="experts alone")
    for kind, marker, size in (("reference", "D", 7), ("scripted", "x", 7), ("learner", "o", 6)):
        here = sorted((p for p in points if p.kind == kind), key=lambda point: point.energy)
        places, heights = [getattr(p, name) for p in here], [p.quality for p in here]
        line = "-" if selections and kind != "scripted" else ""
        hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.6} if kind == "reference" else {}
        if here:
            ax.plot(
                places,
                heights,
                marker=marker,
                linestyle=line,
                color=_COLOURS[kind],
                markersize=size,
                linewidth=1.4,
                label=_NAMES[kind],
                **hollow,
            )


def heat_maps(evaluation: ExpertsEvaluation) -> str:
    """Over both budgets: the value of the learner's selection, and what it misses of the optimum."""
    grid = [row for row in evaluation.budgets if row.grid is not None]
    value, missed = (_table(grid, evaluation, name) for name in ("value", "regret"))

    def paint(fig: Figure) -> None:
        for ax, table, title, scale, colour, text in zip(
            fig.subplots(1, 2),
            (value, 100.0 * missed),
            ("value of the selection", "regret to the optimum (%)"),
            (1.0, max(5.0, 100.0 * float(missed.max()))),
            (LEARNER, ACCENT),
            ("{:.3f}", "{:.1f}"),
            strict=True,
        ):
            _cells(ax, table, scale, colour, text)
            ax.set_title(title)
            ax.set_xticks(range(len(evaluation.energies)), evaluation.energies, rotation=20)
            ax.set_yticks(range(len(evaluation.delays)), evaluation.delays)
            ax.set_xlabel("energy budget")
        fig.axes[0].set_ylabel("delay budgets")

    alt = f"Heat maps over {len(grid)} pairs of budgets: values {value.min():.3f} to {value.max():.3f}, "
    return draw("budgets", (WIDE[0], 3.2), paint, alt + f"regret up to {100 * missed.max():.1f} %.")


def _table(grid: Sequence[BudgetRow], evaluation: ExpertsEvaluation, name: str) -> NDArray[np.float64]:
    found = np.zeros((len(evaluation.delays), len(evaluation.energies)))
    for row in grid:
        assert row.grid is not None
        found[row.grid] = getattr(row, name)
    return found


def _cells(ax: Axes, table: NDArray[np.float64], top: float, colour: str, text: str) -> None:
    """Cells whose opacity is the value, with the number in them."""
    from matplotlib.patches import Rectangle

    for (row, column), value in np.ndenumerate(table):
        shade = 0.06 + 0.6 * min(max(value / top, 0.0), 1.0)
        ax.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, alpha=shade, edgecolor=PANEL, linewidth=1.5)
        )
        ax.text(column, row, text.format(value), ha="center", va="center", color=INK, fontsize=9)
    ax.set(xlim=(-0.5, table.shape[1] - 0.5), ylim=(table.shape[0] - 0.5, -0.5))
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def answers(rows: Sequence[Row], evaluation: ExpertsEvaluation) -> str:
    """Who answers what: the share of every category's prompts that each expert answers."""
    tables = [100.0 * np.array(row.shares) for row in rows]
    size = (WIDE[0], 1.2 + 0.27 * len(evaluation.experts))

    def paint(fig: Figure) -> None:
        found: Any = fig.subplots(1, len(rows), sharey=True, squeeze=False)
        for ax, row, table in zip(found[0], rows, tables, strict=True):
            _cells(ax, table.T, 100.0, _COLOURS[row.kind], "{:.0f}")
            ax.set_title(row.label)
            ax.set_xticks(range(len(evaluation.categories)), evaluation.categories)
        found[0][0].set_yticks(range(len(evaluation.experts)), evaluation.experts)

    busiest = tables[0].mean(axis=0).argmax()
    alt = f"Share of every category's prompts by expert; the learner uses {evaluation.experts[busiest]} most."
    return draw("answers", size, paint, alt)


def regrets(evaluation: ExpertsEvaluation) -> str:
    """Regret to the certified optimum under every pair of budgets, against the energy budget."""
    rule = evaluation.best_rule

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        energy = np.array([row.energy for row in evaluation.budgets])
        optimum = np.array([row.optimum for row in evaluation.budgets])
        theirs = 100.0 * (1.0 - np.array(rule.per_seed) / np.maximum(optimum, 1e-12))
        ours = 100.0 * np.array([row.regret for row in evaluation.budgets])
        ax.plot(energy, theirs, "x", color=MUTED, markersize=5, label="best rule")
        ax.plot(energy, ours, "o", color=LEARNER, markersize=5, label="learner")
        mean = float(ours.mean())
        ax.axhline(mean, color=ACCENT, linewidth=1.4, linestyle="--", label=f"learner's mean {mean:.2f} %")
        _log_axis(ax)
        ax.set(xlabel="energy budget (J)", ylabel="regret (%)")
        legend_above(ax)

    worst = evaluation.worst
    end = "" if worst is None else f", at worst {100 * worst.regret:.1f} % at {worst.energy:.4g} J"
    return draw("regret", HALF, paint, f"Regret to the certified optimum over {len(evaluation.budgets)} budgets{end}.")


def shortfalls(evaluation: ExpertsEvaluation) -> str:
    """How far every policy stays below the certified value, with intervals."""
    rows = [row for row in evaluation.rows if row.shortfall is not None][::-1]

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for place, row in enumerate(rows):
            found = row.shortfall
            assert found is not None
            low, high = (found.estimate if end is None else end for end in (found.low, found.high))
            ax.plot([100 * low, 100 * high], [place, place], color=_COLOURS[row.kind], linewidth=2)
            ax.plot(100 * found.estimate, place, "o", color=_COLOURS[row.kind], markersize=6)
        ax.set_yticks(range(len(rows)), [row.label for row in rows])
        ax.axvline(0.0, color=GOOD, linewidth=1.4)
        ax.set_xlabel("below the certified value (%)")

    told = ", ".join(f"{row.label} {100 * row.shortfall.estimate:.1f} %" for row in rows if row.shortfall)
    return draw("shortfall", HALF, paint, f"Shortfall to the certified value: {told}.")


def learning_curve(steps: Sequence[float], values: Sequence[float], label: str, level: float | None) -> str:
    """Score of every checkpoint."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.plot(steps, values, "o-", color=LEARNER, linewidth=1.8, markersize=3.5, label="learner")
        if level is not None:
            ax.axhline(level, color=GOOD, linewidth=1.4, linestyle="--", label=f"certified {level:.4g}")
        decisions_axis(ax)
        ax.set_ylabel(label)
        legend_above(ax)

    return draw("learning", HALF, paint, f"Learning curve: {label} ends at {values[-1]:.4g}.")
