"""The record of decisions from which the age-of-information environment is drawn.

The sawtooth needs nothing else: a completion drops a device's age to the delay of its task, and between completions the
age grows with slope 1 (Jin et al., arXiv 2312.10418, the age curve).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .state import AGE, JOINT, OFFLOAD, QUEUES, UPDATE, World

WAITING, LOCAL, UNKNOWN = "waiting", "local", "first task"  # phases of a device; the others are "edge n"


@dataclass(frozen=True)
class Decision:
    """One decision of one device.

    Attributes:
        time: instant of the decision, s.
        device: index of the device.
        kind: 0 update (choose a wait), 1 offload (choose a server), 2 joint.
        age: age of information of the device at that instant, s.
        queues: length of every edge queue, the task in service included.
        server: chosen server (0 local, n = edge n), or None if not chosen here.
        wait: chosen wait in s, or None if not chosen here.
        decided: False while the action is still to come.
        contents: device indices at every edge in order of service, where the caller knows them.
    """

    time: float
    device: int
    kind: int
    age: float
    queues: tuple[int, ...]
    server: int | None
    wait: float | None
    decided: bool
    contents: tuple[tuple[int, ...], ...] | None = None


class EventRecorder:
    """Record of the latest decisions of a system of devices and edges.

    Args:
        n_devices: number of devices whose decisions are recorded (1 where only device 0 decides, the others being
            scripted).
        n_edges: number of edge queues.
        max_decisions: oldest decisions are forgotten beyond this number, so that memory stays bounded.
    """

    def __init__(self, n_devices: int, n_edges: int, max_decisions: int = 100_000) -> None:
        self.n_devices = int(n_devices)
        self.n_edges = int(n_edges)
        self.decisions: deque[Decision] = deque(maxlen=max_decisions)
        self.now = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new episode starts."""
        self.decisions.clear()
        self.now = 0.0
        self._phase = [UNKNOWN] * self.n_devices
        self._age_at: list[tuple[float, float]] = [(0.0, 0.0)] * self.n_devices
        self._area = [0.0] * self.n_devices
        self._pending: dict[int, Decision] = {}

    def record(
        self,
        time: float,
        device: int,
        kind: int,
        obs: Sequence[float] | NDArray[Any],
        action: Mapping[str, Any] | None = None,
        contents: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Append a decision, or complete the one that was recorded without its action.

        Args:
            time: instant of the decision, s.
            device: index of the device that decides.
            kind: 0 update, 1 offload, 2 joint.
            obs: plain observation ``[kind, delay, age, since_done, q_1, ..., q_N]`` (no device prefix).
            action: ``{"server": int, "wait": seconds}``; None while it is not known yet. A second call with the
                same time, device and kind then fills it in.
            contents: device indices waiting at each edge, in order of service, if known.
        """
        device, kind, time = int(device), int(kind), float(time)
        values = np.asarray(obs, dtype=float).ravel()
        server: int | None = None
        wait: float | None = None
        if action is not None:
            server = int(np.asarray(action["server"]).ravel()[0]) if kind != UPDATE else None
            wait = float(np.asarray(action["wait"]).ravel()[0]) if kind != OFFLOAD else None
        decision = Decision(
            time=time,
            device=device,
            kind=kind,
            age=float(values[AGE]),
            queues=tuple(int(q) for q in values[QUEUES : QUEUES + self.n_edges]),
            server=server,
            wait=wait,
            decided=action is not None,
            contents=None if contents is None else tuple(tuple(int(m) for m in queue) for queue in contents),
        )
        pending = self._pending.pop(device, None)
        if pending is not None and (pending.time, pending.kind) == (time, kind):
            self._replace(pending, replace(decision, contents=decision.contents or pending.contents))
        else:
            self.decisions.append(decision)
        if not decision.decided:
            self._pending[device] = self.decisions[-1]
        self.now = max(self.now, time)
        since, age = self._age_at[device]
        self._area[device] += (age + 0.5 * (time - since)) * (time - since)
        self._age_at[device] = (time, decision.age)
        self._phase[device] = self._phase_after(decision)

    def _replace(self, old: Decision, new: Decision) -> None:
        for back in range(len(self.decisions) - 1, -1, -1):
            if self.decisions[back] is old:
                self.decisions[back] = new
                return
        self.decisions.append(new)

    @staticmethod
    def _phase_after(decision: Decision) -> str:
        if not decision.decided:
            return WAITING
        if decision.kind == UPDATE or (decision.kind == JOINT and decision.wait):
            return WAITING
        return LOCAL if decision.server == 0 else f"edge {decision.server}"

    def ages(self, time: float | None = None) -> NDArray[np.float64]:
        """Age of every device (n_devices,), s, at `time` (default: the latest recorded instant)."""
        now = self.now if time is None else time
        return np.array([age + now - since for since, age in self._age_at])

    def phases(self) -> list[str]:
        """What every device does now: ``waiting``, ``local``, ``edge n`` or ``first task``.

        A joint decision tells nothing about the instant at which its wait ends; it is shown as waiting until then.
        """
        phases = list(self._phase)
        for device, decision in self._latest_joint().items():
            if decision.wait is not None and self.now > decision.time + decision.wait:
                phases[device] = LOCAL if decision.server == 0 else f"edge {decision.server}"
        return phases

    def _latest_joint(self) -> dict[int, Decision]:
        if not self.decisions or self.decisions[-1].kind != JOINT:
            return {}
        latest: dict[int, Decision] = {}
        for decision in reversed(self.decisions):
            latest.setdefault(decision.device, decision)
            if len(latest) == self.n_devices:
                break
        return latest

    def queues(self) -> tuple[int, ...]:
        """Length of every edge queue as seen by the latest decision, its own choice not included."""
        return self.decisions[-1].queues if self.decisions else (0,) * self.n_edges

    def contents(self) -> list[list[int | None]]:
        """Devices at every edge, in order of service; None for a task whose owner the record does not name.

        Where the caller recorded the contents they are exact. Otherwise the devices that last chose this edge are
        listed in the order of their choices; if they are more than the queue holds (some were dropped), none is named.
        """
        if self.decisions and self.decisions[-1].contents is not None:
            return [list(queue) for queue in self.decisions[-1].contents]
        latest: dict[int, Decision] = {}
        for decision in reversed(self.decisions):
            latest.setdefault(decision.device, decision)
            if len(latest) == self.n_devices:
                break
        current = self.decisions[-1].device if self.decisions else -1
        found: list[list[int | None]] = []
        for edge, length in enumerate(self.queues(), start=1):
            chosen = [d for d in latest.values() if d.server == edge and d.device != current]
            members = [d.device for d in sorted(chosen, key=lambda d: d.time)]
            members = members if len(members) <= length else []
            found.append([*([None] * (length - len(members))), *members])
        return found

    def sawtooth(self, device: int, start: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Age curve of one device: the corners (times, ages), both (k,), from `start` to now, s.

        It starts later than `start` if the decisions before have been forgotten.
        """
        inside: list[Decision] = []
        before: tuple[float, float] | None = (0.0, 0.0) if len(self.decisions) < (self.decisions.maxlen or 0) else None
        for decision in reversed(self.decisions):
            if decision.device == device:
                if decision.time < start:
                    before = (decision.time, decision.age)
                    break
                inside.append(decision)
        if before is None:
            before = (inside[-1].time, inside[-1].age) if inside else self._age_at[device]
        first = max(start, before[0])
        times, ages = [first], [before[1] + first - before[0]]
        for decision in reversed(inside):
            times.append(decision.time)
            ages.append(before[1] + decision.time - before[0])
            if decision.kind != OFFLOAD and decision.age < ages[-1]:
                times.append(decision.time)
                ages.append(decision.age)
            before = (decision.time, decision.age)
        if self.now > times[-1]:
            times.append(self.now)
            ages.append(before[1] + self.now - before[0])
        return np.array(times), np.array(ages)

    def mean_age(self, device: int) -> float:
        """Time average of the age of one device since the reset, s (nan if no time has passed)."""
        since, age = self._age_at[device]
        open_time = self.now - since
        area = self._area[device] + (age + 0.5 * open_time) * open_time
        return area / self.now if self.now > 0 else float("nan")


def edge_contents(world: World, lane: int = 0) -> list[list[int]]:
    """Devices whose task is at each edge of a simulated system, in order of service.

    Args:
        world: the simulator's arrays.
        lane: which of its systems.
    """
    contents = []
    for edge in world.edge[lane]:
        queue: list[int] = []
        device = int(edge["head"])
        while len(queue) < int(edge["length"]):
            queue.append(device)
            device = int(world.device[lane, device]["next"])
        contents.append(queue)
    return contents


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Record every decision of a scalar environment, without a render mode.

    Works around `AoIOffload` and the one-lane event stream `AoIOffloadGame`; the record stands in `events`.

    Args:
        env: an environment of the family, wrapped or not; observations must be the plain ones.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        params = env.unwrapped.params  # type: ignore[attr-defined]
        n_edges = len(params.edge_ghz)
        self._offset = int(np.prod(env.observation_space.shape or (0,))) - QUEUES - n_edges
        # The event stream prefixes the device's index; without it only device 0 decides.
        self.events = EventRecorder(params.n_devices if self._offset > 0 else 1, n_edges)
        self._open: tuple[float, int, int, NDArray[Any]] | None = None

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and forget the earlier record."""
        obs, info = self.env.reset(**kwargs)
        self.events.reset()
        self._note(obs, info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Record the decision with its action, then step."""
        if self._open is not None:
            self.events.record(*self._open, action)
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._note(obs, info)
        return obs, reward, terminated, truncated, info

    def _note(self, obs: Any, info: Mapping[str, Any]) -> None:
        plain = np.asarray(obs, dtype=float).ravel()[max(self._offset, 0) :]
        self._open = (float(info["time"]), int(info["device"]), int(info["kind"]), plain)
        self.events.record(*self._open)
