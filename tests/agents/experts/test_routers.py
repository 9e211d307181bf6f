"""The nearest-neighbour router: by hand, and on the synthetic instance beside the gate."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.agents.experts import NeighbourRouter, train_gate
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.synthetic import synthetic


def test_the_nearest_prompts_count():
    router = NeighbourRouter([[0.0], [1.0], [10.0]], [[1, 0], [0, 0], [0.2, 1]], neighbours=2)
    assert router.quality([[0.4], [9.0]]).tolist() == [[0.5, 0.0], [0.1, 0.5]]
    assert router.topk([[0.4], [9.0]]).tolist() == [[0], [1]]
    assert router.topk([[9.0]], subset=(0,)).tolist() == [[0]]
    many = NeighbourRouter(np.zeros((3, 1)), np.eye(3), 3).quality(np.zeros((2500, 1)))  # several batches
    assert many == pytest.approx(np.full((2500, 3), 1 / 3))


def test_learned_routers_beat_the_best_single_expert():
    instance, rng = synthetic(0), np.random.default_rng(1)
    phi, quality = instance.prompts.phi, instance.prompts.Q
    labels = (rng.random(quality.shape) < quality).astype(float)
    rows, single = np.arange(1000), quality[1000:].mean(axis=0).max()
    for router in (
        NeighbourRouter(phi[:1000], labels[:1000]),
        train_gate(phi[:1000], labels[:1000], hidden=16, l2=1e-2, steps=100),
    ):
        assert quality[1000:][rows, router.topk(phi[1000:])[:, 0]].mean() > single + 0.05


def test_bad_input_is_refused():
    for phi, quality in ((np.zeros((2, 1)), np.zeros((3, 1))), (np.zeros(2), np.zeros((2, 1))), ([], [])):
        with pytest.raises(InvalidInputError, match="phi"):
            NeighbourRouter(phi, quality, 1)
    for neighbours in (0, 4):
        with pytest.raises(InvalidInputError, match="neighbours"):
            NeighbourRouter(np.zeros((3, 1)), np.zeros((3, 1)), neighbours)
    with pytest.raises(InvalidInputError, match="subset"):
        NeighbourRouter(np.zeros((3, 1)), np.zeros((3, 1)), 1).topk(np.zeros((1, 1)), subset=())
