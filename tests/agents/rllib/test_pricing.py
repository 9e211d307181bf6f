"""Ratios, their outer loop, and the units of critics."""

import numpy as np
import pytest

from edgewise.agents.rllib.pricing import CriticScale, Pricing, PricingSettings
from edgewise.envs.core.errors import InvalidInputError


def pricing(**settings: object) -> Pricing:
    return Pricing(PricingSettings(**settings), 3, {"module": CriticScale(10.0, np.full(4, 1e-4))})  # type: ignore[arg-type]


def test_the_first_sums_give_the_ratios_and_a_device_without_any_gets_the_pooled_one() -> None:
    loop = pricing()
    assert loop.ratio.tolist() == [0.0, 0.0, 0.0]
    loop.observe(np.array([6.0, 2.0, 0.0]), np.array([3.0, 4.0, 0.0]))
    assert loop.ratio == pytest.approx([2.0, 0.5, 8.0 / 7.0])
    loop.observe(np.array([1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0]))
    assert loop.ratio == pytest.approx([2.0, 0.5, 8.0 / 7.0])  # only `move` moves it
    assert loop.take_sums().tolist() == [[7.0, 3.0, 1.0], [4.0, 5.0, 1.0]]
    assert not loop.take_sums().any()


def test_a_device_without_a_finished_interval_keeps_its_ratio() -> None:
    loop = pricing(ratio=5.0, omega=0.5)
    loop.move(np.array([2.0, 0.0, 12.0]), np.array([2.0, 0.0, 3.0]))
    assert loop.ratio.tolist() == [3.0, 5.0, 4.5]
    loop.move(np.zeros(3), np.zeros(3))
    assert loop.ratio.tolist() == [3.0, 5.0, 4.5]


def test_a_shared_ratio_is_pooled() -> None:
    loop = pricing(ratio=5.0, omega=1.0, shared_ratio=True)
    loop.move(np.array([2.0, 0.0, 12.0]), np.array([2.0, 0.0, 5.0]))
    assert loop.ratio.tolist() == [2.0, 2.0, 2.0]


def test_state_goes_through_plain_values() -> None:
    first, second = pricing(ratio=5.0), pricing()
    first.observe(np.ones(3), np.ones(3))
    first.move(np.ones(3), np.full(3, 2.0))
    first.critics["module"].fit(np.random.default_rng(0).normal(size=(50, 4)))
    first.critics["module"].calibrated = True
    second.set_state(first.get_state())
    assert second.ratio.tolist() == first.ratio.tolist()
    assert second.sums.tolist() == first.sums.tolist()
    assert np.array_equal(second.critics["module"].moments, first.critics["module"].moments)  # type: ignore[arg-type]
    first.move(np.ones(3), np.ones(3))
    second.move(np.ones(3), np.ones(3))
    assert second.ratio.tolist() == first.ratio.tolist()


def test_features_are_standardised_and_a_constant_stays() -> None:
    scale = CriticScale(10.0, np.full(3, 1e-4))
    features = np.random.default_rng(0).normal(5.0, 3.0, (1000, 3))
    features[:, 1] = 1.0
    scale.fit(features)
    found = scale.standardised(features)
    assert found[:, [0, 2]].mean(0) == pytest.approx([0.0, 0.0], abs=1e-9)
    assert found[:, [0, 2]].std(0) == pytest.approx([1.0, 1.0], rel=1e-9)
    assert (found[:, 1] == 1.0).all()


def test_unknown_chains_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="chain must be device or system"):
        PricingSettings(chain="lane")  # type: ignore[arg-type]
