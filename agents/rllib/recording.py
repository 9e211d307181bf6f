"""What happened in the lanes of a vector event stream, cut into RLlib episodes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from ...envs.aoi_offload.state import STREAM_OFFSET
from ..fractional.transitions import running_sums
from ..networks.event_table import advance, unknown_table
from .acting import Decision, with_device

Array = NDArray[Any]
TOLD = ("cost", "duration", "time")
INFO = (*TOLD, "total_cost")
"""What the info of every observation holds, in s^2, s, s and s^2: the environment's, and the deciding device's sum of
costs since the reset, which under a team objective is the same function of time for all devices."""
TABLE = "table"
"""What the first info of a chunk, lookback included, also holds: the event table before it, see `event_table`."""
OPEN = ("agents_cost", "agents_duration")
"""What the last info of a truncated stream also holds: the open interval of every device."""


class Totals(NamedTuple):
    """Sums over an episode so far."""

    events: int = 0
    reward: float = 0.0
    cost: float = 0.0
    duration: float = 0.0


class _End(NamedTuple):
    """How the episode of a lane ended, and how its next one began."""

    observation: Array
    first: Array
    still_open: dict[str, Array]


class Recording:
    """Some steps of all lanes.

    Args:
        steps: number of steps T.
        shape: shape (n, 5 + N) of the stream observations.
    """

    def __init__(self, steps: int, shape: tuple[int, int]) -> None:
        lanes = shape[0]
        self.observation = np.empty((steps, *shape), np.float32)
        self.server = np.empty((steps, lanes), np.int64)
        self.wait = np.empty((steps, lanes, 1), np.float32)
        self.logp = np.empty((steps, lanes), np.float32)
        self.reward = np.empty((steps, lanes))
        self.info = np.empty((steps, lanes, len(TOLD)))
        self.terminated, self.truncated = (np.zeros((steps, lanes), np.bool_) for _ in range(2))
        self.ends: dict[tuple[int, int], _End] = {}
        self._steps = 0

    def add(
        self,
        observation: Array,
        decision: Decision,
        reward: Array,
        terminated: Array,
        truncated: Array,
        info: Any,
    ) -> None:
        """One step: what was seen, decided, and what came of it (arrays over the lanes)."""
        step = self._steps
        self.observation[step], self.server[step] = observation, decision.server
        self.wait[step], self.logp[step], self.reward[step] = decision.wait, decision.logp, reward
        for column, name in enumerate(TOLD):
            self.info[step, :, column] = info[name]
        ended = terminated | truncated
        if ended.any():
            self.terminated[step], self.truncated[step] = terminated, truncated
            for lane in np.flatnonzero(ended).tolist():
                first = np.array([info["reset_info"][name][lane] for name in TOLD], np.float64)
                still_open = {name: np.array(info[name][lane]) for name in OPEN if name in info}
                final = with_device(info["final_obs"][lane][None], observation.shape[1])[0]
                self.ends[step, lane] = _End(final, first, still_open)
        self._steps += 1

    def stops(self, lane: int) -> Iterator[int]:
        """Where the lane's recorded events are to be cut: behind the end of every episode, and at the end."""
        yield from (np.flatnonzero(self.terminated[:, lane] | self.truncated[:, lane]) + 1).tolist()
        if self._steps and (self._steps - 1, lane) not in self.ends:
            yield self._steps


_COLUMNS = ("observation", "server", "wait", "logp", "reward")


@dataclass
class _Past:
    """Events of a lane's running episode, and the info of the observation after them."""

    observation: Array  # (k, 5 + N)
    server: Array  # (k,)
    wait: Array  # (k, 1)
    logp: Array  # (k,)
    reward: Array  # (k,)
    info: Array  # (k + 1, 4)
    costs: Array  # (M,) cost of every device since the reset
    table: Array  # (M, 4) the event table before these events
    totals: Totals = field(default_factory=Totals)
    id_: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def begin(cls, observation: Array, first: Array, n_devices: int) -> _Past:
        """A fresh episode with its first observation (5 + N,) and what was told then (3,)."""
        costs = np.zeros(n_devices)
        costs[int(observation[0])] = first[0]
        return cls(
            np.zeros((0, len(observation)), np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, 1), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0),
            np.append(first, first[0])[None],
            costs,
            unknown_table(n_devices),
        )

    def with_events(self, new: dict[str, Array], told: Array, after: Array) -> _Past:
        """This past and what came after it, `told` (t, 3) with each next observation, the last of which is `after`."""
        both = {name: np.concatenate([getattr(self, name), new[name]]) for name in _COLUMNS}
        device = np.append(new["observation"][1:, 0], after[0]).astype(np.int64)
        sums = running_sums(device, told[:, 0]) + self.costs[device]
        costs = self.costs + np.bincount(device, told[:, 0], len(self.costs))
        info = np.concatenate([self.info, np.concatenate([told, sums[:, None]], axis=1)])
        done = self.totals
        totals = Totals(
            done.events + len(new["reward"]),
            done.reward + float(new["reward"].sum()),
            done.cost + float(told[:, 0].sum()),
            done.duration + float(told[:, 1].sum()),
        )
        return _Past(**both, info=info, costs=costs, table=self.table, totals=totals, id_=self.id_)

    def recent(self, events: int) -> _Past:
        """The last `events` of it."""
        drop = max(len(self.reward) - events, 0)
        gone, time = self.observation[:drop], self.info[:drop, TOLD.index("time")]
        wait = 0.5 * (self.wait[:drop, 0].astype(np.float64) + 1.0)
        device = gone[:, 0].astype(np.int64)
        table = advance(self.table, gone[:, STREAM_OFFSET:], device, time, self.server[:drop], wait)
        columns = {name: getattr(self, name)[drop:].copy() for name in (*_COLUMNS, "info")}
        return _Past(**columns, costs=self.costs, table=table, totals=self.totals, id_=self.id_)


class Lanes:
    """The running episodes of all lanes.

    Args:
        observation: pending stream observations, shape (n, 5 + N).
        info: info of the reset.
        n_devices: number of devices M.
    """

    def __init__(self, observation: Array, info: Any, n_devices: int) -> None:
        self.observation, self.n_devices = observation, n_devices
        first = np.stack([np.asarray(info[name], np.float64) for name in TOLD], axis=1)
        self._past = [_Past.begin(*pair, n_devices) for pair in zip(observation, first, strict=True)]

    def cut(self, recording: Recording, lookback: int, weights_seq_no: int) -> list[tuple[SingleAgentEpisode, Totals]]:
        """Episode chunks of a recording, with the sums of their episodes; lanes remember the last `lookback` events."""
        names = (*_COLUMNS, "info")
        by_lane = {name: np.ascontiguousarray(getattr(recording, name).swapaxes(0, 1)) for name in names}
        told = by_lane.pop("info")
        chunks = []
        for lane, past in enumerate(self._past):
            start = 0
            for stop in recording.stops(lane):
                end = recording.ends.get((stop - 1, lane))
                after = self.observation[lane] if end is None else end.observation
                new = {name: column[lane, start:stop] for name, column in by_lane.items()}
                whole = past.with_events(new, told[lane, start:stop], after)
                chunk = _episode(whole, len(past.reward), after, weights_seq_no)
                if end is None:
                    past = whole.recent(lookback)
                else:
                    chunk.is_terminated = bool(recording.terminated[stop - 1, lane])
                    chunk.is_truncated = not chunk.is_terminated
                    chunk.infos.data[-1].update(end.still_open)
                    fresh = self.observation[lane] if stop == len(told[lane]) else by_lane["observation"][lane, stop]
                    past = _Past.begin(fresh, end.first, self.n_devices)
                chunks.append((chunk, whole.totals))
                start = stop
            self._past[lane] = past
        return chunks

    def get_state(self) -> dict[str, Any]:
        """Everything as arrays and plain values; `from_state` takes it back."""
        arrays = {name: np.concatenate([getattr(past, name) for past in self._past]) for name in (*_COLUMNS, "info")}
        return {
            "pending": self.observation.copy(),
            **arrays,
            "costs": np.stack([past.costs for past in self._past]),
            "table": np.stack([past.table for past in self._past]),
            "kept": np.array([len(past.reward) for past in self._past]),
            "totals": np.array([past.totals for past in self._past]),
            "ids": [past.id_ for past in self._past],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Lanes:
        """Continue from what `get_state` returned."""
        lanes = cls.__new__(cls)
        lanes.observation = np.array(state["pending"], np.float32)
        lanes.n_devices = state["costs"].shape[1]
        lanes._past = []
        first = 0
        for lane, kept in enumerate(state["kept"].tolist()):
            columns = {name: np.array(state[name][first : first + kept]) for name in _COLUMNS}
            info = np.array(state["info"][first + lane : first + lane + kept + 1])
            events, *sums = state["totals"][lane].tolist()
            totals, id_ = Totals(int(events), *sums), str(state["ids"][lane])
            own = {name: np.array(state[name][lane]) for name in ("costs", "table")}
            lanes._past.append(_Past(**columns, info=info, **own, totals=totals, id_=id_))
            first += kept
        return lanes


def _episode(events: _Past, lookback: int, after: Array, weights_seq_no: int) -> SingleAgentEpisode:
    """The events behind the first `lookback` as an episode chunk, those as its lookback."""
    count = len(events.reward)
    infos: list[dict[str, Any]] = [dict(zip(INFO, row, strict=True)) for row in events.info.tolist()]
    infos[0][TABLE] = events.table

    def buffer(data: Any) -> InfiniteLookbackBuffer:
        result = InfiniteLookbackBuffer(data)
        result.lookback = lookback  # the constructor takes the number of a dict's keys for its length
        return result

    return SingleAgentEpisode(
        id_=events.id_,
        observations=buffer(np.concatenate([events.observation, after[None]])),
        actions=buffer({"server": events.server, "wait": events.wait}),
        rewards=buffer(events.reward),
        infos=buffer(infos),
        extra_model_outputs={
            Columns.ACTION_LOGP: buffer(events.logp),
            WEIGHTS_SEQ_NO: buffer(np.full(count, weights_seq_no)),
        },
        t_started=events.totals.events - (count - lookback),
        len_lookback_buffer=lookback,
    )
