"""Tutorial 1: a plain torch loop on the vector environment.

A lone device sends status updates. Its *age* (s) is the time since its newest completed update was generated. It
chooses how long to wait (s) before each new update, and wants the smallest mean age. The loop is an ordinary
actor-critic; decisions that take time change two lines only: the priced reward and the discount.

Run it: `python docs/tutorials/torch_loop.py` (about 15 seconds on one core; needs the extra `sb3`, for torch).
"""

from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Normal

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.fractional import Dinkelbach
from edgewise.envs.aoi_offload.state import KIND, OFFLOAD, UPDATE

torch.manual_seed(0)
torch.set_num_threads(1)  # small networks are fastest on one thread

# 64 independent systems, advanced by one call. Any preset works here: try "heterogeneous", with two edge nodes.
LANES, STEPS = 64, 32
env = gymnasium.make_vec("edgewise/AoIOffload-v0", num_envs=LANES, preset="single", z_max=3.0)
servers, z_max = int(env.single_action_space["server"].n), float(env.single_action_space["wait"].high[0])
inputs = env.single_observation_space.shape[0]
actor = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, servers + 1))  # server scores, mean wait
critic = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 1))
log_std = nn.Parameter(torch.tensor(-1.0))
optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters(), log_std], lr=5e-3)


def policy(obs: torch.Tensor) -> tuple[Categorical, Normal]:
    """Laws of the server and of the wait (s); waits outside [0, z_max] are clipped when they are carried out."""
    out = actor(obs)
    return Categorical(logits=out[..., :servers]), Normal(out[..., servers], log_std.exp())


# Dinkelbach's outer loop holds the ratio: the price of one second. It moves towards the achieved Σcost / Σduration (s).
outer = Dinkelbach(ratio=3.0, omega=0.2)
obs, _ = env.reset(seed=0)
ended = np.zeros(LANES, bool)
for _ in range(100):
    rows = []
    for _ in range(STEPS):
        with torch.no_grad():
            server_law, wait_law = policy(torch.as_tensor(obs))
            server, wait = server_law.sample(), wait_law.sample()
        action = {"server": server.numpy(), "wait": wait.clamp(0, z_max).unsqueeze(-1).numpy()}
        new_obs, _, _, truncated, info = env.step(action)
        rows.append((obs, server, wait, info["cost"], info["duration"], ~ended))
        obs, ended = new_obs, truncated  # NEXT_STEP autoreset: the step after a truncation only resets, at cost 0
    seen, server, wait, cost, duration, valid = (torch.as_tensor(np.stack(x)) for x in zip(*rows, strict=True))

    reward = -(cost - outer.ratio * duration).float()  # what the wrapper RatioReward gives
    discount = torch.exp(-duration / 10.0).float()  # by elapsed time: 1/e after 10 s
    with torch.no_grad():
        value = critic(torch.cat([seen, torch.as_tensor(obs)[None]])).squeeze(-1)
    advantage, running = torch.zeros_like(reward), torch.zeros(LANES)
    for t in reversed(range(STEPS)):  # generalised advantages, not across a reset
        running = valid[t] * (reward[t] + discount[t] * (value[t + 1] + 0.9 * running) - value[t])
        advantage[t] = running

    # Only the part that the pending decision uses counts: the wait at an update, the server at an offload.
    (server_law, wait_law), kind = policy(seen), seen[..., KIND]
    log_prob = (kind != UPDATE) * server_law.log_prob(server) + (kind != OFFLOAD) * wait_law.log_prob(wait)
    actor_loss = -(valid * advantage / advantage.std() * log_prob).mean()
    critic_loss = (valid * (critic(seen).squeeze(-1) - (advantage + value[:-1])) ** 2).mean()
    optimiser.zero_grad()
    (actor_loss + critic_loss).backward()
    optimiser.step()
    outer.update(cost.sum(), duration.sum())


def mean_age(wait_rule: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Mean age (s) of a wait rule in 256 fresh systems: same seeds, hence the same service times, for every rule."""
    env = gymnasium.make_vec("edgewise/AoIOffload-v0", num_envs=256, preset="single", z_max=3.0, horizon=1e6)
    obs, _ = env.reset(seed=10_000)
    for _ in range(1000):
        obs, *_ = env.step({"server": np.zeros(256, int), "wait": wait_rule(torch.as_tensor(obs)).numpy()})
    sums = env.unwrapped.statistics()
    return float(sums["area"].sum() / sums["time"].sum())


with torch.no_grad():
    learned = mean_age(lambda obs: policy(obs)[1].mean.clamp(0, z_max).unsqueeze(-1))
zero_wait = mean_age(lambda obs: torch.zeros(len(obs), 1))
optimum = env.unwrapped.optimum().value
print(f"mean age: never waiting {zero_wait:.3f} s, learned {learned:.3f} s, optimum {optimum:.3f} s")
