"""What every environment of the family is inside: L independent systems that know nothing of Gymnasium.

A system writes the results of a reset or step into a `Batch`. The scalar environment is a system with one lane, so
that lanes and scalar environments agree by construction.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.lane_system import Flags, Info, LaneSystem

COST, DURATION, TIME = range(3)
"""First rows of every batch's numbers."""


@dataclass
class Batch:
    """Results of a reset or step of L lanes.

    Attributes:
        obs: (L, D) float32.
        out: (R, L) numbers; the rows are named by the system.
        mask: (L, A) actions that may be taken now.
        terminated: (L,).
        truncated: (L,).
    """

    obs: NDArray[np.float32]
    out: NDArray[np.float64]
    mask: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    @classmethod
    def make(cls, lanes: int, width: int, rows: int, actions: int) -> Batch:
        """Zeros: lanes that a call leaves alone show no old memory."""
        flags = np.zeros(lanes, bool)
        return cls(
            np.zeros((lanes, width), np.float32),
            np.zeros((rows, lanes)),
            np.zeros((lanes, actions), bool),
            flags,
            flags.copy(),
        )

    def take(self, other: Batch, lanes: Flags) -> None:
        """Overwrite the marked lanes by those of another batch."""
        np.copyto(self.obs, other.obs, where=lanes[:, None])
        np.copyto(self.out, other.out, where=lanes)
        np.copyto(self.mask, other.mask, where=lanes[:, None])


class System(LaneSystem[Batch]):
    """L lanes of one environment.

    Attributes:
        rows: name of every row of a batch's numbers, with the group it belongs to ("" for none).
        lanes: L.
        width: length of an observation.
        n_mask: length of an action mask.
        layout: where the parts of an observation are.
    """

    rows: ClassVar[tuple[tuple[str, str], ...]]
    lanes: int
    width: int
    n_mask: int
    layout: dict[str, slice]

    @abstractmethod
    def step(self, actions: NDArray[np.int64], skip: NDArray[np.bool_]) -> Batch:
        """Carry out one decision in every lane that is not skipped.

        Raises:
            InvalidInputError: an action is out of range; no lane has moved then.
        """

    @abstractmethod
    def parse(self, actions: Any, lanes: int | None) -> NDArray[np.int64]:
        """Actions as an array (L, ...); `lanes` is None for a single action.

        Raises:
            InvalidInputError: wrong shape, type or range.
        """

    def info(self, results: Batch) -> Info:
        """Arrays (L,) by name, groups as dicts."""
        return self._named(results.out, results.mask)

    def lane_info(self, batch: Batch) -> Info:
        """The only lane's numbers by name."""
        return self._named(batch.out[:, 0], batch.mask[0])

    def _named(self, numbers: NDArray[np.float64], mask: NDArray[np.bool_]) -> Info:
        info: Info = {}
        for (group, name), value in zip(self.rows, numbers, strict=True):
            (info.setdefault(group, {}) if group else info)[name] = value
        info["action_mask"] = mask
        return info


def check_horizon(horizon: Any, unit: str) -> float:
    """A horizon in units of time.

    Raises:
        InvalidInputError: not a positive number.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int | float | np.number) or not horizon > 0:
        raise InvalidInputError.of("horizon", f"a positive number of {unit}", horizon)
    return float(horizon)


def check_number(field: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
    """A finite number in a range.

    Raises:
        InvalidInputError: it is not.
    """
    left = "(" if open_low else "["
    fits = not isinstance(value, bool) and isinstance(value, int | float | np.number) and math.isfinite(value)
    if not fits or not (low < value if open_low else low <= value) or value > high:
        raise InvalidInputError.of(field, f"a finite number in {left}{low:g}, {high:g}]", value)
    return float(value)


def check_arrays(mine: dict[str, NDArray[Any]], state: Any) -> None:
    """Compare a state's arrays with those that it is to replace.

    Raises:
        InvalidInputError: an array is missing or has another shape or type, or holds NaN.
    """
    for name, array in mine.items():
        given = state.get(name) if isinstance(state, dict) else None
        if not isinstance(given, np.ndarray) or given.shape != array.shape or given.dtype != array.dtype:
            raise InvalidInputError(f"state: {name!r} must be an array of shape {array.shape} and type {array.dtype}")
        if given.dtype.kind == "f" and np.isnan(given).any():
            raise InvalidInputError(f"state: {name!r} must not hold NaN")


def binary(actions: Any, n: int, lanes: int | None) -> NDArray[np.int64]:
    """Subsets as an array (L, n) of 0 and 1.

    Raises:
        InvalidInputError: wrong shape, type or range.
    """
    shape = (n,) if lanes is None else (lanes, n)
    array = np.asarray(actions)
    if array.shape != shape or array.dtype.kind not in "iub" or not ((array == 0) | (array == 1)).all():
        raise InvalidInputError.of("action", f"an array of shape {shape} of 0 and 1", actions)
    return array.reshape(-1, n).astype(np.int64)


def discrete(actions: Any, n: int, lanes: int | None) -> NDArray[np.int64]:
    """Indices as an array (L, 1).

    Raises:
        InvalidInputError: wrong shape, type or range.
    """
    shape = () if lanes is None else (lanes,)
    array = np.asarray(actions)
    if array.shape != shape or array.dtype.kind not in "iu" or not ((array >= 0) & (array < n)).all():
        what = "an integer" if lanes is None else f"an integer array of shape {shape}"
        raise InvalidInputError.of("action", f"{what} in [0, {n - 1}]", actions)
    return array.reshape(-1, 1).astype(np.int64)
