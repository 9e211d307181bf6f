"""The gate of expert selection, trained once on all experts and restricted to any selection; routers beside it."""

from .gate import LOSSES, Gate, best, train_gate
from .routers import NeighbourRouter

__all__ = ["LOSSES", "Gate", "NeighbourRouter", "best", "train_gate"]
