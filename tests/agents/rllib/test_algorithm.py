"""AsyncFractional as an RLlib Algorithm: iterations, workers, checkpoints, Tune."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from edgewise.agents.rllib import AsyncFractional, AsyncFractionalAlgorithmConfig
from edgewise.agents.rllib.callbacks import outer_step
from edgewise.agents.rllib.multi_agent_env import AsyncMultiAgentEnv
from edgewise.envs.core.errors import InvalidInputError

pytestmark = pytest.mark.ray
LANES, STEPS = 4, 32


def config(**training: Any) -> AsyncFractionalAlgorithmConfig:
    env = {"preset": "paper", "n_devices": 4, "horizon": 20.0}
    result = AsyncFractionalAlgorithmConfig().environment("edgewise/AoIOffloadGame-v0", env_config=env)
    result.env_runners(
        num_envs_per_env_runner=LANES, rollout_fragment_length=STEPS, episode_lookback_horizon=16
    ).debugging(seed=1)
    return result.training(**({"num_epochs": 1, "minibatch_size": 64, "segment": 16, "gru_width": 8} | training))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=200 * 2**20,
    )
    yield
    ray.shutdown()


def ratios(algorithm: Any) -> list[list[float]]:
    found = algorithm.learner_group.foreach_learner(lambda learner, *_: learner.pricing.ratio.tolist())
    return [each.get() for each in found]


@pytest.mark.usefixtures("cluster")
def test_ratios_and_outer_loop_survive_a_checkpoint(tmp_path: Path) -> None:
    algorithm = config(ratio=5.0).build_algo()
    for _ in range(2):
        result = algorithm.train()
    before = ratios(algorithm)
    assert result["ratios"] == before[0]
    assert result["ratio"] != 5.0
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 2 * LANES * STEPS
    path = algorithm.save_to_path(str(tmp_path / "saved"))
    algorithm.stop()
    again = config(ratio=5.0).build_algo()
    again.restore_from_path(path)
    assert ratios(again) == before
    result = again.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 3 * LANES * STEPS
    steps = again.learner_group.foreach_learner(lambda learner, *_: learner.pricing.outer.updates)
    assert [each.get() for each in steps] == [3]
    again.stop()


@pytest.mark.usefixtures("cluster")
def test_remote_env_runners_sample_different_lanes_and_get_new_weights() -> None:
    algorithm = config().env_runners(num_env_runners=2).build_algo()
    for _ in range(2):
        result = algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 2 * 2 * LANES * STEPS
    sampled = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: (runner._lanes.observation.tolist(), runner._weights_seq_no), local_env_runner=False
    )
    (one, first), (two, second) = sampled
    assert one != two
    assert min(first, second) >= 1
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_two_learners_hold_the_same_weights_ratios_and_scales() -> None:
    algorithm = config(critic="recurrent").learners(num_learners=2).build_algo()
    for _ in range(3):
        algorithm.train()
    found = algorithm.learner_group.foreach_learner(
        lambda learner, *_: (
            learner.pricing.ratio.tolist(),
            learner.pricing.critics["default_policy"].scale.tolist(),
            {name: value.tolist() for name, value in learner.module["default_policy"].get_state().items()},
        )
    )
    one, two = (each.get() for each in found)
    assert one == two
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_tune_runs_it(tmp_path: Path) -> None:
    tuner = tune.Tuner(
        AsyncFractional,
        param_space=config(),
        run_config=tune.RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 1}, verbose=0),
    )
    (result,) = tuner.fit()
    assert result.metrics["ratio"] > 0.0


def updates(settings: AsyncFractionalAlgorithmConfig, runner: Any, count: int = 3) -> Any:
    """Sampling by one of RLlib's own env runners, learning by ours, without Ray."""
    learner = settings.build_learner(spaces=runner.get_spaces())
    for step in range(count):
        runner.set_state(learner.get_state(components="rl_module", inference_only=True))
        learner.update(
            episodes=runner.sample(num_timesteps=200),
            timesteps={"num_env_steps_sampled_lifetime": 200 * step},
            num_epochs=1,
            minibatch_size=64,
        )
        cost, duration = learner.pricing.sums.copy()
        outer_step(learner)
    return learner, cost, duration


def test_rllibs_own_single_agent_sampling_feeds_the_same_learner() -> None:
    settings = config(critic="memoryless").environment("edgewise/AoIOffload-v0", env_config={"preset": "single"})
    settings.env_runners(
        env_runner_cls=SingleAgentEnvRunner,
        gym_env_vectorize_mode="vector_entry_point",
        rollout_fragment_length=50,
    )
    learner, cost, duration = updates(settings, SingleAgentEnvRunner(config=settings, worker_index=0))
    assert 1.0 < float(cost[0] / duration[0]) < 10.0
    assert learner.pricing.outer.updates == 3


def test_rllibs_own_multi_agent_sampling_feeds_the_same_learner() -> None:
    settings = config(n_devices=4).environment(AsyncMultiAgentEnv, env_config={"n_devices": 4, "horizon": 20.0})
    settings.multi_agent(policies={"all"}, policy_mapping_fn=lambda *_, **__: "all")
    settings.env_runners(env_runner_cls=MultiAgentEnvRunner, num_envs_per_env_runner=1, rollout_fragment_length=200)
    learner, cost, duration = updates(settings, MultiAgentEnvRunner(config=settings, worker_index=0))
    assert (cost / duration > 0.3).all()
    assert len(set(learner.pricing.ratio.tolist())) == 4


def test_two_criteria_exclude_each_other() -> None:
    with pytest.raises(InvalidInputError, match="horizon and gamma exclude each other"):
        config(horizon=1.0, gamma=0.9).pricing_settings()


def test_an_iteration_is_one_fragment_of_every_lane_unless_a_batch_size_is_given() -> None:
    assert config().total_train_batch_size == LANES * STEPS
    assert config().env_runners(num_env_runners=3).total_train_batch_size == 3 * LANES * STEPS
    assert config(train_batch_size_per_learner=100).learners(num_learners=2).total_train_batch_size == 200


def test_a_minibatch_must_fit_into_an_iteration_of_training() -> None:
    settings = AsyncFractionalAlgorithmConfig()
    settings.environment("edgewise/AoIOffloadGame-v0", env_config={"preset": "small"})
    settings.validate()
    settings.get_evaluation_config_object().validate()  # its fragments are short: RLlib evaluates episode by episode
    with pytest.raises(ValueError, match=r"minibatch_size \(129\) must be <= decisions per learner \(128\)"):
        config(minibatch_size=129).validate()
