"""Fractional (Dinkelbach) learning without a neural network: the outer loop and tabular Q-learning."""

from .dinkelbach import Dinkelbach
from .games import ThresholdCongestionGame
from .q_learning import CostPerCycleQLearning, FractionalIteration, FractionalQLearning

__all__ = [
    "CostPerCycleQLearning",
    "Dinkelbach",
    "FractionalIteration",
    "FractionalQLearning",
    "ThresholdCongestionGame",
]
