"""Parameters of routing prompts online: every number with its unit, range, default and source."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..core.errors import InvalidInputError

OBJECTIVES = ("sum", "per_joule", "per_second")
CONSTRAINTS = ("none", "penalty", "cmdp")
QUALITIES = ("expected", "bernoulli")
AGGREGATIONS = ("mixture", "best")
PROMPTS_PER_EPISODE = 200
"""Length of an episode that the defaults of horizon and limits are made for."""


class RouteParams(BaseModel):
    """How prompts arrive, what a step is worth, and what can go wrong (frozen; unknown fields are errors).

    The paper's public parts give neither numbers nor an online environment: every default is our choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rate: float = Field(default=0.5, gt=0, le=1e6, description="[1/s] arrival rate of the Poisson prompt stream")
    queues: bool = Field(default=True, description="[-] devices serve one request at a time, first come first served")
    dynamic: bool = Field(default=False, description="[-] experts fail and recover (on/off Markov chain per prompt)")
    p_fail: float = Field(
        default=0.01, ge=0, le=1, description="[-] chance that an expert fails before the next prompt"
    )
    p_repair: float = Field(default=0.2, ge=0, le=1, description="[-] chance that a failed expert recovers by then")
    k: int = Field(default=1, ge=1, le=8, description="[-] most experts that answer a prompt")
    aggregation: Literal["mixture", "best"] = Field(
        default="mixture",
        description="[-] quality of several answers: mean weighted by the gate's softmax, or the best",
    )
    quality: Literal["expected", "bernoulli"] = Field(
        default="expected", description="[-] reward the expected quality, or a draw of right or wrong"
    )
    objective: Literal["sum", "per_joule", "per_second"] = Field(
        default="sum", description="[-] duration of a step: 1 prompt, its joules, or its sojourn in a closed loop"
    )
    constraints: Literal["none", "penalty", "cmdp"] = Field(
        default="penalty", description="[-] energy and delay: ignored, priced in the cost, or reported as constraints"
    )
    energy_price: float = Field(default=0.1, ge=0, le=1e6, description="[-] price of one mean request's energy")
    delay_price: float = Field(default=1.0, ge=0, le=1e6, description="[-] price of a delay of twice its budget")
    tau: tuple[float, ...] | None = Field(
        default=None,
        description="[s] delay budgets; None: the instance's, else 1, 4, 10, 15 for the synthetic categories",
    )
    energy_budget: float | None = Field(
        default=None, gt=0, le=1e15, description="[J] of an episode; None: 200 mean requests of the median expert"
    )
    delay_budget: float = Field(default=20.0, ge=0, le=1e12, description="[-] relative excess delay of an episode")
    hard_budget: bool = Field(default=False, description="[-] after the energy budget is spent, prompts score 0")
    gate_energy: float = Field(default=0.1, ge=0, le=1e6, description="[J] of encoding and routing a prompt")

    @model_validator(mode="after")
    def _limits_per_prompt(self) -> RouteParams:
        """Constraints count an episode's sums: only with the objective sum it has a given number of prompts."""
        if self.constraints == "cmdp" and self.objective != "sum":
            raise ValueError(f"objective must be sum where constraints are reported (cmdp); got {self.objective!r}")
        return self

    @classmethod
    def make(cls, **fields: Any) -> RouteParams:
        """Check the fields.

        Raises:
            InvalidInputError: unknown field or a value out of range; the message names the field.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, cls) from None
