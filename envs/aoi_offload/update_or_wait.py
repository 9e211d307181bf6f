"""Exact mean ages of a device that never queues: waits, drops, any service law.

A device alone with one place renews at every completion. Write ``Y`` for the delay of a completed task, ``Z(Y)`` for
the wait chosen when it completes and ``S`` for the time from the first attempt to the next completion (``S = Y'``
without drops, failed attempts plus ``Y'`` with them). ``S`` is independent of the past, so over one cycle of length
``L = Z + S`` the area under the age curve is ``B = Y L + L^2 / 2`` and the long-run mean age is ``E[B] / E[L]``. For a
coefficient ``g`` the wait enters ``E[B - g L]`` through ``Y Z + Z^2 / 2 + (E[S] - g) Z``, whose minimiser on
``[0, z_max]`` is ``clip(c - Y, 0, z_max)`` with ``c = g - E[S]``: a threshold rule. Dinkelbach's iteration finds the
``g`` at which the minimum is zero. All expectations are partial moments of the service law, so no quadrature is
involved; only `UpdateOrWait.rule`, which scores an arbitrary wait function, integrates numerically.

Source: Sun, Uysal-Biyikoglu, Yates, Koksal, Shroff, "Update or Wait", arXiv 1601.02284 (threshold structure);
Arafa, Yates, Poor, arXiv 1907.05408 (waiting with a service cutoff); Jin et al., arXiv 2312.10418 (the system).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .params import DropRule, ServiceLaw

FloatArray = NDArray[np.float64]

#: Slack that covers rounding in a closed-form evaluation (relative).
_ROUNDING = 1e-12


def partial_moment(kind: str, parameter: float, order: int, x: float) -> float:
    """Return ``E[u^order; u <= x]`` of a unit service variate.

    Args:
        kind: ``"exponential"``, ``"lognormal"``, ``"deterministic"`` or ``"hyperexp"``.
        parameter: sigma of the log-normal law (median 1) or squared coefficient of variation of the
            hyper-exponential law (balanced means, mean 1); ignored by the other two.
        order: 0, 1, 2, ...
        x: upper limit; infinity gives the full moment.

    Raises:
        InvalidInputError: if the law is unknown.
    """
    from scipy.special import gammainc, ndtr

    if kind == "deterministic":
        return 1.0 if x >= 1.0 else 0.0
    if x <= 0.0:
        return 0.0
    if kind == "lognormal":
        full = math.exp(0.5 * (order * parameter) ** 2)
        return full if math.isinf(x) else full * float(ndtr(math.log(x) / parameter - order * parameter))
    if kind == "exponential":
        phases = [(1.0, 1.0)]
    elif kind == "hyperexp":
        phases = hyperexp_phases(parameter)
    else:
        raise InvalidInputError.of("service", "exponential, lognormal, deterministic or hyperexp", kind)
    factorial = math.factorial(order)
    return sum(weight * factorial / rate**order * float(gammainc(order + 1, rate * x)) for weight, rate in phases)


def hyperexp_phases(cv2: float) -> list[tuple[float, float]]:
    """Return (probability, rate) of the two phases of the balanced hyper-exponential law with unit mean."""
    p = (1.0 + math.sqrt((cv2 - 1.0) / (cv2 + 1.0))) / 2.0
    return [(p, 2.0 * p), (1.0 - p, 2.0 * (1.0 - p))]


@dataclass(frozen=True)
class UpdateOrWait:
    """A device that never queues: all quantities of its renewal cycle, exactly.

    The delay of a successful attempt with unit service variate ``u`` is ``min(a + b u)`` over ``places``. One pair is
    an ordinary place with transmission time ``a`` and service scale ``b`` (seconds); several pairs are the pointwise
    fastest place, which no device has but which bounds what any device can do.

    Attributes:
        kind: service law, as in `partial_moment`.
        parameter: its parameter.
        places: pairs (transmission time, service scale), both in seconds.
        drop: ``"none"``, ``"authors"``, ``"cutoff"`` or ``"deadline"``.
        limit: drop coefficient K, in mean service times; ignored by ``"none"``.
        z_max: longest wait in seconds (may be infinite).

    A failed attempt costs its whole service time (``authors``) or the limit (``cutoff``, ``deadline``). A service time
    equal to the limit fails under ``authors`` and ``cutoff`` and succeeds under ``deadline``. Under ``deadline`` the
    transmission time counts against the limit.
    """

    kind: str
    parameter: float = 0.0
    places: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    drop: str = "none"
    limit: float = math.inf
    z_max: float = math.inf

    def __post_init__(self) -> None:
        """Check the fields that would otherwise give a silently wrong value.

        Raises:
            InvalidInputError: naming the field and its range.
        """
        if self.drop not in ("none", "authors", "cutoff", "deadline"):
            raise InvalidInputError.of("drop", "none, authors, cutoff or deadline", self.drop)
        if self.drop != "none" and not self.limit > 0.0:
            raise InvalidInputError.of("limit", "> 0 mean service times", self.limit)
        if not self.places or any(not (a >= 0.0 and b > 0.0) for a, b in self.places):
            raise InvalidInputError.of("places", "pairs (delay >= 0 s, scale > 0 s)", self.places)
        if self.drop == "deadline" and len(self.places) > 1 and any(a > 0.0 for a, _ in self.places):
            raise InvalidInputError.of("places", "one pair, or without delays, under a deadline", self.places)
        if not self.z_max >= 0.0:
            raise InvalidInputError.of("z_max", ">= 0 s", self.z_max)

    @classmethod
    def parse(
        cls, service: str, scale: float = 1.0, drop: str = "none", z_max: float = math.inf, delay: float = 0.0
    ) -> UpdateOrWait:
        """Build a one-place problem from the text forms used by the parameters, e.g. ``"lognormal:1.5"``.

        Args:
            service: ``exponential``, ``lognormal:SIGMA``, ``deterministic`` or ``hyperexp:CV2``.
            scale: mean service time in seconds (median for the log-normal law).
            drop: ``none``, ``authors:K``, ``cutoff:K`` or ``deadline:K``.
            z_max: longest wait in seconds.
            delay: transmission time in seconds.
        """
        law, rule = ServiceLaw.parse(service), DropRule.parse(drop)
        return cls(law.kind, law.parameter, ((delay, scale),), rule.mode, rule.coefficient, z_max)

    @property
    def _law_mean(self) -> float:
        return ServiceLaw(self.kind, self.parameter).mean

    # --- the law of one cycle ---------------------------------------------------------------------------------------

    @cached_property
    def _segments(self) -> list[tuple[float, float, float, float]]:
        """Intervals (lo, hi] of u on which one place is the fastest: (lo, hi, delay, scale)."""
        found = []
        for a, b in sorted(set(self.places)):
            lo, hi = 0.0, math.inf
            for other_a, other_b in set(self.places) - {(a, b)}:
                if b == other_b:
                    hi = hi if a < other_a else 0.0
                elif b > other_b:
                    hi = min(hi, (other_a - a) / (b - other_b))
                else:
                    lo = max(lo, (a - other_a) / (other_b - b))
            if lo < hi:
                found.append((lo, hi, a, b))
        return found

    @cached_property
    def _cut(self) -> float:
        """Unit variate up to which an attempt succeeds."""
        if self.drop == "none":
            return math.inf
        cut = self.limit * self._law_mean
        if self.drop == "deadline":
            return cut - min(a / b for a, b in self.places)
        # authors and cutoff drop at equality, which only matters where the law has an atom
        return math.nextafter(cut, 0.0) if self.kind == "deterministic" else cut

    def _moment(self, order: int, lo: float, hi: float) -> float:
        """Return ``E[Y^order; lo < Y <= hi, success]`` (not yet divided by the probability of success)."""
        u_lo = max((lo - a) / b for a, b in self.places)
        u_hi = min(max((hi - a) / b for a, b in self.places), self._cut)
        total = 0.0
        for seg_lo, seg_hi, a, b in self._segments:
            left, right = max(seg_lo, u_lo), min(seg_hi, u_hi)
            if left >= right:
                continue
            for i in range(order + 1):
                weight = math.comb(order, i) * a ** (order - i) * b**i
                if weight:
                    total += weight * (
                        partial_moment(self.kind, self.parameter, i, right)
                        - partial_moment(self.kind, self.parameter, i, left)
                    )
        return total

    @cached_property
    def success(self) -> float:
        """Probability that an attempt succeeds."""
        return self._moment(0, -math.inf, math.inf)

    @cached_property
    def delay_moments(self) -> tuple[float, float]:
        """First and second moment of the delay Y of a completed task (s, s^2)."""
        return tuple(self._moment(j, -math.inf, math.inf) / self.success for j in (1, 2))  # type: ignore[return-value]

    @cached_property
    def cycle_moments(self) -> tuple[float, float]:
        """First and second moment of S, the time from the first attempt to the completion (s, s^2)."""
        y1, y2 = self.delay_moments
        p = self.success
        if self.drop == "none" or p >= 1.0:
            return y1, y2
        f1, f2 = self._failure_moments()
        # S = (geometric number of failures with odds (1-p)/p) + Y, all independent
        odds = (1.0 - p) / p
        mean_idle = odds * f1
        var_idle = odds * (f2 - f1 * f1) + odds / p * f1 * f1
        mean = mean_idle + y1
        return mean, var_idle + (y2 - y1 * y1) + mean * mean

    def _failure_moments(self) -> tuple[float, float]:
        """First and second moment of the time that a failed attempt costs."""
        scale = min(b for _, b in self.places)
        if self.drop in ("cutoff", "deadline"):
            lost = self.limit * self._law_mean * scale
            return lost, lost * lost
        full, kept = (
            [partial_moment(self.kind, self.parameter, j, x) for j in (0, 1, 2)] for x in (math.inf, self._cut)
        )
        missed = [f - k for f, k in zip(full, kept, strict=True)]
        return scale * missed[1] / missed[0], scale * scale * missed[2] / missed[0]

    # --- rules ------------------------------------------------------------------------------------------------------

    def _area_and_time(self, wait: float, wait_sq: float, delay_wait: float) -> tuple[float, float]:
        """Return E[B], E[L] from E[Z], E[Z^2], E[Y Z]."""
        y1, _ = self.delay_moments
        s1, s2 = self.cycle_moments
        return delay_wait + 0.5 * wait_sq + wait * s1 + y1 * s1 + 0.5 * s2, wait + s1

    def _threshold_terms(self, c: float) -> tuple[float, float]:
        """Return E[B], E[L] under the wait ``clip(c - Y, 0, z_max)``."""
        low = c - self.z_max  # delays at most this wait z_max
        p, capped, mid = self.success, [0.0] * 3, [0.0] * 3
        for j in range(3):
            capped[j] = self._moment(j, -math.inf, low) / p
            mid[j] = self._moment(j, low, c) / p
        z = self.z_max if capped[0] > 0.0 else 0.0
        wait = z * capped[0] + c * mid[0] - mid[1]
        wait_sq = z * z * capped[0] + c * c * mid[0] - 2.0 * c * mid[1] + mid[2]
        delay_wait = z * capped[1] + c * mid[1] - mid[2]
        return self._area_and_time(wait, wait_sq, delay_wait)

    def fixed(self, wait: float) -> float:
        """Return the mean age (s) under the same wait (s) after every completion."""
        if self.success <= 0.0:
            return math.inf
        area, span = self._area_and_time(wait, wait * wait, wait * self.delay_moments[0])
        return area / span

    def zero_wait(self) -> float:
        """Return the mean age (s) when every task is generated at the completion of the one before."""
        return self.fixed(0.0)

    def threshold(self, c: float) -> float:
        """Return the mean age (s) under the wait ``clip(c - Y, 0, z_max)``; ``c`` in seconds."""
        if self.success <= 0.0:
            return math.inf
        area, span = self._threshold_terms(c)
        return area / span

    def cycle_length(self, c: float) -> float:
        """Return the mean time (s) between two completions under the wait ``clip(c - Y, 0, z_max)``."""
        return self._threshold_terms(c)[1]

    def rule(self, wait: Callable[[FloatArray], Any], nodes: int = 1 << 18) -> float:
        """Return the mean age (s) under any deterministic wait function, by quadrature.

        Args:
            wait: vectorised; takes delays (s), shape (n,), and returns waits (s), shape (n,) or (n, 1). Values are
                clipped to [0, z_max], as the environment does.
            nodes: number of quadrature points. Only the three moments that contain the wait are integrated, with
                Gauss-Legendre panels in the logarithm of the service variate: a kink of the rule costs an error of the
                order of the squared panel width, a jump of the panel width (about 1e-5 at the default).

        Raises:
            InvalidInputError: if the function returns a wrong shape or a non-finite value.
        """
        if self.success <= 0.0:
            return math.inf
        delay, weight = self._quadrature(nodes)
        z = np.asarray(wait(delay), dtype=np.float64)
        if z.size != delay.size:
            raise InvalidInputError.of("wait", f"a function that returns {delay.size} values here", z.shape)
        z = z.reshape(-1)
        if not np.all(np.isfinite(z)):
            raise InvalidInputError.of("wait", "finite for every delay", float(z[~np.isfinite(z)][0]))
        z = np.clip(z, 0.0, self.z_max)
        area, span = self._area_and_time(float(weight @ z), float(weight @ (z * z)), float(weight @ (delay * z)))
        return area / span

    def _quadrature(self, nodes: int) -> tuple[FloatArray, FloatArray]:
        """Delays and probability weights of a completed task."""
        if self.kind == "deterministic":
            return np.array([min(a + b for a, b in self.places)]), np.ones(1)
        lo, hi, log_density = _log_space(self.kind, self.parameter)
        if math.isfinite(self._cut):
            hi = min(hi, math.log(self._cut))
            lo = min(lo, hi - 40.0)
        x, w = np.polynomial.legendre.leggauss(4)
        edges = np.linspace(lo, hi, max(nodes // 4, 1) + 1)
        half = 0.5 * np.diff(edges)[:, None]
        points = (0.5 * (edges[:-1] + edges[1:])[:, None] + half * x).reshape(-1)
        weight = (half * w).reshape(-1) * log_density(points) / self.success
        u = np.exp(points)
        delay = np.min([a + b * u for a, b in self.places], axis=0)
        return delay, weight

    def optimal(self) -> tuple[float, float, float]:
        """Return (mean age, threshold c, certified lower bound of the mean age), all in seconds.

        Dinkelbach's iteration from above: ``g <- E[B] / E[L]`` of the threshold rule that minimises ``E[B] - g E[L]``.
        The last ``g`` is the exact mean age of a rule. With ``F`` the minimum at ``g``, every rule has
        ``E[B] - g E[L] >= F`` and ``E[L] >= E[S]``, hence no mean age is below ``g + F / E[S]``.
        """
        if self.success <= 0.0:
            return math.inf, math.inf, math.inf
        s1, _ = self.cycle_moments
        value, c = self.zero_wait(), 0.0
        for _ in range(100):
            c = value - s1
            area, span = self._threshold_terms(c)
            residual = area - value * span
            if residual >= -_ROUNDING * area:
                break
            value = area / span
        return value, c, value - (abs(residual) + _ROUNDING * area) / s1


def _log_space(kind: str, parameter: float) -> tuple[float, float, Callable[[FloatArray], FloatArray]]:
    """Range of log u that holds all but 1e-16 of the first moment, and the density of log u."""
    if kind == "lognormal":
        norm = 1.0 / (parameter * math.sqrt(2.0 * math.pi))
        return (
            -9.0 * parameter,
            (9.0 + parameter) * parameter,
            lambda x: norm * np.exp(-0.5 * (x / parameter) ** 2),
        )
    phases = [(1.0, 1.0)] if kind == "exponential" else hyperexp_phases(parameter)
    rates = [rate for _, rate in phases]
    return (
        -40.0 - math.log(max(rates)),
        math.log(60.0 / min(rates)),
        lambda x: sum((q * r * np.exp(x - r * np.exp(x)) for q, r in phases), np.zeros_like(x)),
    )


def wait_rule_value(
    wait: Callable[[FloatArray], Any],
    service: str,
    scale: float = 1.0,
    drop: str = "none",
    z_max: float = math.inf,
    nodes: int = 1 << 18,
) -> float:
    """Return the exact long-run mean age (s) of a lone device under the wait function ``Y -> Z(Y)``.

    The score of a learned single-device policy: integrate, do not sample. See `UpdateOrWait.parse` for the text forms
    and `UpdateOrWait.rule` for the function's shape and the accuracy.
    """
    return UpdateOrWait.parse(service, scale, drop, z_max).rule(wait, nodes)


def shared_server_zero_wait(n_devices: int, rate: float) -> float:
    """Return ``(3 M + 1) / (2 rate)``: M devices, one FCFS exponential server, no wait, no drop.

    The order of service is cyclic, so the time between two completions of a device is Erlang(M, rate); it equals the
    delay of the task that ends it and is independent of the delay before.
    """
    return (3.0 * n_devices + 1.0) / (2.0 * rate)
