"""DQMSB: truthful whatever its weights, blind to a common factor, and able to find the best factor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgewise.agents.auction.config import DQMSBConfig
from edgewise.agents.auction.dqmsb import DQMSB
from edgewise.agents.auction.rounds import CAP, BidModel, SecondBidRounds, factors, leave_one_out_states, relative_bids
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.second_bid import CONTRACT, modified_second_bid, surplus

N, ACTIONS = 4, 20
bids_of_a_round = st.lists(st.floats(0, 100), min_size=N, max_size=N).map(np.array)
weights = st.integers(0, 2**32 - 1)


def untrained(seed, fidelity="corrected", wild=3.0):
    """A mechanism with random weights, large enough that its factors vary."""
    generator = torch.Generator().manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(N, 32), torch.nn.ReLU(), torch.nn.Linear(32, ACTIONS))
    for parameter in network.parameters():
        parameter.data = wild * torch.randn(parameter.shape, generator=generator)
    return DQMSB(network, N, ACTIONS, fidelity=fidelity)


def gain(mechanism, values, bidder, report):
    """What a bidder gains in this round by another bid."""

    def utility(bids):
        winner, payment = modified_second_bid(bids, mechanism.rho(bids))
        return values[bidder] - payment if winner == bidder else 0.0

    lie = values.copy()
    lie[bidder] = report
    return utility(lie) - utility(values)


@given(weights, bids_of_a_round, st.integers(0, N - 1), st.floats(0, 300), bids_of_a_round)
def test_no_bid_beats_the_truth_whatever_the_weights(seed, values, bidder, report, past):
    mechanism = untrained(seed)
    mechanism.award(past)
    assert gain(mechanism, values, bidder, report) <= 1e-9


@given(weights, bids_of_a_round, st.integers(0, N - 1), st.floats(0, 300))
def test_the_own_bid_does_not_move_the_own_factor_and_one_wins_at_most(seed, bids, bidder, report):
    mechanism = untrained(seed)
    other = bids.copy()
    other[bidder] = report
    before, after = mechanism.rho(bids), mechanism.rho(other)
    assert before[bidder] == after[bidder]
    assert ((before >= 1) & (before < 10)).all()
    price = before * np.array([np.delete(bids, n).max() for n in range(N)])
    assert (bids > price).sum() <= 1


def test_a_network_that_sees_the_own_bid_is_not_truthful():
    rng = np.random.default_rng(0)
    most = 0.0
    for seed in range(20):
        mechanism = untrained(seed, "paper")
        values = 3 * rng.random(N)
        top = int(values.argmax())
        most = max(most, *(gain(mechanism, values, top, report) for report in np.linspace(0, 6, 30)))
    assert most > 0.1


@given(weights, bids_of_a_round, st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_common_factor_in_all_bids_changes_nothing_but_the_payment(seed, bids, common):
    one, other = untrained(seed), untrained(seed)
    for past in (bids, bids[::-1]):
        first, second = one.award(past), other.award(common * past)
        assert second.winner == first.winner
        assert second.payment == common * first.payment
        assert second.rho.tolist() == first.rho.tolist()


def test_the_published_form_is_moved_by_a_common_factor():
    changed = 0
    for seed in range(40):
        mechanism, bids = untrained(seed, "paper"), np.random.default_rng(seed).random(N)
        changed += mechanism.award(bids).winner != mechanism.award(50 * bids).winner
    assert changed > 0


@given(weights, bids_of_a_round, st.permutations(range(N)))
def test_names_do_not_matter(seed, bids, order):
    mechanism = untrained(seed)
    assert mechanism.rho(bids[list(order)]).tolist() == mechanism.rho(bids)[list(order)].tolist()


def test_states_and_running_means_by_hand():
    bids = np.array([4.0, 1.0, 2.0])
    states = leave_one_out_states(bids, np.array([0.5, 1.0, 99.0]))
    assert states.tolist() == [[1.0, 0.5, 0.5], [1.0, 0.5, 1.0], [1.0, 0.25, CAP]]
    assert relative_bids(bids).tolist() == [2.0, 0.25, 0.5]
    assert relative_bids(np.zeros(3)).tolist() == [1, 1, 1]
    assert relative_bids(np.array([1.0, 0.0])).tolist() == [CAP, 0.0]
    network = torch.nn.Linear(3, 2)
    mechanism = DQMSB(network, 3, 2)
    mechanism.award(bids)
    assert mechanism.means.tolist() == [1.5, 0.625, 0.75]
    mechanism.award(np.array([1.0, 1.0, 1.0]))
    assert mechanism.means == pytest.approx([4 / 3, 2.25 / 3, 2.5 / 3])
    mechanism.reset()
    assert mechanism.means.tolist() == [1, 1, 1]


def test_the_training_rounds_are_those_of_the_mechanism():
    env = SecondBidRounds(BidModel(N, 1.0), ACTIONS, length=30)
    observation, _ = env.reset(seed=3)
    mechanism = untrained(0)
    for step in range(30):
        values = env._values[step]
        assert observation.tolist() == leave_one_out_states(values, mechanism.means)[values.argmax()].tolist()
        assert env.observation_space.contains(observation)
        action = step % ACTIONS
        winner, payment = modified_second_bid(values, factors(ACTIONS)[action])
        observation, reward, terminated, truncated, info = env.step(action)
        assert (info["winner"], info["payment"]) == (winner, payment)
        assert reward == pytest.approx(float(surplus(values, winner, 1.0)))
        assert (terminated, truncated) == (False, step == 29)
        mechanism.award(values)


def test_a_common_factor_of_the_model_is_shared():
    values = BidModel(3, spread=0.0, common=1.0).draw(np.random.default_rng(0), 1000)
    assert np.ptp(values, axis=1).max() == 0.0
    assert np.log(values[:, 0]).std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "best"), [(0.2, 0), (1.2, ACTIONS - 1)])
def test_dqn_finds_the_best_factor_of_two_uniform_bidders(contract, best):
    """Surplus x0 + (2/3 - x0) / rho: the best factor is 1 below a contract of 2/3, the largest above."""
    from edgewise.agents.sb3.auction import build_dqmsb, mechanism

    model = BidModel(2, contract, law="uniform")
    learner = build_dqmsb(model, seed=0, target_period=200)
    learner.learn(12_000)
    auction = mechanism(learner)
    values = model.draw(np.random.default_rng(5), 3000)
    awards = [auction.award(row) for row in values]
    found = surplus(values, [award.winner for award in awards], contract).mean()
    rho = factors(ACTIONS)[best]
    optimum = contract + (2 / 3 - contract) / rho
    worst = contract + (2 / 3 - contract) / factors(ACTIONS)[ACTIONS - 1 - best]
    assert found > optimum - 0.15 * (optimum - worst)


def test_a_short_training_is_seeded_and_makes_a_mechanism():
    from edgewise.agents.sb3.auction import build_dqmsb, mechanism

    def trained(seed):
        learner = build_dqmsb(BidModel(3, 1.0), seed=seed, buffer_size=500, actions=5, hidden=(16,))
        learner.learn(700)
        return mechanism(learner)

    states = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    first, again, other = (trained(seed)._values(states) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert trained(1).award([1.0, 2.0, 30.0]).winner in (2, CONTRACT)


BAD = {
    "bidders": lambda: DQMSB(torch.nn.Linear(1, 20), 1),
    "fidelity": lambda: untrained(0, "published"),
    "network": lambda: DQMSB(torch.nn.Linear(3, 7), 3, 20),
    "bids": lambda: untrained(0).award([1.0]),
    "law": lambda: BidModel(3, law="normal"),
    "contract": lambda: BidModel(3, -1.0),
    "length": lambda: SecondBidRounds(BidModel(3), length=0),
}


@pytest.mark.parametrize("field", BAD)
def test_bad_input_names_the_field(field):
    with pytest.raises(InvalidInputError, match=field):
        BAD[field]()


def test_the_builder_refuses_what_the_configuration_refuses():
    from edgewise.agents.sb3.auction import build_dqmsb

    assert DQMSBConfig().actions == 20
    for field, hyper in (("gamma", {"gamma": 1.5}), ("bidders", {"bidders": 9}), ("gama", {"gama": 0.5})):
        with pytest.raises(InvalidInputError, match=field):
            build_dqmsb(BidModel(3), **hyper)
