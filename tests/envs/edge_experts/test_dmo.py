"""Polyblocks and branch-reduce-and-bound against brute force, the hand example, and the guard."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.constraints import Constraint
from edgewise.envs.edge_experts.dmo import branch_and_reduce, brute_force, polyblock
from edgewise.envs.edge_experts.monotone import (
    NotMonotoneError,
    assert_monotone,
    mask_of,
    members,
    monotone_hull,
)
from edgewise.envs.edge_experts.objective import FacilityLocation

from .families import FAMILIES, budgets, objective

SOLVERS = {"polyblock": polyblock, "branch_and_reduce": branch_and_reduce}
HAND = np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.5], [0.3, 0.3, 0.6]])
HAND_ENERGY = (3.0, 3.0, 4.0)


def hand_budget(limit=6.0):
    return Constraint("energy", "J", lambda s: sum(HAND_ENERGY[i] for i in members(s)), limit)


def test_the_hand_example_step_by_step():
    f = FacilityLocation(HAND)
    singles = [round(f(1 << i), 4) for i in range(3)]
    assert singles == [0.4333, 0.4333, 0.5333]
    assert [round(f(s), 4) for s in (0b011, 0b101, 0b110, 0b111)] == [0.6667, 0.6667, 0.6333, 0.7667]
    found = polyblock(f, [hand_budget()], 3)
    # One expansion: N is infeasible, index order completes to {0, 1}, the cover {1, 2} gives two children, both pruned.
    assert found.subset == (0, 1)
    assert found.nodes == 1
    assert found.trace == ((pytest.approx(2 / 3), pytest.approx(2 / 3)),)
    assert found.status == "optimal"
    assert found.value == found.bound == pytest.approx(2 / 3)
    before = []
    polyblock(f, [hand_budget()], 3, progress=before.append)
    assert [p.nodes for p in before] == [1]
    assert f(0b111) == pytest.approx(0.7667, abs=5e-5)  # the bound before the expansion
    assert branch_and_reduce(f, [hand_budget()], 3).value == found.value


def test_greedy_by_gain_loses_a_fifth_on_the_hand_example():
    f, budget, chosen = FacilityLocation(HAND), hand_budget(), 0
    while True:
        fits = [i for i in range(3) if not chosen >> i & 1 and budget.holds(chosen | 1 << i)]
        if not fits:
            break
        chosen |= 1 << max(fits, key=lambda i: f(chosen | 1 << i))
    assert members(chosen) == (2,)
    assert 1 - f(chosen) / polyblock(f, [budget], 3).value == pytest.approx(0.2)


def test_free_and_worthless_members_do_not_disturb_the_additive_bound():
    """Rounding leaves the room a little below 0 where the budget is just met; a free member takes no share of it."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        table, energy = rng.random((5, 7)), rng.uniform(0.2, 1.0, 7)
        table[:, 3] = energy[3] = 0.0
        f, limit = FacilityLocation(table), float(energy[[0, 2, 5]].sum())

        def used(s, energy=energy):
            return float(energy[list(members(s))].sum())

        rows = (Constraint("energy", "J", used, limit),)
        found = branch_and_reduce(f, rows, 7, additive=(energy, limit))
        assert found.value == pytest.approx(brute_force(f, rows, 7).value, abs=1e-12)


def run_family(family, count, seed, sizes=range(2, 9)):
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    for _ in range(count):
        n = int(rng.choice(list(sizes)))
        f = objective(family, n, rng)
        energy, rows = budgets(n, rng)
        best = brute_force(f, rows, n)
        additive = {"additive": (energy, rows[0].limit)} if family in ("facility location", "linear") else {}
        runs = [
            polyblock(f, rows, n, check=False),
            branch_and_reduce(f, rows, n, check=False),
            branch_and_reduce(f, rows, n, check=False, **additive),
        ]
        for found in runs:
            assert found.value == pytest.approx(best.value, abs=1e-12), (family, n, found.method)
            assert found.status == "optimal"
            assert all(row.holds(mask_of(found.subset)) for row in rows)
            assert f(mask_of(found.subset)) == found.value
            bounds, values = zip(*found.trace, strict=True) if found.trace else ((), ())
            assert list(bounds) == sorted(bounds, reverse=True)
            assert list(values) == sorted(values)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_algorithms_equal_brute_force(family):
    run_family(family, 100, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_both_algorithms_equal_brute_force_on_many_instances(family):
    run_family(family, 750, seed=2, sizes=range(2, 11))


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
class TestEverySolver:
    def case(self, seed=0, n=9):
        rng = np.random.default_rng(seed)
        f = objective("facility location", n, rng)
        return f, budgets(n, rng)[1], n

    def test_eps_gives_a_certified_gap(self, solver):
        for seed in range(20):
            f, rows, n = self.case(seed)
            exact = brute_force(f, rows, n).value
            found = solver(f, rows, n, eps=0.05)
            assert found.value <= exact <= found.bound + 1e-12
            assert found.gap <= 0.05 + 1e-12

    def test_no_limit_takes_everything_and_no_budget_nothing(self, solver):
        f, rows, n = self.case(3)
        everything = solver(f, [Constraint("energy", "J", rows[0].use, 1e9)], n)
        assert everything.value == f((1 << n) - 1)
        assert solver(f, [Constraint("energy", "J", rows[0].use, 0.0)], n).subset == ()

    def test_relaxing_a_budget_never_lowers_the_value(self, solver):
        f, rows, n = self.case(4)
        limits = np.linspace(0.0, rows[0].use((1 << n) - 1), 12)
        values = [solver(f, [Constraint("energy", "J", rows[0].use, limit), rows[1]], n).value for limit in limits]
        assert values == sorted(values)

    def test_the_order_of_experts_does_not_matter(self, solver):
        rng = np.random.default_rng(5)
        table, energy = rng.random((8, 7)), rng.random(7)
        values = []
        for order in (range(7), rng.permutation(7)):
            index = list(order)
            f = FacilityLocation(table[:, index])
            row = Constraint("e", "J", lambda s, e=energy[index]: float(e[list(members(s))].sum()), energy.sum() / 3)
            values.append(solver(f, [row], 7).value)
        assert values[0] == pytest.approx(values[1], abs=1e-15)

    def test_a_time_limit_returns_incumbent_and_bound(self, solver):
        f, rows, n = self.case(6, n=12)
        exact = solver(f, rows, n)
        assert exact.nodes > 1
        found = solver(f, rows, n, time_limit=1e-9)
        assert found.nodes == 1
        assert found.value <= exact.value <= found.bound
        assert found.status in ("time_limit", "optimal")

    def test_an_interrupt_returns_incumbent_and_bound(self, solver):
        f, rows, n = self.case(6, n=12)

        def stop(progress):
            raise KeyboardInterrupt

        found = solver(f, rows, n, progress=stop)
        assert found.status == "interrupted"
        assert found.value <= solver(f, rows, n).value <= found.bound

    def test_functions_that_are_not_increasing_are_refused_by_name(self, solver):
        f = FacilityLocation(HAND)
        with pytest.raises(NotMonotoneError, match=r"energy\(\{\d.*must be|energy must be increasing") as caught:
            solver(f, [Constraint("energy", "J", lambda s: float((s & 1) * 3 + (s == 3)) - (s == 7), 9.0)], 3)
        assert set(caught.value.smaller) < set(caught.value.larger)
        with pytest.raises(NotMonotoneError, match="f must be increasing"):
            solver(lambda s: -float(s.bit_count()), [hand_budget()], 3)

    def test_bad_arguments_are_refused(self, solver):
        f = FacilityLocation(HAND)
        for eps in (-1.0, math.nan, math.inf):
            with pytest.raises(InvalidInputError, match="eps"):
                solver(f, [], 3, eps=eps)
        with pytest.raises(InvalidInputError, match="time_limit"):
            solver(f, [], 3, time_limit=0.0)
        with pytest.raises(InvalidInputError, match="even the empty subset"):
            solver(f, [hand_budget(-1.0)], 3)


def expected_topk_energy(scores, energy):
    """Expected energy under a fixed gate: adding a cheap expert diverts traffic from a costly one."""

    def use(s):
        chosen = list(members(s))
        if not chosen:
            return 0.0
        routed = np.array(chosen)[scores[:, chosen].argmax(axis=1)]
        return float(energy[routed].mean())

    return use


def test_the_guard_rejects_expected_topk_energy_and_names_the_pair():
    scores = np.array([[1.0, 2.0], [1.0, 0.0]])
    use = expected_topk_energy(scores, np.array([10.0, 1.0]))
    with pytest.raises(NotMonotoneError, match=r"expected energy\(\{0\}\) = 10 and expected energy\(\{0, 1\}\) = 5.5"):
        assert_monotone(use, 2, name="expected energy")
    hull = monotone_hull(use, 2)
    assert_monotone(hull, 2)
    assert hull(0b11) == 10.0
    for s in range(4):
        assert hull(s) >= use(s)


def test_the_guard_finds_a_violation_among_many_experts_by_chains():
    f = FacilityLocation(np.random.default_rng(0).random((5, 30)))
    with pytest.raises(NotMonotoneError) as caught:
        assert_monotone(lambda s: f(s) - 0.2 * (s.bit_count() > 15), 30)
    assert len(caught.value.larger) == 16
    assert_monotone(f, 30)


def test_masks_and_members_invert_each_other():
    for indices in ((), (0,), (1, 5, 63)):
        assert members(mask_of(indices)) == indices
    with pytest.raises(InvalidInputError, match="monotone hull"):
        monotone_hull(lambda s: 0.0, 13)
    with pytest.raises(InvalidInputError, match="brute force"):
        brute_force(lambda s: 0.0, [], 21)
