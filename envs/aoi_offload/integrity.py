"""Is a saved state one that the simulator can have written?

Compiled code follows the indices in a state without a bounds check, and a state may come from somebody else's
checkpoint: everything that it would trust is checked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import InvalidInputError
from .state import ARRIVE, DROP, EDGE_DONE, GROUP, JOINT, NOBODY, OUTSIDE, ROOT, UPDATE, first_leaf


def _require(holds: ArrayLike, what: str) -> None:
    if not np.all(holds):
        raise InvalidInputError(f"state: {what}; no state of get_state() is like that")


def _between(values: NDArray[Any], low: int, high: int) -> NDArray[np.bool_]:
    return (values >= low) & (values <= high)


def check_state(state: Mapping[str, NDArray[Any]]) -> None:
    """Check the contents of a state whose arrays have the right shapes and types.

    Args:
        state: the arrays of `STATE_FIELDS`, saved while an agent's decision is pending in every lane.

    Raises:
        InvalidInputError: a number is not finite, an index or code is out of range, or queues and timers contradict
            each other.
    """
    lane, device, edge = state["lane"], state["device"], state["edge"]
    devices, edges = device.shape[1], edge.shape[1]
    for name in ("lane", "device", "memory"):
        for column in (
            c for c in state[name].dtype.names or () if state[name].dtype[c].kind == "f" and c != "deadline"
        ):
            _require(np.isfinite(state[name][column]), f"{name}.{column} must be finite")
    _require(~np.isnan(device["deadline"]), "device.deadline must be a number")
    _require(_between(lane["device"], 0, devices - 1), f"lane.device must be in [0, {devices - 1}]")
    _require(_between(lane["kind"], UPDATE, JOINT), f"lane.kind must be in [{UPDATE}, {JOINT}]")
    _require(_between(device["place"], 0, edges), f"device.place must be in [0, {edges}]")
    _require(_between(device["code"], EDGE_DONE, ARRIVE), f"device.code must be in [{EDGE_DONE}, {ARRIVE}]")
    _require(_between(device["next"], NOBODY, devices - 1), "device.next must be a device or nobody")
    _require(_between(device["prev"], OUTSIDE, devices - 1), "device.prev must be a device, nobody or outside")
    for end in ("head", "tail"):
        _require(_between(edge[end], NOBODY, devices - 1), f"edge.{end} must be a device or nobody")
    _check_queues(device, edge)
    _check_timers(state["timer"], lane, device)


def _check_queues(device: NDArray[np.void], edge: NDArray[np.void]) -> None:
    """The linked lists: as long as they say, tied in both directions, each with one head and one tail."""
    queued = device["prev"] != OUTSIDE
    _require(~queued | (device["place"] > 0), "a queued device must have an edge node as its place")
    first, last = queued & (device["prev"] == NOBODY), queued & (device["next"] == NOBODY)
    for n in range(edge.shape[1]):
        here = queued & (device["place"] == n + 1)
        _require(here.sum(1) == edge["length"][:, n], "edge.length must count the queued devices")
        for end, mark in (("head", first), ("tail", last)):
            at_end, some = here & mark, edge["length"][:, n] > 0
            _require(at_end.sum(1) == some, f"a queue must have one {end}")
            _require(~some | (at_end.argmax(1) == edge[end][:, n]), f"edge.{end} must be the {end} of its queue")
    own = np.arange(device.shape[1])
    for ahead, back in (("next", "prev"), ("prev", "next")):
        linked = queued & (device[ahead] >= 0)
        neighbour = np.where(linked, device[ahead], 0)
        mutual = np.take_along_axis(device[back], neighbour, 1) == own
        together = np.take_along_axis(device["place"], neighbour, 1) == device["place"]
        inside = np.take_along_axis(queued, neighbour, 1)
        _require(~linked | (mutual & together & inside), "neighbours in a queue must point at each other")


def _check_timers(timer: NDArray[np.float64], lane: NDArray[np.void], device: NDArray[np.void]) -> None:
    """Every device but the one whose decision is pending has an event ahead, and some event ends every wait."""
    devices = device.shape[1]
    leaves = first_leaf(devices)
    times = timer[:, leaves : leaves + devices]
    others = np.arange(devices) != lane["device"][:, None]
    ahead = times >= lane["time"][:, None]  # false for NaN
    _require(~np.isnan(timer) & (timer >= 0), "timer must hold times")
    _require(~others | ahead, "timer must not lie before lane.time")
    if devices > 1:
        _require(np.where(others, times, np.inf).min(1) < np.inf, "timer must hold an event to come")
    queued = device["prev"] != OUTSIDE
    _require(~queued | np.isin(device["code"], (EDGE_DONE, DROP)), "a queued device must wait for EDGE_DONE or DROP")
    loose = others & ~queued
    _require(~loose | (device["code"] != EDGE_DONE), "EDGE_DONE needs a queued device")
    _require(~loose | (device["code"] != ARRIVE) | (device["place"] > 0), "ARRIVE needs an edge node as its place")
    for place in range(ROOT, leaves):
        start = (place - ROOT + 1) * GROUP
        least = timer[:, start : start + GROUP].min(1)
        _require(timer[:, place] == least, "timer must begin with the minima of its groups")
    _require(np.isinf(timer[:, leaves + devices :]), "timer must be infinite behind the last device")
