"""How numbers and figures are put into words on pages and in tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .estimates import Estimate

NOTHING = "–"


@dataclass(frozen=True)
class Figure:
    """One figure of the page: its inline SVG and the caption under it."""

    name: str
    svg: str
    title: str
    caption: str
    wide: bool = False


def seconds(value: float | None) -> str:
    """A number of seconds without the unit: four decimals below one second, else four significant digits."""
    if value is None:
        return NOTHING
    return f"{value:.4f}" if abs(value) < 1 else f"{value:#.4g}".removesuffix(".")


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def places(shares: list[float | None]) -> str:
    """Shares of the places in percent, at most four of them."""
    shown = " / ".join(NOTHING if share is None else f"{100 * share:.0f}" for share in shares[:4])
    return shown + (" …" if len(shares) > 4 else "")


def signed(value: float | None) -> str:
    """A relative difference with its sign, finer where it is small."""
    if value is None:
        return NOTHING
    digits = 2 if abs(value) < 0.1 else 1 if abs(value) < 1 else 0
    return f"{100 * value:+.{digits}f} %".replace("-", "−")


def interval(estimate: Estimate | None, relative: bool = False) -> str:
    """An interval in brackets (percentages share one sign at its end); empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    if not relative:
        return f"[{seconds(estimate.low)}, {seconds(estimate.high)}]"
    low, high = (signed(end).removesuffix(" %") for end in (estimate.low, estimate.high))
    return f"[{low}, {high}] %"


def share_interval(estimate: Estimate) -> str:
    """The interval of a share, in percent; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}] %"


def compared(difference: float) -> str:
    """A relative difference in words: ``5.01 % below``."""
    if abs(difference) < 5e-5:
        return "level with"
    return f"{signed(abs(difference)).removeprefix('+')} {'above' if difference > 0 else 'below'}"


def revision(git: Any) -> str:
    """A revision of the source in words, from what `git_revision` records."""
    if not isinstance(git, Mapping) or "commit" not in git:
        return "not a source checkout"
    return f"{git['commit']}{' with local changes' if git.get('changed') else ''}"
