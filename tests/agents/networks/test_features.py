"""Features: what the networks and the linear critic see of an observation."""

import numpy as np
import pytest
import torch

from edgewise.agents.networks.d3qn_ddpg import BatchMoments, DuelingQ
from edgewise.agents.networks.features import CompressedFeatures


def batch() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    columns = torch.rand(1000, 3, generator=generator) * torch.tensor([10.0, 100.0, 3.0])
    kind = torch.randint(3, (1000, 1), generator=generator).float()
    return torch.cat([kind, columns], dim=1)


def test_columns_are_standardised_and_the_kind_is_one_hot() -> None:
    layer = CompressedFeatures(4, 0)
    layer.fit(batch())
    features = layer(batch())
    assert features.shape == (1000, layer.width) == (1000, 3 + 6)
    assert torch.equal(features[:, :3].argmax(1), batch()[:, 0].long())
    assert features[:, 3:].mean(0).abs().max() < 1e-5
    assert features[:, 3:].std(0, correction=0).numpy() == pytest.approx(np.ones(6), abs=1e-4)


def test_ignored_columns_have_no_influence() -> None:
    layer = CompressedFeatures(4, 0, ignored=(2,))
    changed = batch()
    changed[:, 2] += 7.0
    assert torch.equal(layer(batch()), layer(changed))
    changed[:, 1] += 7.0
    assert not torch.equal(layer(batch()), layer(changed))


def test_linear_features_are_a_model_per_kind_and_are_not_clipped() -> None:
    layer = CompressedFeatures(4, 0)
    layer.fit(batch())
    observation = torch.tensor([[1.0, 5.0, 50.0, 1.0], [2.0, 5.0, 1e5, 1.0]])
    features, weight = layer.linear(observation)
    blocks = features.reshape(2, 3, -1)
    assert torch.equal(blocks[0, 1, 0], torch.tensor(1.0, dtype=torch.float64))
    assert not blocks[0, [0, 2]].any()
    assert not blocks[1, :2].any()
    far = (1e5 - batch()[:, 2].double().mean()) / batch()[:, 2].double().std(correction=0)
    assert blocks[1, 2, 1 + 3 + 1].item() == pytest.approx(far.item(), rel=1e-6)
    assert weight[0] == 1.0
    assert weight[1].item() == pytest.approx((5.0 / far.item()) ** 2, rel=1e-6)
    sorts = layer.per_linear(0.0, 1.0, 2.0)
    assert sorts.shape == (layer.linear_width,)
    assert sorts[:7].tolist() == [0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]


def test_dueling_values_average_to_the_state_value() -> None:
    torch.manual_seed(0)
    net = DuelingQ(4, 3, (8,), 2)
    torch.nn.init.normal_(net.value.weight)
    torch.nn.init.normal_(net.advantage.weight)
    x = torch.randn(6, 4)
    assert net.trunk is not None
    latent = torch.cat([net.trunk(x), x[:, 2:]], dim=-1)
    assert torch.allclose(net(x).mean(-1, keepdim=True), net.value(latent), atol=1e-6)
    assert net(x).std(-1).min() > 1e-3


def test_batch_moments_act_only_in_training() -> None:
    x = 3.0 + 2.0 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    layer = BatchMoments()
    assert layer(x).mean().abs() < 1e-5
    assert torch.equal(layer.eval()(x), x)
