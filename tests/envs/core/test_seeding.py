"""The seed tree: ranges never meet, names never share a stream."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.seeding import LANE_LIMIT, RUN_SEED_LIMIT, Role, SeedTree

runs = st.integers(0, RUN_SEED_LIMIT - 1)
lanes = st.integers(0, LANE_LIMIT - 1)
roles = st.sampled_from(list(Role))


@given(runs, runs, roles, roles, lanes, lanes)
def test_seeds_collide_only_when_run_role_and_lane_agree(run_a, run_b, role_a, role_b, lane_a, lane_b):
    a, b = SeedTree(run_a).base(role_a) + lane_a, SeedTree(run_b).base(role_b) + lane_b
    assert (a == b) == ((run_a, role_a, lane_a) == (run_b, role_b, lane_b))
    assert 2**62 <= a < 2**64


@given(runs)
def test_whole_ranges_of_one_run_are_disjoint(run):
    tree = SeedTree(run)
    ranges = sorted((base, base + LANE_LIMIT) for base in (tree.train, tree.evaluate, tree.outer))
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ranges))


@given(runs, roles, st.integers(0, 100), lanes)
def test_lanes_follow_gymnasiums_rule(run, role, count, first):
    first = min(first, LANE_LIMIT - count)
    seeds = SeedTree(run).lanes(role, count, first)
    assert seeds.dtype == np.uint64
    assert [int(s) for s in seeds] == [SeedTree(run).base(role) + first + i for i in range(count)]


def test_lanes_outside_the_range_are_refused():
    with pytest.raises(InvalidInputError, match=r"^lanes must be"):
        SeedTree(0).lanes(Role.TRAIN, 2, LANE_LIMIT - 1)
    with pytest.raises(InvalidInputError, match=r"^lanes must be"):
        SeedTree(0).lanes(Role.TRAIN, 1, -1)


@pytest.mark.parametrize("bad", [-1, RUN_SEED_LIMIT, 1.0, True, None, "1"])
def test_bad_run_seed_is_refused(bad):
    with pytest.raises(InvalidInputError, match=r"^seed must be an integer"):
        SeedTree(bad)


def test_library_seeds_are_valid_distinct_and_reproducible():
    seeds = [SeedTree(run).libraries for run in range(100)]
    assert seeds == [SeedTree(run).libraries for run in range(100)]
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) == 100


def test_named_generators_are_independent_and_reproducible():
    tree = SeedTree(7)
    assert tree.generator("a").random(4).tolist() == tree.generator("a").random(4).tolist()
    assert tree.generator("a").random(4).tolist() != tree.generator("b").random(4).tolist()
    assert tree.generator("a").random(4).tolist() != SeedTree(8).generator("a").random(4).tolist()
