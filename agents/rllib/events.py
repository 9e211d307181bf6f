"""RLlib episodes as windows of events, whatever env runner they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from ...envs.aoi_offload.state import IDLE, KIND, QUEUES, STREAM_OFFSET, UPDATE
from ..networks.event_table import unknown_table
from .recording import OPEN, TABLE, TOLD

Floats = NDArray[np.float64]
Episode = SingleAgentEpisode | MultiAgentEpisode


class Events(NamedTuple):
    """Windows of events of B systems, padded at the end to T; see `agents.networks.asynchronous.Window`.

    Attributes:
        observation: without the device's index, float32 (B, T, 4 + N).
        device: who decides, (B, T); -1 is padding.
        carrier: the decision, zeros if none was recorded, float32 (B, T, N + 2).
        logp: its log-probability when it was made, float32 (B, T).
        cost: since the device's previous decision, (B, T), in s^2.
        duration: likewise, (B, T), in seconds.
        time: clock, (B, T), in seconds.
        total_cost: sum of the deciding device's costs since the reset, (B, T), in s^2; NaN where the env runner does
            not tell it.
        counted: whether the event is part of the chunk, so that its cost counts; else it is lookback, (B, T).
        pending: whether it is the device's turn; else it is the final observation of a device that has to wait, whose
            kind is given as that of an update, (B, T).
        acted: whether the decision was recorded, (B, T).
        terminal: true ends of an episode, (B, T).
        module: index of the module that decides, in `modules`, (B, T).
        modules: names of the modules.
        table: the event table before each window, (B, M, 4); see `agents.networks.event_table`.
        extra_cost: cost per device that belongs to no decision: open intervals at a truncation, (M,), in s^2.
        extra_duration: likewise, (M,), in seconds.
    """

    observation: NDArray[np.float32]
    device: NDArray[np.int64]
    carrier: NDArray[np.float32]
    logp: NDArray[np.float32]
    cost: Floats
    duration: Floats
    time: Floats
    total_cost: Floats
    counted: NDArray[np.bool_]
    pending: NDArray[np.bool_]
    acted: NDArray[np.bool_]
    terminal: NDArray[np.bool_]
    module: NDArray[np.int64]
    modules: tuple[str, ...]
    table: Floats
    extra_cost: Floats
    extra_duration: Floats

    @property
    def elapsed(self) -> NDArray[np.float32]:
        """Time since the previous event of the system, 0 at the first one, (B, T), in seconds."""
        steps = np.diff(self.time, axis=1, prepend=self.time[:, :1])
        return np.maximum(steps, 0.0).astype(np.float32)


def events_of(episodes: Sequence[Episode], n_edges: int, n_devices: int) -> Events:
    """Read episodes; they are not written to (from remote env runners their arrays are read-only).

    Args:
        episodes: of an event stream (one per system, with device indices), of a single device, or multi-agent ones
            whose agents are called ``device_0`` to ``device_{M-1}``.
        n_edges: number of edge nodes N.
        n_devices: number of devices M.
    """
    extra = np.zeros((2, n_devices))
    modules: dict[str, int] = {}
    systems, tables = [], []
    for episode in episodes:
        if isinstance(episode, MultiAgentEpisode):
            parts = [
                _read(agent, n_edges, int(str(name).rsplit("_", 1)[-1]), modules, extra)
                for name, agent in episode.agent_episodes.items()
                if len(agent.observations.data)
            ]
            if not parts:  # it has just begun
                continue
            merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            order = np.argsort(merged["time"], kind="stable")
            systems.append({name: column[order] for name, column in merged.items()})
            tables.append(unknown_table(n_devices))
        else:
            systems.append(_read(episode, n_edges, None, modules, extra))
            table = episode.infos.data[0].get(TABLE)
            tables.append(unknown_table(n_devices) if table is None else table)
    longest = max(len(system["device"]) for system in systems)
    padded = {}
    for name, first in systems[0].items():
        column = np.full((len(systems), longest, *first.shape[1:]), -1 if name == "device" else 0, first.dtype)
        for row, system in zip(column, systems, strict=True):
            row[: len(system[name])] = system[name]
        padded[name] = column
    ends = np.array([len(system["time"]) for system in systems])
    after = np.arange(longest) >= ends[:, None]
    padded["time"] = np.where(after, padded["time"][np.arange(len(systems)), ends - 1][:, None], padded["time"])
    constant = {"extra_cost": extra[0], "extra_duration": extra[1], "table": np.stack(tables)}
    return Events(**padded, modules=tuple(modules), **constant)


def _read(
    episode: SingleAgentEpisode, n_edges: int, device: int | None, modules: dict[str, int], extra: Floats
) -> dict[str, NDArray[Any]]:
    """Columns of one episode chunk; adds what belongs to no decision to `extra` (2, M)."""
    observation = np.asarray(episode.observations.data, np.float32)
    size, lookback = len(observation), episode.observations.lookback
    stream = observation.shape[1] - n_edges > QUEUES
    devices = observation[:, 0].astype(np.int64) if stream else np.full(size, device or 0)
    infos: Any = episode.infos.data
    cost, duration, time = np.array([[info.get(name, 0.0) for name in TOLD] for info in infos]).T
    total_cost = np.array([info.get("total_cost", np.nan) for info in infos])
    counted = np.arange(size) > lookback
    counted[0] |= episode.t_started == 0 and lookback == 0  # the stretch before the first decision
    if OPEN[0] in infos[-1]:
        still_open = np.array([infos[-1][name] for name in OPEN])
        still_open[:, devices[-1]] = 0.0  # its interval is the last step's
        extra += still_open
    acted = np.arange(size) < size - 1
    carrier = np.zeros((size, n_edges + 2), np.float32)
    logp = np.zeros(size, np.float32)
    if size > 1:
        actions: Any = episode.actions.data
        carrier[:-1, 0] = np.asarray(actions["wait"], np.float32).reshape(size - 1)
        carrier[:-1, 1:] = -1.0
        carrier[np.arange(size - 1), 1 + np.asarray(actions["server"], np.int64).ravel()] = 1.0
        logp[:-1] = episode.extra_model_outputs[Columns.ACTION_LOGP].data
    terminal = np.zeros(size, np.bool_)
    terminal[-1] = episode.is_terminated
    module = modules.setdefault(episode.module_id or DEFAULT_MODULE_ID, len(modules))
    plain = np.array(observation[:, STREAM_OFFSET:] if stream else observation)
    pending = plain[:, KIND] != IDLE
    plain[~pending, KIND] = UPDATE
    return {
        "observation": plain,
        "device": devices,
        "carrier": carrier,
        "logp": logp,
        "cost": cost,
        "duration": duration,
        "time": time,
        "total_cost": total_cost,
        "counted": counted,
        "pending": pending,
        "acted": acted,
        "terminal": terminal,
        "module": np.full(size, module),
    }
