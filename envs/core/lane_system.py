"""What a family's simulator offers to the Gymnasium faces in `faces`; nothing here knows Gymnasium."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Obs = NDArray[np.float32]
Flags = NDArray[np.bool_]
Info = dict[str, Any]


class Results(Protocol):
    """What a reset or step brought to L lanes.

    Attributes:
        obs: (L, D) observations.
    """

    obs: Obs

    def take(self, other: Self, lanes: Flags) -> None:
        """Overwrite the marked lanes by those of other results."""


R = TypeVar("R", bound=Results)


class LaneSystem(Protocol[R]):
    """L independent copies of a system, advanced together. It knows nothing of Gymnasium.

    Attributes:
        lanes: L.
    """

    lanes: int

    @property
    @abstractmethod
    def seeded(self) -> bool:
        """Whether `seed` was called."""

    @abstractmethod
    def seed(self, seeds: NDArray[np.uint64]) -> None:
        """Give every lane its seed (L,); the next reset starts episode 0."""

    @abstractmethod
    def reset(self, mask: Flags, results: R | None = None) -> R:
        """Start the next episode of the masked lanes; only these are written, in results that are empty there."""

    @abstractmethod
    def pending(self) -> R:
        """What the lanes show now, at cost and duration 0."""

    @abstractmethod
    def info(self, results: R) -> Info:
        """The infos of all lanes, arrays (L, ...): see `info.VectorStepInfo`."""

    @abstractmethod
    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything that changes."""

    @abstractmethod
    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from a copied state.

        Raises:
            InvalidInputError: the state does not fit.
        """
