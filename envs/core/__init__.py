"""The semi-Markov contract shared by every environment family."""

from .errors import CheckpointError, EdgewiseError, InvalidInputError, MissingExtraError, StorageError
from .info import StepInfo, VectorStepInfo
from .optimum import Optimum
from .seeding import Role, SeedTree
from .vector_wrappers import VectorFlatHybridAction, VectorRateReward, VectorRatioReward
from .wrappers import FlatHybridAction, RateReward, RatioReward

__all__ = [
    "CheckpointError",
    "EdgewiseError",
    "FlatHybridAction",
    "InvalidInputError",
    "MissingExtraError",
    "Optimum",
    "RateReward",
    "RatioReward",
    "Role",
    "SeedTree",
    "StepInfo",
    "StorageError",
    "VectorFlatHybridAction",
    "VectorRateReward",
    "VectorRatioReward",
    "VectorStepInfo",
]
