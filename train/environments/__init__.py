"""The section ``env`` of a configuration: one model per environment family, told apart by the environment's id."""

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from .aoi_offload import DEVICE, AoIEnvConfig
from .base import EnvSection, Section
from .edge_experts import ExpertsEnvConfig
from .model_caching import CachingEnvConfig


def _with_id(value: Any) -> Any:
    """A section without an id is that of the single-device environment."""
    return {"id": DEVICE, **value} if isinstance(value, dict) else value


EnvConfig = Annotated[
    AoIEnvConfig | CachingEnvConfig | ExpertsEnvConfig, Field(discriminator="id"), BeforeValidator(_with_id)
]
EnvT = TypeVar("EnvT", bound=EnvSection)

__all__ = ["AoIEnvConfig", "CachingEnvConfig", "EnvConfig", "EnvSection", "EnvT", "ExpertsEnvConfig", "Section"]
