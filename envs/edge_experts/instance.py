"""Instances: experts on devices, a table of prompts with the quality of every expert, and budgets.

`files` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import InvalidInputError
from .hardware import ORIN_PREFILL, PROMPT_BLOCK

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Part(BaseModel):
    """Base of every part of an instance: frozen, finite, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PrefillFit(Part):
    """Quadratic fit in the padded number of input tokens, seconds."""

    type: Literal["fit"] = "fit"
    a: float = Field(ge=0, description="[s/token²]")
    b: float = Field(ge=0, description="[s/token]")
    c: float = Field(ge=0, description="[s]")

    def seconds(self, tokens: FloatArray) -> FloatArray:
        """Prefill time of so many input tokens, same shape."""
        padded: FloatArray = np.ceil(tokens / PROMPT_BLOCK) * PROMPT_BLOCK
        return self.a * padded * padded + self.b * padded + self.c


class PrefillScale(Part):
    """A multiple of the 8B fit on the AGX Orin."""

    type: Literal["scale"] = "scale"
    factor: float = Field(gt=0, le=1e3, description="[-] size over 8 billion parameters")

    def seconds(self, tokens: FloatArray) -> FloatArray:
        """Prefill time of so many input tokens, same shape."""
        a, b, c = ORIN_PREFILL[8.0]
        return self.factor * PrefillFit(a=a, b=b, c=c).seconds(tokens)


class PrefillRate(Part):
    """Constant speed after a fixed overhead."""

    type: Literal["rate"] = "rate"
    tok_s: float = Field(gt=0, le=1e7, description="[tokens/s]")
    overhead: float = Field(default=0.010, ge=0, le=1e3, description="[s] kernel launch and tokenisation")

    def seconds(self, tokens: FloatArray) -> FloatArray:
        """Prefill time of so many input tokens, same shape."""
        return tokens / self.tok_s + self.overhead


class DecodeRate(Part):
    """Constant speed."""

    type: Literal["rate"] = "rate"
    tok_s: float = Field(gt=0, le=1e7, description="[tokens/s]")

    def seconds(self, inputs: FloatArray, outputs: FloatArray) -> FloatArray:
        """Decode time of so many output tokens, same shape."""
        return outputs / self.tok_s


class DecodeFit(Part):
    """Every output token costs more than the one before it: ``O (n + m I + m (O - 1) / 2)``."""

    type: Literal["fit"] = "fit"
    m: float = Field(ge=0, description="[s/token²]")
    n: float = Field(gt=0, description="[s/token]")

    def seconds(self, inputs: FloatArray, outputs: FloatArray) -> FloatArray:
        """Decode time of so many output tokens, same shape."""
        return outputs * (self.n + self.m * inputs + self.m * (outputs - 1.0) / 2.0)


class Link(Part):
    """Network between a user and the device."""

    rtt: float = Field(default=0.010, ge=0, le=1e3, description="[s] round-trip time")
    up: float = Field(default=20e6, gt=0, le=1e15, description="[bit/s] uplink")
    down: float = Field(default=20e6, gt=0, le=1e15, description="[bit/s] downlink")


class Expert(Part):
    """One language model on one device."""

    id: str = Field(min_length=1, max_length=200, description="[-] unique name")
    model: str = Field(default="", max_length=200, description="[-] the model")
    device: str = Field(min_length=1, max_length=200, description="[-] the server; experts on one device share it")
    hardware: str = Field(default="", max_length=200, description="[-] kind of device, for example jetson-agx-orin")
    precision: str = Field(default="", max_length=50, description="[-] number format of the weights")
    params_B: float = Field(gt=0, le=1e5, description="[10⁹] parameters")
    mem_GB: float = Field(ge=0, le=1e5, description="[GB] memory while loaded")
    prefill: Annotated[PrefillFit | PrefillScale | PrefillRate, Field(discriminator="type")]
    decode: Annotated[DecodeRate | DecodeFit, Field(discriminator="type")]
    P_pre: float = Field(ge=0, le=1e6, description="[W] power during prefill")
    P_dec: float = Field(ge=0, le=1e6, description="[W] power during decoding")
    P_idle: float = Field(default=0.0, ge=0, le=1e6, description="[W] power while loaded and idle")
    link: Link = Link()


class Budgets(Part):
    """What a selection may use, and how delays are put together; a budget of None is no limit."""

    E_max: float | None = Field(default=None, ge=0, description="[J] energy per prompt, all selected experts together")
    tau: tuple[float, ...] | None = Field(default=None, description="[s] delay budget of every category")
    MEM: dict[str, float] = Field(default_factory=dict, description="[GB] memory of every device that has a limit")
    max_experts: int | None = Field(default=None, ge=0, description="[-] most experts")
    k: int = Field(default=1, ge=1, le=64, description="[-] experts that answer a prompt")
    t_agg: float = Field(default=0.02, ge=0, le=1e3, description="[s] aggregation time per selected expert")
    t_gate: float = Field(default=0.0, ge=0, le=1e3, description="[s] time of the gate")
    idle_s: float = Field(
        default=0.0, ge=0, le=1e9, description="[s] time Δ for which idle power is charged per prompt"
    )
    statistic: Literal["category_mean", "mean", "p95"] = Field(
        default="category_mean",
        description="[-] delay of a category: max of the experts' means, mean of the max, or its 95th percentile",
    )

    def changed(self, **fields: Any) -> Budgets:
        """A copy with some fields replaced and checked again.

        Raises:
            InvalidInputError: unknown field or a value out of range.
        """
        try:
            return Budgets(**{name: getattr(self, name) for name in Budgets.model_fields} | fields)
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, Budgets) from None


def _array(name: str, value: Any, shape: tuple[int | None, ...], kind: type) -> NDArray[Any]:
    """A read-only array of the wanted type and shape (None is any length); finite."""
    try:
        array: NDArray[Any] = np.array(value, dtype=kind)
    except (TypeError, ValueError):
        raise InvalidInputError(f"prompts.{name} must be an array of numbers") from None
    wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        raise InvalidInputError(f"prompts.{name} must have shape {wanted}, got {array.shape}")
    if kind is float and not np.isfinite(array).all():
        raise InvalidInputError(f"prompts.{name} must hold finite numbers")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompt table: M prompts, n experts, d features, C categories, A answer options.

    Attributes:
        phi: (M, d) features.
        category: (M,) index of the category.
        I: (M,) input tokens.
        O: (M,) output tokens.
        Q: (M, n) quality of every expert's answer, in [0, 1].
        weight: (M,) prompt weights, >= 0, summing to 1.
        scores: (M, n) logits of a gate, or None.
        P: (M, n, A) answer distributions, or None.
        y: (M,) right option, with P.
    """

    phi: FloatArray
    category: IntArray
    I: FloatArray  # noqa: E741  # the name that the format gives it
    O: FloatArray  # noqa: E741
    Q: FloatArray
    weight: FloatArray
    scores: FloatArray | None = None
    P: FloatArray | None = None
    y: IntArray | None = None

    @classmethod
    def make(
        cls,
        *,
        category: Any,
        Q: Any,
        I: Any,  # noqa: E741
        O: Any,  # noqa: E741
        n_categories: int,
        phi: Any = None,
        weight: Any = None,
        scores: Any = None,
        P: Any = None,
        y: Any = None,
    ) -> Prompts:
        """Check and freeze the arrays.

        Raises:
            InvalidInputError: wrong shape, type or range; the message names the array.
        """
        quality = _array("Q", Q, (None, None), float)
        count, experts = quality.shape
        if not count or not experts:
            raise InvalidInputError("prompts.Q must have at least one prompt and one expert")
        if quality.min() < 0 or quality.max() > 1:
            raise InvalidInputError("prompts.Q must lie in [0, 1]")
        kinds = np.asarray(category)
        if kinds.dtype.kind not in "iu":
            raise InvalidInputError("prompts.category must be integers")
        labels = _array("category", kinds, (count,), np.int64)
        if labels.min() < 0 or labels.max() >= n_categories:
            raise InvalidInputError(f"prompts.category must lie in [0, {n_categories - 1}]")
        tokens = {name: _array(name, value, (count,), float) for name, value in (("I", I), ("O", O))}
        for name, value in tokens.items():
            if value.min() < 0 or value.max() > 1e9:
                raise InvalidInputError(f"prompts.{name} must lie in [0, 1e9] tokens")
        shares = np.full(count, 1.0 / count) if weight is None else np.asarray(weight)
        shares = _array("weight", shares, (count,), float)
        if shares.min() < 0 or abs(shares.sum() - 1.0) > 1e-9:
            raise InvalidInputError("prompts.weight must be >= 0 and sum to 1")
        features = _array("phi", np.zeros((count, 0)) if phi is None else phi, (count, None), float)
        logits = None if scores is None else _array("scores", scores, (count, experts), float)
        answers, right = cls._answers(P, y, count, experts)
        return cls(features, labels, tokens["I"], tokens["O"], quality, shares, logits, answers, right)

    @staticmethod
    def _answers(P: Any, y: Any, count: int, experts: int) -> tuple[FloatArray | None, IntArray | None]:
        if (P is None) != (y is None):
            raise InvalidInputError("prompts.P and prompts.y belong together: give both or neither")
        if P is None:
            return None, None
        answers = _array("P", P, (count, experts, None), float)
        right = _array("y", y, (count,), np.int64)
        if answers.min() < 0 or np.abs(answers.sum(axis=2) - 1.0).max() > 1e-6:
            raise InvalidInputError("prompts.P must be distributions over the options")
        if right.min() < 0 or right.max() >= answers.shape[2]:
            raise InvalidInputError(f"prompts.y must lie in [0, {answers.shape[2] - 1}]")
        return answers, right

    def __len__(self) -> int:
        """Number of prompts M."""
        return len(self.category)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that is there, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Instance:
    """Experts, categories, prompts and budgets.

    Attributes:
        experts: the n experts.
        categories: names of the C categories.
        prompts: the prompt table.
        budgets: default budgets.
        source: where the instance comes from, in words.

    Raises:
        InvalidInputError: the parts do not fit together.
    """

    experts: tuple[Expert, ...]
    categories: tuple[str, ...]
    prompts: Prompts
    budgets: Budgets = field(default_factory=Budgets)
    source: str = ""

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if not 1 <= len(self.experts) <= 64:
            raise InvalidInputError.of("experts", "1 to 64 experts", len(self.experts))
        ids = [expert.id for expert in self.experts]
        if len(set(ids)) != len(ids):
            raise InvalidInputError("experts: every id must be unique")
        if not self.categories:
            raise InvalidInputError("categories must name at least one category")
        if self.prompts.Q.shape[1] != self.n:
            raise InvalidInputError(f"prompts.Q must have {self.n} columns, one per expert")
        check_budgets(self.budgets, self)

    @property
    def n(self) -> int:
        """Number of experts."""
        return len(self.experts)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, in order of first use."""
        return tuple(dict.fromkeys(expert.device for expert in self.experts))

    def device_index(self) -> IntArray:
        """(n,) index of every expert's device in `devices`."""
        return np.array([self.devices.index(expert.device) for expert in self.experts], np.int64)

    def with_budgets(self, **fields: Any) -> Instance:
        """The same instance under other budgets.

        Raises:
            InvalidInputError: a budget is out of range or does not fit.
        """
        return replace(self, budgets=self.budgets.changed(**fields))

    def subset(self, experts: Any) -> Instance:
        """The same prompts with some of the experts only, in the given order.

        Raises:
            InvalidInputError: an index is out of range or given twice.
        """
        kept = [int(i) for i in experts]
        if not kept or len(set(kept)) != len(kept) or not all(0 <= i < self.n for i in kept):
            raise InvalidInputError.of("experts", f"different indices in [0, {self.n - 1}]", experts)
        p = self.prompts
        prompts = replace(
            p,
            Q=p.Q[:, kept],
            scores=None if p.scores is None else p.scores[:, kept],
            P=None if p.P is None else p.P[:, kept],
        )
        return replace(self, experts=tuple(self.experts[i] for i in kept), prompts=prompts)

    def with_scores(self, scores: Any) -> Instance:
        """The same instance with the logits (M, n) of a gate.

        Raises:
            InvalidInputError: wrong shape, or not finite.
        """
        return replace(
            self, prompts=replace(self.prompts, scores=_array("scores", scores, (len(self.prompts), self.n), float))
        )


def check_budgets(budgets: Budgets, instance: Instance) -> None:
    """Check that budgets fit an instance.

    Raises:
        InvalidInputError: wrong number of delays, a delay that is no positive number, or an unknown device.
    """
    count = len(instance.categories)
    if budgets.tau is not None:
        if len(budgets.tau) != count:
            names = ", ".join(instance.categories)
            raise InvalidInputError(
                f"delay budgets: {count} numbers are needed, one per category ({names}); got {len(budgets.tau)}"
            )
        if not all(np.isfinite(t) and t >= 0 for t in budgets.tau):
            raise InvalidInputError.of("delay budgets", "finite seconds >= 0", budgets.tau)
    unknown = sorted(set(budgets.MEM) - set(instance.devices))
    if unknown:
        raise InvalidInputError(f"MEM: no expert runs on device {unknown[0]!r}; devices: {', '.join(instance.devices)}")
    if any(size < 0 for size in budgets.MEM.values()):
        raise InvalidInputError.of("MEM", "gigabytes >= 0", budgets.MEM)
