"""The figures of model caching, drawn as `eval.figures` draws: inline SVG in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.model_caching.market import Clocks
from ...envs.model_caching.state import TERMS
from ..figures import ACCENT, GOOD, GRID, HALF, INK, LEARNER, MUTED, SERIES, WIDE, decisions_axis, draw, legend_above
from .results import AuctionRecord, CachingEvaluation, Episode, MarketRecord, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TERM_COLOURS = dict(zip(TERMS, (SERIES[0], SERIES[2], SERIES[5], SERIES[3], SERIES[1]), strict=True))
_SHADES = ((1, "1 request", 0.25), (2, "2", 0.5), (3, "3 or 4", 0.75), (5, "5 or more", 1.0))
_MOST_AGENTS = 40
_COLOURS = {
    "learner": LEARNER,
    "test_time": LEARNER,
    "static": SERIES[3],
    "causal": ACCENT,
    "scripted": MUTED,
    "clairvoyant": GOOD,
}


def learning_curve(steps: Sequence[float], costs: Sequence[float], levels: dict[str, float]) -> str:
    """Cost per slot against training decisions, with what it is held against as lines."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        marker = "o" if len(steps) < 40 else ""
        ax.plot(steps, costs, color=LEARNER, linewidth=1.8, marker=marker, markersize=3.5, label="learner")
        for (label, value), colour, style in zip(
            levels.items(), (ACCENT, GOOD, MUTED), ("--", "-.", ":"), strict=False
        ):
            named = f"{label} {value:.4g}"
            ax.axhline(value, color=colour, linewidth=1.4, linestyle=style, label=named, zorder=1.5)
        decisions_axis(ax)
        ax.set_ylabel("cost per slot")
        legend_above(ax, 4)

    told = ", ".join(f"{label} {value:.4g}" for label, value in levels.items())
    alt = f"Learning curve: the cost per slot over training decisions ends at {costs[-1]:.4g}; {told}."
    return draw("learning", (WIDE[0], 3.4), paint, alt)


def cache_content(episode: Episode) -> str:
    """What is resident in every slot, with marks where models are loaded and evicted."""
    cache = np.array(episode.cache, bool)
    before = np.vstack([np.zeros_like(cache[:1]), cache[:-1]])
    loads, evictions = cache & ~before, before & ~cache
    shown, labels = _agents(episode)

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        _cells(ax, cache[:, shown], LEARNER, 0.3)
        slot, row = np.nonzero(loads[:, shown])
        ax.plot(slot + 0.5, row, "^", color=GOOD, markersize=4.5, markeredgewidth=0, label="loaded")
        slot, row = np.nonzero(evictions[:, shown])
        ax.plot(slot, row, "x", color=ACCENT, markersize=4.5, markeredgewidth=1.4, label="evicted")
        _agent_axes(ax, episode, labels)
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2, handletextpad=0.1)

    used = (cache * np.array(episode.memory)).sum(axis=1).mean() / episode.capacity
    counts = f"{loads.sum()} loads, {evictions.sum()} evictions"
    alt = f"Cache content over {len(cache)} slots: {counts}, {used:.0%} of the memory in use."
    return draw("cache", _tall(shown), paint, alt)


def demand(episode: Episode) -> str:
    """Requests of every agent in every slot."""
    requests = np.array(episode.requests)
    shown, labels = _agents(episode)
    ends = [level for level, _, _ in _SHADES[1:]] + [np.inf]

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for (low, label, alpha), high in zip(_SHADES, ends, strict=True):
            _cells(ax, (requests[:, shown] >= low) & (requests[:, shown] < high), SERIES[0], alpha, label)
        _agent_axes(ax, episode, labels)
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2, handlelength=1.0)

    mean = requests.sum(axis=1).mean()
    alt = f"Requests per agent and slot: {mean:.3g} per slot in all, at most {requests.max()} of one agent."
    return draw("demand", _tall(shown), paint, alt)


def cost_over_time(episode: Episode) -> str:
    """The five cost parts of every slot, stacked."""
    parts = np.array([episode.terms[name] for name in TERMS])

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        edges = np.arange(parts.shape[1] + 1)
        floor = np.zeros(parts.shape[1])
        for name, part in zip(TERMS, parts, strict=True):
            top = floor + part
            low, high = (np.append(side, side[-1]) for side in (floor, top))
            ax.fill_between(
                edges, low, high, step="post", color=_TERM_COLOURS[name], alpha=0.8, linewidth=0, label=name
            )
            floor = top
        _shifts(ax, episode)
        ax.set(xlabel="slot", ylabel="cost", xlim=(0, parts.shape[1]))
        ax.set_ylim(bottom=0.0)
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(TERMS), borderaxespad=0.2, handlelength=1.0)

    means = ", ".join(f"{name} {part.mean():.3g}" for name, part in zip(TERMS, parts, strict=True))
    return draw("terms", WIDE, paint, f"Cost of every slot by part; means: {means}.")


def cost_parts(rows: Sequence[Row]) -> str:
    """The five cost parts of every policy, stacked."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        left, labels = np.zeros(len(rows)), [row.label for row in rows]
        for name in TERMS:
            width = np.array([row.terms[name] for row in rows])
            ax.barh(labels, width, left=left, color=_TERM_COLOURS[name], alpha=0.85, height=0.66, label=name)
            left += width
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("cost per slot")
        ax.tick_params(axis="y", length=0, labelsize=9)
        legend_above(ax)

    told = "; ".join(f"{row.label} {row.cost.estimate:.4g}" for row in rows)
    return draw("parts", (HALF[0], 4.4), paint, f"Cost per slot by part: {told}.")


def accuracy_against_cost(rows: Sequence[Row]) -> str:
    """Accuracy of what is served at the edge against the cost, one point per policy."""
    drawn = [row for row in rows if row.accuracy is not None]
    points = np.array([(row.cost.estimate, row.accuracy) for row in drawn])

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for row, (cost, accuracy) in zip(drawn, points, strict=True):
            marker = "D" if row.kind == "learner" else "o"
            ax.plot(cost, accuracy, marker, color=_COLOURS[row.kind], markersize=8 if row.kind == "learner" else 5)
        low, high = points.min(axis=0), points.max(axis=0)
        pad = 0.08 * np.maximum(high - low, 1e-3)
        ax.set_xlim(low[0] - pad[0], high[0] + 3.5 * pad[0])
        ax.set_ylim(low[1] - pad[1], high[1] + 3.5 * pad[1])  # room for labels above each other
        for row, point, offset in zip(drawn, points, _offsets(points, low - pad, high + 3.5 * pad), strict=True):
            colour = INK if row.kind == "learner" else MUTED
            ax.annotate(
                row.label, point, (7, offset), textcoords="offset points", va="center", fontsize=9, color=colour
            )
        ax.set(xlabel="cost per slot", ylabel="accuracy at the edge")

    told = "; ".join(f"{row.label} {row.accuracy:.3f} at {row.cost.estimate:.4g}" for row in drawn)
    return draw("accuracy", (HALF[0], 4.4), paint, f"Accuracy at the edge against cost per slot: {told}.")


def clocks(auction: AuctionRecord) -> str:
    """Both clocks tick by tick, and where agents stop them."""
    falling, rising = Clocks(auction.tick, auction.low, auction.high).path()
    sides = (("buyers", falling, auction.bids, LEARNER), ("sellers", rising, auction.asks, ACCENT))
    last = len(falling) - 1

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for name, path, stops, colour in sides:
            ax.plot(path, color=colour, linewidth=1.2, alpha=0.6)
            prices, counts = np.unique(stops, return_counts=True)
            ax.scatter(
                np.abs(path[:, None] - prices).argmin(axis=0),
                prices,
                s=10.0 + 8.0 * counts,
                color=colour,
                alpha=0.8,
                linewidth=0,
                label=f"{name} stop ({len(stops)})",
            )
        for price, style in {auction.paid: "--", auction.received: ":"}.items():
            if price is not None:
                ax.axhline(price, color=GOOD, linewidth=1.2, linestyle=style, label=f"price {price:.4g}")
        ax.set(xlabel="tick", ylabel="price, cost units", xlim=(-0.02 * last, 1.02 * last))
        legend_above(ax, 2)

    told = f"{len(auction.bids)} buyers and {len(auction.asks)} unit slots stop, {auction.traded} pairs trade"
    return draw("clocks", (HALF[0], 4.0), paint, f"Clocks of a double Dutch auction over {last} ticks: {told}.")


def bids_and_asks(auction: AuctionRecord) -> str:
    """Stop prices in the order in which they are paired; the first pairs trade."""
    bids, asks = np.sort(auction.bids)[::-1], np.sort(auction.asks)
    asks = asks[: len(bids) + 1]

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        for name, prices, colour in (("bids", bids, LEARNER), ("asks", asks, ACCENT)):
            ax.step(np.arange(len(prices) + 1), [*prices, *prices[-1:]], where="post", color=colour, label=name)
        ax.axvspan(0, auction.traded, color=GOOD, alpha=0.15, linewidth=0, label=f"{auction.traded} trades")
        ax.set(xlabel="pair", ylabel="price, cost units", xlim=(0, max(len(bids), 1)))
        ax.locator_params(axis="x", integer=True)
        ax.set_ylim(bottom=0.0)
        legend_above(ax, 3)

    prices = "" if auction.paid is None else f"; buyers pay {auction.paid:.4g}, sellers get {auction.received:.4g}"
    return draw("bids", (HALF[0], 4.0), paint, f"Bids and asks of the auction: {auction.traded} trades{prices}.")


def trades(market: MarketRecord) -> str:
    """Bids and trades of every slot."""

    def paint(fig: Figure) -> None:
        ax = fig.add_subplot()
        slots = np.arange(len(market.trades)) + 0.5
        ax.bar(slots, market.bids, width=0.9, color=MUTED, alpha=0.35, linewidth=0, label="bids")
        ax.bar(slots, market.trades, width=0.9, color=GOOD, alpha=0.9, linewidth=0, label="trades")
        ax.set(xlabel="slot", ylabel="paths", xlim=(0, len(market.trades)))
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2, handlelength=1.0)

    told = f"{sum(market.trades)} of {sum(market.bids)} bids trade over {len(market.trades)} slots"
    return draw("trades", (WIDE[0], 3.0), paint, f"The market of {market.servers} servers: {told}.")


def _offsets(points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> list[float]:
    """Vertical offsets (points) of the labels right of their points, so that neighbours do not overprint."""
    place = (points - low) / (high - low) * np.array([5.0, 3.7]) * 72.0  # about where they are, in points
    order = np.argsort(place[:, 1])
    taken: list[tuple[float, float]] = []
    offsets = np.zeros(len(points))
    for index in order:
        x, y = place[index]
        level = max([y, *(other + 10.0 for at, other in taken if abs(at - x) < 95.0 and other + 10.0 > y)])
        taken.append((float(x), float(level)))
        offsets[index] = level - y
    return [float(offset) for offset in offsets]


def _agents(episode: Episode) -> tuple[NDArray[np.int64], list[str]]:
    """The agents with most requests (at most 40), in the order of their model's size, and their names."""
    total = np.array(episode.requests).sum(axis=0)
    most = np.argsort(-total, kind="stable")[:_MOST_AGENTS]
    shown = np.array(sorted(most.tolist(), key=lambda i: (episode.memory[i], i)), np.int64)
    return shown, [f"{i} · {episode.models[i]}" for i in shown.tolist()]


def _tall(shown: NDArray[np.int64]) -> tuple[float, float]:
    return WIDE[0], 1.1 + 0.19 * len(shown)


def _agent_axes(ax: Axes, episode: Episode, labels: list[str]) -> None:
    _shifts(ax, episode)
    ax.set_yticks(range(len(labels)), labels=labels)
    ax.tick_params(axis="y", length=0, labelsize=8.5)
    ax.grid(visible=False)
    ax.set(xlabel="slot", xlim=(0, len(episode.cache)), ylim=(len(labels) - 0.4, -0.6))


def _shifts(ax: Axes, episode: Episode) -> None:
    """Lines where the popularity is redrawn."""
    if episode.shift_every:
        for slot in range(episode.shift_every, len(episode.cache), episode.shift_every):
            ax.axvline(slot, color=GRID, linewidth=1.2, zorder=0.5)


def _cells(ax: Axes, filled: NDArray[np.bool_], colour: str, alpha: float, label: str = "") -> None:
    """Cells (T, rows) as one shape: runs of slots are joined, which keeps the page small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners: list[Any] = []
    edge = np.diff(np.pad(filled.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    for row in range(filled.shape[1]):
        for start, end in zip(np.flatnonzero(edge[:, row] == 1), np.flatnonzero(edge[:, row] == -1), strict=True):
            low, high = row - 0.42, row + 0.42
            corners += [(start, low), (end, low), (end, high), (start, high), (start, low)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * (len(corners) // 5)
    path = Path(np.array(corners).reshape(-1, 2), codes or None)
    ax.add_patch(PathPatch(path, facecolor=colour, alpha=alpha, linewidth=0, label=label))


def levels(evaluation: CachingEvaluation) -> dict[str, float]:
    """What the learning curve is held against."""
    best = min((row for row in evaluation.scripted if row.kind == "scripted"), key=lambda row: row.cost.estimate)
    rows = (evaluation.row(evaluation.causal), evaluation.lookahead, best)
    return {row.label: row.cost.estimate for row in rows}
