"""The global generators of python, numpy and torch as plain data: libraries draw from them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from ..envs.core.extras import require

require("torch", "sb3")

import torch  # noqa: E402


def get_generators() -> dict[str, Any]:
    """The state of the three generators."""
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, np.array(words, np.uint64), gauss],
        "numpy": [name, np.array(key), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state().numpy().copy(),
    }


def set_generators(state: dict[str, Any]) -> None:
    """Go on from what `get_generators` returned.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: it is not such a state.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(int(word) for word in words), gauss))
    name, key, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(key, np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(np.array(state["torch"], np.uint8)))
