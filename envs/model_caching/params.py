"""Parameters of the model-caching system: every number with its unit, range, default and source.

A *preset* names a population of agents and its demand, a *mode* the physics and the prices; every field can be
replaced. Sources: Xu et al., arXiv 2501.14205 and 2403.05826, journal versions; where they are silent or contradict
themselves the defaults are the calibrated model's, in which prices are per token and switching is per megabyte.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core.errors import InvalidInputError
from .catalogue import MODELS

WINDOW_RULES = ("none", "evict_on_overflow", "clip", "slide")
ACCURACY_MODELS = ("paper", "saturating", "table")
WORKLOADS = ("poisson", "markov", "trace")
TRACE_FORMATS = ("azure", "mooncake", "burstgpt", "qwen")
MAX_RATE = 100.0
"""Most requests per agent and slot that a synthetic workload may have on average."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | np.ndarray) else value


Probability = Annotated[float, Field(ge=0, le=1)]
Price = Annotated[float, Field(ge=0, le=1e9)]
PerModel = BeforeValidator(_as_tuple)


class CachingParams(BaseModel):
    """Parameters of one edge server, its agents and their demand (frozen; unknown fields are errors)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    mode: Literal["paper_literal", "calibrated", "modern"] = Field(
        "calibrated", description="[-] the mode whose values were taken where no field was given"
    )
    # --- population
    n_agents: int = Field(20, ge=1, le=10_000, description="[-] number of agents I, each bound to one model")
    models: Annotated[tuple[str, ...], PerModel] = Field(
        ("lamda-137b", "palm-540b"), min_length=1, max_length=100, description="[-] names in `catalogue.MODELS`"
    )
    instance_seed: int = Field(
        0, ge=0, le=2**63, description="[-] draws the agents' models, input sizes and data sets; never the demand"
    )
    # --- server
    n_gpus: int = Field(40, ge=1, le=1_000_000, description="[-] GPUs of the edge server")
    gpu_gb: float = Field(80.0, gt=0, le=1e6, description="[GB] memory of a GPU")
    gpu_gflops: float = Field(312_000.0, gt=0, le=1e12, description="[GFLOPS] compute capacity f_n in the compute cost")
    gpu_watt: float = Field(300.0, gt=0, le=1e6, description="[W] power of a GPU; the energy budget is GPUs x W x slot")
    slot_s: float = Field(60.0, gt=0, le=1e6, description="[s] length of a slot")
    # --- reasoning and accuracy
    paths: int = Field(10, ge=1, le=1000, description="[-] self-consistency paths per request J")
    thought_tokens: float = Field(200.0, gt=0, le=1e6, description="[token] length of one path k")
    input_tokens: Annotated[tuple[int, int], PerModel] = Field(
        (100, 200), description="[token] range of an agent's input size d, drawn uniformly"
    )
    alpha: Annotated[tuple[Probability, ...] | None, PerModel] = Field(
        (0.40, 0.68), description="[-] zero-shot accuracy per model; none takes the data set's"
    )
    accuracy_limit: Annotated[tuple[Probability, ...] | None, PerModel] = Field(
        None, description="[-] accuracy with endless context per model; none takes the data set's"
    )
    beta: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.6, description="[-] base of the reasoning gain; none takes exp(-1 / tau) of the data set"
    )
    zeta: float = Field(0.1, ge=0, le=100, description="[-] consensus factor of the age of thoughts")
    vanishing: float = Field(1.0, ge=0, le=1e9, description="[thought/slot] vanishing factor Delta")
    accuracy_model: Literal["paper", "saturating", "table"] = Field("paper", description="[-] accuracy law")
    kappa_half: float = Field(
        2.0, gt=0, le=1e9, description="[kappa_unit] half of the scale in observations and the table law"
    )
    kappa_unit: Literal["thoughts", "tokens"] = Field("thoughts", description="[-] unit of the age of thoughts")
    count_paths: Literal["once", "twice"] = Field("once", description="[-] how often J enters the work per slot")
    context_windows: Annotated[tuple[Annotated[int, Field(ge=1, le=10**9)], ...] | None, PerModel] = Field(
        (8192, 32768), description="[token] context window per model; none takes the catalogue's"
    )
    window_rule: Literal["none", "evict_on_overflow", "clip", "slide"] = Field(
        "slide", description="[-] what happens when the context outgrows its window"
    )
    # --- prices
    price_unit: Literal["token", "request"] = Field(
        "token", description="[-] access per path and token, or as printed: edge per token, cloud per path"
    )
    edge_price: Price = Field(1e-4, description="[cost/unit] access price of the edge")
    cloud_price: Price = Field(7.5e-3, description="[cost/unit] access price of the cloud")
    switching: Literal["per_mb", "per_load"] = Field("per_mb", description="[-] switching cost by size, or per load")
    lambda_MB: Price = Field(3e-5, description="[cost/MB] switching price of a load by size")
    lambda_load: Price = Field(1e-5, description="[cost] switching price of a load where it is per load")
    lambda_evict: Price = Field(0.0, description="[cost/MB] price of an eviction")
    weight_switching: Price = Field(1.0, description="[-] weight of the switching cost")
    weight_communication: Price = Field(1.0, description="[-] weight of the edge access cost")
    weight_compute: Price = Field(1.0, description="[-] weight of the edge compute cost")
    weight_accuracy: Price = Field(2.5, description="[-] weight of the accuracy cost")
    weight_cloud: Price = Field(1.0, description="[-] weight of the cloud access cost")
    # --- options of the modern mode
    weights_shared: bool = Field(False, description="[-] agents of one model share its weights in memory")
    kv_memory: bool = Field(False, description="[-] the contexts' key-value caches take memory")
    roofline: bool = Field(
        False, description="[-] energy from memory bandwidth and operations; loading takes a part of the slot"
    )
    gpu_bandwidth: float = Field(1935.0, gt=0, le=1e9, description="[GB/s] memory bandwidth of a GPU")
    bandwidth_use: float = Field(0.6, gt=0, le=1, description="[-] share of it that decoding reaches")
    flops_use: float = Field(0.4, gt=0, le=1, description="[-] share of the operations that prefill reaches")
    link_gb_s: float = Field(25.0, gt=0, le=1e6, description="[GB/s] link over which weights are loaded")
    # --- demand
    workload: Literal["poisson", "markov", "trace"] = Field("poisson", description="[-] law of the requests")
    total_demand: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        10.0, description="[request/slot] mean demand of all agents; none takes agent_demand for each"
    )
    agent_demand: float = Field(1.0, gt=0, le=MAX_RATE, description="[request/slot] mean demand of an agent")
    zipf: float = Field(0.8, ge=0, le=10, description="[-] exponent of the popularity over ranks; 0 is uniform")
    shift_every: int = Field(20, ge=0, le=10**9, description="[slot] ranks are redrawn after so many slots; 0 never")
    burst_rates: Annotated[tuple[float, float], PerModel] = Field(
        (0.3, 3.0),
        description="[-] rates of the two states of the Markov-modulated demand against each other: scaled so that the "
        "mean demand stays what it is",
    )
    burst_slots: float = Field(10.0, ge=1, le=1e9, description="[slot] mean sojourn in a state")
    hide_demand: bool = Field(False, description="[-] decide before the slot's demand is seen; the last one is shown")
    observe_more: bool = Field(False, description="[-] observe context / window, free memory and time / horizon too")
    # --- trace replay
    trace: str | None = Field(None, description="[-] path of a trace file")
    trace_format: Literal["azure", "mooncake", "burstgpt", "qwen"] | None = Field(None, description="[-] its format")
    trace_slots: Annotated[tuple[int, int] | None, PerModel] = Field(
        None, description="[slot] replay slots first <= t < last only"
    )
    trace_start: Literal["random", "first"] = Field("random", description="[-] where in the trace an episode begins")
    trace_speedup: float = Field(1.0, gt=0, le=1e6, description="[-] time compression")
    trace_keep: float = Field(1.0, gt=0, le=1, description="[-] share of the requests that is kept")
    trace_share: Annotated[tuple[int, int] | None, PerModel] = Field(
        None, description="[-] (n, N): only what goes to server n of N; a session stays with one server"
    )

    @field_validator("models")
    @classmethod
    def _known_models(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in MODELS:
                raise ValueError(f"models must be among {', '.join(MODELS)}; got {name!r}")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> CachingParams:
        for field in ("alpha", "accuracy_limit", "context_windows"):
            values = getattr(self, field)
            if values is not None and len(values) != len(self.models):
                raise ValueError(f"{field} must have one entry per model ({len(self.models)}) or be none")
        low, high = self.input_tokens
        if not 1 <= low <= high <= 10**6:
            raise ValueError("input_tokens must be two numbers with 1 <= low <= high <= 1000000")
        if min(self.burst_rates) < 0 or sum(self.burst_rates) <= 0:
            raise ValueError("burst_rates must be two numbers >= 0, not both 0")
        if self.workload != "trace" and self.peak_rate > MAX_RATE:
            raise ValueError(f"total_demand must leave every agent at most {MAX_RATE:g} requests per slot on average")
        if (self.workload == "trace") != (self.trace is not None) or (self.trace is None) != (
            self.trace_format is None
        ):
            raise ValueError('trace and trace_format must be given with workload = "trace", and only then')
        if self.trace_slots is not None and not 0 <= self.trace_slots[0] < self.trace_slots[1]:
            raise ValueError("trace_slots must be two numbers with 0 <= first < last")
        if self.trace_share is not None and not 0 <= self.trace_share[0] < self.trace_share[1]:
            raise ValueError("trace_share must be two numbers n, N with 0 <= n < N")
        return self

    @classmethod
    def make(cls, preset: str = "drift", **overrides: Any) -> CachingParams:
        """Build a preset in a mode, with some fields replaced.

        Args:
            preset: a name in ``PRESETS``.
            **overrides: any field of this model; ``mode`` brings the values of ``MODES`` with it.

        Raises:
            InvalidInputError: unknown preset, mode or field, or a value out of range; the message names the field.
        """
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InvalidInputError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
        mode = overrides.get("mode", "calibrated")
        if not isinstance(mode, str) or mode not in MODES:
            raise InvalidInputError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
        try:
            return cls(**(MODES[mode] | PRESETS[preset] | overrides))
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, cls) from None

    @property
    def capacity_gb(self) -> float:
        """Memory of the server G, GB."""
        return self.n_gpus * self.gpu_gb

    @property
    def energy_budget(self) -> float:
        """Energy of one slot E, J."""
        return self.n_gpus * self.gpu_watt * self.slot_s

    @property
    def mean_demand(self) -> float:
        """Mean demand of all agents together, requests per slot (synthetic workloads)."""
        return self.n_agents * self.agent_demand if self.total_demand is None else self.total_demand

    @property
    def peak_rate(self) -> float:
        """Largest mean demand of one agent, requests per slot (synthetic workloads)."""
        rate = float(self.rates()[0])
        if self.workload == "markov":
            rate *= 2.0 * max(self.burst_rates) / sum(self.burst_rates)
        return rate

    def rates(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Mean demand by popularity rank, requests per slot, shape (I,): a Zipf law."""
        weights = np.arange(1.0, self.n_agents + 1.0) ** -self.zipf
        return np.asarray(self.mean_demand * weights / weights.sum())


MODES: dict[str, dict[str, Any]] = {
    # Equations 12-20 as printed: work counts J twice, the age of thoughts is in tokens, prices as printed.
    "paper_literal": {
        "mode": "paper_literal",
        "kappa_unit": "tokens",
        "kappa_half": 4000.0,  # 2 thoughts in tokens: 200 per path, and 10 paths once more
        "count_paths": "twice",
        "price_unit": "request",
        "switching": "per_load",
        "context_windows": (2048, 8192),
        "window_rule": "none",
    },
    "calibrated": {"mode": "calibrated"},
    # Open models with key-value caches, shared weights, roofline energy and load times.
    "modern": {
        "mode": "modern",
        "models": ("qwen2.5-3b", "qwen2.5-7b", "llama-3.1-8b", "qwen2.5-14b", "qwen2.5-32b", "llama-3.1-70b"),
        "n_gpus": 2,
        "alpha": None,
        "beta": None,
        "context_windows": None,
        "accuracy_model": "saturating",
        "weights_shared": True,
        "kv_memory": True,
        "roofline": True,
    },
}

PRESETS: dict[str, dict[str, Any]] = {
    # Popularity drifts: what a learner must follow.
    "drift": {},
    # Every agent Poisson(1): little to learn.
    "stationary": {"n_agents": 10, "total_demand": None, "zipf": 0.0, "shift_every": 0},
    # The decision comes before the demand: what test-time adaptation is for.
    "drift_proactive": {"n_agents": 10, "total_demand": 10.0, "zipf": 1.2, "shift_every": 20, "hide_demand": True},
    # The calibration study of the specification, section 14 C: both populations, without a window.
    "section14": {"n_agents": 10, "total_demand": None, "zipf": 0.0, "shift_every": 0, "window_rule": "none"},
    "section14_drift": {"window_rule": "none"},
}
