"""Figures of the report of age-minimal offloading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..figures import (
    ACCENT,
    GOOD,
    HALF,
    INK,
    LEARNER,
    MUTED,
    PANEL,
    SERIES,
    WIDE,
    decisions_axis,
    draw,
    legend_above,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .results import Response, Trace


@dataclass(frozen=True)
class Level:
    """A horizontal line that says what a value is held against, s."""

    value: float
    label: str
    colour: str
    style: str = "--"

    @property
    def named(self) -> str:
        """Label with its value."""
        return f"{self.label} {self.value:.4g} s"

    def draw(self, ax: Axes) -> None:
        """Draw the line across the axes."""
        ax.axhline(self.value, color=self.colour, linewidth=1.4, linestyle=self.style, label=self.named, zorder=1.5)


def learning_curve(steps: Sequence[float], ages: Sequence[float], levels: Sequence[Level]) -> str:
    """Mean age against decisions taken, with what it is held against as lines."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.plot(
            steps,
            ages,
            color=LEARNER,
            linewidth=1.8,
            marker="o" if len(steps) < 40 else "",
            markersize=3.5,
            label="learner",
        )
        for level in levels:
            level.draw(ax)
        tail, lines = np.asarray(ages, dtype=float), [level.value for level in levels]
        low, high = min([*tail, *lines]), max([*np.quantile(tail, [0.95]), *lines])
        pad = 0.08 * max(high - low, 0.02 * high)
        ax.set_ylim(low - pad, high + pad)
        decisions_axis(ax)
        ax.set_ylabel("mean age (s)")
        legend_above(ax, 3 if len(levels) < 3 else 2)

    end = f"ends at {ages[-1]:.4g} s" if len(ages) else "is empty"
    goal = "".join(f"; {level.named}" for level in levels)
    return draw("learning", HALF, paint, f"Learning curve: the mean age over training decisions {end}{goal}.")


def ratio_trajectory(steps: Sequence[float], ratios: Sequence[float], levels: Sequence[Level]) -> str:
    """Dinkelbach's coefficient against decisions taken."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.step(steps, ratios, where="post", color=LEARNER, linewidth=1.8, label="ratio λ")
        ax.plot(steps[-1:], ratios[-1:], "o", color=LEARNER, markersize=4.5)
        for level in levels:
            level.draw(ax)
        decisions_axis(ax)
        ax.set_ylabel("ratio λ (s)")
        legend_above(ax)

    return draw(
        "ratio", HALF, paint, f"Ratio coefficient over training decisions, from {ratios[0]:.4g} to {ratios[-1]:.4g} s."
    )


def sawtooth(trace: Trace, mean_age: float) -> str:
    """Age curve of the traced learning device."""
    times, ages = trace.curve_times, trace.curve_ages

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.fill_between(times, ages, color=LEARNER, alpha=0.13, linewidth=0)
        ax.plot(times, ages, color=LEARNER, linewidth=1.5)
        Level(mean_age, "mean over all evaluation seeds", ACCENT).draw(ax)
        ax.set(
            xlabel="time (s)", ylabel=f"age of device {trace.device} (s)", xlim=(times[0], times[-1]), ylim=(0, None)
        )
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)

    span = f"a sawtooth between {min(ages):.3g} and {max(ages):.3g} s"
    alt = f"Age of device {trace.device} over {times[-1] - times[0]:.0f} s: {span}."
    return draw("sawtooth", WIDE, paint, alt)


def queue_timeline(trace: Trace) -> str:
    """Length of every edge queue over the traced episode; where the system has no edge, what the device does."""
    return _activity(trace) if not trace.queues or not trace.queues[0] else _queues(trace)


def _queues(trace: Trace) -> str:
    lengths = np.array(trace.queues)
    shown = min(lengths.shape[1], len(SERIES) - 1)

    def paint(fig: Figure) -> None:
        axes = fig.subplots(shown, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for edge, ax in enumerate(axes):
            colour = SERIES[edge + 1]
            ax.fill_between(trace.queue_times, lengths[:, edge], step="post", color=colour, alpha=0.3, linewidth=0)
            ax.step(trace.queue_times, lengths[:, edge], where="post", color=colour, linewidth=1.2)
            ax.set_ylabel(f"edge {edge + 1}")
            ax.set_ylim(0, max(1.0, float(lengths.max())) * 1.1)
            ax.yaxis.get_major_locator().set_params(integer=True)
        axes[-1].set(xlabel="time (s)", xlim=(trace.start, trace.end))

    seen = ", ".join(f"edge {n + 1}: {lengths[:, n].min()} to {lengths[:, n].max()}" for n in range(shown))
    return draw("queues", (WIDE[0], 1.0 + 1.1 * shown), paint, f"Tasks at every edge over time ({seen}).")


def _activity(trace: Trace) -> str:
    """Bands of waiting and computing of the lone device."""
    waits = trace.waits
    edges = [trace.start, *(instant for span in waits for instant in span), trace.end]
    computing = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for label, colour, spans in (("waits", MUTED, waits), ("computes", SERIES[0], computing)):
            bars = [(start, end - start) for start, end in spans]
            ax.broken_barh(bars, (0.25, 0.5), facecolors=colour, alpha=0.75, label=label)
        ax.set(xlabel="time (s)", yticks=[], ylim=(0, 1), xlim=(trace.start, trace.end))
        ax.grid(visible=False)
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)

    waited = sum(end - start for start, end in waits)
    share = waited / max(trace.end - trace.start, 1e-9)
    return draw(
        "queues",
        (WIDE[0], 1.5),
        paint,
        f"Timeline of the only processor: the device waits {share:.0%} of the time, else computes.",
    )


def wait_response(response: Response) -> str:
    """Chosen wait against the delay of the last task, one curve per queue state."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        if response.seen_delays:
            ax.plot(
                response.seen_delays,
                response.seen_waits,
                ".",
                color=MUTED,
                alpha=0.45,
                markersize=4,
                label="in the episode",
            )
        for index, curve in enumerate(response.curves):
            ax.plot(
                response.delays,
                curve.waits,
                color=(LEARNER, SERIES[0], SERIES[3])[index % 3],
                linewidth=1.8,
                label=curve.label,
            )
        if response.optimal_waits:
            ax.plot(response.delays, response.optimal_waits, "--", color=GOOD, linewidth=1.4, label="optimal rule")
        ax.set(xlabel="delay of the last completed task (s)", ylabel="chosen wait (s)")
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        ax.legend(loc="best")

    first = response.curves[0].waits
    span = f"{first[0]:.3g} s at the shortest, {first[-1]:.3g} s at the longest delay shown"
    alt = f"Chosen wait as a function of the last delay: {span}."
    return draw("wait", HALF, paint, alt)


def server_response(response: Response) -> str:
    """Chosen place against the queue lengths: a map for two or more edges, a row for one."""
    choices = np.array(response.servers)
    names = ["local", *(f"edge {n}" for n in range(1, response.n_edges + 1))]

    def paint(fig: Figure) -> None:
        from matplotlib.patches import Rectangle

        ax = fig.add_subplot()
        for (row, column), place in np.ndenumerate(choices):
            ax.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=SERIES[place % 6], edgecolor=PANEL, linewidth=1.5)
            )
            ax.text(column, row, "L" if place == 0 else str(place), ha="center", va="center", color=PANEL, fontsize=10)
        ax.set(xlim=(-0.5, choices.shape[1] - 0.5), ylim=(-0.5, choices.shape[0] - 0.5), xlabel="tasks at edge 1")
        ax.set_xticks(range(choices.shape[1]))
        ax.set_yticks(range(choices.shape[0]) if response.n_edges > 1 else [])
        ax.set_ylabel("tasks at edge 2" if response.n_edges > 1 else "")
        ax.grid(visible=False)
        for place in np.unique(choices):
            ax.plot([], [], "s", color=SERIES[place % 6], label=names[place])
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.2, handletextpad=0.1)

    shares = ", ".join(f"{names[place]} in {np.mean(choices == place):.0%}" for place in np.unique(choices))
    return draw("server", HALF, paint, f"Chosen place for every combination of queue lengths: {shares} of the cells.")


def server_shares(shares: Mapping[str, Sequence[float | None]]) -> str:
    """Share of every place in the choices, one bar per policy."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        labels = list(shares)
        left = np.zeros(len(labels))
        table = np.array([[value or 0.0 for value in shares[label]] for label in labels])
        for place in range(table.shape[1]):
            ax.barh(labels, table[:, place], left=left, color=SERIES[place % 6], height=0.62,
                    label="local" if place == 0 else f"edge {place}")  # fmt: skip
            left += table[:, place]
        ax.set(xlim=(0, 1), xlabel="share of choices")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.2)

    first = next(iter(shares))
    told = ", ".join(f"place {place}: {value or 0.0:.0%}" for place, value in enumerate(shares[first]))
    return draw("shares", HALF, paint, f"Share of every place in the choices; {first}: {told}.")


def seed_differences(differences: Mapping[str, Sequence[float]]) -> str:
    """Relative difference to every policy, one dot per evaluation seed and a bar at the mean."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        ax.axvline(0.0, color=MUTED, linewidth=1.0)
        for row, values in enumerate(differences.values()):
            # A fixed spread in height keeps equal dots apart and the picture repeatable.
            height = row + 0.28 * np.sin(2.4 * np.arange(len(values)))
            ax.plot(values, height, ".", color=LEARNER, alpha=0.4, markersize=5, markeredgewidth=0)
            mean = float(np.mean(values))
            ax.plot([mean, mean], [row - 0.36, row + 0.36], color=INK, linewidth=2.0)
        ax.set_yticks(range(len(differences)), labels=list(differences))
        ax.set(ylim=(len(differences) - 0.4, -0.6), xlabel="learner's age against it, per seed")
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.4g} %")
        ax.locator_params(axis="x", nbins=5)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")

    told = "; ".join(f"{label}: mean {np.mean(values):+.2%}" for label, values in differences.items())
    return draw("seeds", HALF, paint, f"Relative age difference of the learner to scripted policies, per seed. {told}.")
