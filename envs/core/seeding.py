"""The seed tree: everything random in a run comes from the run's one seed.

Environment seeds have 64 bits: two for the role, 30 for the run, 32 for the lane. So training, evaluation, and what is
scored or tuned meanwhile never share a draw, whatever the number of lanes, neither within a run nor between runs with
different seeds; and small seeds written by hand (below 2^62) belong to no run.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from .errors import InvalidInputError

RUN_SEED_LIMIT = 2**30
"""Run seeds are below this."""
LANE_LIMIT = 2**32
"""Lanes per role are below this."""


class Role(IntEnum):
    """What a range of environment seeds is for."""

    TRAIN = 1
    EVALUATE = 2
    OUTER = 3


@dataclass(frozen=True)
class SeedTree:
    """Seeds of one run.

    Args:
        run_seed: the run's seed, 0 to 2^30 - 1.

    Raises:
        InvalidInputError: `run_seed` is not such an integer.
    """

    run_seed: int

    def __post_init__(self) -> None:
        """Check the range."""
        seed = self.run_seed
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < RUN_SEED_LIMIT:
            raise InvalidInputError.of("seed", f"an integer in [0, {RUN_SEED_LIMIT - 1}]", seed)
        object.__setattr__(self, "run_seed", int(seed))

    def base(self, role: Role) -> int:
        """First environment seed of a role; ``reset(seed=base)`` gives lane i the seed base + i."""
        return (int(role) << 62) | (self.run_seed << 32)

    @property
    def train(self) -> int:
        """First seed of the training lanes."""
        return self.base(Role.TRAIN)

    @property
    def evaluate(self) -> int:
        """First seed of the evaluation lanes."""
        return self.base(Role.EVALUATE)

    @property
    def outer(self) -> int:
        """First seed of the episodes beside training: checkpoints are scored on them, scripted rules are tuned."""
        return self.base(Role.OUTER)

    def lanes(self, role: Role, count: int, first: int = 0) -> npt.NDArray[np.uint64]:
        """Seeds of lanes `first` to ``first + count - 1`` of a role, uint64 (count,).

        Raises:
            InvalidInputError: the lanes leave the role's range.
        """
        if min(first, count) < 0 or first + count > LANE_LIMIT:
            raise InvalidInputError.of("lanes", f"within [0, {LANE_LIMIT - 1}]", f"[{first}, {first + count - 1}]")
        return np.uint64(self.base(role) + first) + np.arange(count, dtype=np.uint64)

    @property
    def libraries(self) -> int:
        """Seed (32 bits) of the global generators of python, numpy and torch, which only third-party code uses."""
        return int(self._sequence("library/numpy").generate_state(1, np.uint64)[0] >> 32)

    def generator(self, name: str) -> np.random.Generator:
        """An independent generator for a named purpose, for example ``"bootstrap"``; same name, same stream."""
        return np.random.default_rng(self._sequence(name))

    def _sequence(self, name: str) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.run_seed, spawn_key=(zlib.crc32(name.encode()),))
