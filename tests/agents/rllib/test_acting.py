"""What a greedy policy does is the mode of what it would draw while learning."""

from typing import Any

import numpy as np
import pytest
import torch

from edgewise.agents.networks.asynchronous import HybridActor
from edgewise.agents.networks.greedy import GreedyActor
from edgewise.agents.rllib.acting import Acting

DEVICES, EDGES = 5, 2


def observations(rows: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    times = rng.exponential(1.0, (rows, 3))
    columns = [rng.integers(0, DEVICES, rows), rng.integers(0, 2, rows), times, rng.integers(0, 9, (rows, EDGES))]
    return np.column_stack(columns).astype(np.float32)


@pytest.mark.parametrize("learn", ["both", "wait", "server"])
@pytest.mark.parametrize("family", ["squashed", "censored", "beta"])
@pytest.mark.parametrize("parameters", ["shared", "per_device"])
def test_greedy_actions_are_the_deterministic_decisions(learn: Any, family: Any, parameters: Any) -> None:
    rng = np.random.default_rng(0)  # torch's draws are not the same on every processor
    actor = HybridActor(EDGES, DEVICES, parameters, family=family, learn=learn)
    for weights in actor.parameters():
        # Not larger: cancelling sums would lose in single precision what the tolerance asks for.
        weights.data.copy_(torch.from_numpy(rng.normal(0.0, 0.2, weights.shape)))
    for rows in (3, 400):
        batch = observations(rows)
        with torch.inference_mode():
            one, two = Acting(EDGES, 3.0, learn), Acting(EDGES, 3.0, learn)
            expected, found = one.decide(actor, batch).to_env, two.greedy(GreedyActor(actor), batch)
        np.testing.assert_array_equal(found["server"], expected["server"])
        np.testing.assert_allclose(found["wait"], expected["wait"], rtol=1e-4, atol=1e-6)  # sums are rounded elsewhere
        assert found["wait"].shape == (rows, 1)
        if rows > 3 and learn != "wait":
            assert len(set(found["server"])) > 1
