"""The rules shared by all checkers: what one interval must look like, and how intervals add up to the clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..core.info import REQUIRED_KEYS

RELATIVE = 1e-9
"""Relative tolerance of every sum in the contract."""

Info = Mapping[str, Any]
Policy = Callable[[Any, Info, np.random.Generator], Any]
"""Chooses an action from (observation, info, generator); the generator restarts with every episode."""


class ContractError(AssertionError):
    """An environment breaks the semi-Markov contract; the message is one sentence that says where and how."""


def fail(where: str, what: str) -> NoReturn:
    """Raise the checkers' error.

    Args:
        where: position in the run, for example ``"step 12"``.
        what: what is wrong there.

    Raises:
        ContractError: always.
    """
    raise ContractError(f"{where}: {what}.")


def close(a: float, b: float, scale: float = 0.0) -> bool:
    """Whether two numbers agree to `RELATIVE`, relative to the largest of both and `scale` (same unit)."""
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b), scale)


@dataclass(frozen=True, slots=True)
class Interval:
    """Time between two decisions of one agent.

    Attributes:
        cost: numerator's increment.
        duration: denominator's increment.
        time: the clock at its end.
        terms: named parts of the cost.
        agent: whose interval it is; None where the environment names no agent.
    """

    cost: float
    duration: float
    time: float
    terms: dict[str, float]
    agent: Hashable = None


def finite_number(value: Any, name: str, where: str) -> float:
    """Read a finite real number.

    Args:
        value: Python or numpy scalar, or an array with one element.
        name: how the message calls it.
        where: position in the run.

    Returns:
        The number.

    Raises:
        ContractError: if it is something else, or not finite.
    """
    is_number = isinstance(value, (int, float, np.number, np.ndarray)) and not isinstance(value, (bool, complex))
    if not is_number or np.size(value) != 1:
        fail(where, f"{name} is {value!r}, not a number")
    number = float(np.asarray(value, dtype=np.float64).reshape(()))
    if not math.isfinite(number):
        fail(where, f"{name} is {number}, not finite")
    return number


def read_interval(info: Info, where: str, agent: Hashable = None, name: str = "info") -> Interval:
    """Read one interval from an info and check the rules that concern it alone.

    Args:
        info: holds cost, duration, time and cost_terms.
        where: position in the run, for the message.
        agent: whose interval this is.
        name: how the message calls `info`.

    Returns:
        The interval.

    Raises:
        ContractError: if a key is missing, a value is not a finite number, the duration is negative, an empty interval
            costs something, or the terms do not add up to the cost.
    """
    missing = [key for key in REQUIRED_KEYS if key not in info]
    if missing:
        fail(where, f"{name} lacks {', '.join(missing)}")
    cost, duration, time = (finite_number(info[k], f"{name}[{k!r}]", where) for k in ("cost", "duration", "time"))
    parts = info["cost_terms"]
    if not isinstance(parts, Mapping) or not parts:
        fail(where, f"{name}['cost_terms'] is {parts!r}, not a dict of named parts of the cost")
    terms = {key: finite_number(value, f"{name}['cost_terms'][{key!r}]", where) for key, value in parts.items()}
    if duration < 0:
        fail(where, f"{name}['duration'] is {duration!r}, but time cannot run backwards")
    if duration == 0 and cost != 0:
        fail(where, f"{name}['cost'] is {cost!r} although no time passed (duration 0)")
    total = math.fsum(terms.values())
    if not close(total, cost, scale=max(map(abs, terms.values()))):
        fail(where, f"the cost_terms add up to {total!r} but the cost is {cost!r}")
    return Interval(cost, duration, time, terms, agent)


@dataclass(slots=True)
class Ledger:
    """Adds up every agent's own durations and compares them with the clock.

    Attributes:
        own: sum of durations per agent since the reset.
        now: latest time seen.
        decisions: number of intervals entered per agent.
    """

    own: dict[Hashable, float] = field(default_factory=dict)
    now: float = 0.0
    decisions: dict[Hashable, int] = field(default_factory=dict)

    def add(self, interval: Interval, where: str) -> None:
        """Enter one interval.

        Args:
            interval: the next one in the run.
            where: position in the run, for the message.

        Raises:
            ContractError: if the clock went back or differs from the sum of this agent's durations.
        """
        if interval.time < self.now and not close(interval.time, self.now):
            fail(where, f"the clock goes back from {self.now!r} to {interval.time!r}")
        total = self.own.get(interval.agent, 0.0) + interval.duration
        if not close(total, interval.time):
            who = "" if interval.agent is None else f" of agent {interval.agent!r}"
            fail(where, f"time is {interval.time!r} but the durations{who} since reset add up to {total!r}")
        self.own[interval.agent] = total
        self.decisions[interval.agent] = self.decisions.get(interval.agent, 0) + 1
        self.now = max(self.now, interval.time)


def check_reward(reward: Any, cost: float, where: str) -> None:
    """Check that the reward is minus the cost, to the precision of the reward's own type.

    Args:
        reward: scalar reward.
        cost: cost of the same interval.
        where: position in the run.

    Raises:
        ContractError: if it is not.
    """
    value = finite_number(reward, "the reward", where)
    narrow = getattr(reward, "dtype", None) in (np.dtype(np.float32), np.dtype(np.float16))
    tolerance = float(np.finfo(reward.dtype).eps) if narrow else RELATIVE
    if abs(value + cost) > tolerance * abs(cost):
        fail(where, f"the reward is {value!r} but the cost is {cost!r}, and an unwrapped reward is -cost")


def arrays_in(value: Any, path: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Every array inside nested dicts, tuples and object arrays, with a readable path."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            for index, item in enumerate(value.flat):
                yield from arrays_in(item, f"{path}[{index}]")
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from arrays_in(item, f"{path}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from arrays_in(item, f"{path}[{index}]")


def _owner(array: npt.NDArray[Any]) -> int:
    """Identity of the object that owns an array's memory: arrays that overlap have the same one."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return id(owner)


class Freshness:
    """Remembers the arrays of recent steps and notices when one is handed out twice or written to later."""

    def __init__(self, window: int = 4) -> None:
        self._recent: deque[list[tuple[str, npt.NDArray[Any], bytes]]] = deque(maxlen=window)

    def add(self, where: str, **values: Any) -> None:
        """Enter what one step returned.

        Args:
            where: position in the run.
            **values: the returned things by name.

        Raises:
            ContractError: if an array shares memory with one of an earlier step, or an earlier one has changed.
        """
        new = [entry for name, value in values.items() for entry in arrays_in(value, name)]
        owners: dict[int, list[tuple[str, npt.NDArray[Any]]]] = {}
        for path, array in new:
            owners.setdefault(_owner(array), []).append((path, array))
        for path, old, content in (entry for step in self._recent for entry in step):
            for new_path, array in owners.get(_owner(old), ()):
                if np.shares_memory(old, array):
                    fail(where, f"{new_path} is the same memory as {path} of an earlier step")
            if old.dtype != object and old.tobytes() != content:
                fail(where, f"{path} of an earlier step was overwritten by this one")
        self._recent.append([(path, array, array.tobytes()) for path, array in new])
