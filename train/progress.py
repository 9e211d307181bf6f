"""Progress on the terminal: a bar with rich, plain lines where the output is not a terminal or rich is missing."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any, Protocol, TextIO

_LINE_SECONDS = 10.0


class Progress(Protocol):
    """What the training loop reports to."""

    def start(self, total: int, done: int) -> None:
        """Training begins (or continues at `done` of `total` decisions)."""

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """The learner has taken `step` decisions; `metrics` are the latest values."""

    def message(self, text: str) -> None:
        """Say one sentence."""

    def stop(self) -> None:
        """Training ended, by success or error."""


_SHOWN = ("ratio", "coefficient", "mean_age", "regret", "cost", "value", "score")
"""Of the learner, then of the evaluation of a checkpoint: what its score is made of."""


def _summary(metrics: dict[str, float]) -> str:
    shown = [(name.replace("_", " "), metrics[name]) for name in _SHOWN if name in metrics]
    return "  ".join(f"{name} {value:.4f}" for name, value in shown)


class Silent:
    """Reports nothing."""

    def start(self, total: int, done: int) -> None:
        """Ignore."""

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Ignore."""

    def message(self, text: str) -> None:
        """Ignore."""

    def stop(self) -> None:
        """Ignore."""


class Lines:
    """One plain line every ten seconds.

    Args:
        stream: where to print.
        every: seconds between lines.
    """

    def __init__(self, stream: TextIO | None = None, every: float = _LINE_SECONDS) -> None:
        self._stream = stream or sys.stdout
        self._every = every
        self._total = 0
        self._last = 0.0

    def start(self, total: int, done: int) -> None:
        """Remember the total."""
        self._total, self._last = total, time.monotonic()

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        if now - self._last >= self._every or step >= self._total:
            self._last = now
            self.message(f"{step}/{self._total} decisions ({step / self._total:.0%})  {_summary(metrics)}".rstrip())

    def message(self, text: str) -> None:
        """Print the sentence."""
        print(text, file=self._stream, flush=True)

    def stop(self) -> None:
        """Nothing is open."""


class Bar:
    """A rich progress bar with the latest values."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
        )
        self._task: Any = None

    def start(self, total: int, done: int) -> None:
        """Show the bar."""
        self._task = self._bar.add_task("training", total=total, completed=done, values="")
        self._bar.start()

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)
        if values := _summary(metrics):
            self._bar.update(self._task, values=values)

    def message(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


def make_progress(stream: TextIO | None = None) -> Progress:
    """A bar on a terminal, plain lines elsewhere."""
    stream = stream or sys.stdout
    if stream.isatty() and importlib.util.find_spec("rich") is not None:
        return Bar()
    return Lines(stream)
