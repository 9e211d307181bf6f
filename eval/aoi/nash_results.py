"""What a Nash check found, as data; part of ``evaluation.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ..estimates import FINITE, Estimate


class DeviationScore(BaseModel):
    """A deviation on the fresh seeds: the age (s) it gives the device, and the relative gain 1 - age / own age."""

    model_config = FINITE
    label: str
    kind: Literal["fixed", "threshold", "scaled", "learned"]
    age: Estimate
    gain: Estimate


class DeviceCheck(BaseModel):
    """What one sampled device (or group) could gain.

    Attributes:
        devices: its indices.
        age: under the profile, s.
        gain: epsilon / J: relative gain of what is best on the other seeds, not below 0.
        played: what that was most often.
        deviations: the finalists, one of each kind.
    """

    model_config = FINITE
    devices: list[int]
    age: Estimate
    gain: Estimate
    played: str
    deviations: list[DeviationScore]


class DeviationCurve(BaseModel):
    """Age of a deviator over its age under the profile, minus 1, along a grid of waits or thresholds (s)."""

    model_config = FINITE
    kind: Literal["fixed", "threshold"]
    numbers: list[float]
    relative: list[float]


class Exploitability(BaseModel):
    """The Nash check of a profile (see `edgewise.eval.aoi.exploitability`).

    Attributes:
        mean, maximum: of epsilon / J over the sampled devices.
        devices: what each of them could gain.
        deviators: how many deviate together (1 in a Nash check).
        exchangeable: the devices are alike, so that they share the screening and one trained policy.
        n_seeds, horizon: fresh seeds and seconds of the measurement.
        screening_seeds, screening_horizon: tuning seeds per device and seconds of the screening.
        screened: number of deviations screened.
        decisions: own decisions of a policy trained against the others; 0 if none was.
        curves: what the screening saw along the grids.
        seconds: how long it took.
    """

    model_config = FINITE
    mean: Estimate
    maximum: Estimate
    devices: list[DeviceCheck]
    deviators: int
    exchangeable: bool
    n_seeds: int
    horizon: float
    screening_seeds: int
    screening_horizon: float
    screened: int
    decisions: int
    curves: list[DeviationCurve]
    seconds: float


class ScriptedCheck(BaseModel):
    """The same check of a scripted baseline: its label, and mean and maximum of epsilon / J."""

    model_config = FINITE
    label: str
    mean: Estimate
    maximum: Estimate
