"""Fractional (Dinkelbach) learning without a neural network: the outer loop and tabular Q-learning."""

from .dinkelbach import Dinkelbach
from .games import ThresholdCongestionGame
from .outer_loop import OuterLoopTrace, iteration_matrix, local_contraction, run_outer_loop
from .q_learning import CostPerCycleQLearning, FractionalIteration, FractionalQLearning
from .two_device_game import TwoDeviceGame

__all__ = [
    "CostPerCycleQLearning",
    "Dinkelbach",
    "FractionalIteration",
    "FractionalQLearning",
    "OuterLoopTrace",
    "ThresholdCongestionGame",
    "TwoDeviceGame",
    "iteration_matrix",
    "local_contraction",
    "run_outer_loop",
]
