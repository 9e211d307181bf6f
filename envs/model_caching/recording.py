"""The record of an episode, slot by slot: what pictures and reports are drawn from."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .instance import draw_instance
from .params import CachingParams
from .state import TERMS


class Slot(NamedTuple):
    """One slot that was carried out; arrays (I,).

    Attributes:
        number: of the slot, from 1.
        requests: demand.
        cache: resident in it, bool.
        loaded: resident in it and not before, bool.
        evicted: resident before and not in it, bool.
        share: of the requests served here.
        kappa: age of thoughts at its end.
        memory: in use, GB.
        cost: of the slot.
        terms: its parts, in the order of `TERMS`.
    """

    number: int
    requests: NDArray[np.int32]
    cache: NDArray[np.bool_]
    loaded: NDArray[np.bool_]
    evicted: NDArray[np.bool_]
    share: NDArray[np.float64]
    kappa: NDArray[np.float64]
    memory: float
    cost: float
    terms: tuple[float, ...]


class SlotRecorder:
    """The latest slots of one server's episode.

    Args:
        params: the system.
        keep: slots that are kept; means count all of the episode.
    """

    def __init__(self, params: CachingParams, keep: int = 200) -> None:
        static = draw_instance(params)
        self.capacity = params.capacity_gb
        self.models = [params.models[number] for number in static["model"]]
        self.memory_gb: NDArray[np.float64] = static["memory"].copy()
        self.slots: deque[Slot] = deque(maxlen=keep)
        self.reset()

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return len(self.models)

    def reset(self) -> None:
        """Forget all: an episode begins, or the state was set (what is resident then counts as loaded next)."""
        self.slots.clear()
        self._held = np.zeros(self.n_agents, bool)
        self._cost, self._count = 0.0, 0

    def record(self, requests: NDArray[Any], kappa: NDArray[Any], info: Mapping[str, Any]) -> None:
        """Note a slot.

        Args:
            requests: (I,) its demand.
            kappa: (I,) age of thoughts at its end.
            info: of the step that carried it out.
        """
        cache = np.asarray(info["cache"]) > 0
        self.slots.append(
            Slot(
                int(info["time"]),
                np.array(requests, np.int32),
                cache,
                cache & ~self._held,
                self._held & ~cache,
                np.array(info["local_share"], np.float64),
                np.array(kappa, np.float64),
                float(info["memory"]),
                float(info["cost"]),
                tuple(float(info["cost_terms"][name]) for name in TERMS),
            )
        )
        self._held = cache
        self._cost += self.slots[-1].cost
        self._count += 1

    @property
    def mean_cost(self) -> float:
        """Mean cost per slot of the episode so far; NaN before its first slot."""
        return self._cost / self._count if self._count else float("nan")

    def history(self, field: str) -> NDArray[Any]:
        """A field of all kept slots, (I, slots)."""
        return np.array([getattr(slot, field) for slot in self.slots]).reshape(-1, self.n_agents).T
