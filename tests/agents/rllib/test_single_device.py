"""The same learner, connector and outer loop reach the certified optimum of a single device."""

import numpy as np
import pytest
import torch

from edgewise.agents.rllib import AsyncFractionalAlgorithmConfig, EventStreamEnvRunner
from edgewise.agents.rllib.callbacks import outer_step
from edgewise.envs.aoi_offload.state import AGE, DELAY, SINCE_DONE, STREAM_OFFSET
from edgewise.envs.aoi_offload.update_or_wait import wait_rule_value
from edgewise.envs.core.seeding import SeedTree

OPTIMUM, STEPS = 1.901201, 600_000


@pytest.mark.slow
def test_a_lone_device_learns_to_wait_within_one_percent_of_the_optimum() -> None:
    torch.manual_seed(SeedTree(0).libraries)
    config = AsyncFractionalAlgorithmConfig().environment("edgewise/AoIOffload-v0", env_config={"preset": "single"})
    config.env_runners(num_envs_per_env_runner=256, rollout_fragment_length=16, episode_lookback_horizon=0)
    config.training(critic="lstd", num_epochs=5, minibatch_size=1024, lambda_=0.0, lr=[[0, 1e-3], [STEPS, 0.0]])
    config.training(critic_memory=20.0, ignored=(DELAY, SINCE_DONE), init_mean=0.1, omega=0.1)
    config.training(family="squashed", init_scale=1.0, min_scale=0.0).debugging(seed=0)
    runner = EventStreamEnvRunner(config=config, worker_index=0)
    learner = config.build_learner(spaces=runner.get_spaces())
    sampled = 0
    while sampled < STEPS:
        runner.set_state(learner.get_state(components="rl_module", inference_only=True))
        episodes = runner.sample()
        sampled += sum(map(len, episodes))
        learner.update(
            episodes=episodes,
            timesteps={"num_env_steps_sampled_lifetime": sampled},
            num_epochs=config.num_epochs,
            minibatch_size=config.minibatch_size,
            shuffle_batch_per_epoch=True,
        )
        ratio = outer_step(learner)

    def wait(delay: np.ndarray) -> np.ndarray:
        delays = np.asarray(delay)
        observation = np.zeros((delays.size, 5), np.float32)
        observation[:, STREAM_OFFSET + DELAY] = observation[:, STREAM_OFFSET + AGE] = delays.ravel()
        with torch.no_grad():
            law = learner.module["default_policy"].actor(
                torch.from_numpy(observation[:, 1:]), torch.zeros(delays.size, dtype=torch.long)
            )
        return 10.0 * (law.sample(deterministic=True)[:, 0].numpy() + 1.0).reshape(delays.shape)  # the longest is 20 s

    value = wait_rule_value(wait, "exponential", z_max=20.0)
    assert OPTIMUM - 1e-6 <= value < 1.01 * OPTIMUM
    assert float(ratio[0]) == pytest.approx(OPTIMUM, rel=0.05)
