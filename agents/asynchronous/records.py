"""From the event stream to records of decisions: what a device saw, what it decided, and what came of it.

Decisions of different devices interleave, so a record stays open until its own device's next decision of the same kind.
Records hold raw costs and durations; they are priced when they are used, at the ratio of that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.state import AGE, DELAY, QUEUES, STREAM_OFFSET, UPDATE

Records = NDArray[np.void]
Floats = NDArray[np.float32]
Lanes = NDArray[np.int64]

_DEVICE, _KIND = 0, STREAM_OFFSET
_DELAY, _AGE, _QUEUES = DELAY + STREAM_OFFSET, AGE + STREAM_OFFSET, QUEUES + STREAM_OFFSET


def _outcome(features: int) -> list[tuple[Any, ...]]:
    """Fields that both kinds of record share."""
    return [
        ("x", "f4", (features,)),  # what the decision was made on
        ("next_x", "f4", (features,)),  # likewise, the device's next decision of this kind
        ("cost", "f8"),  # from this decision to the next one
        ("duration", "f8"),
        ("sum_cost", "f8"),  # since the episode began, by the released code's trapezoids
        ("sum_duration", "f8"),
        ("first", "?"),  # no earlier record of this device in the episode
    ]


def wait_dtype(features: int, memory: int) -> np.dtype[np.void]:
    """Record of a waiting decision."""
    own = [
        ("action", "f4"),  # as it is scored, in carrier units
        ("log_prob", "f4"),
        ("memory", "f4", (memory,)),  # the critic's state before the decision ...
        ("next_memory", "f4", (memory,)),  # ... and before the next one
        ("position", "i8"),  # in the lane's sequence of waiting decisions
    ]
    return np.dtype([*_outcome(features), *own])


def server_dtype(features: int) -> np.dtype[np.void]:
    """Record of an offloading decision."""
    own = [("server", "i8"), ("ended", "?")]  # the task is completed, and what it cost is known
    return np.dtype([*_outcome(features), *own])


class Features(NamedTuple):
    """What the networks see of an observation.

    Attributes:
        n_edges: number of edge nodes N.
        published: the released code's columns, raw: all queues for offloading; the shortest queue and the last delay
            for waiting. Otherwise age and queues for both, each as log(1 + value).
    """

    n_edges: int
    published: bool

    @property
    def server_width(self) -> int:
        """Columns of `server`."""
        return self.n_edges + (0 if self.published else 1)

    @property
    def wait_width(self) -> int:
        """Columns of `wait`."""
        return 2 if self.published else self.n_edges + 1

    def server(self, observation: Floats, queues: Floats | None = None) -> Floats:
        """Features (n, `server_width`) of offloading decisions; `queues` (n, N) replaces those observed."""
        queues = observation[:, _QUEUES:] if queues is None else queues
        if self.published:
            return queues
        features: Floats = np.log1p(np.concatenate([observation[:, _AGE : _AGE + 1], queues], axis=1))
        return features

    def wait(self, observation: Floats) -> Floats:
        """Features (n, `wait_width`) of waiting decisions."""
        delay, queues = observation[:, _DELAY : _DELAY + 1], observation[:, _QUEUES:]
        if self.published:
            return np.concatenate([queues.min(axis=1, keepdims=True), delay], axis=1)
        features: Floats = np.log1p(np.concatenate([delay, queues], axis=1))
        return features


class Pricing(NamedTuple):
    """What a record costs at a ratio.

    Attributes:
        area: factor of the area.
        cumulative: the absolute value of the sums since the episode began, instead of the decision's own cost.
    """

    area: float = 1.0
    cumulative: bool = False

    def __call__(self, records: Records, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """Costs of records (D, ...) of D devices with the ratios (D,)."""
        ratio = ratio.reshape(-1, *[1] * (records.ndim - 1))
        cost, duration = ("sum_cost", "sum_duration") if self.cumulative else ("cost", "duration")
        priced: NDArray[np.float64] = self.area * records[cost] - ratio * records[duration]
        return np.abs(priced) if self.cumulative else priced


def initial_servers(devices: int, n_edges: int, limit: int) -> NDArray[np.int64]:
    """Where the environment places the first task of every device, (M,): the shortest queue below `limit`, or local."""
    lengths = np.zeros(n_edges, np.int64)
    servers = np.zeros(devices, np.int64)
    for device in range(devices):
        shortest = int(lengths.argmin())
        if lengths[shortest] < limit:
            servers[device] = shortest + 1
            lengths[shortest] += 1
    return servers


class Closed(NamedTuple):
    """Records that an observation has closed, with their places."""

    lanes: Lanes
    devices: Lanes
    records: Records


class Recorder:
    """Open decisions of L lanes with M devices, and the sums that price them.

    Args:
        lanes: number of lanes L.
        devices: number of devices M.
        features: what the networks see.
        memory: width of the critic's state.
        drops_unrecorded: attempts that were dropped leave no record: a task has one, from completion to completion,
            of the server that accepted it.
        stale_queues: offloading is decided on the queues at the last completion of any device, and recorded with
            those at the device's own last completion.
        joined_episodes: no record is marked as the first of an episode.
        placed: servers of the episode's first tasks, (M,), to be recorded as if they had been chosen; None: not.
    """

    def __init__(
        self,
        lanes: int,
        devices: int,
        features: Features,
        memory: int,
        *,
        drops_unrecorded: bool = False,
        stale_queues: bool = False,
        joined_episodes: bool = False,
        placed: NDArray[np.int64] | None = None,
    ) -> None:
        self.features, self._placed = features, placed
        self.drops_unrecorded, self.stale_queues = drops_unrecorded, stale_queues
        self.joined_episodes = joined_episodes
        shape = (lanes, devices)
        self._wait = np.zeros(shape, wait_dtype(features.wait_width, memory))
        self._server = np.zeros(shape, server_dtype(features.server_width))
        self._open = np.zeros((2, *shape), bool)
        self._fresh = np.ones((2, *shape), bool)  # the next record is the episode's first
        self._cost, self._time = np.zeros(shape), np.zeros(lanes)  # since the episode began
        self._delay, self._age = np.zeros(shape), np.zeros(shape)  # at the device's last decision
        self._area = np.zeros((2, *shape))  # under the device's own age: now, and at its last completion
        self._last_done = np.zeros(shape)
        self._seen = np.zeros((lanes, features.n_edges), np.float32)  # queues at the last completion in the lane
        self._seen_own = np.zeros((*shape, features.n_edges), np.float32)
        self.measured = np.zeros((2, devices))
        """Cost and duration of the completed cycles of every device since the outer loop last took them."""
        self.episode_age = np.zeros(devices)
        """Mean age of every device in the last episode that ended, by the released code's estimator, in seconds."""
        self._begin(np.arange(lanes))

    def observe(
        self,
        lanes: Lanes,
        observation: Floats,
        cost: NDArray[np.float64],
        duration: NDArray[np.float64],
        time: NDArray[np.float64],
    ) -> tuple[Closed, Closed]:
        """Take the next decision's observation of some lanes and close the records that it ends.

        Args:
            lanes: which, shape (n,).
            observation: of the event stream, shape (n, 5 + N).
            cost: of the interval that ends, shape (n,).
            duration: its length in seconds, shape (n,).
            time: the lanes' clocks in seconds, shape (n,).

        Returns:
            Closed records of waiting and of offloading decisions.
        """
        devices = observation[:, _DEVICE].astype(np.int64)
        at = (lanes, devices)
        self._time[lanes] = time
        self._cost[at] += cost
        running = ~self._server["ended"][at]
        for name, value in (("cost", cost), ("duration", duration)):
            self._wait[name][at] += value
            self._server[name][at] += running * value
        self._area[0][at] += (self._age[at] + 0.5 * duration) * duration
        self._age[at] = observation[:, _AGE]
        updating = observation[:, _KIND] == UPDATE
        nothing = np.zeros(0, np.int64)
        waits = Closed(nothing, nothing, self._wait[:0, 0])
        servers = Closed(nothing, nothing, self._server[:0, 0])
        if updating.all():  # the usual case of a single lane
            waits = self._complete(lanes, devices, observation)
        elif not updating.any():
            servers = self._generate(lanes, devices, observation)
        else:
            waits = self._complete(lanes[updating], devices[updating], observation[updating])
            servers = self._generate(lanes[~updating], devices[~updating], observation[~updating])
        return waits, servers

    def _complete(self, lanes: Lanes, devices: Lanes, observation: Floats) -> Closed:
        """Tasks that are completed: a waiting decision is pending."""
        at = (lanes, devices)
        self._delay[at] = observation[:, _DELAY]
        self._area[1][at], self._last_done[at] = self._area[0][at], self._time[lanes]
        self._seen[lanes] = self._seen_own[at] = observation[:, _QUEUES:]
        if self.drops_unrecorded:  # the cycle is the waiting record's: from completion to completion
            for name in ("cost", "duration"):
                self._server[name][at] = self._wait[name][at]
            self._sum(self._server, at)
            self._server["ended"][at] = True
        self._wait["next_x"][at] = self.features.wait(observation)
        self._sum(self._wait, at)
        closed = self._take(0, lanes, devices)
        np.add.at(self.measured[0], closed.devices, closed.records["cost"])
        np.add.at(self.measured[1], closed.devices, closed.records["duration"])
        return closed

    def _generate(self, lanes: Lanes, devices: Lanes, observation: Floats) -> Closed:
        """Tasks that are generated, anew after a drop or for the first time: an offloading decision is pending."""
        at = (lanes, devices)
        self._server["next_x"][at] = self.server_features(lanes, observation, recorded=True)
        if self.drops_unrecorded:
            ended = self._server["ended"][at]
            return self._take(1, lanes[ended], devices[ended])
        self._sum(self._server, at)
        return self._take(1, lanes, devices)

    def _sum(self, records: Records, at: tuple[Lanes, Lanes]) -> None:
        """Sums since the episode began; the trapezoids of the released code fall short of the area by Y^2 / 2."""
        records["sum_cost"][at] = self._cost[at] - 0.5 * self._delay[at] ** 2
        records["sum_duration"][at] = self._time[at[0]]

    def _take(self, kind: int, lanes: Lanes, devices: Lanes) -> Closed:
        """The open records among some devices; they are open no longer."""
        known = self._open[kind, lanes, devices]
        lanes, devices = lanes[known], devices[known]
        self._open[kind, lanes, devices] = self._fresh[kind, lanes, devices] = False
        return Closed(lanes, devices, (self._wait, self._server)[kind][lanes, devices])

    def server_features(self, lanes: Lanes, observation: Floats, *, recorded: bool) -> Floats:
        """What an offloading decision is made on or, with `recorded`, what the learner is told it was made on."""
        if not self.stale_queues:
            return self.features.server(observation)
        devices = observation[:, _DEVICE].astype(np.int64)
        return self.features.server(observation, self._seen_own[lanes, devices] if recorded else self._seen[lanes])

    def decide_wait(self, lanes: Lanes, observation: Floats, **values: NDArray[Any]) -> None:
        """Open records of waiting decisions.

        Args:
            lanes: which, shape (n,).
            observation: that they were made on, shape (n, 5 + N).
            **values: action, log_prob, memory and position, each (n, ...).
        """
        self._decide(0, self._wait, lanes, observation, {"x": self.features.wait(observation), **values})

    def decide_server(self, lanes: Lanes, observation: Floats, server: NDArray[np.int64]) -> None:
        """Open records of offloading decisions, each (n,); with `drops_unrecorded` they replace a dropped attempt's."""
        seen = self.server_features(lanes, observation, recorded=True)
        self._decide(1, self._server, lanes, observation, {"x": seen, "server": server, "ended": False})

    def _decide(
        self, kind: int, records: Records, lanes: Lanes, observation: Floats, values: Mapping[str, Any]
    ) -> None:
        at = (lanes, observation[:, _DEVICE].astype(np.int64))
        for name, value in {**values, "cost": 0.0, "duration": 0.0, "first": self._fresh[kind][at]}.items():
            records[name][at] = value
        self._open[kind][at] = True

    def end_episode(self, lanes: Lanes) -> NDArray[np.float64]:
        """Leave the open decisions of lanes whose episode is over: nothing is known of what came of them.

        Returns:
            Mean age over the devices of each lane, by the released code's estimator, in seconds, shape (n,).
        """
        done = self._last_done[lanes]
        with np.errstate(invalid="ignore"):
            ages = np.where(done > 0.0, (self._area[1][lanes] - 0.5 * self._delay[lanes] ** 2) / done, np.nan)
        self.episode_age[...] = np.where(np.isnan(ages[-1]), self.episode_age, ages[-1])
        self._fresh[:, lanes] |= not self.joined_episodes
        for array in (self._cost, self._time, self._delay, self._age, self._last_done):
            array[lanes] = 0.0
        self._area[:, lanes] = 0.0
        self._begin(lanes)
        means: NDArray[np.float64] = np.nanmean(ages, axis=1)
        return means

    def _begin(self, lanes: Lanes) -> None:
        """No decision is open in these lanes but, where they are recorded, the placements of the first tasks."""
        self._open[:, lanes] = False
        for records in (self._wait, self._server):
            records["cost"][lanes] = records["duration"][lanes] = 0.0
        if self._placed is not None:
            queues = np.bincount(self._placed, minlength=self.features.n_edges + 1)[1:].astype(np.float32)
            nothing = np.zeros((1, _QUEUES + self.features.n_edges), np.float32)
            self._server["x"][lanes] = self.features.server(nothing, queues[None])
            self._server["server"][lanes], self._server["ended"][lanes] = self._placed, False
            self._server["first"][lanes] = self._fresh[1, lanes]
            self._open[1, lanes] = True

    def state(self) -> dict[str, NDArray[Any]]:
        """Live arrays that later training depends on."""
        private = ("wait", "server", "open", "fresh", "cost", "time", "delay", "age", "area", "last_done", "seen")
        arrays = {name: getattr(self, f"_{name}") for name in (*private, "seen_own")}
        return {**arrays, "measured": self.measured, "episode_age": self.episode_age}
