"""Figures of a game's report: age against exploitability, what deviating brings, waits against queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..figures import ACCENT, GOOD, HALF, INK, LEARNER, MUTED, SERIES, WIDE, draw, legend_above

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..estimates import Estimate
    from .nash_results import DeviationCurve, DeviceCheck
    from .results import QueueResponse

_KINDS = {"fixed": "fixed wait", "threshold": "threshold", "scaled": "own, scaled", "learned": "learned"}
_KIND_COLOURS = {"fixed": SERIES[0], "threshold": SERIES[2], "scaled": SERIES[3], "learned": SERIES[4]}


@dataclass(frozen=True)
class Profile:
    """A point of the plane of age and exploitability.

    Attributes:
        label: name.
        age: mean age with interval, s.
        regret: mean relative gain of a deviator with interval.
        learner: whether it is the learner's.
    """

    label: str
    age: Estimate
    regret: Estimate
    learner: bool = False


def _bars(estimate: Estimate, scale: float = 1.0) -> list[list[float]]:
    """Distances from the estimate to the ends of its interval, as matplotlib's error bars want them."""
    ends = (estimate.estimate if end is None else end for end in (estimate.low, estimate.high))
    low, high = ends
    return [[max(scale * (estimate.estimate - low), 0.0)], [max(scale * (high - estimate.estimate), 0.0)]]


def age_and_regret(profiles: Sequence[Profile], bound: float | None) -> str:
    """Mean age against exploitability: the learner and the scripted pair that frames it."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for profile, colour, marker in zip(profiles, (LEARNER, ACCENT, SERIES[2]), "oDs", strict=False):
            ax.errorbar(
                profile.age.estimate,
                100.0 * profile.regret.estimate,
                xerr=_bars(profile.age),
                yerr=_bars(profile.regret, 100.0),
                fmt=marker,
                color=colour,
                markersize=8 if profile.learner else 6,
                label=profile.label,
                zorder=3 if profile.learner else 2,
            )
        if bound is not None:
            ax.axvline(bound, color=GOOD, linestyle="--", linewidth=1.4, label=f"lower bound {bound:.4g} s")
        top = max(100.0 * (profile.regret.high or profile.regret.estimate) for profile in profiles)
        ax.set(
            xlabel="mean age (s)", ylabel="gain of a deviator (%)", ylim=(-0.06 * max(top, 5.0), 1.15 * max(top, 5.0))
        )
        ax.set_xlim(left=0.0, right=1.12 * max(profile.age.high or profile.age.estimate for profile in profiles))
        legend_above(ax, 2)

    told = "; ".join(f"{p.label}: {p.age.estimate:.4g} s, {p.regret.estimate:.1%}" for p in profiles)
    return draw("plane", HALF, paint, f"Mean age and relative gain of a deviator. {told}.")


def deviation_curves(curves: Sequence[DeviationCurve]) -> str:
    """Screened change of a deviator's age along the grids of waits and thresholds."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.axhline(0.0, color=MUTED, linewidth=1.0)
        for curve in curves:
            changes = [100.0 * value for value in curve.relative]
            colour = _KIND_COLOURS[curve.kind]
            ax.plot(curve.numbers, changes, color=colour, linewidth=1.8, label=f"shortest queue, {_KINDS[curve.kind]}")
            best = min(range(len(changes)), key=changes.__getitem__)
            ax.plot(curve.numbers[best], changes[best], "o", color=colour, markersize=5)
        ax.set(xlabel="wait or threshold of the deviator (s)", ylabel="change of its age (%)")
        legend_above(ax)

    told = "; ".join(f"{_KINDS[c.kind]}: {min(c.relative):+.1%} at best" for c in curves)
    return draw("deviations", HALF, paint, f"Change of a deviator's age against its wait. {told}.")


def device_gains(checks: Sequence[DeviceCheck]) -> str:
    """Gain of every kind of deviation, per sampled device, on the fresh seeds."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.axvline(0.0, color=MUTED, linewidth=1.0)
        seen: set[str] = set()
        for row, check in enumerate(checks):
            for step, score in enumerate(check.deviations):
                height = row + 0.16 * (step - (len(check.deviations) - 1) / 2)
                ax.errorbar(
                    100.0 * score.gain.estimate,
                    height,
                    xerr=_bars(score.gain, 100.0),
                    fmt=".",
                    color=_KIND_COLOURS[score.kind],
                    markersize=7,
                    label=None if score.kind in seen else _KINDS[score.kind],
                )
                seen.add(score.kind)
            ax.plot([100.0 * check.gain.estimate] * 2, [row - 0.4, row + 0.4], color=INK, linewidth=2.0)
        gains = [score.gain.estimate for check in checks for score in check.deviations]
        top = 100.0 * max(*gains, 0.05)
        ax.set_xlim(max(120.0 * min(*gains, 0.0), -top) - 0.05 * top, 1.15 * top)  # a bad one would squeeze the others
        names = ["device " + ", ".join(map(str, check.devices)) for check in checks]
        ax.set_yticks(range(len(checks)), labels=names)
        ax.set(ylim=(len(checks) - 0.45, -0.55), xlabel="gain by deviating (%)")
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        legend_above(ax, 4)

    told = "; ".join(f"device {check.devices[0]}: {check.gain.estimate:.1%}" for check in checks)
    size = (WIDE[0], 1.3 + 0.42 * len(checks))
    return draw("gains", size, paint, f"Relative gain of the best deviation of each kind, per sampled device. {told}.")


def device_ages(ages: Mapping[str, Sequence[float]]) -> str:
    """Mean ages of all devices, sorted, under several policies: who pays for whom."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for index, (label, values) in enumerate(ages.items()):
            shares = (np.arange(len(values)) + 0.5) / len(values)
            colour = (LEARNER, SERIES[2], ACCENT)[index % 3]
            ax.plot(100.0 * shares, sorted(values), color=colour, linewidth=1.8, drawstyle="steps-mid", label=label)
        ax.set(xlabel="devices, best first (%)", ylabel="mean age (s)", xlim=(0, 100))
        ax.set_ylim(bottom=0.0)
        legend_above(ax, 2)

    told = "; ".join(f"{label}: {min(values):.4g} to {max(values):.4g} s" for label, values in ages.items())
    return draw("devices", HALF, paint, f"Mean age of every device, sorted. {told}.")


def queue_waits(response: QueueResponse) -> str:
    """Chosen wait against the tasks at all edges, one curve per delay of the task just completed."""

    def paint(fig: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        ax = fig.add_subplot()
        colours = (SERIES[1], LEARNER, SERIES[3])
        for index, (delay, waits) in enumerate(zip(response.delays, response.waits, strict=True)):
            ax.plot(
                response.totals,
                waits,
                color=colours[index % 3],
                linestyle=("--", "-", ":")[index % 3],
                linewidth=1.8,
                marker="o",
                markersize=3.5,
                label=f"after a delay of {delay:.3g} s",
            )
        ax.set(xlabel="tasks at all edges, shared equally", ylabel="chosen wait (s)")
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(loc="best")

    middle = response.waits[len(response.waits) // 2]
    span = f"{middle[0]:.3g} s with empty edges, {middle[-1]:.3g} s with {response.totals[-1]} tasks"
    return draw("queue-wait", HALF, paint, f"Chosen wait as a function of the tasks at the edges: {span}.")
