"""Advantages with durations by hand, and the least-squares critic against a chain whose values are known."""

import math

import numpy as np
import pytest

from edgewise.agents.fractional.critic import FractionalLSTD
from edgewise.agents.fractional.returns import (
    differential_advantages,
    discounted_advantages,
    standardise,
    time_discount,
)
from edgewise.agents.fractional.transitions import eligibility_traces

DURATIONS = np.array([[0.5], [2.0], [7.0]])
REWARDS = np.array([[1.0], [-2.0], [4.0]])
VALUES = np.array([[0.3], [-0.7], [1.1]])
NEXT = np.array([[-0.7], [1.1], [5.0]])
NO_CUT = np.zeros((3, 1), np.bool_)


def test_discounts_follow_elapsed_time() -> None:
    discount = time_discount(DURATIONS, 10.0)
    assert discount.ravel() == pytest.approx([math.exp(-0.05), math.exp(-0.2), math.exp(-0.7)], rel=1e-15)


def test_returns_by_hand_with_durations_half_two_and_seven() -> None:
    g1, g2, g3 = math.exp(-0.05), math.exp(-0.2), math.exp(-0.7)
    result = discounted_advantages(REWARDS, time_discount(DURATIONS, 10.0), VALUES, NEXT, NO_CUT, 1.0)
    third = 4.0 + g3 * 5.0
    second = -2.0 + g2 * third
    first = 1.0 + g1 * second
    assert result.target.ravel() == pytest.approx([first, second, third], rel=1e-14)
    assert result.advantage.ravel() == pytest.approx([first - 0.3, second + 0.7, third - 1.1], rel=1e-14)


def test_lambda_counts_decisions_not_time() -> None:
    lam, g1, g2, g3 = 0.6, math.exp(-0.05), math.exp(-0.2), math.exp(-0.7)
    d1, d2, d3 = 1.0 - g1 * 0.7 - 0.3, -2.0 + g2 * 1.1 + 0.7, 4.0 + g3 * 5.0 - 1.1
    result = discounted_advantages(REWARDS, time_discount(DURATIONS, 10.0), VALUES, NEXT, NO_CUT, lam)
    expected = [d1 + lam * g1 * (d2 + lam * g2 * d3), d2 + lam * g2 * d3, d3]
    assert result.advantage.ravel() == pytest.approx(expected, rel=1e-13)


def test_a_truncation_bootstraps_from_its_own_final_value_and_cuts_the_sum() -> None:
    cut = np.array([[False], [True], [False]])
    following = np.array([[-0.7], [9.0], [5.0]])  # 9: value of the final observation, not of the reset one
    result = discounted_advantages(REWARDS, np.ones((3, 1)), VALUES, following, cut, 1.0)
    assert result.target.ravel() == pytest.approx([1.0 - 2.0 + 9.0, -2.0 + 9.0, 4.0 + 5.0])


def test_differential_advantages_subtract_the_gain_by_hand() -> None:
    delta = np.array([1.0 - 0.7 - 0.3, -2.0 + 1.1 + 0.7, 4.0 + 5.0 - 1.1])
    gain = delta.mean()
    result = differential_advantages(REWARDS, VALUES, NEXT, NO_CUT, 0.5)
    a3 = delta[2] - gain
    a2 = delta[1] - gain + 0.5 * a3
    a1 = delta[0] - gain + 0.5 * a2
    assert result.gain == pytest.approx(gain)
    assert result.advantage.ravel() == pytest.approx([a1, a2, a3])
    target = np.array([a1, a2, a3]) + VALUES.ravel()
    assert result.target.ravel() == pytest.approx(target - target.mean())


def test_winsorising_bounds_one_outlier_and_spares_the_rest() -> None:
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(50, 20))
    reward[3, 4] = -1e6
    zero = np.zeros_like(reward)
    cut = np.zeros(reward.shape, np.bool_)
    clipped = differential_advantages(reward, zero, zero, cut, 0.0, 0.01)
    assert np.abs(clipped.advantage).max() < 10.0
    inner = (reward > np.quantile(reward, 0.01)) & (reward < np.quantile(reward, 0.99))
    assert clipped.advantage[inner] + clipped.gain == pytest.approx(reward[inner], rel=1e-12)


def test_standardise_treats_groups_apart() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(0, 2, size=(40, 30))
    values = np.where(group == 1, 1000.0 + 100.0 * rng.normal(size=group.shape), rng.normal(size=group.shape))
    result = standardise(values, group)
    for label in (0, 1):
        assert result[group == label].mean() == pytest.approx(0.0, abs=1e-9)
        assert result[group == label].std() == pytest.approx(1.0, abs=1e-6)


# A two-state chain with semi-Markov steps: from 0 to 1 surely, from 1 to 0 with probability 1/4, costs and durations
# by state. Average criterion: values solve h = x - mean + P h with h(0) = 0.
P = np.array([[0.0, 1.0], [0.25, 0.75]])
COST, DURATION = np.array([3.0, 8.0]), np.array([0.5, 2.0])


def chain(steps: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    state, visited = 0, []
    for _ in range(steps + 1):
        visited.append(state)
        state = int(rng.random() < P[state, 1])
    path = np.array(visited)
    return path[:-1], path[1:]


@pytest.mark.parametrize("discounted", [False, True])
def test_least_squares_critic_finds_the_values_of_a_chain_at_every_ratio(discounted: bool) -> None:
    before, after = chain(200_000)
    one_hot = np.eye(2)
    critic = FractionalLSTD(2, memory=10.0, ridge=1e-9)
    discount = np.exp(-DURATION / 5.0)
    weights = np.ones(len(before))
    critic.update(
        one_hot[before],
        one_hot[after],
        COST[before],
        DURATION[before],
        weights,
        discount[before] if discounted else None,
    )
    for ratio in (0.0, 1.7, 4.0):
        reward = -(COST - ratio * DURATION)
        if discounted:
            exact = np.linalg.solve(np.eye(2) - discount[:, None] * P, reward)
            assert critic.values(one_hot, ratio) == pytest.approx(exact, rel=0.01)
        else:
            stationary = np.array([0.2, 0.8])
            gain = stationary @ reward
            difference = gain - reward[0]  # h(0) = r(0) - g + h(1)
            values = critic.values(one_hot, ratio)
            assert values[1] - values[0] == pytest.approx(difference, rel=0.02)


def test_traces_find_the_projection_of_the_values_where_features_confuse_states() -> None:
    """A cycle of three states, two of which look the same: with full traces the value is the mean of theirs."""
    cost, discount, steps = np.array([1.0, 0.0, 5.0]), 0.9, 30_000
    shift = np.roll(np.eye(3), 1, axis=1)
    exact = np.linalg.solve(np.eye(3) - discount * shift, cost)
    features = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    state = np.arange(steps + 1) % 3
    before, after, last = features[state[:-1]], features[state[1:]], np.arange(steps) == steps - 1
    rest = (before, after, cost[state[:-1]], np.ones(steps), np.ones(steps), np.full(steps, discount))
    found = []
    for lam in (0.0, 1.0):
        critic = FractionalLSTD(2, ridge=1e-9)
        critic.update(*rest, eligibility_traces(before, np.full(steps, lam * discount), last))
        found.append(critic.solution[:, 0])
    projection = np.array([exact[0], exact[1:].mean()])
    assert found[1] == pytest.approx(projection, rel=1e-3)
    assert abs(found[0] - projection).max() > 0.1


def test_least_squares_critic_continues_from_its_state() -> None:
    before, after = chain(400)
    one_hot = np.eye(2)
    left, right = FractionalLSTD(2), FractionalLSTD(2)
    rows = (one_hot[before], one_hot[after], COST[before], DURATION[before], np.ones(400), None)
    left.update(*rows)
    right.load(left.state())
    left.update(*rows)
    right.update(*rows)
    assert left.solution.tobytes() == right.solution.tobytes()
