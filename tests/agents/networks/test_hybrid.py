"""The joint law of a choice and a wait: probabilities, entropies and masks against closed forms and quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from edgewise.agents.networks.hybrid import (
    CensoredGaussian,
    ContinuousLaw,
    HybridDistribution,
    HybridHead,
    SquashedGaussian,
    UnimodalBeta,
)
from edgewise.envs.core.errors import InvalidInputError

CASES = [(-2.0, 0.3), (0.0, 1.0), (1.5, 0.7)]


@pytest.fixture(autouse=True)
def _double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def law(family: str, location: float, scale: float) -> ContinuousLaw:
    if family == "beta":
        return UnimodalBeta(torch.tensor([[location, scale]]))
    where, log_scale = torch.tensor([[location]]), torch.tensor([math.log(scale)])
    return SquashedGaussian(where, log_scale) if family == "squashed" else CensoredGaussian(where, log_scale)


def density(family: str, location: float, scale: float, w: float) -> float:
    if family == "squashed":
        return float(stats.norm.pdf(math.log(w / (1 - w)), location, scale) / (w * (1 - w)))
    if family == "beta":
        a, b = 1 + math.log1p(math.exp(location)), 1 + math.log1p(math.exp(scale))
        return float(stats.beta.pdf(w, a, b))
    return float(stats.norm.pdf(w, location, scale))


@pytest.mark.parametrize("family", ["squashed", "beta", "censored"])
@pytest.mark.parametrize(("location", "scale"), CASES)
def test_log_probability_is_that_of_scipy(family: str, location: float, scale: float) -> None:
    for w in (0.02, 0.3, 0.77):
        ours = law(family, location, scale).log_prob(torch.tensor([[w]])).item()
        assert ours == pytest.approx(math.log(density(family, location, scale, w)), rel=1e-9)


@pytest.mark.parametrize("family", ["squashed", "beta"])
@pytest.mark.parametrize(("location", "scale"), CASES)
def test_density_integrates_to_one_and_gives_the_entropy(family: str, location: float, scale: float) -> None:
    def integrand(w: float) -> float:
        return math.exp(law(family, location, scale).log_prob(torch.tensor([[w]])).item())

    total, _ = integrate.quad(integrand, 1e-6, 1 - 1e-6, limit=400, points=[0.05, 0.12, 0.5, 0.9])
    assert total == pytest.approx(1.0, abs=1e-4)

    def surprise(w: float) -> float:
        p = density(family, location, scale, w)
        return -p * math.log(p) if p > 0 else 0.0

    entropy, _ = integrate.quad(surprise, 1e-9, 1 - 1e-9, limit=400, points=[0.05, 0.12, 0.5, 0.9])
    assert law(family, location, scale).entropy().item() == pytest.approx(entropy, abs=1e-4)


@pytest.mark.parametrize(("location", "scale"), [(-0.2, 0.3), (0.4, 0.2), (1.1, 0.5)])
def test_censored_law_has_atoms(location: float, scale: float) -> None:
    ours = law("censored", location, scale)
    low, high = stats.norm.cdf(0, location, scale), stats.norm.sf(1, location, scale)
    assert ours.log_prob(torch.tensor([[0.0]])).exp().item() == pytest.approx(low, rel=1e-9)
    assert ours.log_prob(torch.tensor([[1.0]])).exp().item() == pytest.approx(high, rel=1e-9)
    inside, _ = integrate.quad(
        lambda w: -stats.norm.pdf(w, location, scale) * stats.norm.logpdf(w, location, scale), 0, 1
    )
    entropy = inside - low * math.log(low) - high * math.log(high)
    assert ours.entropy().item() == pytest.approx(entropy, rel=1e-9)


@pytest.mark.parametrize("family", ["squashed", "beta", "censored"])
def test_samples_follow_the_law(family: str) -> None:
    torch.manual_seed(1)
    ours = law(family, 0.4, 0.5)
    n = 20_000
    many = law(family, 0.4, 0.5)
    if isinstance(many, UnimodalBeta):
        many = UnimodalBeta(torch.tensor([[0.4, 0.5]]).expand(n, 2))
    else:
        many = type(many)(torch.full((n, 1), 0.4), torch.tensor([math.log(0.5)]))
    w = many.sample().numpy().ravel()
    # The law's own mean surprise is its entropy: samples and log-probabilities agree with each other.
    surprise = -many.log_prob(torch.as_tensor(w[:, None])).numpy()
    assert surprise.mean() == pytest.approx(ours.entropy().item(), abs=5 * surprise.std() / math.sqrt(n))


def test_joint_probability_multiplies_and_masks_drop_the_unused_part() -> None:
    logits, location = torch.tensor([[0.3, -1.0, 2.0]]).repeat(3, 1), torch.zeros(3, 1)
    wait = SquashedGaussian(location, torch.zeros(1))
    uses = (torch.tensor([False, True, True]), torch.tensor([True, False, True]))  # update, offload, joint
    joint = HybridDistribution(logits, wait, uses)
    carrier = torch.tensor([[0.5, -1.0, 1.0, -1.0]]).repeat(3, 1)
    choice = torch.log_softmax(logits[0], 0)[1].item()
    density_part = wait.log_prob(torch.full((3, 1), 0.75))[0].item()
    assert joint.log_prob(carrier).tolist() == pytest.approx([density_part, choice, density_part + choice])
    p = torch.softmax(logits[0], 0)
    entropy = -(p * p.log()).sum().item(), wait.entropy()[0].item()
    assert joint.entropy().tolist() == pytest.approx([entropy[1], entropy[0], sum(entropy)])


def test_unused_parts_get_no_gradient() -> None:
    head = HybridHead(4, 3, 1)
    head.reset_parameters()
    latent = torch.randn(5, 4)
    uses = (torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool))  # updates only
    law_ = head(latent, uses)
    (law_.log_prob(law_.sample()) + law_.entropy()).sum().backward()
    assert head.choice is not None
    assert head.location is not None
    assert not head.choice.weight.grad.any()
    assert head.location.weight.grad.any()


def test_masked_choices_are_never_drawn_and_the_rest_is_renormalised() -> None:
    torch.manual_seed(2)
    logits = torch.tensor([[5.0, 0.0, 1.0]]).repeat(4000, 1)
    mask = torch.tensor([[False, True, True]]).repeat(4000, 1)
    masked = HybridDistribution(logits, None, mask=mask)
    drawn = masked.sample().argmax(-1)
    share = 1 / (1 + math.e)
    assert set(drawn.tolist()) == {1, 2}
    assert (drawn == 1).double().mean().item() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))
    p = np.array([share, 1 - share])
    assert masked.entropy()[0].item() == pytest.approx(float(-(p * np.log(p)).sum()))
    assert masked.sample(deterministic=True).argmax(-1).unique().tolist() == [2]


def test_a_law_needs_a_part_and_a_known_family() -> None:
    with pytest.raises(InvalidInputError, match="a choice, a continuous part"):
        HybridDistribution(None, None)
    with pytest.raises(InvalidInputError, match="family must be one of squashed, beta, censored, got 'cauchy'"):
        HybridHead(4, 2, 1, family="cauchy")  # type: ignore[arg-type]
    for field, value in (("init_mean", 1.0), ("init_mean", math.nan), ("init_scale", 0.0), ("init_scale", math.inf)):
        with pytest.raises(InvalidInputError, match=f"{field} must be .*, got {value}"):
            HybridHead(4, 2, 1, **{field: value})
