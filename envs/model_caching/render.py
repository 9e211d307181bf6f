"""Pictures of the model-caching environment, drawn from recorded slots.

The environment never draws in its hot path: with a ``render_mode`` it hands every slot to a `SlotRecorder`, and the
functions here turn the record into text (`ansi`), pixels (`rgb_array`), vector graphics (`svg`) or a window. matplotlib
and pygame belong to the extra ``edgewise[render]`` and are imported on first use; `ansi` needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.frames import FRAME_SIZE, INK, MUTED, RENDER_FPS, RENDER_MODES, Screen, Size, new_figure, pixels, svg_text
from .params import CachingParams
from .recording import SlotRecorder
from .state import TERMS, World

__all__ = ["FRAME_SIZE", "RENDER_FPS", "RENDER_MODES", "Drawing", "SlotRecorder", "ansi", "figure", "rgb_array", "svg"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_AGENTS = 40
_COLOURS = {
    "switching": "#7b5ea7",
    "communication": "#1b8a6b",
    "compute": "#7a8c2e",
    "accuracy": "#d98324",
    "cloud": "#2166ac",
}


def ansi(recorder: SlotRecorder, width: int = 50) -> str:
    """The latest slots as plain text.

    Args:
        recorder: the record.
        width: slots of history.

    Returns:
        Lines with the slot's cost and parts, and for every agent (at most 40) its model, requests, age of thoughts and
        cache: ``+`` loaded, ``#`` kept, ``-`` evicted, ``.`` not resident.
    """
    if not recorder.slots:
        return f"no slot yet: {recorder.n_agents} agents, {recorder.capacity:.0f} GB\n"
    last = recorder.slots[-1]
    parts = ", ".join(f"{name} {value:.2f}" for name, value in zip(TERMS, last.terms, strict=True))
    lines = [
        f"slot {last.number}   cost {last.cost:.2f} ({parts})   mean so far {recorder.mean_cost:.2f}",
        f"memory {last.memory:.0f} of {recorder.capacity:.0f} GB   {int(last.requests.sum())} requests, "
        f"{float(last.requests @ last.share):.1f} served here   "
        f"{last.loaded.sum()} loaded, {last.evicted.sum()} evicted",
    ]
    recent = list(recorder.slots)[-width:]
    for i in range(min(recorder.n_agents, _MAX_AGENTS)):
        marks = "".join("+" if s.loaded[i] else "#" if s.cache[i] else "-" if s.evicted[i] else "." for s in recent)
        lines.append(
            f"{i:3d} {recorder.models[i]:<13} {last.requests[i]:3d} req {100 * last.share[i]:3.0f} % here  "
            f"kappa {last.kappa[i]:6.2f}  {marks}"
        )
    if recorder.n_agents > _MAX_AGENTS:
        lines.append(f"... and {recorder.n_agents - _MAX_AGENTS} more agents")
    return "\n".join(lines) + "\n"


def _draw_cache(ax: Axes, recorder: SlotRecorder) -> None:
    """Demand as a heat map, what is resident as bars in it, loads and evictions as marks."""
    requests, cache = recorder.history("requests"), recorder.history("cache")
    numbers = [slot.number for slot in recorder.slots]
    extent = (numbers[0] - 0.5, numbers[-1] + 0.5, recorder.n_agents - 0.5, -0.5)
    ax.imshow(requests, aspect="auto", cmap="Blues", vmin=0, vmax=max(3, int(requests.max())), extent=extent)
    for i, row in enumerate(cache):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
        bars = [(numbers[0] + a - 0.5, b - a) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        ax.broken_barh(bars, (i + 0.18, 0.24), color=_COLOURS["accuracy"])
    for field, marker, label in (("loaded", ">", "load"), ("evicted", "x", "eviction")):
        agents, slots = np.nonzero(recorder.history(field))
        ax.scatter(np.array(numbers)[slots], agents + 0.3, s=16, marker=marker, color=INK, linewidths=0.9, label=label)
    ax.set_title("Requests (blue), resident models (orange bars), loads and evictions", loc="left")
    ax.set_ylabel("agent")
    ax.set_xlim(extent[0], extent[1])
    ax.legend(loc="upper right", ncols=2, fontsize=7.5, frameon=False, bbox_to_anchor=(1.0, 1.09), borderaxespad=0)


def _draw_costs(ax: Axes, recorder: SlotRecorder) -> None:
    """The five parts of the cost, stacked."""
    numbers = [slot.number for slot in recorder.slots]
    floor = np.zeros(len(numbers))
    for name, values in zip(TERMS, np.array([slot.terms for slot in recorder.slots]).T, strict=True):
        ax.bar(numbers, values, bottom=floor, width=0.9, color=_COLOURS[name], label=name)
        floor = floor + values
    ax.axhline(recorder.mean_cost, color=INK, linewidth=1.0, linestyle="--")
    ax.set_title("Cost of each slot and its parts (dashed: mean so far)", loc="left")
    ax.set_xlabel("slot")
    ax.set_ylabel("cost")
    ax.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    ax.legend(loc="upper right", ncols=5, fontsize=7.5, frameon=False, bbox_to_anchor=(1.0, 1.16), borderaxespad=0)


def _draw_memory(ax: Axes, recorder: SlotRecorder) -> None:
    """What fills the memory now."""
    last, left = recorder.slots[-1], 0.0
    for i in np.flatnonzero(last.cache):
        ax.barh(0, recorder.memory_gb[i], left=left, color=_COLOURS["accuracy"], edgecolor="white", linewidth=0.8)
        ax.text(left + recorder.memory_gb[i] / 2, 0, str(i), ha="center", va="center", fontsize=7.5, color="white")
        left += recorder.memory_gb[i]
    ax.set_title(f"Memory: {last.memory:.0f} of {recorder.capacity:.0f} GB (number: agent)", loc="left")
    ax.set_xlim(0, max(recorder.capacity, left))
    ax.set_yticks([])
    ax.set_xlabel("GB")


def figure(recorder: SlotRecorder, size: Size = FRAME_SIZE) -> Figure:
    """The frame as a matplotlib figure: cache and demand over time, cost parts, memory.

    Args:
        recorder: the record.
        size: width and height in pixels at 100 dots per inch.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """

    def draw(fig: Figure) -> None:
        if not recorder.slots:
            fig.text(0.5, 0.5, ansi(recorder).strip(), ha="center", color=MUTED)
            return
        grid = fig.add_gridspec(
            3, 1, height_ratios=(2.6, 1.5, 0.32), left=0.065, right=0.975, top=0.87, bottom=0.085, hspace=0.62
        )
        _draw_cache(fig.add_subplot(grid[0]), recorder)
        _draw_costs(fig.add_subplot(grid[1]), recorder)
        _draw_memory(fig.add_subplot(grid[2]), recorder)
        last = recorder.slots[-1]
        fig.text(0.065, 0.945, f"slot {last.number}", fontsize=15, fontweight="bold")
        fig.text(0.21, 0.947, f"cost {last.cost:.2f}, mean so far {recorder.mean_cost:.2f}", fontsize=11, color=MUTED)

    return new_figure(draw, size)


def rgb_array(recorder: SlotRecorder, size: Size = FRAME_SIZE) -> NDArray[np.uint8]:
    """The frame as pixels, uint8 of shape (height, width, 3).

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return pixels(figure(recorder, size))


def svg(recorder: SlotRecorder, size: Size = FRAME_SIZE) -> str:
    """The frame as an SVG document (the same record gives the same text).

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return svg_text(figure(recorder, size))


class Drawing:
    """How an environment draws one of its servers: it notes every slot and shows the record when asked.

    Args:
        render_mode: None (nothing is recorded), ``"human"``, ``"rgb_array"`` or ``"ansi"``.
        params: the system.
        world: the simulator's arrays; the server is lane 0.

    Raises:
        InvalidInputError: unknown mode.
    """

    def __init__(self, render_mode: str | None, params: CachingParams, world: World) -> None:
        self._screen = Screen(render_mode, "Edgewise: model caching")
        self.on = render_mode is not None
        self.recorder = SlotRecorder(params)
        self._world = world  # not a view of it: copies of the environment must follow their own arrays
        self._requests: NDArray[np.int32] = world.agent["demand"][0].copy()

    def restart(self) -> None:
        """An episode has begun."""
        self.recorder.reset()
        self._wait()

    def note(self, info: dict[str, Any]) -> None:
        """A slot was carried out, with this info."""
        self.recorder.record(self._requests, self._world.agent["kappa"][0], info)
        self._wait()

    def _wait(self) -> None:
        self._requests = self._world.agent["demand"][0].copy()
        if self._screen.mode == "human":
            self.render()

    def render(self) -> Any:
        """Draw: text, pixels (H, W, 3), or None after showing the window."""
        return self._screen.show(lambda: ansi(self.recorder), lambda size: rgb_array(self.recorder, size))

    def close(self) -> None:
        """Close the window, if any."""
        self._screen.close()
