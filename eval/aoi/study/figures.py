"""The study's figures: ages and gains along a sweep, and the effect of every defect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...figures import ACCENT, GOOD, LEARNER, MUTED, SERIES, WIDE, draw, legend_above
from .findings import ZERO_WAIT, Fidelity, SweepFindings
from .tables import BEST_BASELINE, drop_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ...estimates import Estimate

_RANDOM = "random place and wait"


def places(sweep: SweepFindings) -> list[float]:
    """Positions of the systems on the axis; those without a number follow at the mean distance of those with one."""
    known = [point.value for point in sweep.points if point.value is not None]
    step = (max(known) - min(known)) / (len(known) - 1) if len(known) > 1 else 1.0
    found, after = [], max(known) if known else -1.0
    for point in sweep.points:
        if point.value is None:
            after += step
        found.append(after if point.value is None else point.value)
    return found


def _series(
    ax: Axes, sweep: SweepFindings, values: Sequence[Estimate], colour: str, marker: str, label: str, scale: float = 1.0
) -> None:
    """Estimates with intervals; a line joins those that have a place on the axis."""
    at = places(sweep)
    low = [scale * (v.estimate - (v.estimate if v.low is None else v.low)) for v in values]
    high = [scale * ((v.estimate if v.high is None else v.high) - v.estimate) for v in values]
    height = [scale * v.estimate for v in values]
    bars = [[max(end, 0.0) for end in side] for side in (low, high)]
    ax.errorbar(
        at, height, yerr=bars, fmt=marker, color=colour, markersize=5, capsize=3, elinewidth=1.4, label=label, zorder=3
    )
    joined = [(x, y) for x, y, point in zip(at, height, sweep.points, strict=True) if point.value is not None]
    if len(joined) > 1:
        ax.plot(*zip(*joined, strict=True), color=colour, linewidth=1.6, zorder=2)


def _axis(ax: Axes, sweep: SweepFindings) -> None:
    at = places(sweep)
    ax.set_xticks(at, labels=[point.label for point in sweep.points])
    pad = 0.06 * (max(at) - min(at) or 1.0)
    ax.set(xlabel=sweep.axis, xlim=(min(at) - pad, max(at) + pad))


def sweep_figure(sweep: SweepFindings) -> str:
    """Ages of the learner and of scripted policies, and the learner's gain beside the published one."""

    def paint(fig: Figure) -> None:
        left, right = fig.subplots(1, 2, width_ratios=(1.25, 1.0))
        rows = [{row.label: row for row in point.comparison.rows} for point in sweep.points]
        _series(left, sweep, [point.learner.age for point in sweep.points], LEARNER, "o", "learner")
        _series(left, sweep, [point.best.age for point in sweep.points], ACCENT, "s", "best scripted, tuned")
        _series(left, sweep, [point.zero_wait.age for point in sweep.points], SERIES[2], "^", "JSQ, zero wait")
        if all(_RANDOM in row for row in rows):
            _series(left, sweep, [row[_RANDOM].age for row in rows], MUTED, "x", "random")
        _series(right, sweep, [point.best.share for point in sweep.points], ACCENT, "s", "over the best scripted", 100)
        _series(
            right, sweep, [point.zero_wait.share for point in sweep.points], SERIES[2], "^", f"over {ZERO_WAIT}", 100
        )
        right.axhline(
            100 * BEST_BASELINE.share,
            color=GOOD,
            linestyle="--",
            linewidth=1.4,
            label=f"published: up to {100 * BEST_BASELINE.share:.1f} %",
        )
        right.axhline(0.0, color=MUTED, linewidth=1.0)
        left.set(ylabel="mean age (s)")
        left.set_ylim(bottom=0.0)
        right.set(ylabel="gain of the learner (%)")
        for ax in (left, right):
            _axis(ax, sweep)
            legend_above(ax, 2)

    told = "; ".join(
        f"{p.label}: {p.learner.age.estimate:.4g} s, best scripted {p.best.age.estimate:.4g} s" for p in sweep.points
    )
    alt = f"{sweep.title}, {drop_words(sweep)}: mean age along {sweep.axis}. {told}."
    return draw(f"sweep-{sweep.name}", (WIDE[0], 3.9), paint, alt)


def fidelity_figure(fidelity: Fidelity) -> str:
    """Age of the published algorithm with every defect, around that of the corrected one."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for row, effect in enumerate(fidelity.effects):
            age = effect.row.age
            ends = [[age.estimate - (age.low or age.estimate)], [(age.high or age.estimate) - age.estimate]]
            bars = [[max(end, 0.0) for end in side] for side in ends]
            colour = LEARNER if effect.relative is None else ACCENT
            ax.errorbar(age.estimate, row, xerr=bars, fmt="o", color=colour, markersize=6, capsize=3)
        ax.axvline(fidelity.effects[0].row.age.estimate, color=LEARNER, linestyle="--", linewidth=1.2)
        names = [effect.variant.replace("corrected+", "+ ").replace("_", " ") for effect in fidelity.effects]
        ax.set_yticks(range(len(names)), labels=names)
        ax.set(ylim=(len(names) - 0.4, -0.6), xlabel="mean age (s)")
        ax.set_xlim(left=0.0)
        ax.tick_params(axis="y", length=0)

    told = "; ".join(f"{e.variant}: {e.row.age.estimate:.4g} s" for e in fidelity.effects)
    alt = f"Mean age by variant, {fidelity.comparison.system}. {told}."
    return draw("fidelity", (WIDE[0], 1.2 + 0.34 * len(fidelity.effects)), paint, alt)
