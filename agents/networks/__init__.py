"""Torch modules shared by the SB3 and RLlib plugs; importing them without torch names the extra that brings it."""

from ...envs.core.extras import require

require("torch", "sb3")
