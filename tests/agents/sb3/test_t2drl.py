"""T2DRL as a model of SB3: calibration, seeds, what it refuses."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from edgewise.agents.cache_actions import VectorFlatCacheAction
from edgewise.agents.config import CacheNetworkFields
from edgewise.agents.sb3.state import snapshot
from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_learner import build_t2drl
from edgewise.agents.sb3.t2drl_policy import T2DRLPolicy
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.core.errors import InvalidInputError

from .t2drl_models import ROLLOUT, make, vector


def test_the_first_rollout_only_calibrates() -> None:
    model = make()
    before = {name: value.clone() for name, value in model.policy.network.backbone.state_dict().items()}
    model.learn(ROLLOUT)
    assert model.calibrated
    network = model.policy.network
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    observations = model.rollout_buffer.observations.reshape(-1, 3)
    np.testing.assert_allclose(network.obs_mean, observations.mean(0), rtol=1e-5)
    assert float(network.value_mean) == pytest.approx(model.rollout_buffer.rewards.mean() / 0.05, rel=1e-4)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert any(not torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    states = []
    for seed in (3, 3, 4):
        model = make(seed=seed)
        model.learn(3 * ROLLOUT)
        states.append(snapshot(model).tensors)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_other_environments_and_policies_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="action_space must be Dict"):
        build_t2drl("edgewise/AoIOffload-v0")
    env = SemiMarkovVecEnv(VectorFlatCacheAction(vector()))
    with pytest.raises(InvalidInputError, match="policy must be T2DRLPolicy"):
        T2DRL("MlpPolicy", env)
    with pytest.raises(InvalidInputError, match="value_memory must be"):
        T2DRL(T2DRLPolicy, env, value_memory=0.5)
    with pytest.raises(InvalidInputError, match="aux_coef must be"):
        T2DRL(T2DRLPolicy, env, aux_coef=-1.0)
    box = spaces.Box(-1.0, 1.0, (6,))
    with pytest.raises(InvalidInputError, match="action_space must be the carrier"):
        T2DRLPolicy(box, spaces.Discrete(3), lambda _: 0.1)
    with pytest.raises(InvalidInputError, match="observation_space must be"):
        T2DRLPolicy(spaces.Discrete(3), box, lambda _: 0.1)
    policy = T2DRLPolicy(box, box, lambda _: 0.1, CacheNetworkFields(backbone="mlp", hidden=4))
    for method in (
        lambda: policy.evaluate_actions(torch.zeros(1, 6), torch.zeros(1, 6)),
        lambda: policy.get_distribution(torch.zeros(1, 6)),
    ):
        with pytest.raises(NotImplementedError, match="single rows have no state"):
            method()
