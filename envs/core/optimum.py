"""The certified optimum: a value never travels without the bound that proves it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidInputError

_SLACK = 1e-9


@dataclass(frozen=True)
class Optimum:
    """Best long-run ratio of a minimisation problem, with its certificate.

    Attributes:
        value: ratio reached by a known policy (an upper bound on the optimum; s for the age of information), or None
            where only a bound is known.
        bound: proven lower bound on the ratio of every admissible policy, same unit.
        gap: ``value - bound`` (0 up to rounding where the solver is exact), or None without a value.
        method: how it was obtained, in words (closed form, linear programme with its dual, exhaustive search, ...).
        seconds: time spent solving, s.
        details: anything else worth keeping: thresholds, policies, the mode that the number belongs to.

    Raises:
        InvalidInputError: a number is not finite, the gap is not ``value - bound``, or the bound exceeds the value.
    """

    value: float | None
    bound: float
    gap: float | None
    method: str
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the certificate holds together."""
        if self.bound is None or not math.isfinite(self.bound):
            raise InvalidInputError.of("bound", "a finite number (no value is reported without one)", self.bound)
        if not self.method:
            raise InvalidInputError.of("method", "a non-empty description", self.method)
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise InvalidInputError.of("seconds", "a finite number >= 0", self.seconds)
        if self.value is None:
            if self.gap is not None:
                raise InvalidInputError.of("gap", "None where value is None", self.gap)
            return
        if not math.isfinite(self.value):
            raise InvalidInputError.of("value", "a finite number or None", self.value)
        slack = _SLACK * max(1.0, abs(self.value))
        if self.bound > self.value + slack:
            raise InvalidInputError.of("bound", f"at most value = {self.value!r}", self.bound)
        if self.gap is None or not abs(self.gap - max(self.value - self.bound, 0.0)) <= slack:
            raise InvalidInputError.of("gap", f"value - bound = {self.value - self.bound!r}", self.gap)

    @classmethod
    def certified(cls, value: float, bound: float, method: str, seconds: float, **details: Any) -> Optimum:
        """A value and its bound; the gap is computed (a negative rounding error counts as 0)."""
        return cls(float(value), float(bound), max(float(value) - float(bound), 0.0), method, seconds, details)

    @classmethod
    def exact(cls, value: float, method: str, seconds: float, **details: Any) -> Optimum:
        """A value proved optimal (closed form, exhaustive search): the bound equals it."""
        return cls.certified(value, value, method, seconds, **details)

    @classmethod
    def bound_only(cls, bound: float, method: str, seconds: float, **details: Any) -> Optimum:
        """A bound where no policy reaching it is known."""
        return cls(None, float(bound), None, method, seconds, details)
