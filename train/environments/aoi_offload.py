"""The environment section of age-minimal offloading."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ...agents.config import GAME_LEARNERS, SINGLE_DEVICE_LEARNERS
from ...envs.aoi_offload.params import PRESETS, AoIParams
from ...envs.aoi_offload.policies import rule
from ...envs.aoi_offload.synchronous import common_clock
from ...envs.core.errors import InvalidInputError
from ..config_io import explain
from .base import EnvSection


def _as_tuple(value: Any) -> Any:
    """YAML lists become tuples; a single number given on the command line becomes one entry."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


DEVICE, GAME = "edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"
_ONE_DEVICE = ("decision", "background", "background_wait")  # in a game all devices learn, with staged decisions


class AoIEnvConfig(EnvSection):
    """The training environment. Fields left out (None) keep the preset's value; see ``AoIParams`` for their ranges."""

    family: ClassVar[str] = "aoi_offload"

    id: Literal["edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"] = Field(
        default="edgewise/AoIOffload-v0", description="one device that learns, or the game in which all do"
    )
    preset: Literal["paper", "heterogeneous", "single", "small"] = "paper"
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
    def _physics(self) -> AoIEnvConfig:
        """Check the physical parameters by their own model, and the scripted policies by their grammar."""
        try:
            AoIParams(**(PRESETS[self.preset] | self.given(AoIParams)))
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

    @property
    def learners(self) -> frozenset[str]:
        """Algorithms that can train here: a game's regroup the event stream by device."""
        return GAME_LEARNERS if self.is_game else SINGLE_DEVICE_LEARNERS

    @property
    def is_game(self) -> bool:
        """Whether every device learns: observations carry the device's index then."""
        return self.id == GAME

    def params(self) -> AoIParams:
        """The physical parameters."""
        return AoIParams.make(self.preset, **self.given(AoIParams))

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        names = ("preset", "horizon", "objective", *(("sync_slot",) if self.is_game else _ONE_DEVICE))
        return {name: getattr(self, name) for name in names} | self.given(AoIParams)
