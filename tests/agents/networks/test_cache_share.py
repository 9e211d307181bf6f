"""The law of cache bits and shares against scipy, and the heads on a backbone."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from edgewise.agents.config import CacheNetworkFields
from edgewise.agents.networks.backbones import MLPBackbone
from edgewise.agents.networks.cache_law import MOST_SCORE, CacheShareDistribution
from edgewise.agents.networks.cache_share import CacheActorCritic
from edgewise.agents.networks.caching import cache_network, parameter_counts
from edgewise.agents.networks.itemwise import ItemwiseBackbone
from edgewise.envs.core.errors import InvalidInputError

LOGITS = [[0.3, -1.2, 2.0]]
LOCATION = [[0.5, -1.0, 2.0, 0.1, 0.7, -0.3]]  # first parameters of the three shares, then second ones


def law(rows: int = 1, **kwargs: Any) -> CacheShareDistribution:
    both = (torch.tensor(values, dtype=torch.float64).repeat(rows, 1) for values in (LOGITS, LOCATION))
    return CacheShareDistribution(*both, **kwargs)


def parameters() -> tuple[np.ndarray, np.ndarray]:
    first, second = np.split(1.0 + np.log1p(np.exp(np.array(LOCATION[0]))), 2)
    return first, second


def test_log_probability_is_that_of_scipy_and_shares_of_uncached_items_do_not_count() -> None:
    shares, bits = np.array([0.2, 0.9, 0.55]), np.array([1, 0, 1])
    p = 1.0 / (1.0 + np.exp(-np.array(LOGITS[0])))
    first, second = parameters()
    expected = np.log(np.where(bits, p, 1.0 - p)) + bits * stats.beta.logpdf(shares, first, second)
    carrier = torch.tensor(np.concatenate([2.0 * shares - 1.0, 2.0 * bits - 1.0])[None])
    assert law().log_prob(carrier).item() == pytest.approx(expected.sum(), rel=1e-9)
    carrier[0, 1] = -0.3  # the share of the item that is not cached
    assert law().log_prob(carrier).item() == pytest.approx(expected.sum(), rel=1e-9)


def test_entropy_is_the_mean_surprise_of_samples() -> None:
    torch.manual_seed(0)
    many = law(40_000)
    surprise = -many.log_prob(many.sample())
    expected = many.entropy()[0].item()
    assert surprise.mean().item() == pytest.approx(expected, abs=5.0 * surprise.std().item() / 200.0)


def test_divergence_is_the_mean_log_ratio_of_samples() -> None:
    torch.manual_seed(0)
    other = CacheShareDistribution(law(40_000).logits - 0.5, torch.full((40_000, 6), 0.3, dtype=torch.float64))
    drawn = law(40_000).sample()
    ratio = law(40_000).log_prob(drawn) - other.log_prob(drawn)
    expected = law(40_000).kl(other)[0].item()
    assert ratio.mean().item() == pytest.approx(expected, abs=5.0 * ratio.std().item() / 200.0)
    assert law().kl(law()).item() == pytest.approx(0.0, abs=1e-12)


def ranked(rows: int = 1, noise: float = 1.0) -> CacheShareDistribution:
    return law(rows, ranked=True, noise=noise)


@pytest.mark.parametrize("noise", [1.0, 0.3])
def test_latent_scores_are_logistic(noise: float) -> None:
    torch.manual_seed(0)
    latent = MOST_SCORE * ranked(40_000, noise).sample().chunk(2, dim=-1)[1]
    for i, logit in enumerate(LOGITS[0]):
        assert stats.kstest(latent[:, i], "logistic", args=(logit, noise)).pvalue > 1e-3
    scores = [-0.8, -1.8, -0.2]  # nothing is cached
    carrier = torch.tensor([[0.0, 0.0, 0.0, *np.divide(scores, MOST_SCORE)]], dtype=torch.float64)
    expected = stats.logistic.logpdf(scores, LOGITS[0], noise)
    np.testing.assert_allclose(ranked(1, noise).log_probs(carrier)[0], expected)
    assert ranked(1, noise).log_prob(carrier).item() == pytest.approx(expected.sum())
    latent_mode = MOST_SCORE * ranked(1, noise).sample(deterministic=True).chunk(2, dim=-1)[1]
    np.testing.assert_allclose(latent_mode[0], LOGITS[0])


def test_less_noise_makes_bits_surer_and_is_in_every_figure() -> None:
    torch.manual_seed(0)
    made = law(40_000, noise=0.5)
    expected = CacheShareDistribution(2.0 * made.logits, made.location)  # what Bernoulli bits with these odds are
    drawn = made.sample()
    torch.testing.assert_close(made.log_probs(drawn), expected.log_probs(drawn))
    torch.testing.assert_close(made.entropy(), expected.entropy())
    torch.testing.assert_close(made.kl(law(40_000)), expected.kl(law(40_000)))
    p = 1.0 / (1.0 + np.exp(-2.0 * np.array(LOGITS[0])))
    np.testing.assert_allclose((drawn[:, 3:] > 0).double().mean(0), p, atol=0.012)
    np.testing.assert_allclose((ranked(40_000, 0.5).sample()[:, 3:] > 0).double().mean(0), p, atol=0.012)


@pytest.mark.parametrize("make", [law, ranked])
def test_samples_follow_the_law(make) -> None:
    torch.manual_seed(0)
    shares, scores = make(40_000).sample().chunk(2, dim=-1)
    assert (make is ranked) or set(scores.unique().tolist()) == {-1.0, 1.0}
    p = 1.0 / (1.0 + np.exp(-np.array(LOGITS[0])))
    np.testing.assert_allclose((scores > 0).double().mean(0), p, atol=0.012)
    for i, (a, b) in enumerate(zip(*parameters(), strict=True)):
        assert stats.kstest(0.5 * (shares[:, i] + 1.0), "beta", args=(a, b)).pvalue > 1e-3


def test_the_deterministic_decision_is_the_mode() -> None:
    shares, scores = law().sample(deterministic=True).chunk(2, dim=-1)
    assert scores.tolist() == [[1.0, -1.0, 1.0]]
    first, second = parameters()
    np.testing.assert_allclose(0.5 * (shares[0] + 1.0), (first - 1.0) / (first + second - 2.0))


@pytest.mark.parametrize("ranks", [False, True])
@pytest.mark.parametrize("extreme", [-200.0, -20.0, 200.0])
def test_extreme_outputs_stay_finite(extreme: float, ranks: bool) -> None:
    logits, location = torch.full((4, 3), extreme), torch.full((4, 6), extreme)
    made = CacheShareDistribution(logits.requires_grad_(), location.requires_grad_(), ranks)
    for deterministic in (True, False):
        carrier = made.sample(deterministic)
        assert carrier.isfinite().all()
        assert (carrier.abs() <= 1.0).all()
    edges = torch.cat([torch.tensor([[-1.0, 1.0, 0.0]]), torch.ones(1, 3)], dim=-1).repeat(4, 1)
    made.log_prob(edges.detach()).sum().backward()  # shares of exactly 0 and 1
    assert made.log_prob(edges).isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert location.grad is not None
    assert location.grad.isfinite().all()


def test_first_decisions_hardly_depend_on_the_observation() -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(init_cache=0.1))
    decisions, values, _ = made.step(torch.randn(50, 9), made.initial_state(50))
    torch.testing.assert_close(torch.sigmoid(decisions.logits), torch.full((50, 3), 0.1), rtol=0, atol=0.02)
    assert not values.any()


def test_a_sticky_network_begins_by_keeping_what_is_cached() -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(sticky=3.0))
    obs = torch.cat([torch.tensor([[1.0, 0.0, 1.0]]).expand(50, 3), torch.randn(50, 6)], dim=-1)
    made.fit(torch.randn(100, 9))  # what is cached is read as it came
    decisions, _, _ = made.step(obs, made.initial_state(50))
    kept = 1.0 / (1.0 + math.exp(-3.0))
    expected = torch.tensor([kept, 1.0 - kept, kept]).expand(50, 3)
    torch.testing.assert_close(torch.sigmoid(decisions.logits), expected, rtol=0, atol=0.02)


def test_an_item_head_treats_all_items_alike() -> None:
    torch.manual_seed(0)
    made = cache_network(11, 3, CacheNetworkFields(item_head=6, backbone="mlp", hidden=4))  # 3 entries each, and 2 more
    assert made.item_head is not None
    with torch.no_grad():
        made.item_head.out.weight.normal_()
        for head in (made.bits, made.shares, made.item_head.context):
            head.weight.zero_()
    obs = torch.randn(40, 11)
    made.fit(obs)
    order = torch.tensor([2, 0, 1])
    columns = torch.cat([order, 3 + order, 6 + order, torch.tensor([9, 10])])
    law, _, _ = made.step(obs, made.initial_state(40))
    made.fit(obs[:, columns])
    moved, _, _ = made.step(obs[:, columns], made.initial_state(40))
    assert law.logits.std() > 0.1
    torch.testing.assert_close(moved.logits, law.logits[:, order])
    shares = torch.cat([order, 3 + order])
    torch.testing.assert_close(moved.location, law.location[:, shares])


@pytest.mark.parametrize("backbone", ["ttt", "mlp", "lstm", "gru", "pad"])
def test_copies_per_item_remember_what_is_theirs(backbone: str) -> None:
    torch.manual_seed(0)
    sizes = {} if backbone == "ttt" else {"hidden": 8}
    made = cache_network(12, 3, CacheNetworkFields(backbone=backbone, item_head=6, per_item=True, **sizes))
    assert made.item_head is not None
    with torch.no_grad():
        made.item_head.out.weight.normal_()
        for head in (made.bits, made.shares):
            head.weight.zero_()
    obs, actions = torch.randn(5, 8, 12), torch.rand(5, 8, 6) * 2.0 - 1.0
    order = torch.tensor([2, 0, 1])
    columns, pairs = torch.cat([3 * block + order for block in range(4)]), torch.cat([order, 3 + order])

    def last(given: torch.Tensor, decided: torch.Tensor) -> tuple[CacheShareDistribution, torch.Tensor]:
        state, values = made.initial_state(5), torch.empty(0)
        for t in range(8):
            decisions, values, state = made.step(given[:, t], state)
            state = made.note_action(state, decided[:, t])
        return decisions, values

    decisions, values = last(obs, actions)
    moved, values_moved = last(obs[..., columns], actions[..., pairs])
    assert decisions.logits.std() > 0.1
    torch.testing.assert_close(moved.logits, decisions.logits[:, order], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(moved.location, decisions.location[:, pairs], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(values_moved, values[:, order], rtol=1e-3, atol=1e-4)
    if made.backbone.adapts_in_training:
        whole, parts = made.sequence(obs, made.initial_state(5), actions)
        torch.testing.assert_close(whole.logits.view(5, 8, 3)[:, -1], decisions.logits, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(parts.view(5, 8, 3)[:, -1], values, rtol=1e-3, atol=1e-4)
    loss = made.supervised_sequence(obs, made.initial_state(5), actions, torch.ones(5, 8, dtype=torch.bool))[2]
    assert loss.isfinite()


def test_memory_is_shared_by_no_two_items() -> None:
    torch.manual_seed(0)
    made = cache_network(12, 3, CacheNetworkFields(item_head=6, per_item=True))
    obs = torch.randn(1, 12)
    other = obs.clone()
    other[0, [1, 4, 7, 10]] += 1.0  # of the item in the middle
    other[0, [0, 3, 6, 9]] -= 1.0  # of the first, so that the mean over the items stays
    states = [made.step(given, made.initial_state(1))[2].view(3, -1) for given in (obs, other)]
    changed = ((states[0] - states[1]).abs() > 1e-5).any(-1)
    assert changed.tolist() == [True, True, False]


def test_only_what_fits_is_requested_best_first() -> None:
    made = cache_network(16, 4, CacheNetworkFields(fill=True))
    obs = torch.zeros(2, 16)
    obs[:, 12:] = torch.tensor([0.5, 0.6, 0.3, 0.2])
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.2], [0.9, -0.1, 0.1, -0.2]])
    carrier = torch.cat([torch.zeros(2, 4), scores], dim=-1)
    requested = made.requested(carrier, obs)
    # Row 0: 0.6 and 0.3 fit, then neither 0.2 nor 0.5. Row 1: everything wanted fits.
    assert requested[:, 4:].tolist() == pytest.approx(torch.tensor([[-0.1, 0.9, 0.5, -0.2], [0.9, -0.1, 0.1, -0.2]]))
    plain = cache_network(16, 4, CacheNetworkFields())
    assert plain.requested(carrier, obs) is carrier


def test_sizes_stay_equal_with_an_item_head() -> None:
    counts = parameter_counts(100, 20, CacheNetworkFields(item_head=32, sticky=3.0, per_item=True))
    assert all(abs(count / counts["ttt"] - 1.0) < 0.05 for count in counts.values())
    counts = parameter_counts(100, 20, CacheNetworkFields(item_head=32, sticky=3.0))
    assert all(abs(count / counts["ttt"] - 1.0) < 0.05 for count in counts.values())
    assert counts["ttt"] > parameter_counts(100, 20)["ttt"] + 32 * 32


def test_rescaled_values_predict_the_same() -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(backbone="mlp", hidden=8, item_head=4))
    assert made.item_value is not None
    with torch.no_grad():
        made.value.weight.normal_()
        made.item_value.out.weight.normal_()
    obs, state = torch.randn(20, 9), made.initial_state(20)
    before = made.step(obs, state)[1]
    for mean, scale in ((-300.0, 50.0), (-10.0, 0.1)):
        made.rescale(mean, scale)
        assert made.value_mean.item() == pytest.approx(mean)
        assert made.value_scale.item() == pytest.approx(scale)
        torch.testing.assert_close(made.step(obs, state)[1], before, rtol=1e-4, atol=1e-3)


def test_calibration_starts_from_the_mean_reward_for_ever() -> None:
    made = cache_network(9, 3, CacheNetworkFields(backbone="mlp", hidden=8))
    rewards = torch.tensor([-1.0, -3.0, -2.0, -2.0])
    made.calibrate(torch.randn(4, 9), rewards, gamma=0.5)
    assert made.step(torch.randn(2, 9), made.initial_state(2))[1].tolist() == [[-4.0], [-4.0]]
    assert made.value_scale.item() == pytest.approx(rewards.std(correction=0).item() / 0.75**0.5)
    assert made.calibrated.item() == 1.0
    made.follow(torch.tensor([-8.0, -12.0]), 0.5)
    assert made.value_mean.item() == pytest.approx(-7.0)
    assert made.value_scale.item() == pytest.approx(0.5 * (2.0 + rewards.std(correction=0).item() / 0.75**0.5))


def test_observations_are_standardised() -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(backbone="mlp", hidden=8))
    torch.nn.init.normal_(made.bits.weight)
    obs, state = torch.randn(200, 9), made.initial_state(200)
    scaled = 3.0 + 50.0 * obs
    obs[:, 4], scaled[:, 4] = 0.0, 7.0  # a constant
    reference = cache_network(9, 3, CacheNetworkFields(backbone="mlp", hidden=8))
    reference.load_state_dict(made.state_dict())
    reference.fit(obs)
    made.fit(scaled)
    torch.testing.assert_close(made.step(scaled, state)[0].logits, reference.step(obs, state)[0].logits)
    far = torch.full((1, 9), 1e30)
    assert made.step(far, made.initial_state(1))[0].logits.isfinite().all()


@pytest.mark.parametrize("separate", [False, True])
def test_steps_of_the_whole_network_are_its_sequence(separate: bool) -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(separate_critic=separate))
    torch.nn.init.normal_(made.value.weight)
    obs, actions = torch.randn(2, 7, 9), torch.rand(2, 7, 6) * 2.0 - 1.0
    state, logits, values = made.initial_state(2), [], []
    for t in range(7):
        decisions, value, state = made.step(obs[:, t], state)
        state = made.note_action(state, actions[:, t])
        logits.append(decisions.logits)
        values.append(value)
    whole, predicted = made.sequence(obs, made.initial_state(2), actions)
    torch.testing.assert_close(torch.stack(logits, 1).flatten(0, 1), whole.logits, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.stack(values, 1).flatten(0, 1), predicted, rtol=1e-4, atol=1e-5)
    valid = torch.ones(2, 7, dtype=torch.bool)
    again, with_loss, loss = made.supervised_sequence(obs, made.initial_state(2), actions, valid)
    torch.testing.assert_close(again.logits, whole.logits, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(with_loss, predicted, rtol=1e-4, atol=1e-5)
    assert loss.item() > 0.1


@pytest.mark.parametrize("per_item", [False, True])
def test_the_next_observation_is_predicted_from_what_was_seen(per_item: bool) -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(predict_next=True, item_head=4, per_item=per_item))
    obs, actions = torch.randn(2, 7, 9), torch.zeros(2, 7, 6)
    state, squares = made.initial_state(2), []
    for t in range(6):  # step by step, in the backbone's own order of the entries
        features, state = made.backbone.step(made._inputs(obs[:, t]), state)
        decoded = made.decoder(features.view(2, made.backbone.copies, -1)).flatten(1)
        squares.append((decoded - made._inputs(obs[:, t + 1])).square().mean())
    whole, predicted = made.sequence(obs, made.initial_state(2), actions)
    again, values, loss = made.supervised_sequence(obs, made.initial_state(2), actions, torch.ones(2, 7).bool())
    assert loss.item() == pytest.approx(torch.stack(squares).mean().item(), rel=1e-4)
    torch.testing.assert_close(again.logits, whole.logits)
    torch.testing.assert_close(values, predicted)
    alone = made.supervised_sequence(obs[:, :1], made.initial_state(2), actions[:, :1], torch.ones(2, 1).bool())
    assert alone[2].item() == 0.0  # nothing follows


@pytest.mark.parametrize("predict_next", [False, True])
def test_the_self_supervised_loss_reads_data_only(predict_next: bool) -> None:
    torch.manual_seed(0)
    made = cache_network(9, 3, CacheNetworkFields(predict_next=predict_next))
    obs, actions = torch.randn(2, 8, 9), torch.zeros(2, 8, 6)
    valid = torch.arange(8).expand(2, 8) < torch.tensor([[8], [5]])
    losses = []
    for beyond in (0.0, 7.0):
        torch.manual_seed(3)
        padded = torch.where(valid.unsqueeze(-1), obs, torch.tensor(beyond))
        losses.append(made.supervised_sequence(padded, made.initial_state(2), actions, valid)[2].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_network_needs_items_and_a_probability() -> None:
    with pytest.raises(InvalidInputError, match="items must be at least 1, got 0"):
        CacheActorCritic(MLPBackbone(4, 4), 4, 0)
    with pytest.raises(InvalidInputError, match="init_cache must be in"):
        CacheActorCritic(MLPBackbone(4, 4), 4, 2, init_cache=0.0)
    with pytest.raises(InvalidInputError, match="item_head must be 0 for an observation of less than 5 entries"):
        CacheActorCritic(MLPBackbone(4, 4), 4, 5, item_head=8)
    with pytest.raises(InvalidInputError, match="fill must be False for an observation without the items' sizes"):
        CacheActorCritic(MLPBackbone(6, 4), 6, 2, fill=True)
    with pytest.raises(InvalidInputError, match="item_head must be at least 1 for a backbone with a copy per item"):
        CacheActorCritic(ItemwiseBackbone(MLPBackbone(4, 4), 2), 4, 2)
