"""Tutorial 5: the asynchronous game in RLlib, with `AsyncFractional` and with RLlib's own PPO.

Five devices share one edge node and decide at different instants. First `AsyncFractional`, an RLlib Algorithm that
samples the event stream of many systems at once and knows durations and the ratio. Then RLlib's PPO as it comes, on
`AsyncMultiAgentEnv`: in each step only the device that must act is in the observations.

Run it: `python docs/tutorials/rllib_game.py` (about 30 seconds on one core; needs the extra `rllib`).
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.rllib import AsyncFractionalAlgorithmConfig
from edgewise.agents.rllib.cluster import without_daemons
from edgewise.agents.rllib.multi_agent_env import AsyncMultiAgentEnv
from edgewise.agents.rllib.policy import AsyncFractionalPolicy

ID = "edgewise/AoIOffloadGame-v0"
SYSTEM = {"preset": "paper", "n_devices": 5, "edge_ghz": (20.0,), "objective": "team"}
torch.set_num_threads(1)  # small networks are fastest on one thread

# 1. AsyncFractional. An iteration is 64 events of each of 64 systems. Without remote env runners everything runs in
# this process, and `without_daemons` spares Ray's start; for remote ones call `ray.init()` and set `num_env_runners`.
config = (
    AsyncFractionalAlgorithmConfig()
    .environment(ID, env_config=SYSTEM)
    .env_runners(num_envs_per_env_runner=64, rollout_fragment_length=64, episode_lookback_horizon=16)
    .training(minibatch_size=1024)
    .debugging(seed=0, log_level="ERROR")
)
with without_daemons():
    algorithm = config.build_algo()
    for _ in range(60):
        result = algorithm.train()
    learned = AsyncFractionalPolicy(config, algorithm.get_module().get_state())  # greedy
    algorithm.stop()
ratio = result["ratio"]  # s: the price of a second, at the end the age that the exploring policy reaches


def mean_age(act: Callable[[Any], dict[str, Any]], lanes: int = 64, decisions: int = 1500) -> float:
    """Mean age over all devices (s) in fresh systems: same seeds, hence the same service times, for every policy."""
    env = gymnasium.make_vec(ID, num_envs=lanes, horizon=1e6, **SYSTEM)
    obs, _ = env.reset(seed=10_000)  # column 0: the device that decides
    for _ in range(decisions):
        obs, *_ = env.step(act(obs))
    sums = env.unwrapped.statistics()
    return float(sums["area"].sum() / sums["time"].sum())


def at_the_edge(wait: float) -> Callable[[Any], dict[str, Any]]:
    """Every task goes to the edge node, after the same wait (s)."""
    return lambda obs: {"server": np.ones(len(obs), int), "wait": np.full((len(obs), 1), wait)}


zero_wait, patient, our_age = mean_age(at_the_edge(0.0)), mean_age(at_the_edge(0.8)), mean_age(learned.act)
print(f"mean age: never waiting {zero_wait:.3f} s, always 0.8 s {patient:.3f} s, AsyncFractional {our_age:.3f} s")

# 2. RLlib's own PPO, one policy for all devices. Its reward is minus the area (s²) since the device's own previous
# decision, discounted per decision: it knows neither durations nor the ratio, and samples one system at a time.
stock = (
    PPOConfig()
    .environment(AsyncMultiAgentEnv, env_config={**SYSTEM, "horizon": 30.0})
    .env_runners(num_env_runners=0)
    .multi_agent(policies={"everyone"}, policy_mapping_fn=lambda agent, *_, **__: "everyone")
    .training(train_batch_size_per_learner=256, minibatch_size=64, num_epochs=1)
    .debugging(seed=0, log_level="ERROR")
)
with without_daemons():
    algorithm = stock.build_algo()
    for _ in range(2):
        result = algorithm.train()
    algorithm.stop()
sampled, returned = (result["env_runners"][name] for name in ("num_env_steps_sampled_lifetime", "episode_return_mean"))
print(f"RLlib's PPO: {sampled:.0f} decisions, {returned:.0f} s² per episode over all devices")
