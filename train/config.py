"""The training configuration: one frozen pydantic model per section of a YAML file.

Unknown fields are errors, ranges are part of the fields, and every field can be overridden by a dotted flag
(``--env.n_devices 40``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ..agents.config import FractionalD3QNDDPGConfig, FractionalPPOConfig, PPOConfig
from ..envs.aoi_offload.params import PRESETS, AoIParams
from ..envs.aoi_offload.policies import rule
from ..envs.core.errors import InvalidInputError
from ..envs.core.seeding import RUN_SEED_LIMIT
from .config_io import apply_overrides, explain, read_yaml, validate


class Section(BaseModel):
    """Base of every section: frozen, finite, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    """YAML lists become tuples; a single number given on the command line becomes one entry."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


class EnvConfig(Section):
    """The training environment. Fields left out (None) keep the preset's value; see ``AoIParams`` for their ranges."""

    id: Literal["edgewise/AoIOffload-v0"] = "edgewise/AoIOffload-v0"
    preset: Literal["paper", "heterogeneous", "single", "small"] = "paper"
    num_envs: int = Field(default=16, ge=1, le=65536, description="[-] independent systems stepped together")
    horizon: float = Field(
        default=300.0, gt=0, le=1e9, description="[s] length of an episode, in seconds of system time"
    )
    objective: Literal["selfish", "team"] = "selfish"
    decision: Literal["staged", "joint"] = "staged"
    background: str = Field(default="jsq", description="offloading policy of the devices that do not learn")
    background_wait: str = Field(default="fixed:0", description="waiting policy of the devices that do not learn")

    n_devices: int | None = None
    edge_ghz: Annotated[tuple[float, ...] | None, BeforeValidator(_as_tuple)] = None
    local_ghz: float | tuple[float, ...] | None = None
    task_mbit: float | None = None
    density: float | None = None
    service: str | None = None
    drop: str | None = None
    drop_mean: Literal["true", "running"] | None = None
    transmission: str | None = None
    z_max: float | None = None
    initial_queue_limit: int | None = None

    @model_validator(mode="after")
    def _physics(self) -> EnvConfig:
        """Check the physical parameters by their own model, and the scripted policies by their grammar."""
        try:
            AoIParams(**(PRESETS[self.preset] | self._physical()))
        except ValidationError as error:
            raise ValueError(explain(AoIParams, error)) from None
        for name, server, wait in (
            ("background", self.background, "fixed:0"),
            ("background_wait", "jsq", self.background_wait),
        ):
            try:
                rule(self.params(), server, wait)
            except InvalidInputError as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    def _physical(self) -> dict[str, Any]:
        names = AoIParams.model_fields.keys()
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def params(self) -> AoIParams:
        """The physical parameters."""
        return AoIParams.make(self.preset, **self._physical())

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        names = ("preset", "horizon", "objective", "decision", "background", "background_wait")
        return {name: getattr(self, name) for name in names} | self._physical()


LearnerConfig = Annotated[FractionalPPOConfig | FractionalD3QNDDPGConfig | PPOConfig, Field(discriminator="algorithm")]


class CheckpointsConfig(Section):
    """When to save and evaluate, and how much to keep."""

    every: int = Field(
        default=50_000, ge=1, description="[decisions] between checkpoints (at the next complete update)"
    )
    keep: int = Field(default=2, ge=1, le=10_000, description="[-] last checkpoints kept, beside the best one")
    evaluate: bool = Field(default=True, description="score every checkpoint; the best is kept")


class TrainConfig(Section):
    """A whole training run; the twin of a file in ``configs/``."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="run name, also the default folder in runs/"
    )
    seed: int = Field(default=0, ge=0, lt=RUN_SEED_LIMIT, description="[-] the one seed everything random comes from")
    steps: int = Field(ge=1, le=10**12, description="[decisions] length of training, over all lanes")
    log_every: int = Field(default=10_000, ge=1, description="[decisions] between rows of metrics")
    threads: int = Field(default=1, ge=1, le=1024, description="[-] torch threads; part of what makes a run repeatable")
    tensorboard: bool = Field(default=True, description="write TensorBoard events beside metrics.jsonl")
    env: EnvConfig
    learner: LearnerConfig
    checkpoints: CheckpointsConfig = CheckpointsConfig()


def load_config(name: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a config file or packaged config and apply dotted overrides.

    Args:
        name: a path, or a packaged name such as ``aoi_offload/demo``.
        overrides: values by dotted path, as `split_overrides` returns them.

    Raises:
        InvalidInputError: no such config, or a field is unknown or out of range; the message names the field and what
            is allowed.
    """
    return validate(TrainConfig, apply_overrides(read_yaml(name), overrides or {}), name)


def to_yaml(config: TrainConfig) -> str:
    """The YAML twin of a configuration: fields that hold None are left out; reading it gives an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)
