"""The info schema: what `reset` and `step` of every environment report beside the reward.

All environments are semi-Markov: one step lasts until the next decision. The goal is the long-run ratio
(sum of `cost`) / (sum of `duration`). Costs and durations belong to the agent that receives the observation and span
the time since its own previous decision; an environment's own reward is ``-cost``.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

REQUIRED_KEYS = ("cost", "duration", "time", "cost_terms")
"""Keys that every scalar info and every vector info holds."""


class StepInfo(TypedDict):
    """Info of one scalar step, or of a reset (which runs to the first decision).

    Attributes:
        cost: increment of the ratio's numerator (age of information: area under the age curve, s^2).
        duration: increment of the ratio's denominator (elapsed time, s; slotted environments: slots). Finite, >= 0; 0
            only where two decisions share an instant, and then `cost` is 0 too.
        time: the clock after the step, s; per agent it equals the sum of its durations since reset.
        cost_terms: named parts of `cost`, adding up to it (relative 1e-9), same unit.
        device: index of the agent that this observation belongs to, and whose interval `cost` and `duration` price.
        kind: what is to be decided now (environment constant).
    """

    cost: float
    duration: float
    time: float
    cost_terms: dict[str, float]
    device: NotRequired[int]
    kind: NotRequired[int]


class ResetInfo(TypedDict):
    """The stretch from an automatic reset to the first decision; the keys of `VectorStepInfo`, shapes (n,).

    Attributes:
        cost: s^2.
        duration: s.
        time: clock after the reset, s.
        cost_terms: named parts of `cost`, arrays (n,).
    """

    cost: FloatArray
    duration: FloatArray
    time: FloatArray
    cost_terms: dict[str, FloatArray]


class VectorStepInfo(TypedDict, total=False):
    """Info of one step of a vector environment with n lanes; masks say which lanes a key holds for.

    Attributes:
        cost: array (n,), s^2; 0 in the lanes where a NEXT_STEP environment just reset.
        duration: array (n,), s; 0 in those lanes too.
        time: clock of each lane after the step, array (n,), s.
        cost_terms: named parts of `cost`, arrays (n,).
        device: agent index per lane, int64 (n,).
        kind: what is to be decided now, int64 (n,).
        reset_info: what the automatic reset brought, for lanes in `_reset_info`.
        final_obs: SAME_STEP only: object array (n,) of the ended episodes' last observations.
        final_info: SAME_STEP only: info of the ended episodes.
        agents_obs: at a truncation of a multi-agent stream: final observation of every agent, (n, M, ...).
        agents_cost: cost of every agent's open interval, (n, M), s^2.
        agents_duration: length of every agent's open interval, (n, M), s.
    """

    cost: FloatArray
    duration: FloatArray
    time: FloatArray
    cost_terms: dict[str, FloatArray]
    device: IntArray
    kind: IntArray
    reset_info: ResetInfo
    final_obs: npt.NDArray[Any]
    final_info: dict[str, Any]
    agents_obs: npt.NDArray[np.float32]
    agents_cost: FloatArray
    agents_duration: FloatArray
    _cost: BoolArray
    _duration: BoolArray
    _time: BoolArray
    _cost_terms: BoolArray
    _device: BoolArray
    _kind: BoolArray
    _reset_info: BoolArray
    _final_obs: BoolArray
    _final_info: BoolArray
