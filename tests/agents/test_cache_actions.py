"""Decisions of model caching in a Box."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from edgewise.agents.cache_actions import CacheCarrier, cache_items
from edgewise.envs.core.errors import InvalidInputError

SPACE = spaces.Dict({"cache": spaces.MultiBinary(3), "local_share": spaces.Box(0.0, 1.0, (3,), np.float32)})


def test_decisions_survive_the_carrier() -> None:
    carrier = CacheCarrier(SPACE)
    rng = np.random.default_rng(0)
    action = {"cache": rng.integers(0, 2, (5, 3)), "local_share": rng.random((5, 3), np.float32)}
    coded = carrier.encode(action)
    assert coded.shape == (5, 6)
    assert coded.dtype == np.float32
    decoded = carrier.decode(coded)
    assert decoded["cache"].dtype == np.int8
    np.testing.assert_array_equal(decoded["cache"], action["cache"])
    np.testing.assert_allclose(decoded["local_share"], action["local_share"], atol=1e-7)
    one = carrier.decode(coded[0])
    assert SPACE.contains(one)


@pytest.mark.parametrize("carrier", [np.full(6, np.nan), np.full(6, 1.1), np.zeros(5), "six", [[0.0], [0.0, 1.0]]])
def test_bad_carriers_are_refused(carrier: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"action must be finite numbers in \[-1, 1\] of shape \(\.\.\., 6\)"):
        CacheCarrier(SPACE).decode(carrier)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"cache": [2, 0, 0], "local_share": [0.0] * 3}, "cache must be 0 or 1"),
        ({"cache": [1, 0, 0], "local_share": [0.0, np.nan, 0.0]}, "local_share must be finite numbers"),
        ({"cache": [1, 0, 0], "local_share": [0.0, 1.5, 0.0]}, "local_share must be"),
    ],
)
def test_bad_decisions_are_refused(action: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        CacheCarrier(SPACE).encode(action)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, 1.0, (6,)),
        spaces.Dict({"cache": spaces.MultiBinary(3)}),
        spaces.Dict({"cache": spaces.MultiBinary(3), "local_share": spaces.Box(0.0, 1.0, (4,))}),
        spaces.Dict({"cache": spaces.MultiBinary(3), "local_share": spaces.Box(0.0, 2.0, (3,))}),
        spaces.Dict({"cache": spaces.MultiBinary([3, 2]), "local_share": spaces.Box(0.0, 1.0, (3, 2))}),
    ],
)
def test_other_spaces_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(InvalidInputError, match="action_space must be Dict"):
        cache_items(space)
