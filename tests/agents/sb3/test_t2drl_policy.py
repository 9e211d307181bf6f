"""T2DRL decides with states: what restarts, what is held, what stays frozen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from edgewise.agents.cache_actions import VectorFlatCacheAction
from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_deploy import deploy
from edgewise.agents.sb3.t2drl_policy import T2DRLPolicy
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.core.errors import InvalidInputError

from .t2drl_models import make, observations, vector


def predictions(policy: T2DRLPolicy, starts_at: int | None = None, state: Any = None) -> tuple[np.ndarray, Any]:
    found = []
    for slot, batch in enumerate(observations()):
        starts = np.full(4, slot == starts_at)
        carrier, state = policy.predict(batch, state, starts, deterministic=True)
        found.append(carrier)
    return np.stack(found), state


def test_predictions_carry_the_state(trained_t2drl: T2DRL) -> None:
    trained_t2drl.policy.set_test_time("episodic")
    found, state = predictions(trained_t2drl.policy)
    assert found.shape == (9, 4, 6)
    assert state[0].shape == (4, trained_t2drl.policy.network.state_width)
    again, _ = predictions(trained_t2drl.policy, starts_at=5)
    np.testing.assert_array_equal(found[:5], again[:5])
    fresh, _ = trained_t2drl.policy.predict(observations()[5], None, None, deterministic=True)
    np.testing.assert_array_equal(again[5], fresh)
    assert not np.array_equal(found[5], fresh)
    one, alone = trained_t2drl.policy.predict(observations()[0, 2], deterministic=True)
    assert one.shape == (6,)
    np.testing.assert_allclose(one, found[0, 2], atol=1e-6)
    assert alone[0].shape[0] == 1  # type: ignore[index]


def test_lifelong_does_not_restart(trained_t2drl: T2DRL) -> None:
    trained_t2drl.policy.set_test_time("episodic")
    found, _ = predictions(trained_t2drl.policy)
    trained_t2drl.policy.set_test_time("lifelong")
    lifelong, _ = predictions(trained_t2drl.policy, starts_at=5)
    np.testing.assert_array_equal(lifelong, found)


def test_frozen_is_the_network_without_inner_steps_bit_for_bit(trained_t2drl: T2DRL) -> None:
    trained_t2drl.policy.set_test_time("frozen")
    frozen, state = predictions(trained_t2drl.policy)
    assert not state[0][:, :-1].any()
    static = make(learning_rate=0.01, eta_base=0.0)
    static.policy.load_state_dict(trained_t2drl.policy.state_dict())
    np.testing.assert_array_equal(frozen, predictions(static.policy)[0])
    trained_t2drl.policy.set_test_time("episodic")
    assert not np.array_equal(frozen, predictions(trained_t2drl.policy)[0])


def test_held_weights_stay_at_what_was_learned(trained_t2drl: T2DRL) -> None:
    trained_t2drl.policy.set_test_time("episodic")
    _, state = predictions(trained_t2drl.policy)
    held = trained_t2drl.policy.hold(state)
    trained_t2drl.policy.set_test_time("held")
    with pytest.raises(InvalidInputError, match="state must be given"):
        trained_t2drl.policy.predict(observations()[0])
    found, after = predictions(trained_t2drl.policy, starts_at=3, state=held)
    np.testing.assert_array_equal(after[0][:, :-1], held[0][:, :-1])
    trained_t2drl.policy.set_test_time("frozen")
    assert not np.array_equal(found, predictions(trained_t2drl.policy)[0])


def test_states_that_do_not_fit_are_refused(trained_t2drl: T2DRL) -> None:
    trained_t2drl.policy.set_test_time("episodic")
    with pytest.raises(InvalidInputError, match="state must be of shape"):
        trained_t2drl.policy.predict(observations()[0], (np.zeros((2, 3), np.float32),))
    with pytest.raises(InvalidInputError, match="test_time must be one of episodic, lifelong, frozen, held"):
        trained_t2drl.policy.set_test_time("sometimes")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_sb3_evaluates_and_stores_it(trained_t2drl: T2DRL, tmp_path: Path) -> None:
    trained_t2drl.policy.set_test_time("episodic")
    env = SemiMarkovVecEnv(VectorFlatCacheAction(vector(4)))
    env.seed(5)
    returns, lengths = evaluate_policy(trained_t2drl, env, n_eval_episodes=8, return_episode_rewards=True)
    assert lengths == [40] * 8
    ours = deploy(trained_t2drl, vector(4), 2, 5)
    np.testing.assert_allclose(sorted(returns), sorted(-ours.cost.ravel()), rtol=1e-5)
    trained_t2drl.save(tmp_path / "model.zip")
    loaded = T2DRL.load(tmp_path / "model.zip", device="cpu")
    assert loaded.batch_size == trained_t2drl.batch_size
    np.testing.assert_array_equal(predictions(loaded.policy)[0], predictions(trained_t2drl.policy)[0])
