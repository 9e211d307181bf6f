"""Fractional (Dinkelbach) learning without a neural network: the outer loop and tabular Q-learning."""

from .dinkelbach import Dinkelbach
from .games import ThresholdCongestionGame

__all__ = ["Dinkelbach", "ThresholdCongestionGame"]
