"""Seeds and times of a compiled simulation: exact, or refused by name."""

from __future__ import annotations

import math

import pytest

from edgewise.envs.aoi_offload import AoIParams
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.core.errors import InvalidInputError

SMALL = AoIParams.make("small")


@pytest.mark.parametrize("seeds", [0, [], [1, -1], [2**64], [1.5], ["7"], None, [[1, 2]]], ids=repr)
def test_impossible_seeds_are_refused(seeds):
    with pytest.raises(InvalidInputError, match=r"^seeds must be"):
        simulate(SMALL, horizon=50.0, seeds=seeds)


def test_seeds_are_exact_to_64_bits():
    ages = [simulate(SMALL, horizon=50.0, seeds=[2**63 + k, 5]).mean_age for k in (1, 2)]
    assert ages[0][0] != ages[1][0]
    assert ages[0][1] == ages[1][1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("horizon", math.nan), ("horizon", "x"), ("horizon", 0.0), ("warmup", -1.0), ("warmup", math.nan)],
)
def test_impossible_times_are_refused(field, value):
    with pytest.raises(InvalidInputError, match=rf"^{field} must be"):
        simulate(SMALL, **{"horizon": 50.0, field: value})
