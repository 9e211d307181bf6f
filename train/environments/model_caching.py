"""The environment section of model caching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator

from ...agents.config import CACHING_LEARNERS
from ...envs.core.errors import InvalidInputError
from ...envs.model_caching.params import CachingParams
from ..config_io import explain
from .base import EnvSection, optional_fields

_OWN = frozenset({"mode"})
if TYPE_CHECKING:
    _Fields = EnvSection
else:
    _Fields = optional_fields(CachingParams, leave_out=_OWN)


class CachingEnvConfig(_Fields):
    """The training environment. Fields of `CachingParams` that are left out keep the preset's and mode's values."""

    family: ClassVar[str] = "model_caching"
    time_unit: ClassVar[str] = "slots"

    id: Literal["edgewise/ModelCaching-v0"] = Field(description="one edge server and its agents")
    preset: Literal["drift", "stationary", "drift_proactive", "section14", "section14_drift"] = Field(
        default="drift", description="population and demand"
    )
    mode: Literal["paper_literal", "calibrated", "modern"] = Field(
        default="calibrated", description="physics and prices"
    )
    horizon: float = Field(default=100.0, ge=1, le=1e9, multiple_of=1, description="[slot] length of an episode")

    @model_validator(mode="after")
    def _physics(self) -> CachingEnvConfig:
        """Check the physical parameters by their own model."""
        try:
            self.params()
        except InvalidInputError as error:
            if isinstance(error.__context__, ValidationError):
                raise ValueError(explain(CachingParams, error.__context__)) from None
            raise ValueError(str(error)) from None
        return self

    @property
    def learners(self) -> frozenset[str]:
        """Algorithms that can train here."""
        return CACHING_LEARNERS

    def params(self) -> CachingParams:
        """The physical parameters."""
        return CachingParams.make(self.preset, mode=self.mode, **self._given())

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        return {"preset": self.preset, "mode": self.mode, "horizon": self.horizon, **self._given()}

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self.given(CachingParams).items() if name not in _OWN}
