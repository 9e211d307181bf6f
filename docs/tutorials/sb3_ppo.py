"""Tutorial 2: Stable-Baselines3, with its own PPO and with ours.

First SB3's PPO as it comes, on the environment behind two wrappers: `RatioReward` turns the ratio (mean age, s) into a
reward, and `FlatHybridAction` puts the action (server, wait) into one Box. Then `FractionalPPO`, which knows by itself
that decisions take time and that an action has two parts.

Run it: `python docs/tutorials/sb3_ppo.py` (about 20 seconds on one core; needs the extra `sb3`).
"""

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.sb3.build import build, policy_of, wait_function
from edgewise.agents.sb3.callbacks import DinkelbachCallback
from edgewise.envs.aoi_offload.optimum import wait_rule_value
from edgewise.envs.core import FlatHybridAction, RatioReward

ID = "edgewise/AoIOffload-v0"
torch.set_num_threads(1)  # small networks are fastest on one thread


def make_env() -> FlatHybridAction:
    """A lone device: one joint decision per completed task, waits up to 2 s; each second is first priced at 2 s."""
    env = gymnasium.make(ID, preset="single", decision="joint", z_max=2.0)
    return FlatHybridAction(RatioReward(env, ratio=2.0))


# 1. SB3's own PPO. The callback is Dinkelbach's outer loop: it moves the wrappers' ratio towards the measured one (s).
stock = PPO(
    "MlpPolicy",
    make_vec_env(make_env, n_envs=8, seed=0),
    n_steps=128,
    batch_size=256,
    gamma=0.9,  # per decision: SB3 knows no durations
    gae_lambda=0.8,
    learning_rate=3e-3,
    policy_kwargs={"net_arch": [32], "log_std_init": -1.0},
    seed=0,
    device="cpu",
)
stock.learn(30_000, callback=DinkelbachCallback(ratio=2.0, omega=0.1))

# 2. FractionalPPO on 64 lanes of the vector environment, with staged decisions: the wait when a task completes, the
# server when the next one is generated. `build` puts environment, adapter, policy, learner and outer loop together.
ours = build("fractional_ppo", ID, {"preset": "single"}, num_envs=64, seed=0)
ours.learn(150_000)


def stock_wait(delay: NDArray[np.float64]) -> NDArray[np.float64]:
    """The wait (s) that SB3's PPO chooses after delays (s): observations [kind 2 = joint, delay, age, 0]."""
    obs = np.stack([np.full_like(delay, 2.0), delay, delay, np.zeros_like(delay)], axis=-1)
    carrier, _ = stock.predict(obs.astype(np.float32), deterministic=True)
    return 1.0 + carrier[:, 0].astype(np.float64)  # the Box holds the wait as [-1, 1] for [0 s, 2 s]


# A lone device's wait rule is scored exactly, by integrating it over the service law.
zero_wait = wait_rule_value(np.zeros_like, "exponential")
stock_age = wait_rule_value(stock_wait, "exponential")
our_age = wait_rule_value(wait_function(policy_of(ours)), "exponential")
optimum = make_env().unwrapped.optimum().value
print(f"mean age: never waiting {zero_wait:.3f} s, SB3's PPO {stock_age:.3f} s, FractionalPPO {our_age:.3f} s")
print(f"optimum {optimum:.3f} s")
