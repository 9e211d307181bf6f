"""The outer loop on games whose inner equilibria are known: what it visits, how fast it contracts, where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from .dinkelbach import Dinkelbach

Floats = npt.NDArray[np.float64]
Status = Literal["converged", "cycle", "open"]

_LONGEST_CYCLE = 8
_STILL_MOVING = 1e-3  # relative; a cycle is made of steps larger than this


class FractionalGame(Protocol):
    """A game whose additive version can be solved at given coefficients."""

    def inner_equilibrium(self, ratios: npt.ArrayLike) -> Any:
        """A joint policy in equilibrium of the game with costs - ratio * duration."""

    def costs_and_durations(self, profile: Any) -> tuple[Floats, Floats]:
        """Expected cost and duration of each player under a joint policy."""


@dataclass(frozen=True)
class OuterLoopTrace:
    """What an outer loop did in K updates of M coefficients.

    Attributes:
        ratios: (K + 1, M) coefficients, the first ones included.
        measured: (K, M) achieved ratios cost / duration.
        equilibria: K inner equilibria, as the game names them: which one was found each time.
        factors: (K,) contraction measured at each update (see `Dinkelbach.contraction`); NaN where there is none.
        status: ``converged``: the coefficients no longer move; ``cycle``: they repeat; ``open``: neither yet.
        period: number of updates after which they repeat: 1 if converged, 0 if open.
    """

    ratios: Floats
    measured: Floats
    equilibria: tuple[Any, ...]
    factors: Floats
    status: Status
    period: int

    @property
    def amplitude(self) -> Floats:
        """(M,) half the distance between the extremes of the cycle; 0 if converged, NaN if open."""
        if self.status == "open":
            return np.full(self.ratios.shape[1], np.nan)
        return np.asarray(np.ptp(self.ratios[-self.period :], axis=0) / 2.0)

    @property
    def contraction(self) -> float:
        """Local factor by which an update multiplies the error; see `local_contraction`."""
        return local_contraction(self.ratios)


def run_outer_loop(
    game: FractionalGame, dinkelbach: Dinkelbach, updates: int = 200, precision: float = 1e-13
) -> OuterLoopTrace:
    """Alternate inner equilibria and updates of the coefficients until these converge or cycle.

    Args:
        game: solves the inner game exactly.
        dinkelbach: holds and moves the coefficients; its own stopping rule, meant for measured sums, plays no part.
        updates: how many at most.
        precision: relative change below which coefficients count as equal.

    Returns:
        The trace.
    """
    ratios = [np.atleast_1d(dinkelbach.ratio)]
    measured: list[Floats] = []
    equilibria: list[Any] = []
    factors: list[float] = []
    period = 0
    while len(equilibria) < updates and not period:
        equilibrium = game.inner_equilibrium(dinkelbach.ratio)
        ratios.append(np.atleast_1d(dinkelbach.update(*game.costs_and_durations(equilibrium))))
        assert dinkelbach.measured is not None
        measured.append(np.atleast_1d(dinkelbach.measured))
        equilibria.append(equilibrium)
        factors.append(np.nan if dinkelbach.contraction is None else dinkelbach.contraction)
        period = _period(ratios, precision)
    status: Status = "open" if period == 0 else "converged" if period == 1 else "cycle"
    shape = (len(equilibria), len(ratios[0]))
    return OuterLoopTrace(
        np.array(ratios), np.reshape(measured, shape), tuple(equilibria), np.array(factors), status, period
    )


def local_contraction(ratios: npt.ArrayLike) -> float:
    """Contraction factor of a sequence near its end, from the projection of one step on the step before.

    Of all pairs of consecutive steps it takes the one whose first step is nearest (in orders of magnitude) to the
    square root of the rounding error: small enough for the linear regime, large enough to be seen above rounding. In
    a sequence that does not settle this is its smallest step.

    Args:
        ratios: (K + 1, M) or (K + 1,) successive coefficients.

    Returns:
        The factor: negative where the error alternates, beyond 1 in size where it grows; 0 for a sequence that ends
        exactly, NaN without two steps.
    """
    sequence = np.asarray(ratios, np.float64)
    steps = np.diff(sequence.reshape(len(sequence), -1), axis=0)
    sizes = np.linalg.norm(steps, axis=1)
    usable = np.flatnonzero(sizes[:-1] > 0)
    if usable.size == 0:
        return float("nan")
    target = np.sqrt(np.finfo(np.float64).eps) * np.abs(sequence).max()
    k = usable[np.argmin(np.abs(np.log(sizes[usable] / target)))]
    return float(steps[k + 1] @ steps[k] / sizes[k] ** 2)


def iteration_matrix(game: FractionalGame, ratios: npt.ArrayLike, omega: float = 1.0, step: float = 1e-6) -> Floats:
    """Jacobian (M, M) of an update at given coefficients, by central differences.

    At a fixed point with exact inner solutions it is (1 - omega) I + omega diag(D)^-1 E, where E holds the cross
    derivatives that Newton's method would keep and the outer loop drops; for one player E = 0. Its spectral radius is
    the local linear rate; above 1 the loop diverges from there.

    Args:
        game: its inner equilibrium must depend smoothly on the coefficients here.
        ratios: (M,) coefficients.
        omega: step length of the outer loop.
        step: difference step, in the unit of the coefficients.
    """
    centre = np.asarray(ratios, np.float64)
    columns = []
    for direction in step * np.eye(centre.size):
        ends = [game.costs_and_durations(game.inner_equilibrium(x)) for x in (centre + direction, centre - direction)]
        (cost, duration), (cost_below, duration_below) = ends
        columns.append((cost / duration - cost_below / duration_below) / (2.0 * step))
    return np.asarray((1.0 - omega) * np.eye(centre.size) + omega * np.array(columns).T)


def _period(ratios: list[Floats], precision: float) -> int:
    """Number of updates after which the sequence repeats itself at its end; 0 if it does not."""
    last = ratios[-1]
    scale = float(np.abs(last).max())
    for period in range(1, min(_LONGEST_CYCLE, len(ratios) - 1) + 1):
        if np.abs(last - ratios[-1 - period]).max() <= precision * scale:
            moves = np.abs(ratios[-2] - last).max() > _STILL_MOVING * scale
            return period if period == 1 or moves else 0
    return 0
