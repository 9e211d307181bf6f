"""The gate of expert selection, trained once on all experts and restricted to any selection; routers beside it."""

from ...envs.core.extras import require

require("torch", "sb3")

from .gate import LOSSES, Gate, best, train_gate  # noqa: E402
from .routers import NeighbourRouter  # noqa: E402

__all__ = ["LOSSES", "Gate", "NeighbourRouter", "best", "train_gate"]
