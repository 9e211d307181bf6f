"""Learners on RLlib's new API stack; importing them without Ray names the extra that brings it."""

from ...envs.core.extras import require

require("ray.rllib", "rllib")
require("torch", "rllib")

from .algorithm import AsyncFractional, AsyncFractionalAlgorithmConfig  # noqa: E402
from .callbacks import DinkelbachCallback  # noqa: E402
from .env_runner import EventStreamEnvRunner  # noqa: E402

__all__ = ["AsyncFractional", "AsyncFractionalAlgorithmConfig", "DinkelbachCallback", "EventStreamEnvRunner"]
