"""Exact ratio solvers: the tiny instance's table, agreement of three methods, certificates, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.instances import TINY_DELAYS, TINY_WAITS, tiny_instance
from edgewise.envs.core.ratio_mdp import (
    RatioMDP,
    certified_bound,
    enumerate_policies,
    evaluate_policies,
    policy_ratio,
    solve_additive,
    solve_dinkelbach,
    solve_enumeration,
    solve_lp,
)

TINY = tiny_instance()
BEST = (3, 0, 1, 0)  # (2, E), (0, L), (0, E), (0, L)
ZERO_WAIT = (1, 0, 1, 0)  # (0, E), (0, L), (0, E), (0, L)
SOLVERS = (
    solve_enumeration,
    solve_lp,
    solve_dinkelbach,
    lambda mdp: solve_dinkelbach(mdp, 10.0, method="value"),
)
EXACT = 1e-9  # agreement of solvers
PRINTED = 5.1e-7  # half a unit in the sixth decimal


def worst_ratio():
    return enumerate_policies(TINY).ratio.max()


def test_tiny_instance_is_what_its_docstring_says():
    # State (1, 1), action (2, edge): u = 3, next delay 1 with probability 0.2.
    assert TINY.duration[1, 3] == 3.0
    assert TINY.cost[1, 3] == pytest.approx(0.5 * 9 + 3 * (0.2 * 1 + 0.8 * 4), abs=1e-12)
    assert TINY.transition[1, 3].tolist() == pytest.approx([0.2 * 0.2, 0.2 * 0.8, 0.8 * 0.2, 0.8 * 0.8], abs=1e-12)
    assert TINY.transition[2, 2].tolist() == pytest.approx([0.5 * 0.8, 0.5 * 0.2, 0.5 * 0.8, 0.5 * 0.2], abs=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_tiny_optimum_by_every_solver(solver):
    optimum = solver(TINY)
    assert optimum.value == pytest.approx(3.4125, abs=EXACT)
    assert optimum.bound == pytest.approx(3.4125, abs=EXACT)
    assert optimum.details["policy"] == BEST


def test_tiny_table_of_all_256_policies():
    table = enumerate_policies(TINY)
    assert table.ratio.size == 256
    distinct = np.unique(np.round(table.ratio, 9))
    assert distinct[:5] == pytest.approx([3.4125, 3.461053, 3.583829, 3.591724, 3.603636], abs=PRINTED)
    assert table.ratio.max() == pytest.approx(5.791765, abs=PRINTED)
    zero_wait = (table.policy < 2).all(axis=1)
    best = table.policy[zero_wait][np.argmin(table.ratio[zero_wait])]
    assert tuple(best) == ZERO_WAIT
    assert policy_ratio(TINY, ZERO_WAIT) == pytest.approx(3.461053, abs=PRINTED)
    assert table.duration.min() == pytest.approx(1.9, abs=EXACT)
    assert table.duration.max() == pytest.approx(4.95, abs=EXACT)


@pytest.mark.parametrize("method", ["policy", "value"])
def test_tiny_dinkelbach_sequence(method):
    details = solve_dinkelbach(TINY, worst_ratio(), method).details
    assert details["ratios"] == pytest.approx((5.791765, 3.603636, 3.4125), abs=PRINTED)
    assert details["residuals"] == pytest.approx((-7.220824, -0.519891, 0.0), abs=PRINTED)


def test_tiny_occupation_of_the_linear_programme():
    occupation = np.array(solve_lp(TINY).details["occupation"])
    assert occupation[np.arange(4), BEST] == pytest.approx([0.150735, 0.106618, 0.033088, 0.077206], abs=PRINTED)
    assert occupation.sum() == pytest.approx(occupation[np.arange(4), BEST].sum(), abs=EXACT)


@pytest.mark.parametrize("solver", SOLVERS)
def test_mean_of_ratios_surrogate_returns_the_zero_wait_policy(solver):
    optimum = solver(TINY.rate_surrogate())
    assert optimum.value == pytest.approx(2.85, abs=EXACT)
    assert optimum.details["policy"] == ZERO_WAIT


def test_per_cycle_surrogate_of_the_released_code_returns_the_zero_wait_policy():
    # Area over (y + z + next y), its expectation over the next delay.
    delay, wait = np.array(TINY_DELAYS), np.array(TINY_WAITS)
    elapsed = delay[:, None] + wait[None, :]
    following = delay[None, None, :]
    rate = (0.5 * elapsed[..., None] ** 2 + elapsed[..., None] * following) / (elapsed[..., None] + following)
    surrogate = RatioMDP(TINY.transition, (TINY.transition * rate).sum(axis=2), np.ones((4, 4)))
    policy = solve_lp(surrogate).details["policy"]
    assert policy == ZERO_WAIT
    assert policy_ratio(TINY, policy) == pytest.approx(3.461053, abs=PRINTED)


def test_halved_coefficient_settles_on_the_zero_wait_policy():
    ratio = 5.0
    for _ in range(10):
        ratio = policy_ratio(TINY, solve_additive(TINY, 0.5 * ratio).policy)
    assert ratio == pytest.approx(3.461053, abs=PRINTED)


@pytest.mark.parametrize(
    ("discount", "value", "policy"), [(0.9, 3.218731, ZERO_WAIT), (0.99, 3.393698, BEST), (0.999, 3.410590, BEST)]
)
def test_discounted_ratio_from_the_first_state(discount, value, policy):
    results = [solver(TINY.discounted(discount)) for solver in SOLVERS]
    for optimum in results:
        assert optimum.value == pytest.approx(value, abs=PRINTED)
        assert optimum.value == pytest.approx(results[0].value, abs=EXACT)
        assert optimum.gap <= EXACT
        assert optimum.details["policy"] == policy


def test_discounted_dinkelbach_sequence():
    details = solve_dinkelbach(TINY.discounted(0.9), 10.0).details
    assert details["ratios"] == pytest.approx((10.0, 4.480660, 3.250014, 3.218731), abs=PRINTED)
    # The printed residuals come with the printed accuracy of the ratio, times a discounted duration of about 17.
    assert details["residuals"] == pytest.approx((-228.320010, -33.866312, -0.529502, 0.0), abs=1.1e-6)


def random_mdp(seed, discount, periodic=False):
    rng = np.random.default_rng(seed)
    states, actions = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    transition = rng.dirichlet(np.ones(states), (states, actions))
    if periodic and states > 1:
        transition = np.zeros((states, actions, states))
        transition[np.arange(states), :, (np.arange(states) + 1) % states] = 1.0
    cost, duration = rng.normal(size=(states, actions)), rng.uniform(0.1, 3.0, (states, actions))
    return RatioMDP(transition, cost, duration, discount, int(rng.integers(states)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 0.5, 0.95]), st.booleans())
def test_three_solvers_agree_on_random_processes(seed, discount, periodic):
    mdp = random_mdp(seed, discount, periodic)
    results = [solver(mdp) for solver in SOLVERS]
    for optimum in results:
        assert optimum.value == pytest.approx(results[0].value, abs=EXACT)
        assert optimum.gap <= EXACT


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 0.5, 0.95]), st.floats(-3, 3))
def test_certificate_holds_for_any_values_and_ratio(seed, discount, ratio):
    mdp = random_mdp(seed, discount)
    values = np.random.default_rng(seed + 1).normal(size=mdp.states)
    assert certified_bound(mdp, ratio, values) <= enumerate_policies(mdp).ratio.min() + 1e-12


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize("ratio", [0.5, 3.4125, 9.0])
def test_inner_methods_agree_and_equal_the_enumerated_residual(discount, ratio):
    mdp = TINY if discount == 1 else TINY.discounted(discount)
    table = enumerate_policies(mdp)
    expected = (table.cost - ratio * table.duration).min()
    for method in ("policy", "value"):
        assert solve_additive(mdp, ratio, method).residual == pytest.approx(expected, abs=1e-8)


def test_policy_values_match_a_long_simulation():
    rng = np.random.default_rng(0)
    state, cost, duration = 0, 0.0, 0.0
    cumulative = np.cumsum(TINY.transition, axis=2)
    for u in rng.random(100_000):
        action = BEST[state]
        cost, duration = cost + TINY.cost[state, action], duration + TINY.duration[state, action]
        state = int(np.searchsorted(cumulative[state, action], u))
    assert cost / duration == pytest.approx(policy_ratio(TINY, BEST), rel=0.005)


def test_states_the_optimum_never_visits():
    # State 1 is left at once and never entered again: the occupation there is 0, the policy is still optimal from it.
    transition = np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    mdp = RatioMDP(transition, [[1.0, 2.0], [9.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]])
    optimum = solve_lp(mdp)
    assert optimum.value == pytest.approx(1.0, abs=EXACT)
    assert optimum.details["policy"] == (0, 1)


def test_several_recurrent_classes_are_refused():
    mdp = RatioMDP(np.eye(2)[:, None, :], [[1.0], [2.0]], [[1.0], [1.0]])
    for call in (lambda: policy_ratio(mdp, [0, 0]), lambda: solve_dinkelbach(mdp), lambda: solve_enumeration(mdp)):
        with pytest.raises(InvalidInputError, match="single recurrent class"):
            call()
    assert solve_enumeration(mdp.discounted(0.9, start=1)).value == pytest.approx(2.0, abs=EXACT)


GOOD = {"transition": [[[0.5, 0.5]], [[1.0, 0.0]]], "cost": [[1.0], [2.0]], "duration": [[1.0], [1.0]]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"transition": [[0.5, 0.5]]}, "transition"),
        ({"transition": np.zeros((0, 1, 0))}, "transition"),
        ({"transition": [[[0.5, 0.4]], [[1.0, 0.0]]]}, "transition"),
        ({"transition": [[[1.5, -0.5]], [[1.0, 0.0]]]}, "transition"),
        ({"cost": [[np.nan], [2.0]]}, "cost"),
        ({"cost": [[1.0, 2.0]]}, "cost"),
        ({"duration": [[0.0], [1.0]]}, "duration"),
        ({"duration": [1.0, 1.0]}, "duration"),
        ({"discount": 0.0}, "discount"),
        ({"discount": 1.5}, "discount"),
        ({"discount": np.nan}, "discount"),
        ({"start": 2}, "start"),
    ],
)
def test_impossible_processes_are_refused_by_field(change, field):
    with pytest.raises(InvalidInputError, match=f"^{field} must"):
        RatioMDP(**{**GOOD, **change})


def test_other_refusals():
    mdp = RatioMDP(**GOOD)
    with pytest.raises(InvalidInputError, match=r"^policy must"):
        evaluate_policies(mdp, [[0, 1]])
    with pytest.raises(InvalidInputError, match=r"^method must"):
        solve_additive(mdp, 0.0, "guess")
    with pytest.raises(InvalidInputError, match=r"at most 1000000"):
        enumerate_policies(RatioMDP(np.full((21, 2, 21), 1 / 21), np.ones((21, 2)), np.ones((21, 2))))
    with pytest.raises(ValueError, match="read-only"):
        mdp.cost[0, 0] = 3.0
