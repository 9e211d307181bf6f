"""The compiled selection: golden values, brute force, HiGHS, certificates, explanations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.constraints import make_constraints
from edgewise.envs.edge_experts.dmo import branch_and_reduce, brute_force, polyblock
from edgewise.envs.edge_experts.instance import Budgets
from edgewise.envs.edge_experts.milp import solve_milp
from edgewise.envs.edge_experts.monotone import assert_monotone, mask_of
from edgewise.envs.edge_experts.objective import BestOfK, FacilityLocation, value_of_likelihood, value_of_quality
from edgewise.envs.edge_experts.optimum import rows_of, solve, solve_facility
from edgewise.envs.edge_experts.search import Problem, Search
from edgewise.envs.edge_experts.synthetic import DELAY_BUDGETS, ENERGY_BUDGETS, section9, synthetic

GOLDEN = {
    "tight": (0.313739, 0.485319, 0.742375, 0.785507, 0.785507, 0.785507),
    "mid": (0.541815, 0.602937, 0.759480, 0.797028, 0.820063, 0.820283),
    "loose": (0.541815, 0.749492, 0.796466, 0.843801, 0.852781, 0.853390),
}
SUBSETS = {
    "tight": ((1,), (1, 9), (1, 10), (1, 9, 10), (1, 9, 10), (1, 9, 10)),
    "mid": (
        (0, 3),
        (3, 9),
        (0, 1, 10),
        (0, 1, 3, 6, 9, 10),
        (0, 1, 2, 3, 6, 9, 10, 11),
        (0, 1, 2, 3, 6, 8, 9, 10, 11),
    ),
    "loose": (
        (0, 3),
        (0, 4),
        (0, 1, 3, 4, 9),
        (0, 1, 2, 3, 4, 9, 10),
        (0, 1, 2, 3, 4, 7, 9, 10, 11),
        (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11),
    ),
}
CELLS = [
    (name, energy, GOLDEN[name][j], SUBSETS[name][j]) for name in GOLDEN for j, energy in enumerate(ENERGY_BUDGETS)
]


@pytest.fixture(scope="module")
def instance():
    return synthetic(0)


@pytest.mark.parametrize(("name", "energy", "expected", "subset"), CELLS)
def test_the_eighteen_golden_budgets(instance, name, energy, expected, subset):
    budgets = Budgets(E_max=energy, tau=DELAY_BUDGETS[name])
    found = solve(instance, budgets).solution
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.status == "optimal"
    assert found.gap == 0.0
    assert found.subset == subset
    assert make_constraints(instance, budgets).feasible(mask_of(found.subset))
    assert value_of_quality(instance)(mask_of(found.subset)) == pytest.approx(found.value, abs=1e-12)


@pytest.mark.parametrize(("name", "energy"), [("tight", 1000.0), ("mid", 1000.0), ("loose", 500.0)])
def test_every_solver_agrees_on_golden_budgets(instance, name, energy):
    budgets = Budgets(E_max=energy, tau=DELAY_BUDGETS[name])
    constraints, f = make_constraints(instance, budgets), value_of_quality(instance)
    best = brute_force(f, constraints.rows, 12)
    assert solve(instance, budgets).solution.value == pytest.approx(best.value, abs=1e-12)
    assert polyblock(f, constraints.rows, 12, check=False).value == best.value
    assert branch_and_reduce(f, constraints.rows, 12).value == best.value
    found = solve_milp(instance, constraints, f)
    assert found.finished
    assert found.value == pytest.approx(best.value, abs=1e-6)
    assert found.bound >= best.value - 1e-6


def random_problem(rng):
    """A random compiled problem with every kind of budget, and the same as plain Python functions."""
    n, prompts, rows = int(rng.integers(1, 11)), int(rng.integers(1, 30)), int(rng.integers(0, 4))
    gain = rng.random((n, prompts)) * rng.random(prompts)
    if rng.random() < 0.3:
        gain = np.round(gain, 1)  # ties
    load = rng.random((rows, n)) * (rng.random((rows, n)) < 0.8)
    limit = load.sum(axis=1) * rng.uniform(0.1, 1.1, rows)
    cap = rng.integers(0, n + 1, n) if rng.random() < 0.5 else np.full(n, n)
    peak_row = int(rng.integers(rows)) if rows and rng.random() < 0.4 else -1
    problem = Problem(gain, load, limit, cap.astype(np.int64), rng.random(n), peak_row, int(rng.integers(1, 3)))

    def keeps(s):
        chosen = [i for i in range(n) if s >> i & 1]
        if len(chosen) > min([cap[i] for i in chosen], default=0):
            return False
        use = load[:, chosen].sum(axis=1)
        if peak_row >= 0:
            use[peak_row] += sum(sorted(problem.peak[chosen])[::-1][: problem.k])
        return bool((use <= limit).all())

    def worth(s):
        chosen = [i for i in range(n) if s >> i & 1]
        return float(gain[chosen].max(axis=0).sum()) if chosen else 0.0

    return problem, keeps, worth


def compare_with_brute_force(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        problem, keeps, worth = random_problem(rng)
        n = len(problem.cap)
        exact = max(worth(s) for s in range(1 << n) if s == 0 or keeps(s))
        found = solve_facility(problem)
        assert found.value == pytest.approx(exact, abs=1e-11)
        assert found.bound == pytest.approx(exact, abs=1e-11)
        assert found.status == "optimal"
        assert not found.subset or keeps(mask_of(found.subset))
        bounds, values = zip(*found.trace, strict=True) if found.trace else ((), ())
        assert list(bounds) == sorted(bounds, reverse=True)
        assert list(values) == sorted(values)


def test_random_problems_equal_brute_force():
    compare_with_brute_force(300, 0)


@pytest.mark.slow
def test_three_thousand_random_problems_equal_brute_force():
    compare_with_brute_force(3000, 1)


def test_feasibility_equals_plain_python():
    rng = np.random.default_rng(2)
    for _ in range(100):
        problem, keeps, _ = random_problem(rng)
        search = Search(problem, 0.0)
        for s in rng.integers(0, 1 << problem.n, 8).tolist():
            assert search.feasible(s) == (s == 0 or keeps(s))


def test_bounds_hold_for_every_subset_of_a_box_whatever_the_prices():
    rng = np.random.default_rng(3)
    for _ in range(60):
        problem, keeps, worth = random_problem(rng)
        n = problem.n
        order = rng.integers(3, size=n)
        p, q = mask_of([i for i in range(n) if order[i] == 2]), mask_of([i for i in range(n) if order[i]])
        search = Search(problem, 0.0)
        search.value = -1.0  # nothing is cut for its value
        kept = [s for s in range(1 << n) if s & p == p and s & ~q == 0 and (s == 0 or keeps(s))]
        price = rng.random(problem.gain.shape[1]) * rng.random()
        p, q, upper = search._reduced(p, q, np.inf, price, int(rng.integers(0, 4)))
        if kept and upper < np.inf:
            assert upper >= max(map(worth, kept)) - 1e-12
            for i in range(n):
                for inside in range(2):
                    there = [worth(s) for s in kept if (s >> i & 1) == inside]
                    if there and q >> i & 1 and not p >> i & 1:
                        assert search._forced[i, inside] >= max(there) - 1e-12


@pytest.mark.parametrize("n", [12, 16])
@pytest.mark.parametrize("seed", range(2))
def test_the_linear_programme_agrees(n, seed):
    instance = section9(n, 120, seed)
    total = float(make_constraints(instance).energy.sum())
    budgets = Budgets(E_max=0.25 * total, tau=DELAY_BUDGETS["loose"])
    for model in ("all", "topk"):
        constraints = make_constraints(instance, budgets, model)
        found = solve(instance, budgets, energy_model=model).solution
        witness = solve_milp(instance, constraints, value_of_quality(instance))
        assert witness.finished
        assert found.value == pytest.approx(witness.value, abs=1e-6)


@pytest.mark.slow
def test_sixteen_experts_equal_brute_force():
    instance = section9(16, 100, 3)
    budgets = Budgets(E_max=0.3 * float(make_constraints(instance).energy.sum()), tau=DELAY_BUDGETS["mid"])
    constraints, f = make_constraints(instance, budgets), value_of_quality(instance)
    assert solve(instance, budgets).solution.value == pytest.approx(
        brute_force(f, constraints.rows, 16).value, abs=1e-12
    )


def test_memory_and_cardinality_bind(instance):
    free = solve(instance, Budgets()).solution
    assert free.subset == tuple(range(12))
    assert free.value == pytest.approx(0.857936, abs=1e-6)
    few = solve(instance, Budgets(max_experts=3)).solution
    assert len(few.subset) == 3
    assert few.value == pytest.approx(
        brute_force(value_of_quality(instance), make_constraints(instance, Budgets(max_experts=3)).rows, 12).value,
        abs=1e-12,
    )
    device = instance.experts[4].device
    assert 4 not in solve(instance, Budgets(MEM={device: 1.0})).solution.subset
    assert solve(instance, Budgets(E_max=0.0)).solution.subset == ()
    assert solve(instance, Budgets(E_max=0.0)).solution.value == 0.0


def test_delay_statistics_over_prompts_use_the_general_solver(instance):
    small = synthetic(0, prompts=200).subset(range(7))
    for statistic in ("mean", "p95"):
        budgets = Budgets(E_max=600.0, tau=DELAY_BUDGETS["loose"], statistic=statistic)
        constraints = make_constraints(small, budgets)
        assert constraints.problem is None
        for row in constraints.rows:
            assert_monotone(row.use, 7, name=row.name)
        found = solve(small, budgets).solution
        assert found.value == pytest.approx(brute_force(value_of_quality(small), constraints.rows, 7).value, abs=1e-12)
    coarse = make_constraints(small, Budgets(tau=DELAY_BUDGETS["loose"]))
    fine = make_constraints(small, Budgets(tau=DELAY_BUDGETS["loose"], statistic="mean"))
    for s in range(1, 1 << 7):
        for one, two in zip(coarse.rows, fine.rows, strict=True):
            assert one.use(s) <= two.use(s) + 1e-12  # the max of means is never above the mean of the max


def test_topk_energy_counts_the_costliest_only(instance):
    budgets = Budgets(E_max=900.0, k=2)
    constraints = make_constraints(instance, budgets, "topk")
    energy = constraints.energy
    assert constraints.energy_use(mask_of([0, 5, 9])) == pytest.approx(energy[5] + energy[9])
    assert_monotone(constraints.energy_use, 12, trials=5)
    found = solve(instance, budgets, energy_model="topk").solution
    assert found.value == pytest.approx(brute_force(value_of_quality(instance), constraints.rows, 12).value, abs=1e-12)


def test_groups_of_two_and_likelihoods_equal_brute_force():
    instance = synthetic(4, prompts=150, answers=True).subset(range(8))
    budgets = Budgets(E_max=500.0, k=2)
    constraints = make_constraints(instance, budgets)
    pairs = BestOfK(instance, 2)
    assert_monotone(pairs, 8, name="f_2")
    assert solve(instance, budgets).solution.value == pytest.approx(brute_force(pairs, constraints.rows, 8).value)
    nats = value_of_likelihood(instance)
    found = solve(instance, budgets, objective="likelihood").solution
    assert found.value == pytest.approx(brute_force(nats, constraints.rows, 8).value, abs=1e-12)
    with pytest.raises(InvalidInputError, match="likelihood needs"):
        solve(synthetic(0, prompts=20), objective="likelihood")
    with pytest.raises(InvalidInputError, match="objective"):
        solve(instance, objective="luck")


def test_equal_prompts_are_merged_without_changing_the_value():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2, (500, 4)).astype(float)
    weight = rng.dirichlet(np.ones(500))
    f = FacilityLocation(table, weight)
    gain = f.gains()
    assert gain.shape[1] <= 16
    for s in range(1, 16):
        chosen = [i for i in range(4) if s >> i & 1]
        assert gain[chosen].max(axis=0).sum() == pytest.approx(f(s))


def test_eps_time_limit_and_interrupt_keep_the_certificate():
    rng = np.random.default_rng(8)
    n = 40
    hard = Problem(
        rng.random((n, 300)) / 300, rng.random((1, n)), np.array([4.0]), np.full(n, n, np.int64), np.zeros(n), -1, 1
    )
    loose = solve_facility(hard, eps=0.02)
    assert loose.status == "eps"
    assert 0 < loose.gap <= 0.02 + 1e-12
    seen = []
    short = solve_facility(hard, time_limit=0.05, progress=seen.append)
    assert short.status in ("time_limit", "optimal")
    assert seen[-1].nodes == short.nodes
    assert short.value <= short.bound
    assert max(loose.value, short.value) <= min(loose.bound, short.bound) + 1e-12

    def stop(progress):
        raise KeyboardInterrupt

    cut = solve_facility(hard, progress=stop)
    assert cut.status == "interrupted"
    assert cut.value <= min(loose.bound, short.bound) + 1e-12
    assert cut.bound >= max(loose.value, short.value) - 1e-12


def test_boxes_without_room_for_their_prices_start_from_the_roots(monkeypatch):
    from edgewise.envs.edge_experts import search

    rng = np.random.default_rng(8)
    hard = Problem(
        rng.random((18, 60)) / 60, rng.random((1, 18)), np.array([3.0]), np.full(18, 18, np.int64), np.zeros(18), -1, 1
    )
    expected = solve_facility(hard)
    monkeypatch.setattr(search, "PRICE_BYTES", 4 * 60 * 3)
    found = solve_facility(hard)
    assert found.nodes > 3
    assert found.value == pytest.approx(expected.value, abs=1e-12)


def test_the_explanation_names_budgets_and_the_next_expert(instance):
    found = solve(instance, Budgets(E_max=1000.0, tau=DELAY_BUDGETS["loose"]))
    assert found.binding == ("energy",)
    extra = found.next_expert
    f = value_of_quality(instance)
    subset = mask_of(found.solution.subset)
    gains = {i: f(subset | 1 << i) - f(subset) for i in range(12) if not subset >> i & 1}
    assert extra.index == max(gains, key=gains.get)
    assert extra.gain == pytest.approx(gains[extra.index])
    assert extra.energy == pytest.approx(make_constraints(instance).energy[extra.index])
    assert all(delay >= 0.02 - 1e-12 for delay in extra.delay)
    report = found.as_json()
    assert set(report) == {
        "subset",
        "experts",
        "value",
        "bound",
        "gap",
        "seconds",
        "status",
        "binding",
        "next_expert",
    }
    assert [use <= row.limit + 1e-9 for row, use in rows_of(found)] == [True] * 5
    everything = solve(instance, Budgets())
    assert everything.binding == ()
    assert everything.next_expert is None


def test_bad_arguments_are_refused(instance):
    for eps in (-1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="eps"):
            solve(instance, eps=eps)
    with pytest.raises(InvalidInputError, match="time_limit"):
        solve(instance, time_limit=-1.0)
    with pytest.raises(InvalidInputError, match="energy_model"):
        solve(instance, energy_model="some")
    with pytest.raises(InvalidInputError, match="4 numbers"):
        solve(instance, Budgets(tau=(1.0,)))
