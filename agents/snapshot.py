"""The state of a learner as plain data: what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Snapshot:
    """Everything a learner needs to continue bit for bit.

    Attributes:
        tensors: torch tensors by name (weights, optimizer state); empty for learners without torch.
        arrays: numpy arrays by name (simulator state, buffers, generators); no object arrays.
        meta: JSON values by name (counters, scalars); finite numbers only.
    """

    tensors: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
