"""How a face draws itself: it notes its decisions and hands them to `render` when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.frames import RENDER_FPS, RENDER_MODES, Screen
from .recording import EventRecorder, edge_contents
from .state import World

__all__ = ["RENDER_FPS", "RENDER_MODES", "TITLE", "Drawing"]

TITLE = "Edgewise: age-of-information offloading"


class Drawing:
    """The record of one environment's decisions and its window, if any.

    Args:
        render_mode: None (nothing is recorded), ``"human"``, ``"rgb_array"`` or ``"ansi"``.
        n_devices: devices whose decisions come out of the environment.
        n_edges: number of edge nodes.
        world: the simulator's arrays; with them the frames name every queued task's device.

    Raises:
        InvalidInputError: unknown mode.
    """

    def __init__(self, render_mode: str | None, n_devices: int, n_edges: int, world: World | None = None) -> None:
        self._screen = Screen(render_mode, TITLE)
        self.on = render_mode is not None
        self._recorder = EventRecorder(n_devices, n_edges)
        self._open: tuple[float, int, int, NDArray[Any]] | None = None
        self._world = world

    def note(self, obs: NDArray[np.float32], info: Mapping[str, Any], action: Mapping[str, Any] | None) -> None:
        """Note the pending decision, and the action that answered the one before (None after a reset).

        Args:
            obs: (4 + N,) observation without a device index.
            info: its info.
            action: ``{"server": int, "wait": seconds}`` or None.
        """
        if action is None:
            self._recorder.reset()
        elif self._open is not None:
            self._recorder.record(*self._open, action)
        self._open = (info["time"], info["device"], info["kind"], obs)
        self._recorder.record(*self._open, contents=None if self._world is None else edge_contents(self._world))
        if self._screen.mode == "human":
            self.render()

    def render(self) -> Any:
        """Draw: text, pixels (H, W, 3), or None after showing the window.

        Raises:
            MissingExtraError: pixels and windows need the extra ``render``.
        """
        from . import render

        recorder = self._recorder
        return self._screen.show(lambda: render.ansi(recorder), lambda size: render.rgb_array(recorder, size=size))

    def close(self) -> None:
        """Close the window, if any."""
        self._screen.close()
