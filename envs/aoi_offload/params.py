"""Parameters of the age-minimal offloading system: every number with its unit, range, default and source.

The defaults are those of the papers' released simulators (Jin et al., arXiv 2312.10418 and 2409.16832).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core.errors import InvalidInputError

SERVICE_KINDS = ("exponential", "lognormal", "deterministic", "hyperexp")
DROP_MODES = ("none", "authors", "cutoff", "deadline")
TRANSMISSION_KINDS = ("none", "fixed", "shannon")
LEAST_COMPLETION = 1e-3
"""Drop limits that fewer attempts than this share can meet are refused: the simulator would only retry."""


def _split(field: str, text: str, grammar: dict[str, int]) -> tuple[str, list[float]]:
    """Parse ``name:number:...`` where ``grammar`` maps each name to how many numbers it takes."""
    name, *rest = text.strip().split(":")
    allowed = ", ".join(":".join([key, *["NUMBER"] * count]) for key, count in grammar.items())
    try:
        numbers = [float(part) for part in rest]
    except ValueError:
        numbers = [math.nan]
    if name not in grammar or len(numbers) != grammar[name] or not all(map(math.isfinite, numbers)):
        raise InvalidInputError(f"{field} must be one of {allowed}; got {text!r}")
    return name, numbers


@dataclass(frozen=True)
class ServiceLaw:
    """A service-time law with unit scale (mean 1; median 1 for the log-normal law).

    Attributes:
        kind: one of ``SERVICE_KINDS``.
        parameter: log-standard deviation (``lognormal``) or squared coefficient of variation (``hyperexp``), else 0.
    """

    kind: str
    parameter: float = 0.0

    @classmethod
    def parse(cls, text: str) -> ServiceLaw:
        """Read ``exponential``, ``lognormal:SIGMA``, ``deterministic`` or ``hyperexp:CV2``.

        Raises:
            InvalidInputError: if the text is none of these or its number is out of range.
        """
        kind, numbers = _split("service", text, dict(zip(SERVICE_KINDS, (0, 1, 0, 1), strict=True)))
        parameter = numbers[0] if numbers else 0.0
        if kind == "lognormal" and not 0 < parameter <= 5:
            raise InvalidInputError(f"service: SIGMA of lognormal must be in (0, 5]; got {parameter}")
        if kind == "hyperexp" and not 1 < parameter <= 1e6:
            raise InvalidInputError(f"service: CV2 of hyperexp must be in (1, 1e6]; got {parameter}")
        return cls(kind, parameter)

    @property
    def mean(self) -> float:
        """Mean of the unit-scale law: exp(sigma^2 / 2) for the log-normal law, else 1."""
        return math.exp(0.5 * self.parameter**2) if self.kind == "lognormal" else 1.0

    def distribution(self, x: float) -> float:
        """P(u <= x) of the unit-scale law."""
        if x <= 0.0:
            return 0.0
        if self.kind == "deterministic":
            return float(x >= 1.0)
        if self.kind == "lognormal":
            return 0.5 * math.erfc(-math.log(x) / (self.parameter * math.sqrt(2.0)))
        if self.kind == "exponential":
            return -math.expm1(-x)
        p = (1.0 + math.sqrt((self.parameter - 1.0) / (self.parameter + 1.0))) / 2.0
        return -p * math.expm1(-2.0 * p * x) - (1.0 - p) * math.expm1(-2.0 * (1.0 - p) * x)

    @property
    def code(self) -> int:
        """Index in ``SERVICE_KINDS``, as the kernel reads it."""
        return SERVICE_KINDS.index(self.kind)


@dataclass(frozen=True)
class DropRule:
    """When a task is dropped: a mode of ``DROP_MODES`` and the limit as a multiple of the place's mean service time."""

    mode: str
    coefficient: float = math.inf

    @classmethod
    def parse(cls, text: str) -> DropRule:
        """Read ``none``, ``authors:K``, ``cutoff:K`` or ``deadline:K`` with K in (0, 1000].

        Raises:
            InvalidInputError: if the text is none of these or K is out of range.
        """
        mode, numbers = _split("drop", text, dict(zip(DROP_MODES, (0, 1, 1, 1), strict=True)))
        if numbers and not 0 < numbers[0] <= 1000:
            raise InvalidInputError(f"drop: K must be in (0, 1000]; got {numbers[0]}")
        return cls(mode, numbers[0] if numbers else math.inf)

    @property
    def code(self) -> int:
        """Index in ``DROP_MODES``, as the kernel reads it."""
        return DROP_MODES.index(self.mode)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | np.ndarray) else value


Capacity = Annotated[float, Field(gt=0, le=1e6)]


class AoIParams(BaseModel):
    """Physical parameters of the offloading system (frozen; unknown fields are errors).

    The service *scale* of a place is ``task_mbit * density / capacity``: the mean service time in seconds, or the
    median for the log-normal law.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n_devices: int = Field(20, ge=1, le=1_000_000, description="[-] number of mobile devices M")
    edge_ghz: Annotated[tuple[Capacity, ...], BeforeValidator(_as_tuple)] = Field(
        (41.8, 41.8), max_length=1000, description="[GHz] capacity of each edge node; its length is N"
    )
    local_ghz: Annotated[Capacity | tuple[Capacity, ...], BeforeValidator(_as_tuple)] = Field(
        2.5, description="[GHz] capacity of a device: one number, or one per device"
    )
    task_mbit: float = Field(30.0, gt=0, le=1e9, description="[Mbit] task size")
    density: float = Field(0.297, gt=0, le=1e6, description="[Gcycle/Mbit] processing density")
    service: str = Field(
        "exponential", description="[-] service law: exponential | lognormal:SIGMA | deterministic | hyperexp:CV2"
    )
    drop: str = Field("none", description="[-] drop rule: none | authors:K | cutoff:K | deadline:K")
    drop_mean: Literal["true", "running"] = Field(
        "true", description="[-] mean behind K: of the law, or the running mean of the pair's draws (released code)"
    )
    transmission: str = Field(
        "none", description="[-] delay before joining an edge queue: none | fixed:SECONDS | shannon:MHZ:SNR_DB"
    )
    z_max: float = Field(3.0, gt=0, le=1e6, description="[s] longest waiting time Z_max")
    initial_queue_limit: int = Field(
        4, ge=0, le=1_000_000, description="[-] first tasks join the shortest edge queue while it is below this length"
    )

    @field_validator("service")
    @classmethod
    def _service(cls, text: str) -> str:
        ServiceLaw.parse(text)
        return text

    @field_validator("drop")
    @classmethod
    def _drop(cls, text: str) -> str:
        DropRule.parse(text)
        return text

    @field_validator("transmission")
    @classmethod
    def _transmission(cls, text: str) -> str:
        kind, numbers = _split("transmission", text, dict(zip(TRANSMISSION_KINDS, (0, 1, 2), strict=True)))
        if kind == "fixed" and not 0 <= numbers[0] <= 1e6:
            raise InvalidInputError(f"transmission: SECONDS must be in [0, 1e6]; got {numbers[0]}")
        if kind == "shannon" and not (0 < numbers[0] <= 1e6 and -50 <= numbers[1] <= 100):
            raise InvalidInputError(f"transmission: MHZ must be in (0, 1e6] and SNR_DB in [-50, 100]; got {text!r}")
        return text

    @model_validator(mode="after")
    def _lengths(self) -> AoIParams:
        if isinstance(self.local_ghz, tuple) and len(self.local_ghz) != self.n_devices:
            raise ValueError(f"local_ghz must be one number or have n_devices = {self.n_devices} entries")
        return self

    @model_validator(mode="after")
    def _completable(self) -> AoIParams:
        rule, law = self.drop_rule, self.law
        limit = rule.coefficient * law.mean
        if rule.mode in ("authors", "cutoff") and law.kind == "deterministic" and limit <= 1.0:
            raise ValueError(
                f"drop: K must be above 1 for {rule.mode} with deterministic service: no task can complete"
            )
        if law.distribution(limit) < LEAST_COMPLETION:
            raise ValueError(
                f"drop: K must let at least 1 attempt in {1 / LEAST_COMPLETION:g} complete; got {self.drop!r}"
            )
        return self

    @classmethod
    def make(cls, preset: str = "paper", **overrides: Any) -> AoIParams:
        """Build a preset with some fields replaced.

        Args:
            preset: a name in ``PRESETS``.
            **overrides: any field of this model.

        Raises:
            InvalidInputError: unknown preset or field, or a value out of range; the message names the field.
        """
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InvalidInputError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
        try:
            return cls(**(PRESETS[preset] | overrides))
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, cls) from None

    @property
    def n_edges(self) -> int:
        """Number of edge nodes N."""
        return len(self.edge_ghz)

    @property
    def law(self) -> ServiceLaw:
        """The service law with unit scale."""
        return ServiceLaw.parse(self.service)

    @property
    def drop_rule(self) -> DropRule:
        """The drop rule."""
        return DropRule.parse(self.drop)

    @property
    def transmission_s(self) -> float:
        """Delay in seconds between offloading a task and its arrival at an edge node."""
        kind, *numbers = self.transmission.split(":")
        if kind == "shannon":
            megahertz, snr_db = map(float, numbers)
            return self.task_mbit / (megahertz * math.log2(1.0 + 10.0 ** (snr_db / 10.0)))
        return float(numbers[0]) if kind == "fixed" else 0.0

    def scales(self) -> NDArray[np.float64]:
        """Service scale of every (device, place) in seconds, shape (M, N + 1); place 0 is local."""
        work = self.task_mbit * self.density
        table = np.empty((self.n_devices, self.n_edges + 1))
        table[:, 0] = work / np.asarray(self.local_ghz)
        table[:, 1:] = work / np.asarray(self.edge_ghz)
        return table

    def scale(self, device: int, place: int) -> float:
        """Service scale of one (device, place) in seconds."""
        return float(self.scales()[device, place])


PRESETS: dict[str, dict[str, Any]] = {
    # The released default: two equal edge nodes, drop test against 1.5 x the mean (both papers' code).
    "paper": {"drop": "authors:1.5"},
    # The released code's alternative capacities, used there when the common value is switched off.
    "heterogeneous": {"edge_ghz": (3.0, 8.0)},
    # One device, one processor, unit scale: the update-or-wait problem of Sun et al. (2017).
    "single": {"n_devices": 1, "edge_ghz": (), "local_ghz": 1.0, "task_mbit": 1.0, "density": 1.0, "z_max": 20.0},
    # Small enough to follow by eye.
    "small": {"n_devices": 3, "edge_ghz": (41.8,)},
}
