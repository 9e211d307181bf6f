"""T2DRL in deployment: paired episodes that leave the model alone, and PPO that goes on."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import make_vec
from gymnasium.vector import AutoresetMode

from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_deploy import deploy, online_ppo
from edgewise.agents.sb3.t2drl_learner import AdaptivePolicy, build_t2drl
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.optimum import exhaustive
from edgewise.envs.model_caching.params import CachingParams
from edgewise.train.config import load_config

from ..drifting_caches import ID
from .t2drl_models import LANES, ROLLOUT, SMALL, make, vector


def test_deployments_are_paired_and_leave_the_model_alone(trained_t2drl: T2DRL) -> None:
    before = {name: value.clone() for name, value in trained_t2drl.policy.state_dict().items()}
    runs = {mode: deploy(trained_t2drl, vector(5), 3, 11, mode) for mode in ("episodic", "lifelong", "frozen")}  # type: ignore[arg-type]
    again = deploy(trained_t2drl, vector(5), 3, 11)
    np.testing.assert_array_equal(runs["episodic"].cost, again.cost)
    np.testing.assert_array_equal(runs["episodic"].cost[:, 0], runs["lifelong"].cost[:, 0])  # until the first restart
    assert (runs["episodic"].cost != runs["frozen"].cost).any()
    assert (runs["episodic"].duration == 40.0).all()
    assert runs["episodic"].rates.shape == (5, 3)
    assert runs["episodic"].milliseconds > 0.0
    assert all(torch.equal(value, before[name]) for name, value in trained_t2drl.policy.state_dict().items())
    first = deploy(trained_t2drl, vector(1), 1, 77).state  # one episode of training's distribution
    assert first is not None
    held = deploy(trained_t2drl, vector(5), 1, 11, "held", trained_t2drl.policy.hold(first))
    assert held.cost.shape == (5, 1)


def test_online_ppo_goes_on_learning_on_real_costs() -> None:
    model = make()
    model.learn(2 * ROLLOUT)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    found = online_ppo(model, vector(LANES, horizon=15), 5, 11)
    assert found.cost.shape == (LANES, 5)
    assert (found.duration == 15.0).all()
    assert found.state is None
    assert any(not torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    with pytest.raises(InvalidInputError, match="env must be of 6 lanes"):
        online_ppo(model, vector(2), 1, 0)


def test_pad_adapts_in_deployment_only() -> None:
    model = make("pad", eta_base=0.5)
    model.learn(3 * ROLLOUT)
    assert not model._state[:, -8 * 3 - 8 :].any()  # encoder weights of the rollout: as trained
    adapted, frozen = (deploy(model, vector(5), 1, 11, mode) for mode in ("episodic", "frozen"))  # type: ignore[arg-type]
    assert adapted.state is not None
    assert adapted.state[0][:, -8 * 3 - 8 :].any()
    assert (adapted.cost != frozen.cost).any()


def test_deployments_refuse_what_they_cannot_run(trained_t2drl: T2DRL) -> None:
    with pytest.raises(InvalidInputError, match="episodes must be at least 1"):
        deploy(trained_t2drl, vector(), 0, 0)
    with pytest.raises(InvalidInputError, match="autoreset_mode must be SAME_STEP"):
        deploy(trained_t2drl, vector(autoreset_mode=AutoresetMode.NEXT_STEP), 1, 0)
    with pytest.raises(InvalidInputError, match="state must be given"):
        deploy(trained_t2drl, vector(), 1, 0, "held")
    assert trained_t2drl.policy.test_time != "held"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_adapting_beats_the_frozen_self_on_drift() -> None:
    hyper = {"n_steps": 40, "learning_rate": 0.003, "batch_size": 320, "ent_coef": 0.005, "aux_coef": 0.0}
    model = build_t2drl(
        ID, num_envs=32, seed=0, **(SMALL | {"width": 16, "intermediate": 16, "n_epochs": 4, "chunk": 20} | hyper)
    )
    model.learn(60_000)
    adapted, frozen = (deploy(model, vector(300), 1, 10**6, mode) for mode in ("episodic", "frozen"))  # type: ignore[arg-type]
    gain = (frozen.rates - adapted.rates).ravel()
    assert gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0.0
    assert adapted.rates.mean() < 0.38  # keeping everything costs about 0.39, nothing 0.6, the hot item 0.22
    assert AdaptivePolicy(model).state is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_learns_which_of_two_models_to_hold() -> None:
    """Two agents, memory for one, most requests for one of them: within 5 % of the optimum that knows the demand."""
    toy: dict[str, Any] = {"n_agents": 2, "models": ("lamda-137b",), "alpha": (0.4,), "context_windows": (8192,)}
    toy |= {"n_gpus": 4, "zipf": 3.0, "window_rule": "none", "weight_accuracy": 1.0}
    params = CachingParams.make("drift", **toy)
    best = np.array([exhaustive(params, seed, 8).value for seed in range(30)])
    hyper = load_config("model_caching/drift_t2drl").learner.model_dump(exclude={"algorithm", "test_time"})
    model = build_t2drl("edgewise/ModelCaching-v0", toy | {"horizon": 8}, num_envs=16, seed=0, **hyper)
    model.learn(60_000)
    venv = make_vec("edgewise/ModelCaching-v0", num_envs=30, autoreset_mode="SAME_STEP", horizon=8, **toy).unwrapped
    assert deploy(model, venv, 1, 0).rates.mean() <= 1.05 * best.mean()
