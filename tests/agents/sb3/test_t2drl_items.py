"""T2DRL item by item: costs and advantages of every item, and a cache filled in the order of the scores."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorWrapper

from edgewise.agents.cache_actions import VectorFlatCacheAction
from edgewise.agents.config import CacheNetworkFields
from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_learner import AdaptivePolicy, T2DRLLearner, build_t2drl
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
    apart = caching(own_credit=True)  # starts from the same seed
    rollout(apart)
    inside = [step for step in range(STEPS) if step != HORIZON - 1]  # a time limit adds what follows
    expected = together.rollout_buffer.rewards[inside, :, 0]
    np.testing.assert_allclose(apart.rollout_buffer.rewards[inside].sum(-1), expected, rtol=1e-4)
    assert apart.rollout_buffer.advantages.shape == (STEPS, LANES, AGENTS)


def test_items_pay_for_memory_in_their_credits_only() -> None:
    found, collected = [], []
    for bid in (0.0, 0.1):  # each starts from the same seed
        model = caching(own_credit=True, bid_value=bid)
        charge = model._payments
        model._payments = lambda *args, charge=charge: collected.append(charge(*args)) or collected[-1]  # type: ignore[method-assign,misc]
        for _ in range(2):  # the first rollout says what a slot usually costs
            rollout(model)
            model.policy.network.calibrate(*_first(model), 0.9)
        found.append(model)
    inside = [step for step in range(STEPS) if (STEPS + step) % HORIZON != HORIZON - 1]  # a time limit adds a value
    free, paying = (model.rollout_buffer.rewards[inside] for model in found)
    paid, wanted = free - paying, found[1].rollout_buffer.actions[inside][..., AGENTS:] > 0.0
    np.testing.assert_allclose(paid, np.array(collected)[inside], atol=1e-3)
    assert (paid >= -1e-3).all()
    assert (paid[~wanted] <= 1e-3).all()
    assert paid.max() > 1.0
    logged = [model.logger.name_to_value for model in found]
    assert logged[0]["rollout/cost_per_slot"] == logged[1]["rollout/cost_per_slot"]  # payments are no costs
    assert "rollout/paid_per_slot" not in logged[0]
    assert logged[1]["rollout/paid_per_slot"] == pytest.approx(np.sum(collected) / (LANES * STEPS), rel=1e-5)


def _first(model: T2DRL) -> tuple[torch.Tensor, torch.Tensor]:
    """Observations and rewards of the rollout, a row per slot."""
    buffer = model.rollout_buffer
    observations = torch.as_tensor(buffer.observations).float().flatten(0, 1)
    return observations, torch.as_tensor(buffer.rewards).sum(-1).flatten()


def test_advantages_of_the_items_keep_their_proportions() -> None:
    model = caching(own_credit=True)
    model.learn(2 * STEPS * LANES)  # the first rollout only calibrates
    advantages = model.rollout_buffer.advantages
    np.testing.assert_allclose(advantages.mean((0, 1)), 0.0, atol=1e-4)
    assert advantages.std() == pytest.approx(1.0, rel=1e-3)
    assert len(set(advantages.std((0, 1)).round(4))) > 1


def test_a_full_cache_is_filled_in_the_policys_order() -> None:
    model = caching(own_credit=True)
    model.learn(2 * STEPS * LANES)
    policy = AdaptivePolicy(model)
    env = gymnasium.make_vec(CACHING, num_envs=2, n_gpus=20)
    obs, _ = env.reset(seed=5)
    for _ in range(20):
        action = policy.act(obs)
        obs, _, _, _, info = env.step(action)
        np.testing.assert_array_equal(info["cache"], action["cache"])  # nothing was left for the projection to drop
    assert (info["memory"] > 0.5 * 20 * 80.0).all()


PACKAGED = {"own_credit": True, "bid_value": 0.1, "sticky": 1.5, "aux_coef": 0.5, "predict_next": True}
PREDICTING = PACKAGED | {"inner_loss": "next_obs_prediction", "forgetting": 0.5, "last_noise": 0.2}
ALONE = {name: value for name, value in PACKAGED.items() if name not in ("aux_coef", "predict_next")}


@pytest.mark.parametrize(
    "options",
    [
        PREDICTING,
        ALONE | {"inner_loss": "inverse_dynamics"},
        ALONE | {"backbone": "pad", "hidden": 6, "minibatch": 4, "heads": 4, "intermediate": 32, "eta_base": 0.01},
    ],
    ids=["packaged", "inverse dynamics", "pad"],
)
def test_updates_see_what_the_rollout_saw(options: dict[str, Any]) -> None:
    model = caching(**options)
    model.learn(2 * STEPS * LANES)
    rollout(model)
    network, drawn_out = model.policy.network, 0
    for chunks in model.rollout_buffer.minibatches(32):
        inputs = chunks.observations.flatten(0, 1), chunks.actions.flatten(0, 1)
        requested = network.requested(inputs[1], inputs[0]).view_as(chunks.actions)
        drawn_out += int((requested != chunks.actions).sum())
        with torch.no_grad():
            law, _ = network.sequence(chunks.observations, chunks.state, requested)
        found = law.log_probs(inputs[1])[chunks.valid.flatten()]
        torch.testing.assert_close(found, chunks.log_probs, rtol=1e-4, atol=1e-4)
    assert drawn_out > 0  # not everything that was drawn fitted


def test_noise_falls_over_the_first_half_of_training_and_never_rises() -> None:
    model = caching(last_noise=0.2)
    seen = []
    model.learn(10 * STEPS * LANES, callback=lambda *_: seen.append(float(model.policy.network.noise)) or True)
    # The first rollout calibrates only; after rollout k of 10 the scale is 1 - 0.8 * 2 k / 10, at least 0.2.
    expected = [1.0, 1.0, *(max(0.2, 1.0 - 0.16 * k) for k in range(2, 10))]
    np.testing.assert_allclose(seen[::STEPS], expected, atol=1e-6)
    model._current_progress_remaining = 1.0  # as where training goes on in deployment
    model._quieten()
    assert float(model.policy.network.noise) == pytest.approx(0.2)


def test_bids_continue_from_a_checkpoint() -> None:
    def learner() -> T2DRLLearner:
        env = {"n_gpus": 20, "horizon": HORIZON}
        return T2DRLLearner(CACHING, env, num_envs=LANES, seed=3, anneal=True, **(ITEMS | PREDICTING))

    whole, part, total = learner(), 3 * STEPS * LANES, 6 * STEPS * LANES
    saved = []
    whole.learn(total, lambda: saved.append(whole.snapshot()) if whole.steps == part else None)
    resumed = learner()
    resumed.restore(saved[0])
    resumed.learn(total, lambda: None)
    weights = [made.model.policy.state_dict() for made in (whole, resumed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    paid = [made.metrics()["rollout/paid_per_slot"] for made in (whole, resumed)]
    assert paid[0] == paid[1] > 0.0


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
    model = T2DRL(T2DRLPolicy, env, n_steps=4, own_credit=True, policy_kwargs={"network": network})
    with pytest.raises(InvalidInputError, match="own_credit needs an environment that tells"):
        model.learn(8)
    with pytest.raises(InvalidInputError, match="own_credit must be false for a network without item_head"):
        T2DRL(T2DRLPolicy, env, own_credit=True)
    with pytest.raises(InvalidInputError, match="bid_value must be 0 without own_credit and fill"):
        T2DRL(T2DRLPolicy, env, bid_value=1.0)
    with pytest.raises(InvalidInputError, match="own_price must be in"):
        T2DRL(T2DRLPolicy, env, own_price=1.5)
