"""The simulator behind every face: arrays, kernel calls, seeds, statistics. It knows nothing of Gymnasium."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from . import kernel
from .integrity import check_state
from .params import AoIParams
from .state import (
    AGE,
    COST,
    DELAY,
    DROP,
    DURATION,
    GENERATE,
    KIND,
    OUT_DEVICE,
    OUT_KIND,
    OUTSIDE,
    QUEUES,
    SINCE_DONE,
    STATE_FIELDS,
    STREAM_OFFSET,
    TERM_0,
    TERM_1,
    TERM_2,
    TIME,
    World,
    allocate,
)

SELFISH_TERMS = ("waiting", "processing", "dropped")
TEAM_TERMS = ("own", "others")
OBJECTIVES = ("selfish", "team")


def step_info(team: bool, numbers: list[float], device: int, kind: int) -> dict[str, Any]:
    """The info of one step from one column of a step's output; written out because every scalar step pays for it."""
    cost, duration, time, first, second, third = numbers
    terms = {"own": first, "others": second} if team else {"waiting": first, "processing": second, "dropped": third}
    return {
        "cost": np.float64(cost),  # numpy numbers are floats with a dtype, which TorchRL's info reader asks for
        "duration": np.float64(duration),
        "time": np.float64(time),
        "cost_terms": terms,
        "device": device,
        "kind": kind,
    }


class Buffers:
    """Where the kernel writes the results of a reset or step of L lanes."""

    def __init__(self, lanes: int, width: int) -> None:
        self.obs = np.zeros((lanes, width), np.float32)  # zeros: lanes that a call leaves alone show no old memory
        self.out = np.zeros((6, lanes))
        self.ints = np.zeros((2, lanes), np.int32)

    def take(self, other: Buffers, lanes: NDArray[np.bool_]) -> None:
        """Overwrite the marked lanes by those of other buffers."""
        np.copyto(self.obs, other.obs, where=lanes[:, None])
        np.copyto(self.out, other.out, where=lanes)
        np.copyto(self.ints, other.ints, where=lanes)

    def info(self, team: bool) -> dict[str, Any]:
        """The info of a single lane."""
        (numbers,), ((device, kind),) = self.out.T.tolist(), self.ints.T.tolist()
        return step_info(team, numbers, device, kind)


class Simulator:
    """L independent systems of M devices and N edge nodes, advanced from decision to decision.

    Args:
        params: the physics.
        rules: (M,) RULE records: who decides for each device, and how.
        lanes: number of systems L.
        horizon: truncation time in seconds.
        objective: ``"selfish"`` prices a device's own age, ``"team"`` the mean over all devices.
        stream: observations carry the device's index.
        warmup: cycles that start before it are not counted in the statistics, in seconds.
        stagger: the first episode of lane i ends at (i + 1) / L of the horizon, so that lanes do not end together.

    Raises:
        InvalidInputError: horizon, objective or warmup out of range.

    Attributes:
        until: (L,) seconds, infinite by default. A lane stops before the first event at or after it: a step truncates
            it there, and the lane takes no further decision. Its counters are then those of cycles completed in time.
    """

    def __init__(
        self,
        params: AoIParams,
        rules: NDArray[np.void],
        lanes: int = 1,
        *,
        horizon: float = np.inf,
        objective: str = "selfish",
        stream: bool = False,
        warmup: float = 0.0,
        stagger: bool = False,
    ) -> None:
        if not (isinstance(horizon, float | int) and horizon > 0):
            raise InvalidInputError.of("horizon", "a positive number of seconds", horizon)
        if objective not in OBJECTIVES:
            raise InvalidInputError.of("objective", " or ".join(OBJECTIVES), objective)
        if not 0 <= warmup < np.inf:
            raise InvalidInputError.of("warmup", "a finite number of seconds >= 0", warmup)
        self.params, self.lanes = params, lanes
        self.team = objective == "team"
        self.term_names = TEAM_TERMS if self.team else SELFISH_TERMS
        self.width = params.n_edges + 4 + (STREAM_OFFSET if stream else 0)
        self.world: World = allocate(
            params, rules, lanes, horizon=horizon, warmup=warmup, team=self.team, stream=stream
        )
        self.until = np.full(lanes, np.inf)
        self._first_horizon = horizon * np.arange(1, lanes + 1) / lanes if stagger else np.full(lanes, float(horizon))
        self._horizon = self._first_horizon.copy()  # (L,) of the present episodes, in seconds
        self._everyone = np.ones(lanes, bool)
        self._nobody = np.zeros(lanes, bool)
        self._seeded = False
        self.halfway = False  # a call failed between two decisions of the agent: only a reset of all lanes leads on

    # --- episodes -----------------------------------------------------------------------------------------------------

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
        """Start the next episode of the masked lanes (all by default) and run to the first agent's decision."""
        mask = self._everyone if mask is None else mask
        self.halfway = self.halfway and not mask.all()
        buffers = results or Buffers(self.lanes, self.width)
        self.world.lane["episode"] += mask
        self._find_horizons()
        kernel.reset_lanes(mask, self.until, buffers.obs, buffers.out, buffers.ints, *self.world)
        return buffers

    def _find_horizons(self) -> None:
        later = self.world.lane["episode"] > 0
        self._horizon = np.where(later, self.world.params["horizon"], self._first_horizon)

    def step(
        self,
        server: NDArray[np.int64],
        wait: NDArray[np.floating[Any]],
        skip: NDArray[np.bool_] | None = None,
        buffers: Buffers | None = None,
    ) -> tuple[Buffers, NDArray[np.bool_]]:
        """One decision in every lane that is not skipped.

        Args:
            server: (L,) servers; ignored where the pending decision does not choose one.
            wait: (L,) waiting times in seconds; ignored likewise.
            skip: (L,) lanes to leave alone; their rows of ``buffers`` stay.
            buffers: where to write; fresh by default.

        Returns:
            The results and the (L,) truncation flags.

        Raises:
            InvalidInputError: an action that counts is NaN or out of range; then no lane has moved.
        """
        buffers = buffers or Buffers(self.lanes, self.width)
        truncated = np.zeros(self.lanes, bool)
        skip = self._nobody if skip is None else skip
        lane, problem = kernel.step_lanes(
            server,
            wait,
            skip,
            self.until,
            self._horizon,
            buffers.obs,
            buffers.out,
            buffers.ints,
            truncated,
            *self.world,
        )
        if problem:
            raise self.invalid_action(problem, server[lane], wait[lane], lane)
        return buffers, truncated

    def invalid_action(self, problem: int, server: Any, wait: Any, lane: int | None = None) -> InvalidInputError:
        """The error for a kernel's code of an invalid action."""
        where = "" if lane is None else f" of lane {lane}"
        if problem == -1:
            return InvalidInputError.of(f"server{where}", f"an integer in [0, {self.params.n_edges}]", int(server))
        return InvalidInputError.of(f"wait{where}", f"a number in [0, {self.params.z_max:g}] s", float(wait))

    def pending(self) -> Buffers:
        """What a step of duration 0 would report now: observation, time, device and kind of every lane, at no cost."""
        lane, edge = self.world.lane, self.world.edge
        device = self.world.device[np.arange(self.lanes), lane["device"]]
        buffers = Buffers(self.lanes, self.width)
        first = self.width - QUEUES - self.params.n_edges
        if first:
            buffers.obs[:, 0] = lane["device"]
        columns = buffers.obs[:, first:]
        columns[:, KIND] = lane["kind"]
        columns[:, DELAY] = device["last_done"] - device["gen_last"]
        columns[:, AGE] = lane["time"] - device["gen_last"]
        columns[:, SINCE_DONE] = lane["time"] - device["last_done"]
        columns[:, QUEUES:] = edge["length"]
        buffers.out[TIME] = lane["time"]
        buffers.ints[OUT_DEVICE], buffers.ints[OUT_KIND] = lane["device"], lane["kind"]
        return buffers

    def done(self) -> NDArray[np.bool_]:
        """(L,) whether each lane's episode is over."""
        return self.world.lane["done"].astype(bool)

    # --- results ------------------------------------------------------------------------------------------------------

    def info(self, buffers: Buffers) -> dict[str, Any]:
        """The info arrays of a reset or step, each (L,)."""
        out, ints = buffers.out, buffers.ints
        terms = (out[TERM_0], out[TERM_1], out[TERM_2])
        return {
            "cost": out[COST],
            "duration": out[DURATION],
            "time": out[TIME],
            "cost_terms": dict(zip(self.term_names, terms, strict=False)),
            "device": ints[OUT_DEVICE],
            "kind": ints[OUT_KIND],
        }

    def open_intervals(self, lane: int, buffers: Buffers) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Final observations (M, 4 + N) and, in rows as in a step's output, the open intervals (6, M) of a lane."""
        devices = self.params.n_devices
        obs = np.empty((devices, self.params.n_edges + 4), np.float32)
        out = np.empty((6, devices))
        kernel.open_intervals(lane, buffers.out, obs, out, *self.world)
        return obs, out

    def stretch(self, gen_before: NDArray[np.float64], start: float, buffers: Buffers) -> NDArray[np.float64]:
        """What lane 0's last step cost every device, whoever decided.

        Args:
            gen_before: (M,) generation time of each device's freshest completed task when the step began, in seconds.
            start: when it began, in seconds.
            buffers: the step's results.

        Returns:
            (6, M), rows as in a step's output.
        """
        now, devices = float(buffers.out[TIME, 0]), self.params.n_devices
        length = now - start
        own = ((start - gen_before) + 0.5 * length) * length
        table = np.zeros((6, devices))
        table[COST], table[DURATION], table[TIME] = own, length, now
        if self.team:
            table[COST] = own.mean()
            table[TERM_0], table[TERM_1] = own / devices, table[COST] - own / devices
        else:
            table[TERM_0 + self._phases(buffers), np.arange(devices)] = own
        return table

    def _phases(self, buffers: Buffers) -> NDArray[np.int64]:
        """What each device of lane 0 did during the step: 0 waiting, 1 processing, 2 losing time to a dropped task."""
        device = self.world.device[0]
        lost = (device["code"] == DROP) & (device["prev"] == OUTSIDE)
        lost &= self.params.drop_rule.mode != "deadline"
        phases = np.where(device["code"] == GENERATE, 0, np.where(lost, 2, 1))
        phases[buffers.ints[OUT_DEVICE, 0]] = int(np.argmax(buffers.out[TERM_0:, 0]))
        return phases

    def statistics(self) -> dict[str, NDArray[Any]]:
        """What happened since the last reset, per lane and device, over the cycles that started after the warm-up.

        Returns:
            Arrays (L, M): ``completions``; sums over completed cycles ``area`` (s^2), ``time`` (s), ``peak`` (age just
            before completion, s), ``wait_sum`` (chosen waits, s) with ``waits`` how many; ``attempts`` and ``drops``;
            ``last_done`` (s); ``paper_area`` (s^2), the released code's numerator: the trapezoids from the second
            cycle on, which telescope to area - Y^2 / 2; it speaks of whole episodes and is NaN with a warm-up.
            ``servers`` is (L, M, N + 1).
        """
        d = self.world.device
        first_counts = self.world.params["warmup"][0] == 0.0
        completions = d["completions"].astype(np.int64)
        delay = d["last_done"] - d["gen_last"]
        return {
            "completions": completions,
            "area": d["area"].copy(),
            "time": d["length"].copy(),
            "peak": d["peak"].copy(),
            "wait_sum": d["wait_sum"].copy(),
            "waits": np.maximum(completions - int(first_counts), 0),
            "attempts": self.world.choices.sum(axis=2, dtype=np.int64),
            "drops": d["drops"].astype(np.int64),
            "last_done": d["last_done"].copy(),
            "paper_area": d["area"] - 0.5 * delay**2 if first_counts else np.full(delay.shape, np.nan),
            "servers": self.world.choices.astype(np.int64),
        }

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything that changes while the simulator runs; `set_state` continues bit for bit."""
        return {name: getattr(self.world, name).copy() for name in STATE_FIELDS}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from a copied state.

        Raises:
            InvalidInputError: an array is missing, does not fit these parameters, or holds what the simulator cannot
                have written (see `integrity.check_state`); nothing is written then.
        """
        for name in STATE_FIELDS:
            mine, given = getattr(self.world, name), state.get(name)
            if not isinstance(given, np.ndarray) or given.shape != mine.shape or given.dtype != mine.dtype:
                raise InvalidInputError(f"state: {name!r} must be an array of shape {mine.shape} and type {mine.dtype}")
        check_state(state)
        for name in STATE_FIELDS:
            getattr(self.world, name)[...] = state[name]
        self._find_horizons()
        self._seeded, self.halfway = True, False
