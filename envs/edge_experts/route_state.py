"""Memory layout of routing: record types, rows of the outputs, and the tables that the kernel reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LANE = np.dtype(
    [
        ("seed", "u8"),
        ("episode", "i8"),
        ("prompt_key", "u8"),
        ("arrival_key", "u8"),
        ("outage_key", "u8"),  # lacks its last part, the expert
        ("quality_key", "u8"),
        ("clock", "f8"),  # wall clock, s
        ("time", "f8"),  # sum of durations
        ("energy", "f8"),  # used since the reset, J
        ("steps", "i8"),  # prompts answered since the reset
        ("prompt", "i8"),  # row of the pending prompt
    ],
    align=True,
)

PARAMS = np.dtype(
    [
        ("rate", "f8"),
        ("p_fail", "f8"),
        ("p_repair", "f8"),
        ("energy_price", "f8"),
        ("delay_price", "f8"),
        ("energy_unit", "f8"),
        ("energy_budget", "f8"),
        ("delay_budget", "f8"),
        ("gate_energy", "f8"),
        ("idle_watts", "f8"),
        ("t_gate", "f8"),
        ("t_agg", "f8"),
        ("horizon", "f8"),
        ("objective", "i4"),
        ("constraints", "i4"),
        ("bernoulli", "i4"),
        ("best", "i4"),
        ("queues", "i4"),
        ("dynamic", "i4"),
        ("hard", "i4"),
        ("equal", "i4"),  # all prompts are equally likely
        ("delays", "i4"),  # there are delay budgets
    ],
    align=True,
)

ROWS = (
    ("", "cost"),
    ("", "duration"),
    ("", "time"),
    ("cost_terms", "quality"),
    ("cost_terms", "energy"),
    ("cost_terms", "delay"),
    ("constraint_costs", "energy"),
    ("constraint_costs", "delay"),
    ("constraint_limits", "energy"),
    ("constraint_limits", "delay"),
    ("", "clock_s"),
    ("", "quality"),
    ("", "delay_s"),
    ("", "energy_J"),
    ("", "category"),
)
"""Rows of a step's numbers, in the order of the names below."""
COST, DURATION, TIME, QUALITY_TERM, ENERGY_TERM, DELAY_TERM, ENERGY_USED, DELAY_USED = range(8)
ENERGY_LIMIT, DELAY_LIMIT, CLOCK, QUALITY, DELAY, JOULES, CATEGORY = range(8, len(ROWS))


class Tables(NamedTuple):
    """What does not change while lanes run: M prompts, n experts, C categories."""

    upload: NDArray[np.float64]  # (M, n) s
    compute: NDArray[np.float64]  # (M, n) s
    download: NDArray[np.float64]  # (M, n) s
    energy: NDArray[np.float64]  # (M, n) J
    quality: NDArray[np.float64]  # (M, n)
    logit: NDArray[np.float64]  # (M, n) of the gate, or zeros
    head: NDArray[np.float32]  # (M, d + C + 2 + n) the part of an observation that a prompt fixes
    category: NDArray[np.int64]  # (M,)
    cumulative: NDArray[np.float64]  # (M,) cumulative prompt weights
    device: NDArray[np.int64]  # (n,)
    rtt: NDArray[np.float64]  # (n,) s
    tau: NDArray[np.float64]  # (C,) s
    params: NDArray[np.void]  # (1,) PARAMS


class Lanes(NamedTuple):
    """What changes: L lanes, V devices."""

    lane: NDArray[np.void]  # (L,) LANE
    free_at: NDArray[np.float64]  # (L, V) when each device has served all it was given, s on the wall clock
    up: NDArray[np.uint8]  # (L, n) whether each expert works


LANE_ARRAYS = len(Lanes._fields)


def allocate(lanes: int, experts: int, devices: int) -> Lanes:
    """Zeros for so many lanes."""
    return Lanes(np.zeros(lanes, LANE), np.zeros((lanes, devices)), np.zeros((lanes, experts), np.uint8))


def arrays(state: Lanes) -> dict[str, NDArray[Any]]:
    """The arrays of lanes by name."""
    return state._asdict()
