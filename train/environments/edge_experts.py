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

Mode = Literal["select", "route", "epochs"]
_MODES: dict[str, Mode] = {
    "edgewise/ExpertSelect-v0": "select",
    "edgewise/ExpertRoute-v0": "route",
    "edgewise/ExpertTwoLevel-v0": "epochs",
}
_FIELDS: dict[Mode, tuple[str, ...]] = {
    "select": ("energy_range", "delay_range", "energy_model", "reveal_gain"),
    "route": tuple(RouteParams.model_fields),
    "epochs": ("energy_model", "epoch_prompts", "drift", "amplitude", "period", "loading_price"),
}
"""The environments' own fields."""


class ExpertsEnvConfig(_Fields):
    """The training environment. Fields left out keep the environment's defaults."""

    family: ClassVar[str] = "edge_experts"
    time_unit: ClassVar[str] = "decisions"

    id: Literal["edgewise/ExpertSelect-v0", "edgewise/ExpertRoute-v0", "edgewise/ExpertTwoLevel-v0"] = Field(
        description="choose a set of experts one by one, route a stream of prompts, or choose a set every epoch"
    )
    instance: str = Field(default="synthetic:0", description="experts and prompts: a file, or synthetic:SEED")
    horizon: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="[decision, epoch, J or s] length of an episode",
    )
    energy_range: tuple[float, float] | None = Field(
        default=None, description="[J] of ExpertSelect: least and most of the drawn energy budgets"
    )
    delay_range: tuple[tuple[float, ...], tuple[float, ...]] | None = Field(
        default=None, description="[s] of ExpertSelect: strict and lenient end of the drawn delay budgets"
    )
    energy_model: Literal["all", "topk"] | None = Field(
        default=None, description="of ExpertSelect and ExpertTwoLevel: every selected expert runs, or the k costliest"
    )
    reveal_gain: bool | None = Field(default=None, description="of ExpertSelect: show what every expert would add")
    epoch_prompts: int | None = Field(default=None, ge=1, le=10**6, description="of ExpertTwoLevel: prompts per epoch")
    drift: Literal["sinusoid", "walk", "none"] | None = Field(
        default=None, description="of ExpertTwoLevel: of the energy budget"
    )
    amplitude: float | None = Field(
        default=None, ge=0, le=10, description="of ExpertTwoLevel: largest drift, on a logarithmic scale"
    )
    period: float | None = Field(default=None, gt=0, description="[epoch] of ExpertTwoLevel: period of a sinusoid")
    loading_price: float | None = Field(
        default=None, ge=0, description="of ExpertTwoLevel: price of loading, per energy of the epoch's prompts"
    )

    @model_validator(mode="after")
    def _fits(self) -> ExpertsEnvConfig:
        """Refuse fields of the other environment; let the environment itself check what it is given."""
        foreign = {name for names in _FIELDS.values() for name in names} - {*_FIELDS[self.mode]}
        for name in type(self).model_fields:
            if name in foreign and getattr(self, name) is not None:
                raise ValueError(f"{name}: is not for {self.id}, got {getattr(self, name)!r}")
        try:
            gymnasium.make(self.id, **self.kwargs())
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def mode(self) -> Mode:
        """Whether experts are selected under budgets, prompts are routed, or experts are selected every epoch."""
        return _MODES[self.id]

    @property
    def selects(self) -> bool:
        """Whether an episode is one selection."""
        return self.mode == "select"

    @property
    def learners(self) -> frozenset[str]:
        """Algorithms that can train here.

        A ratio needs a fractional one, reported constraints one that keeps them; a selection is no long-run average.
        """
        if self.mode != "route":
            return frozenset({"masked_ppo"})
        if self.params().constraints == "cmdp":
            return frozenset({"lagrangian_ppo"})
        fractional = EXPERT_LEARNERS - {"masked_ppo", "lagrangian_ppo"}
        return fractional | {"masked_ppo"} if self.params().objective == "sum" else fractional

    def params(self) -> RouteParams:
        """Parameters of routing."""
        return RouteParams.make(**self.given(RouteParams))

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        names = ("horizon", *_FIELDS[self.mode])
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {"instance": self.instance} | own
