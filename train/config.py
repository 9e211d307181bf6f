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

from ..agents.config import (
    GAME_LEARNERS,
    RLLIB_LEARNERS,
    SINGLE_DEVICE_LEARNERS,
    AsyncFractionalConfig,
    ClusterConfig,
    FractionalD3QNDDPGConfig,
    FractionalPPOConfig,
    PPOConfig,
    RecurrentD3QNPPOConfig,
)
from ..envs.aoi_offload.params import PRESETS, AoIParams
from ..envs.aoi_offload.policies import rule
from ..envs.aoi_offload.synchronous import common_clock
from ..envs.core.errors import InvalidInputError
from ..envs.core.seeding import RUN_SEED_LIMIT
from .config_io import apply_overrides, explain, read_yaml, validate


class Section(BaseModel):
    """Base of every section: frozen, finite, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_tuple(value: Any) -> Any:
    """YAML lists become tuples; a single number given on the command line becomes one entry."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


DEVICE, GAME = "edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"
_ONE_DEVICE = ("decision", "background", "background_wait")  # in a game all devices learn, with staged decisions


class EnvConfig(Section):
    """The training environment. Fields left out (None) keep the preset's value; see ``AoIParams`` for their ranges."""

    id: Literal["edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"] = Field(
        default="edgewise/AoIOffload-v0", description="one device that learns, or the game in which all do"
    )
    preset: Literal["paper", "heterogeneous", "single", "small"] = "paper"
    num_envs: int = Field(default=16, ge=1, le=65536, description="[-] independent systems stepped together")
    horizon: float = Field(
        default=300.0, gt=0, le=1e9, description="[s] length of an episode, in seconds of system time"
    )
    objective: Literal["selfish", "team"] = "selfish"
    decision: Literal["staged", "joint"] = "staged"
    background: str = Field(default="jsq", description="offloading policy of the devices that do not learn")
    background_wait: str = Field(default="fixed:0", description="waiting policy of the devices that do not learn")
    sync_slot: float | None = Field(
        default=None, gt=0, description="[s] in a game: ticks of a common clock at which waits end; none: asynchronous"
    )

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
        for name in _ONE_DEVICE if self.is_game else ():
            default, given = type(self).model_fields[name].default, getattr(self, name)
            if given != default:
                raise ValueError(f"{name}: must be {default!r} in {GAME}, where every device learns, got {given!r}")
        if self.sync_slot is not None and not self.is_game:
            raise ValueError(f"sync_slot: must be None in {DEVICE}, whose devices have no common clock")
        for name, server, wait in (
            ("background", self.background, "fixed:0"),
            ("background_wait", "jsq", self.background_wait),
        ):
            try:
                rule(self.params(), server, wait)
            except InvalidInputError as error:
                raise ValueError(f"{name}: {error}") from None
        try:
            common_clock(self.sync_slot, self.params())
        except InvalidInputError as error:
            raise ValueError(str(error)) from None
        return self

    def _physical(self) -> dict[str, Any]:
        names = AoIParams.model_fields.keys()
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def is_game(self) -> bool:
        """Whether every device learns: observations carry the device's index then."""
        return self.id == GAME

    def params(self) -> AoIParams:
        """The physical parameters."""
        return AoIParams.make(self.preset, **self._physical())

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        names = ("preset", "horizon", "objective", *(("sync_slot",) if self.is_game else _ONE_DEVICE))
        return {name: getattr(self, name) for name in names} | self._physical()


LearnerConfig = Annotated[
    FractionalPPOConfig | FractionalD3QNDDPGConfig | PPOConfig | AsyncFractionalConfig | RecurrentD3QNPPOConfig,
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
        fitting = GAME_LEARNERS if self.env.is_game else SINGLE_DEVICE_LEARNERS
        if algorithm not in fitting:
            raise ValueError(
                f"learner.algorithm: must be one of {', '.join(sorted(fitting))} in {self.env.id}, got {algorithm!r}"
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
