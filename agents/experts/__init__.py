"""The gate of expert selection: trained once on all experts, then restricted to any selection."""

from .gate import LOSSES, Gate, train_gate

__all__ = ["LOSSES", "Gate", "train_gate"]
