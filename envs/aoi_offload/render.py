"""Pictures of the age-of-information environment, drawn from recorded decisions.

The environments never draw: they hand every decision to an `EventRecorder` (only when a ``render_mode`` is set, or when
the `Recorder` wrapper is around them) and the functions here turn the record into text (`ansi`), pixels (`rgb_array`),
vector graphics (`svg`) or a window (`Window`).

matplotlib and pygame belong to the extra ``edgewise[render]`` and are imported on first use; `ansi` needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.frames import FRAME_SIZE, INK, MUTED, RENDER_FPS, RENDER_MODES, FrameWindow, new_figure, pixels, svg_text
from .drawing import TITLE
from .recording import LOCAL, UNKNOWN, WAITING, EventRecorder, Recorder
from .state import JOINT, OFFLOAD, UPDATE

__all__ = [
    "FRAME_SIZE",
    "RENDER_FPS",
    "RENDER_MODES",
    "EventRecorder",
    "Recorder",
    "Window",
    "ansi",
    "describe",
    "figure",
    "render",
    "rgb_array",
    "svg",
]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KIND_NAMES = {UPDATE: "update", OFFLOAD: "offload", JOINT: "joint"}
_PHASE_COLOURS = {WAITING: "#9aa7b5", LOCAL: "#d98324", UNKNOWN: "#c9d1d9"}
_EDGE_COLOURS = ("#2166ac", "#1b8a6b", "#7b5ea7", "#b5476b", "#4d8fb3", "#7a8c2e")
_MAX_BARS = 40


def describe(recorder: EventRecorder) -> str:
    """The latest decision in one sentence."""
    if not recorder.decisions:
        return "no decision yet"
    last = recorder.decisions[-1]
    if not last.decided:
        return f"device {last.device} decides ({_KIND_NAMES.get(last.kind, '?')})"
    parts = []
    if last.wait is not None:
        parts.append(f"waits {last.wait:.2f} s")
    if last.server is not None:
        parts.append("computes locally" if last.server == 0 else f"offloads to edge {last.server}")
    return f"device {last.device} " + " and ".join(parts)


def ansi(recorder: EventRecorder, device: int = 0, width: int = 78, window: float = 30.0) -> str:
    """The state as plain text.

    Args:
        recorder: the record.
        device: the device whose sawtooth is drawn.
        width: columns of the sawtooth.
        window: seconds of history in it.

    Returns:
        Lines with the clock, every edge queue, every device (at most 40) and the age curve of `device`.
    """
    ages, phases = recorder.ages(), recorder.phases()
    lines = [f"t = {recorder.now:9.3f} s   mean age now {ages.mean():7.3f} s   {describe(recorder)}"]
    for edge, queue in enumerate(recorder.contents(), start=1):
        names = " ".join("." if m is None else str(m) for m in queue)
        lines.append(f"edge {edge}  [{names}]  {len(queue)} task{'s' if len(queue) != 1 else ''}")
    scale = max(float(ages.max()), 1e-9)
    for m in range(min(recorder.n_devices, _MAX_BARS)):
        bar = "#" * max(round(30 * ages[m] / scale), 0)
        lines.append(f"device {m:3d}  {ages[m]:8.3f} s  {bar:<30}  {phases[m]}")
    if recorder.n_devices > _MAX_BARS:
        lines.append(f"... and {recorder.n_devices - _MAX_BARS} more devices")
    start = max(0.0, recorder.now - window)
    times, curve = recorder.sawtooth(device, start)
    blocks = " .:-=+*#%@"
    grid = np.linspace(times[0], times[-1], width)
    level = np.interp(grid, times, curve)
    top = max(float(level.max()), 1e-9)
    drawn = "".join(blocks[round(v / top * (len(blocks) - 1))] for v in level)
    lines.append(f"age of device {device}, last {times[-1] - times[0]:.1f} s, peak {top:.2f} s")
    lines.append(drawn)
    return "\n".join(lines) + "\n"


def _phase_colour(phase: str) -> str:
    if phase.startswith("edge "):
        return _EDGE_COLOURS[(int(phase[5:]) - 1) % len(_EDGE_COLOURS)]
    return _PHASE_COLOURS[phase]


def _draw_ages(ax: Axes, recorder: EventRecorder) -> None:
    ages, phases = recorder.ages(), recorder.phases()
    shown = min(recorder.n_devices, _MAX_BARS)
    ax.bar(range(shown), ages[:shown], color=[_phase_colour(p) for p in phases[:shown]], width=0.78)
    last = recorder.decisions[-1].device if recorder.decisions else -1
    if 0 <= last < shown:
        ax.plot([last], [ages[last]], marker="v", color=INK, markersize=7, clip_on=False, zorder=3)
    more = f" (first {shown} of {recorder.n_devices})" if shown < recorder.n_devices else ""
    ax.set_title(f"Age now{more}", loc="left")
    ax.set_xlabel("device")
    ax.set_ylabel("age (s)")
    ax.set_xlim(-0.7, shown - 0.3)
    ax.set_ylim(0, max(1e-6, float(ages.max())) * 1.15)
    step = 1 if shown <= 12 else 2 if shown <= 24 else 5
    ax.set_xticks(range(0, shown, step))
    if shown < 4:
        ax.text(1.0, 1.04, phases[0], transform=ax.transAxes, ha="right", color=_phase_colour(phases[0]))
        return
    names = [WAITING, LOCAL, *(f"edge {n}" for n in range(1, min(recorder.n_edges, len(_EDGE_COLOURS)) + 1))]
    handles = [ax.bar([0], [0], color=_phase_colour(name), label=name) for name in names]
    ax.legend(handles=handles, ncols=len(names), loc="upper right", fontsize=7.5, frameon=False, borderaxespad=0,
              bbox_to_anchor=(1.0, 1.12), handlelength=0.9, columnspacing=0.9)  # fmt: skip


def _draw_queues(ax: Axes, recorder: EventRecorder) -> None:
    contents = recorder.contents()
    ax.set_title("Edge queues (left: in service; number: device)", loc="left")
    longest = max([len(q) for q in contents] + [6])
    for row, queue in enumerate(contents):
        colour = _EDGE_COLOURS[row % len(_EDGE_COLOURS)]
        ax.text(-0.35, row, f"edge {row + 1}", ha="right", va="center", color=INK, fontsize=9)
        if not queue:
            ax.text(0.05, row, "idle", ha="left", va="center", color=MUTED, fontsize=8.5)
        for place, device in enumerate(queue):
            ax.barh(row, 0.86, left=place, height=0.62, color=colour, alpha=1.0 if place == 0 else 0.55)
            label = "" if device is None or longest > 24 else str(device)
            ax.text(place + 0.43, row, label, ha="center", va="center", color="white", fontsize=8)
        count = f"{len(queue)} task{'s' if len(queue) != 1 else ''}" if queue else ""
        ax.text(len(queue) + 0.15, row, count, ha="left", va="center", color=MUTED, fontsize=8.5)
    if not contents:
        ax.text(0.5, 0.5, "this system has no edge: every task runs locally", transform=ax.transAxes, ha="center",
                va="center", color=MUTED)  # fmt: skip
    ax.set_xlim(-1.3, longest + 1.8)
    ax.set_ylim(max(len(contents), 1) - 0.4, -0.6)
    ax.axis("off")


def _draw_sawtooth(ax: Axes, recorder: EventRecorder, device: int, window: float) -> None:
    start = max(0.0, recorder.now - window)
    times, ages = recorder.sawtooth(device, start)
    ax.fill_between(times, ages, color=_EDGE_COLOURS[0], alpha=0.14, linewidth=0)
    ax.plot(times, ages, color=_EDGE_COLOURS[0], linewidth=1.5)
    mean = recorder.mean_age(device)
    if np.isfinite(mean):
        ax.axhline(mean, color=_PHASE_COLOURS[LOCAL], linewidth=1.2, linestyle="--")
        ax.text(1.0, 1.03, f"mean so far {mean:.3f} s", transform=ax.transAxes, ha="right", color=_PHASE_COLOURS[LOCAL])
    ax.set_title(f"Age of device {device}: drops to the delay of each completed task", loc="left")
    ax.set_xlabel("time (s)")
    ax.set_ylabel("age (s)")
    ax.set_xlim(start, max(recorder.now, start + 1e-6))
    ax.set_ylim(0, max(1e-6, float(ages.max())) * 1.12)


def figure(
    recorder: EventRecorder, device: int = 0, window: float = 30.0, size: tuple[int, int] = FRAME_SIZE
) -> Figure:
    """The frame as a matplotlib figure: ages, edge queues and the age curve of one device.

    Args:
        recorder: the record.
        device: the device whose age curve is drawn.
        window: seconds of history in the curve.
        size: width and height in pixels at 100 dots per inch.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """

    def draw(fig: Figure) -> None:
        ratios = [0.3 if recorder.n_devices < 4 else 1.0, 1.0]
        grid = fig.add_gridspec(
            2, 2, width_ratios=ratios, left=0.065, right=0.975, top=0.84, bottom=0.085, hspace=0.42, wspace=0.13
        )
        _draw_ages(fig.add_subplot(grid[0, 0]), recorder)
        _draw_queues(fig.add_subplot(grid[0, 1]), recorder)
        _draw_sawtooth(fig.add_subplot(grid[1, :]), recorder, device, window)
        fig.text(0.065, 0.945, f"t = {recorder.now:.2f} s", fontsize=15, fontweight="bold")
        fig.text(0.21, 0.947, describe(recorder), fontsize=11, color=MUTED)
        if recorder.n_devices > 1:
            fig.text(0.975, 0.947, f"mean age over devices now {recorder.ages().mean():.2f} s", fontsize=11, ha="right")

    return new_figure(draw, size)


def rgb_array(
    recorder: EventRecorder, device: int = 0, window: float = 30.0, size: tuple[int, int] = FRAME_SIZE
) -> NDArray[np.uint8]:
    """The frame as pixels, uint8 of shape (height, width, 3).

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return pixels(figure(recorder, device, window, size))


def svg(recorder: EventRecorder, device: int = 0, window: float = 30.0, size: tuple[int, int] = FRAME_SIZE) -> str:
    """The frame as an SVG document (the same record gives the same text).

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return svg_text(figure(recorder, device, window, size))


def render(recorder: EventRecorder, mode: str | None) -> NDArray[np.uint8] | str | None:
    """The frame in the asked mode: text for ``ansi``, pixels for ``rgb_array``; ``human`` is `Window`'s.

    Raises:
        InvalidInputError: if the mode is none of ``ansi`` and ``rgb_array``.
    """
    if mode == "ansi":
        return ansi(recorder)
    if mode == "rgb_array":
        return rgb_array(recorder)
    raise InvalidInputError.of("render_mode", "'ansi' or 'rgb_array' here", mode)


class Window(FrameWindow):
    """A window that shows the frames of ``render_mode="human"`` (pygame).

    Args:
        size: width and height in pixels.
        fps: frames per second at most; `show` waits as long as needed.

    Raises:
        MissingExtraError: if pygame is not installed.
    """

    def __init__(self, size: tuple[int, int] = FRAME_SIZE, fps: float = RENDER_FPS) -> None:
        super().__init__(TITLE, size, fps)

    def show(self, recorder: EventRecorder) -> None:
        """Draw the record; does nothing once the user has closed the window."""
        self.show_frame(lambda size: rgb_array(recorder, size=size))
