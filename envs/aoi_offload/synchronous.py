"""The synchronous game: waits are lengthened until the next tick of a clock that all devices share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.errors import InvalidInputError
from .params import AoIParams

Floats = npt.NDArray[np.float64]

_SLACK = 1e-9  # ticks: an instant that misses one by rounding only is on it


class CommonClock:
    """Moves generations to the multiples of a slot, the baseline "synchronous multi-agent".

    A wait is lengthened so that its end falls on a tick. Where the next tick lies beyond Z_max it is the last tick
    within reach instead, so no wait ever exceeds Z_max. Devices that generate at the same tick decide in the order of
    their indices and see the tasks that were sent before theirs. New attempts after a drop, and the first tasks of an
    episode, start when they start: no wait leads to them.

    Args:
        slot: time between two ticks, in seconds; the first is at 0.
        params: the physics, for Z_max.

    Raises:
        InvalidInputError: slot is not in (0, Z_max] (a longer one would leave instants without a tick in reach).
    """

    def __init__(self, slot: float, params: AoIParams) -> None:
        number = isinstance(slot, float | int | np.integer | np.floating) and not isinstance(slot, bool)
        if not (number and 0 < slot <= params.z_max):
            raise InvalidInputError.of("sync_slot", f"None or in (0, z_max = {params.z_max:g}] s", slot)
        self.slot, self._z_max = float(slot), params.z_max

    def lengthened(self, time: npt.ArrayLike, wait: npt.ArrayLike) -> Floats:
        """Waits whose ends are on ticks.

        Args:
            time: when each wait begins, in seconds.
            wait: the chosen waits, of the same shape, in seconds.

        Returns:
            The waits to carry out; those out of range come back as they are, for the simulator to refuse.
        """
        now, chosen = np.asarray(time, np.float64), np.asarray(wait, np.float64)
        tick = np.ceil((now + chosen) / self.slot - _SLACK)
        last = np.floor((now + self._z_max) / self.slot + _SLACK)
        moved = np.clip(np.minimum(tick, last) * self.slot - now, 0.0, self._z_max)
        return np.where((chosen >= 0.0) & (chosen <= self._z_max * (1.0 + 1e-6)), moved, chosen)


def common_clock(slot: float | None, params: AoIParams) -> CommonClock | None:
    """The clock of a slot; None, the asynchronous game, without one.

    Raises:
        InvalidInputError: see `CommonClock`.
    """
    return None if slot is None else CommonClock(slot, params)
