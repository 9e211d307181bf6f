"""T2DRL item by item: costs and advantages of every item, and a cache filled in the order of the scores."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorWrapper

from edgewise.agents.cache_actions import VectorFlatCacheAction
from edgewise.agents.config import CacheNetworkFields
from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_learner import AdaptivePolicy, build_t2drl
from edgewise.agents.sb3.t2drl_policy import T2DRLPolicy
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.core.errors import InvalidInputError

from .t2drl_models import HORIZON, LANES, SMALL, STEPS, rollout

CACHING, AGENTS = "edgewise/ModelCaching-v0", 20
ITEMS = SMALL | {"fill": True, "item_head": 6, "per_item": True, "init_cache": 0.9}


def caching(**changes: Any) -> T2DRL:
    """Twenty agents, and memory for half of what is wanted at first."""
    return build_t2drl(CACHING, {"n_gpus": 20, "horizon": HORIZON}, num_envs=LANES, seed=3, **(ITEMS | changes))


def test_costs_of_the_items_sum_to_the_reward() -> None:
    together = caching()
    rollout(together)
    apart = caching(own_credit=0.7)  # starts from the same seed
    rollout(apart)
    inside = [step for step in range(STEPS) if step != HORIZON - 1]  # a time limit adds what follows
    expected = together.rollout_buffer.rewards[inside, :, 0]
    np.testing.assert_allclose(apart.rollout_buffer.rewards[inside].sum(-1), expected, rtol=1e-4)
    assert apart.rollout_buffer.advantages.shape == (STEPS, LANES, AGENTS)


@pytest.mark.parametrize(("remaining", "weight"), [(1.0, 0.7), (0.5, 0.35), (0.0, 0.0)])
def test_own_credit_gives_way_to_the_credit_of_all(remaining: float, weight: float) -> None:
    model = caching(own_credit=0.7)
    rollout(model)
    own = model.rollout_buffer.advantages
    mixed = weight * own + (1.0 - weight) * own.sum(-1, keepdims=True)
    centred = mixed - mixed.mean((0, 1))
    model._current_progress_remaining = remaining
    np.testing.assert_allclose(model._weighed(own), centred / centred.std(), rtol=1e-3, atol=1e-4)


def test_a_full_cache_is_filled_in_the_policys_order() -> None:
    model = caching(own_credit=0.7)
    model.learn(2 * STEPS * LANES)
    policy = AdaptivePolicy(model)
    env = gymnasium.make_vec(CACHING, num_envs=2, n_gpus=20)
    obs, _ = env.reset(seed=5)
    for _ in range(20):
        action = policy.act(obs)
        obs, _, _, _, info = env.step(action)
        np.testing.assert_array_equal(info["cache"], action["cache"])  # nothing was left for the projection to drop
    assert (info["memory"] > 0.5 * 20 * 80.0).all()


class _Silent(VectorWrapper):
    """Does not tell the costs of the items."""

    def step(self, actions: Any) -> Any:
        *rest, info = self.env.step(actions)
        del info["cost_by_agent"]
        return *rest, info


def test_own_credit_needs_costs_by_item() -> None:
    venv = gymnasium.make_vec(CACHING, num_envs=2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = SemiMarkovVecEnv(_Silent(VectorFlatCacheAction(venv)))
    network = CacheNetworkFields(item_head=4, width=8, intermediate=8)
    model = T2DRL(T2DRLPolicy, env, n_steps=4, own_credit=0.5, policy_kwargs={"network": network})
    with pytest.raises(InvalidInputError, match="own_credit needs an environment that tells"):
        model.learn(8)
    with pytest.raises(InvalidInputError, match="own_credit must be 0 for a network without item_head"):
        T2DRL(T2DRLPolicy, env, own_credit=0.5)
    with pytest.raises(InvalidInputError, match="own_credit must be in"):
        T2DRL(T2DRLPolicy, env, own_credit=1.5)
