"""A public trace as a study: split by time into a training and a test half, with prices for its prompt lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import InvalidInputError
from .params import CachingParams
from .traces import read_trace
from .workload import slot_of

CALIBRATED_TOKENS = 150.0
"""Mean input size that the default prices are calibrated for (`CachingParams.input_tokens`)."""


@dataclass(frozen=True)
class TraceSplit:
    """Two halves of one trace.

    Attributes:
        train: the system on the first half; an episode begins at a random slot of it.
        test: the same system on the second half, from its first slot: an episode of ``slots`` is one pass.
        slots: slots of each half.
        requests: requests in the training and in the test half.
        mean_tokens: mean input size d of the requests of the training and of the test half.
        price_factor: training mean over `CALIBRATED_TOKENS`; the switching price ``lambda_MB`` is multiplied by it.
    """

    train: CachingParams
    test: CachingParams
    slots: int
    requests: tuple[int, int]
    mean_tokens: tuple[float, float]
    price_factor: float

    def fields(self, half: Literal["train", "test"]) -> dict[str, Any]:
        """What a configuration's environment section says about the trace of one half."""
        params = {"train": self.train, "test": self.test}[half]
        named = ("trace", "trace_format", "trace_slots", "trace_start", "trace_speedup", "slot_s", "lambda_MB")
        return {"workload": "trace", **{name: getattr(params, name) for name in named}}

    def __str__(self) -> str:
        """One line for a report: halves, energy, prompt lengths and both price factors."""
        train, test = (mean / CALIBRATED_TOKENS for mean in self.mean_tokens)
        return (
            f"{self.slots} slots of {self.train.slot_s * self.train.trace_speedup:g} s each, with the energy of "
            f"{self.train.slot_s:g} s ({self.train.energy_budget / 1000.0:g} kJ), "
            f"{self.requests[0]} and {self.requests[1]} requests, "
            f"mean(d)/{CALIBRATED_TOKENS:g} = {train:.3f} (training: the factor on lambda_MB) and {test:.3f} (test)"
        )


def split_trace(
    path: str,
    trace_format: str = "azure",
    *,
    slots: int = 875,
    slot_s: float = 2.0,
    stretched_s: float | None = None,
    preset: str = "drift",
    **overrides: Any,
) -> TraceSplit:
    """Split a trace by time.

    Prompts of real traces are longer than the calibrated ones, and access prices are per token: with the switching
    price as it is, a load would cost next to nothing. So ``lambda_MB`` grows with the mean input size. It is taken from
    the training half alone, so that nothing of the test half enters the system that is trained on.

    Args:
        path: the trace file, for example ``AzureLLMInferenceTrace_conv.csv`` (3 502 s).
        trace_format: a name of `params.TRACE_FORMATS`.
        slots: slots of each half; what follows the second half is left out.
        slot_s: length of a slot, s of the trace.
        stretched_s: what a slot lasts at the server, s; None: as long. A longer one slows the trace down and leaves the
            GPUs the energy of the longer slot.
        preset: population and physics.
        **overrides: fields of `CachingParams`; ``lambda_MB`` is the price before it is multiplied.

    Raises:
        InvalidInputError: the file cannot be read, is shorter than two halves, has a half without requests, or a field
            is unknown or out of range.
    """
    if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
        raise InvalidInputError.of("slots", "an integer >= 1", slots)
    own = {"workload", "trace", "trace_format", "trace_slots", "trace_start", "trace_speedup", "trace_keep"}
    if own & set(overrides):
        raise InvalidInputError(f"{', '.join(sorted(own & set(overrides)))}: set by the split")
    halves: tuple[dict[str, Any], dict[str, Any]] = (
        {"trace_slots": (0, slots), "trace_start": "random"},
        {"trace_slots": (slots, 2 * slots), "trace_start": "first"},
    )
    if not (slot_s > 0 and (stretched_s is None or stretched_s > 0)):
        raise InvalidInputError.of("slot_s and stretched_s", "positive numbers", (slot_s, stretched_s))
    length = slot_s if stretched_s is None else stretched_s
    replay = {"workload": "trace", "trace": path, "trace_format": trace_format} | overrides
    replay |= {"slot_s": length, "trace_speedup": slot_s / length}
    train, test = (CachingParams.make(preset, **replay, **half) for half in halves)
    trace = read_trace(path, trace_format)
    slot = slot_of(trace, train)
    if int(slot.max(initial=-1)) + 1 < 2 * slots:
        raise InvalidInputError.of("slots", f"at most half of the trace's {int(slot.max(initial=-1)) + 1}", slots)
    inside = [trace.input_tokens[slot // slots == half] for half in range(2)]
    if not all(len(tokens) for tokens in inside):
        raise InvalidInputError.of("slots", "such that each half has requests", slots)
    means = float(inside[0].mean()), float(inside[1].mean())
    factor = means[0] / CALIBRATED_TOKENS
    price = {"lambda_MB": train.lambda_MB * factor}
    train, test = (CachingParams.make(preset, **(replay | half | price)) for half in halves)
    return TraceSplit(train, test, slots, (len(inside[0]), len(inside[1])), means, factor)
