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

ROUTE = "edgewise/ExpertRoute-v0"


class ExpertsEnvConfig(_Fields):
    """The training environment. Fields left out keep the environment's defaults."""

    family: ClassVar[str] = "edge_experts"
    time_unit: ClassVar[str] = "decisions"

    id: Literal["edgewise/ExpertSelect-v0", "edgewise/ExpertRoute-v0"] = Field(
        description="choose a set of experts one by one, or route a stream of prompts"
    )
    instance: str = Field(default="synthetic:0", description="experts and prompts: a file, or synthetic:SEED")
    horizon: float | None = Field(default=None, gt=0, le=1e9, description="[decision] length of an episode")

    @model_validator(mode="after")
    def _fits(self) -> ExpertsEnvConfig:
        """Let the environment itself check what it is given."""
        try:
            gymnasium.make(self.id, **self.kwargs())
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def learners(self) -> frozenset[str]:
        """Algorithms that can train here."""
        return EXPERT_LEARNERS

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        own = {"instance": self.instance} | ({} if self.horizon is None else {"horizon": self.horizon})
        return own | self.given(RouteParams)
