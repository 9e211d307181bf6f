"""Memory layout of the simulator: record types, constants and their allocation.

The state is an array of records rather than one array per field: a decision touches one random device of a lane, and
a record puts all of it on two cache lines. Lanes are independent systems of M devices and N edge nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from .params import DROP_MODES, AoIParams

# Columns of an observation; the event stream puts the device's index in front and shifts these by STREAM_OFFSET.
KIND, DELAY, AGE, SINCE_DONE, QUEUES = range(5)
STREAM_OFFSET = 1

# Kinds of decision; IDLE marks the observation of a device whose decision is not pending.
UPDATE, OFFLOAD, JOINT, IDLE = range(4)

# Event codes in tie order; at equal times the lower code goes first, then the lower device. Numbers of numpy, like all
# integers that compiled functions hand on: for each literal, and for each width, numba compiles the callee once more.
_codes: Any = np.arange(5)
EDGE_DONE, LOCAL_DONE, DROP, GENERATE, ARRIVE = _codes

# Who decides for a device.
SCRIPTED, STAGED_AGENT, JOINT_AGENT = range(3)

# Scripted rules, in the order of their codes.
SERVER_RULES = ("local", "uniform", "edge-uniform", "jsq", "jsq-unless", "pgoa", "server")
LOCAL, UNIFORM, EDGE_UNIFORM, JSQ, JSQ_UNLESS, PGOA, SERVER = range(7)
WAIT_RULES = ("fixed", "uniform", "threshold")
FIXED, UNIFORM_WAIT, THRESHOLD = range(3)

# Rows of the float and integer outputs of a step.
COST, DURATION, TIME, TERM_0, TERM_1, TERM_2 = range(6)
OUT_DEVICE, OUT_KIND = range(2)

NOBODY, OUTSIDE = -1, -2
"""Instead of a neighbour's index: the end of a queue; not in any queue."""

LANE = np.dtype(
    [
        ("seed", "u8"),
        ("episode", "i8"),
        ("service_key", "u8"),  # both keys lack their last part, the device
        ("policy_key", "u8"),
        ("time", "f8"),
        ("team_area", "f8"),  # integral of the sum of all ages
        ("gen_sum", "f8"),  # sum of the devices' gen_last
        ("decisions", "i8"),  # decisions taken since reset, scripted ones included
        ("device", "i4"),  # whose decision is pending
        ("kind", "i4"),  # its kind
        ("done", "i8"),  # truncated and not yet reset
    ]
)

DEVICE = np.dtype(
    [
        # first cache line: what every decision touches
        ("gen_last", "f8"),  # generation time of the freshest completed task
        ("last_done", "f8"),
        ("last_decision", "f8"),
        ("gen", "f8"),  # generation time of the current task
        ("service", "f8"),  # drawn service time of the current task
        ("wait", "f8"),  # last chosen waiting time
        ("next", "i4"),  # neighbours in the edge queue
        ("prev", "i4"),
        ("attempts", "u4"),  # service draws since reset: the counter of the service stream
        ("place", "i2"),  # of the current task; 0 is local
        ("code", "i2"),  # of the pending event
        # second cache line: bookkeeping
        ("deadline", "f8"),
        ("team_mark", "f8"),  # the lane's team_area at this device's last decision
        ("area", "f8"),  # sums over counted cycles: area, length, peak age, chosen wait
        ("length", "f8"),
        ("peak", "f8"),
        ("wait_sum", "f8"),
        ("completions", "u4"),
        ("drops", "u4"),
        ("policy_draws", "u4"),  # counter of the policy stream
        ("pad", "u4"),
    ]
)

EDGE = np.dtype([("head", "i4"), ("tail", "i4"), ("length", "i4"), ("pad", "i4")])

GROUP = 8
"""Timers are kept in groups of this size: 64 bytes."""
ROOT = GROUP - 1
"""Position of the timers' overall minimum; the children of position p begin at (p - ROOT + 1) * GROUP."""

MEMORY = np.dtype(
    [
        ("draw_sum", "f8"),  # running mean of the service draws of a (device, place)
        ("draws", "i8"),
        ("delay_sum", "f8"),  # PGOA: delay per unit of queue seen
        ("delays", "i8"),
        ("seen", "i8"),  # queue at this place when it was last chosen, the own task included
    ]
)

RULE = np.dtype(
    [
        ("agent", "i4"),  # SCRIPTED, STAGED_AGENT or JOINT_AGENT
        ("server", "i4"),  # code of the scripted server rule and its number
        ("server_number", "f8"),
        ("wait", "i4"),  # code of the scripted wait rule and its numbers
        ("wait_low", "f8"),
        ("wait_high", "f8"),
    ],
    align=True,
)

PARAMS = np.dtype(
    [
        ("service", "i4"),
        ("drop", "i4"),
        ("running", "i4"),
        ("team", "i4"),
        ("remembers", "i4"),  # the memory array is in use
        ("stream", "i4"),  # observations carry the device's index
        ("initial_queue_limit", "i4"),
        ("service_parameter", "f8"),
        ("law_mean", "f8"),
        ("drop_coefficient", "f8"),
        ("transmission", "f8"),
        ("z_max", "f8"),
        ("horizon", "f8"),
        ("warmup", "f8"),
    ],
    align=True,
)


class World(NamedTuple):
    """All arrays of L lanes with M devices and N edges, in the order in which the kernel takes them."""

    lane: NDArray[np.void]  # (L,) LANE
    device: NDArray[np.void]  # (L, M) DEVICE
    edge: NDArray[np.void]  # (L, N) EDGE
    timer: NDArray[
        np.float64
    ]  # (L, T) times of the M pending events, then the minima of groups, of groups of these, ...
    memory: NDArray[np.void]  # (L, M, N + 1) MEMORY, or (1, 1, 1) when unused
    choices: NDArray[np.uint32]  # (L, M, N + 1) how often each place was chosen
    rule: NDArray[np.void]  # (M,) RULE
    scale: NDArray[np.float64]  # (M, N + 1) service scale in seconds
    params: NDArray[np.void]  # (1,) PARAMS


STATE_FIELDS = ("lane", "device", "edge", "timer", "memory", "choices")


@numba.njit(forceinline=True, cache=True)
def first_leaf(devices: int) -> int:
    """Position of device 0's timer: behind the minima of a complete tree with GROUP children per node."""
    return (devices + GROUP - 3) // (GROUP - 1) + ROOT


def _timer_length(devices: int) -> int:
    """Number of positions of one lane, whole groups."""
    return -(-(first_leaf(devices) + devices) // GROUP) * GROUP


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that start on a cache line, so that a record of 64 bytes lies on one."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def allocate(
    params: AoIParams,
    rules: NDArray[np.void],
    lanes: int,
    *,
    horizon: float = np.inf,
    warmup: float = 0.0,
    team: bool = False,
    stream: bool = False,
) -> World:
    """Allocate the arrays of ``lanes`` independent systems.

    Args:
        params: the physics.
        rules: (M,) RULE records, from `policies.rules`.
        lanes: number of systems L.
        horizon: episodes are truncated at the first decision at or after it, in seconds.
        warmup: cycles that start before it are not counted in the statistics, in seconds.
        team: price every device's age in an agent's cost.
        stream: put the device's index in front of the observation.
    """
    devices, edges = params.n_devices, params.n_edges
    remembers = params.drop_mean == "running" or bool((rules["server"] == PGOA).any())
    block = np.zeros(1, PARAMS)
    block["service"], block["service_parameter"] = params.law.code, params.law.parameter
    block["law_mean"] = params.law.mean
    block["drop"], block["drop_coefficient"] = params.drop_rule.code, params.drop_rule.coefficient
    block["running"] = params.drop_mean == "running" and params.drop_rule.mode != DROP_MODES[0]
    block["team"], block["stream"], block["remembers"] = team, stream, remembers
    block["initial_queue_limit"] = params.initial_queue_limit
    block["transmission"], block["z_max"] = params.transmission_s, params.z_max
    block["horizon"], block["warmup"] = horizon, warmup
    return World(
        lane=_aligned((lanes,), LANE),
        device=_aligned((lanes, devices), DEVICE),
        edge=np.zeros((lanes, edges), EDGE),
        timer=_aligned((lanes, _timer_length(devices)), np.dtype(np.float64)),
        memory=np.zeros((lanes, devices, edges + 1) if remembers else (1, 1, 1), MEMORY),
        choices=np.zeros((lanes, devices, edges + 1), np.uint32),
        rule=rules,
        scale=params.scales(),
        params=block,
    )
