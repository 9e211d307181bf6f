"""The global sequence of waiting decisions of every lane, and the state that is handed along it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .records import Floats, Lanes, Records

_MARGIN = 4  # the sequence kept is that many times what a batch spans when all devices are equally fast


class Events(NamedTuple):
    """A sequence of events for `memory.scan`, and where the rows of a batch stand in it.

    Attributes:
        inputs: shape (T, I).
        which: the device of each event, or its place in the batch, shape (T,).
        starts: shape (T,).
        initial: shape (T, H).
        place: event of each row of the batch, (D, n).
        stored: rows whose event is no longer kept: their state is the one they were stored with, (D, n).
    """

    inputs: Floats
    which: Lanes
    starts: NDArray[np.bool_]
    initial: Floats
    place: Lanes
    stored: NDArray[np.bool_]


class History:
    """The last waiting decisions of every lane, in the order in which they were made, whoever made them.

    Args:
        lanes: number of lanes L.
        devices: number of devices M.
        inputs: width of what an event tells.
        memory: width of the state.
        batch: decisions of a device between two updates, over all lanes.
    """

    def __init__(self, lanes: int, devices: int, inputs: int, memory: int, batch: int) -> None:
        self._kept = _MARGIN * devices * (-(-batch // lanes) + 4)
        fields = [("inputs", "f4", (inputs,)), ("memory", "f4", (memory,)), ("device", "i8"), ("first", "?")]
        self._ring = np.zeros((lanes, self._kept), np.dtype(fields))
        self.counts = np.zeros(lanes, np.int64)
        self.states = np.zeros((lanes, memory), np.float32)
        """State before the next waiting decision of each lane."""
        self.fresh = np.ones(lanes, bool)
        """Lanes whose state is that of a new episode."""

    def append(self, lanes: Lanes, devices: Lanes, inputs: Floats, after: Floats) -> None:
        """Add an event to some lanes, each (n, ...); `after` is the state that it leaves."""
        at = (lanes, self.counts[lanes] % self._kept)
        values = {"inputs": inputs, "memory": self.states[lanes], "device": devices, "first": self.fresh[lanes]}
        for name, value in values.items():
            self._ring[name][at] = value
        self.states[lanes] = after
        self.fresh[lanes] = False
        self.counts[lanes] += 1

    def forget(self, lanes: Lanes) -> None:
        """Begin an episode in some lanes."""
        self.states[lanes] = 0.0
        self.fresh[lanes] = True

    def events(self, lanes: Lanes, positions: Lanes, mask: NDArray[np.bool_]) -> Events:
        """The part of the sequences that a batch needs.

        Args:
            lanes: of each row, (D, n).
            positions: of each row's decision in its lane, (D, n).
            mask: which rows count, (D, n).
        """
        oldest = np.maximum(self.counts - self._kept, 0)
        usable = mask & (positions >= oldest[lanes])
        begin = self.counts.copy()
        np.minimum.at(begin, lanes[usable], positions[usable])
        lengths = self.counts - begin
        offset = np.cumsum(lengths) - lengths
        lane = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(lane)) - offset[lane] + begin[lane]
        rows = self._ring[lane, position % self._kept]
        starts = rows["first"].copy()
        starts[offset[lengths > 0]] = True
        place = np.where(usable, offset[lanes] + positions - begin[lanes], 0)
        return Events(rows["inputs"], rows["device"], starts, rows["memory"], place, ~usable)

    def state(self) -> dict[str, NDArray[Any]]:
        """Live arrays that later training depends on."""
        return {"ring": self._ring, "counts": self.counts, "states": self.states, "fresh": self.fresh}


def own_events(inputs: Floats, records: Records, lanes: Lanes, handed: Floats, mask: NDArray[np.bool_]) -> Events:
    """Every device's own decisions as sequences, as the released code unrolls them.

    Args:
        inputs: what each row tells, (D, n, I).
        records: the rows, (D, n), in order of lane and time.
        lanes: of each row, (D, n).
        handed: (L, H): the states with which the sequences of a lane begin, whoever left them.
        mask: which rows count, (D, n).
    """
    devices, n = records.shape
    starts = ~mask
    starts[:, 0] = True
    starts[:, 1:] |= lanes[:, 1:] != lanes[:, :-1]
    initial = np.where(records["first"][..., None], np.float32(0.0), handed[lanes])
    starts |= records["first"]
    place = np.arange(devices * n).reshape(devices, n)
    which = np.repeat(np.arange(devices), n)
    flat = initial.reshape(devices * n, -1)
    return Events(inputs.reshape(devices * n, -1), which, starts.ravel(), flat, place, np.zeros_like(mask))
