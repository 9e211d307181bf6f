"""Parameters of the auctioneer's clocks: every number with its unit, range, default and source."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import InvalidInputError

STEPS = (1, 2, 4, 8, 16)
"""Clock steps an action chooses from, in ticks."""

VALUATIONS = {
    "S1": ((0.0, 1.0), (0.0, 1.0)),
    "S2": ((0.5, 1.0), (0.3, 1.0)),
    "S3": ((0.0, 0.6), (0.0, 0.4)),
}
"""Uniform ranges of the buyers' values and of the sellers' costs (the papers state none; S1 to S3 are stress sets)."""


class DutchClockParams(BaseModel):
    """Parameters of one double Dutch auction on the price range [0, 1] (frozen; unknown fields are errors)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n_buyers: int = Field(20, ge=1, le=1000, description="[-] unit buyers (market sizes 20 to 100 in the paper)")
    n_sellers: int = Field(20, ge=1, le=1000, description="[-] unit sellers")
    values: Literal["S1", "S2", "S3"] = Field(
        "S1", description="[-] ranges of values and costs: S1 [0, 1], [0, 1]; S2 [.5, 1], [.3, 1]; S3 [0, .6], [0, .4]"
    )
    tick: float = Field(0.01, ge=1e-6, le=1, description="[value] least step of a clock")
    message_cost: float = Field(1e-3, ge=0, le=1e3, description="[value] cost of polling one agent once")

    @classmethod
    def make(cls, preset: str = "default", **overrides: Any) -> DutchClockParams:
        """Build a preset with some fields replaced.

        Args:
            preset: a name in ``PRESETS``.
            **overrides: any field of this model.

        Raises:
            InvalidInputError: unknown preset or field, or a value out of range; the message names the field.
        """
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InvalidInputError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
        try:
            return cls(**(PRESETS[preset] | overrides))
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, cls) from None


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Small enough to follow by eye.
    "small": {"n_buyers": 5, "n_sellers": 5},
    # Messages so dear that a coarse clock pays.
    "dear": {"message_cost": 1e-2},
}
