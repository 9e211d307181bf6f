"""The training configuration: one frozen pydantic model per section of a YAML file.

Unknown fields are errors, ranges are part of the fields, and every field can be overridden by a dotted flag
(``--env.n_devices 40``).
"""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from ..agents.config import (
    RLLIB_LEARNERS,
    AsyncFractionalConfig,
    ClusterConfig,
    FractionalD3QNDDPGConfig,
    FractionalPPOConfig,
    LagrangianPPOConfig,
    MaskedPPOConfig,
    PPOConfig,
    RecurrentD3QNPPOConfig,
    T2DRLConfig,
)
from ..envs.core.errors import InvalidInputError
from ..envs.core.seeding import RUN_SEED_LIMIT
from .config_io import apply_overrides, read_yaml, validate
from .environments import EnvConfig, EnvT, Section

LearnerConfig = Annotated[
    FractionalPPOConfig
    | FractionalD3QNDDPGConfig
    | PPOConfig
    | AsyncFractionalConfig
    | RecurrentD3QNPPOConfig
    | T2DRLConfig
    | MaskedPPOConfig
    | LagrangianPPOConfig,
    Field(discriminator="algorithm"),
]


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
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _learner_fits(self) -> TrainConfig:
        """Refuse learners that cannot train the chosen environment, or not where they are asked to."""
        algorithm = self.learner.algorithm
        fitting = sorted(self.env.learners)
        if algorithm not in fitting:
            raise ValueError(
                f"learner.algorithm: must be one of {', '.join(fitting)} in {self.env.id}, got {algorithm!r}"
            )
        if algorithm in RLLIB_LEARNERS:
            if self.env.num_envs % max(self.cluster.num_env_runners, 1):
                raise ValueError(
                    f"cluster.num_env_runners: must divide env.num_envs = {self.env.num_envs}, the lanes they share, "
                    f"got {self.cluster.num_env_runners}"
                )
            return self
        for name, field in ClusterConfig.model_fields.items():
            if getattr(self.cluster, name) != field.default:
                raise ValueError(f"cluster.{name}: {algorithm} runs in one process; leave the section out")
        return self

    def env_as(self, kind: type[EnvT]) -> EnvT:
        """The environment section as that of one family.

        Raises:
            InvalidInputError: it is of another family.
        """
        if not isinstance(self.env, kind):
            raise InvalidInputError(f"env.id: must be of the family {kind.family}, got {self.env.id}")
        return self.env


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
    """The YAML twin of a configuration: fields left at None are left out; reading it gives an equal configuration."""
    found = config.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(found | {"env": config.env.model_dump(mode="json")}, sort_keys=False)
