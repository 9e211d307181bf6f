"""The environment section of the mixture of edge experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import gymnasium
from pydantic import Field, model_validator

from ...agents.config import EXPERT_LEARNERS
from ...envs.core.errors import InvalidInputError
from ...envs.edge_experts.params import RouteParams
from .base import EnvSection, optional_fields

if TYPE_CHECKING:
    _Fields = EnvSection
else:
    _Fields = optional_fields(RouteParams)

SELECT, ROUTE = "edgewise/ExpertSelect-v0", "edgewise/ExpertRoute-v0"
_OF_SELECT = ("energy_range", "delay_range", "energy_model", "reveal_gain")


class ExpertsEnvConfig(_Fields):
    """The training environment. Fields left out keep the environment's defaults."""

    family: ClassVar[str] = "edge_experts"
    time_unit: ClassVar[str] = "decisions"

    id: Literal["edgewise/ExpertSelect-v0", "edgewise/ExpertRoute-v0"] = Field(
        description="choose a set of experts one by one, or route a stream of prompts"
    )
    instance: str = Field(default="synthetic:0", description="experts and prompts: a file, or synthetic:SEED")
    horizon: float | None = Field(
        default=None, gt=0, le=1e9, description="[decision, J or s] length of an episode, in the objective's unit"
    )
    energy_range: tuple[float, float] | None = Field(
        default=None, description="[J] of ExpertSelect: least and most of the drawn energy budgets"
    )
    delay_range: tuple[tuple[float, ...], tuple[float, ...]] | None = Field(
        default=None, description="[s] of ExpertSelect: strict and lenient end of the drawn delay budgets"
    )
    energy_model: Literal["all", "topk"] | None = Field(
        default=None, description="of ExpertSelect: every selected expert runs, or the k costliest"
    )
    reveal_gain: bool | None = Field(default=None, description="of ExpertSelect: show what every expert would add")

    @model_validator(mode="after")
    def _fits(self) -> ExpertsEnvConfig:
        """Refuse fields of the other environment; let the environment itself check what it is given."""
        foreign = tuple(RouteParams.model_fields) if self.selects else _OF_SELECT
        for name in foreign:
            if getattr(self, name) is not None:
                raise ValueError(f"{name}: is not for {self.id}, got {getattr(self, name)!r}")
        try:
            gymnasium.make(self.id, **self.kwargs())
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        if self.params().constraints == "cmdp":
            raise ValueError("constraints: must be none or penalty for training: no learner here reads the reports")
        return self

    @property
    def selects(self) -> bool:
        """Whether experts are selected under budgets; otherwise prompts are routed."""
        return self.id == SELECT

    @property
    def learners(self) -> frozenset[str]:
        """Algorithms that can train here: a ratio needs a fractional one, a selection is no long-run average."""
        ratio = EXPERT_LEARNERS - {"masked_ppo"}
        if self.selects:
            return EXPERT_LEARNERS - ratio
        return EXPERT_LEARNERS if self.params().objective == "sum" else ratio

    def params(self) -> RouteParams:
        """Parameters of routing."""
        return RouteParams.make(**self.given(RouteParams))

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        names = ("horizon", *_OF_SELECT)
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {"instance": self.instance} | own | self.given(RouteParams)
