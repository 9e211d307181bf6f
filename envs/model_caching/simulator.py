"""The simulator behind every face: arrays, kernel calls, seeds, state. It knows nothing of Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from . import kernel
from .integrity import check_state
from .params import CachingParams
from .state import (
    COST,
    DURATION,
    FIGURES,
    LOADS,
    OUT_ROWS,
    STATE_FIELDS,
    SWITCHING,
    TERMS,
    TIME,
    World,
    allocate,
    observation_width,
)
from .workload import Slots, load_slots, shared_slots


class Buffers:
    """Where the kernel writes the results of a reset or step of L lanes."""

    def __init__(self, lanes: int, agents: int, width: int) -> None:
        self.obs = np.zeros((lanes, width), np.float32)
        self.out = np.zeros((OUT_ROWS, lanes))
        self.plan = np.zeros((lanes, agents), np.int8)
        self.served = np.zeros((lanes, agents))
        self.parts = np.zeros((lanes, agents))

    def take(self, other: Buffers, lanes: NDArray[np.bool_]) -> None:
        """Overwrite the marked lanes by those of other buffers."""
        for name in ("obs", "plan", "served", "parts"):
            np.copyto(getattr(self, name), getattr(other, name), where=lanes[:, None])
        np.copyto(self.out, other.out, where=lanes)

    def lane_info(self, lane: int = 0) -> dict[str, Any]:
        """Info of a single lane; its arrays are copies."""
        numbers = self.out[:, lane].tolist()
        return {
            "cost": np.float64(numbers[COST]),  # numpy numbers are floats with a dtype, which TorchRL asks for
            "duration": np.float64(numbers[DURATION]),
            "time": np.float64(numbers[TIME]),
            "cost_terms": dict(zip(TERMS, numbers[SWITCHING : SWITCHING + len(TERMS)], strict=True)),
            **dict(zip(FIGURES, numbers[LOADS:OUT_ROWS], strict=True)),
            "cache": self.plan[lane].copy(),
            "local_share": self.served[lane].copy(),
            "cost_by_agent": self.parts[lane].copy(),
        }


class Simulator:
    """L independent edge servers, advanced slot by slot.

    Args:
        params: the system.
        lanes: number of servers L.
        horizon: slots of an episode.
        share_trace: every request of a trace goes to one of the servers; otherwise each replays all of them.

    Raises:
        InvalidInputError: the horizon is out of range, or longer than the trace to be replayed.
    """

    def __init__(
        self, params: CachingParams, lanes: int = 1, *, horizon: float = 100.0, share_trace: bool = False
    ) -> None:
        if isinstance(horizon, bool) or not isinstance(horizon, float | int) or not horizon >= 1 or horizon % 1 != 0:
            raise InvalidInputError.of("horizon", "a whole number of slots, at least 1", horizon)
        shared = share_trace and params.workload == "trace"
        if shared:
            trace: Slots | None = shared_slots(params, horizon, lanes)
        else:
            trace = load_slots(params, horizon) if params.workload == "trace" else None
        self.params, self.lanes, self.horizon = params, lanes, float(horizon)
        self.world: World = allocate(params, lanes, self.horizon, trace, shared)
        self.width = observation_width(params)
        self._everyone, self._nobody = np.ones(lanes, bool), np.zeros(lanes, bool)
        self._seeded = False

    def buffers(self) -> Buffers:
        """Fresh output arrays."""
        return Buffers(self.lanes, self.params.n_agents, self.width)

    def seed(self, seeds: NDArray[np.uint64]) -> None:
        """Give every lane its seed; the next `reset` starts episode 0."""
        self.world.lane["seed"] = seeds
        self.world.lane["episode"] = -1
        self._seeded = True

    @property
    def seeded(self) -> bool:
        """Whether `seed` was called."""
        return self._seeded

    def reset(self, mask: NDArray[np.bool_] | None = None, results: Buffers | None = None) -> Buffers:
        """Start the next episode of the masked lanes (all by default)."""
        mask = self._everyone if mask is None else mask
        buffers = results or self.buffers()
        self.world.lane["episode"] += mask
        kernel.reset_lanes(mask, buffers.obs, buffers.out, *self.world)
        return buffers

    def step(
        self,
        cache: NDArray[np.int8],
        share: NDArray[np.floating[Any]],
        skip: NDArray[np.bool_] | None = None,
        buffers: Buffers | None = None,
    ) -> Buffers:
        """One slot in every lane that is not skipped.

        Args:
            cache: (L, I) requested cache bits.
            share: (L, I) requested local shares.
            skip: (L,) lanes to leave alone; their rows of ``buffers`` stay.
            buffers: where to write; fresh by default.

        Raises:
            InvalidInputError: an entry is NaN or out of range; then no lane has moved.
        """
        buffers = buffers or self.buffers()
        skip = self._nobody if skip is None else skip
        found = kernel.step_lanes(
            cache, share, skip, buffers.plan, buffers.served, buffers.parts, buffers.obs, buffers.out, *self.world
        )
        self._refuse(found, cache, share)
        return buffers

    def project(self, cache: NDArray[np.int8], share: NDArray[np.float64]) -> Buffers:
        """The first half of a slot with a market: the feasible action of every lane, and the energy it uses.

        Raises:
            InvalidInputError: an entry is NaN or out of range; then nothing has changed.
        """
        buffers = self.buffers()
        found = kernel.project_lanes(cache, share, self._nobody, buffers.plan, buffers.served, buffers.out, *self.world)
        self._refuse(found, cache, share)
        return buffers

    def settle(self, buffers: Buffers, bought: NDArray[np.int64], sold: NDArray[np.float64]) -> None:
        """The second half: carry out a projected action.

        Args:
            buffers: from `project`; the rest of them is written.
            bought: (L, I) extra paths of each agent.
            sold: (L,) energy that each lane spends on paths it sold, J.
        """
        kernel.settle_lanes(
            buffers.plan, buffers.served, bought, sold, buffers.parts, buffers.obs, buffers.out, *self.world
        )

    def _refuse(self, found: tuple[int, int, int], cache: NDArray[np.int8], share: NDArray[np.floating[Any]]) -> None:
        """Raise for the first invalid entry that the kernel found, if any."""
        lane, agent, problem = found
        if problem:
            where = f"[{agent}]" + ("" if self.lanes == 1 else f" of lane {lane}")
            if problem == 1:
                raise InvalidInputError.of(f"cache{where}", "0 or 1", cache[lane, agent])
            raise InvalidInputError.of(f"local_share{where}", "a number in [0, 1]", float(share[lane, agent]))

    def pending(self) -> Buffers:
        """What the lanes show now, at no cost: the slots to be decided, and the time."""
        buffers = self.buffers()
        kernel.observe_lanes(buffers.obs, *self.world)
        buffers.out[TIME] = self.world.lane["time"]
        return buffers

    def info(self, buffers: Buffers) -> dict[str, Any]:
        """Infos of all lanes: views of the buffers, arrays (L,) and (L, I)."""
        out = buffers.out
        return {
            "cost": out[COST],
            "duration": out[DURATION],
            "time": out[TIME],
            "cost_terms": {name: out[SWITCHING + k] for k, name in enumerate(TERMS)},
            **{name: out[LOADS + k] for k, name in enumerate(FIGURES)},
            "cache": buffers.plan,
            "local_share": buffers.served,
            "cost_by_agent": buffers.parts,
        }

    def done(self) -> NDArray[np.bool_]:
        """(L,) whether each lane's episode is over."""
        return self.world.lane["done"].astype(bool)

    # --- inspection ---------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole simulator state."""
        return {name: getattr(self.world, name).copy() for name in STATE_FIELDS}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters, or no simulator can have written it.
        """
        check_state(state, self.world)
        for name in STATE_FIELDS:
            getattr(self.world, name)[...] = state[name]
        self._seeded = True
