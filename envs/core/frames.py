"""What every environment's pictures share: render modes, style, pixels, SVG, a window.

matplotlib and pygame belong to the extra ``edgewise[render]`` and are imported on first use.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .errors import InvalidInputError
from .extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RENDER_MODES = ["human", "rgb_array", "ansi"]
RENDER_FPS = 8
FRAME_SIZE = (960, 600)  # pixels, width x height
INK, MUTED, GRID = "#1d2733", "#66727f", "#dfe4ea"

Size = tuple[int, int]
Pixels = NDArray[np.uint8]


def new_figure(draw: Callable[[Figure], None], size: Size = FRAME_SIZE) -> Figure:
    """A matplotlib figure in the project's style.

    Args:
        draw: puts the axes on it.
        size: width and height in pixels at 100 dots per inch.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    require("matplotlib", "render")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.edgecolor": GRID,
        "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "axes.labelcolor": MUTED,
        "xtick.color": MUTED, "ytick.color": MUTED, "svg.fonttype": "none", "svg.hashsalt": "edgewise",
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, facecolor="white")
        draw(figure)
    return figure


def pixels(figure: Figure) -> Pixels:
    """A figure as pixels, uint8 of shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def svg_text(figure: Figure) -> str:
    """A figure as an SVG document; the same figure gives the same text."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgewise"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


class FrameWindow:
    """A window that shows the frames of ``render_mode="human"`` (pygame).

    Args:
        title: of the window.
        size: width and height in pixels.
        fps: frames per second at most; `show_frame` waits as long as needed.

    Raises:
        MissingExtraError: if pygame is not installed.
    """

    def __init__(self, title: str, size: Size = FRAME_SIZE, fps: float = RENDER_FPS) -> None:
        pygame: Any = require("pygame", "render")
        self._pygame = pygame
        pygame.display.init()
        pygame.display.set_caption(title)
        self._screen: Any = pygame.display.set_mode(size)
        self._clock: Any = pygame.time.Clock()
        self._size, self._fps = size, fps
        self.closed = False

    def show_frame(self, draw: Callable[[Size], Pixels]) -> None:
        """Show a frame of the window's size; does nothing once the user has closed the window."""
        if self.closed:
            return
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                self.close()
                return
        self._screen.blit(self._pygame.surfarray.make_surface(draw(self._size).swapaxes(0, 1)), (0, 0))
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window; calling it again does nothing."""
        if not self.closed:
            self.closed = True
            self._pygame.display.quit()


class Screen:
    """Where an environment draws itself, by its render mode.

    Args:
        mode: None (nothing is drawn), ``"human"``, ``"rgb_array"`` or ``"ansi"``.
        title: of the window.

    Raises:
        InvalidInputError: unknown mode.
    """

    def __init__(self, mode: str | None, title: str) -> None:
        if mode is not None and mode not in RENDER_MODES:
            raise InvalidInputError.of("render_mode", f"one of {', '.join(RENDER_MODES)} or None", mode)
        self.mode, self._title = mode, title
        self._window: FrameWindow | None = None

    def show(self, text: Callable[[], str], draw: Callable[[Size], Pixels]) -> Any:
        """Text or pixels, or None after showing the window.

        Raises:
            MissingExtraError: pixels and windows need the extra ``render``.
        """
        if self.mode is None:
            gymnasium.logger.warn("render() draws nothing without a render_mode: give one when making the environment")
            return None
        if self.mode == "human":
            self._window = self._window or FrameWindow(self._title)
            self._window.show_frame(draw)
            return None
        return text() if self.mode == "ansi" else draw(FRAME_SIZE)

    def close(self) -> None:
        """Close the window, if any."""
        if self._window is not None:
            self._window.close()
            self._window = None
