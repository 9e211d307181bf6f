"""Tutorial 3: the environment in TorchRL.

TorchRL's `GymEnv` takes the id as it stands. A reader says which parts of `info` a rollout keeps: the cost (s²) and the
duration (s) of each decision, from which the reward is priced. Policy, rollout, advantage and loss are TorchRL's own.

Run it: `python docs/tutorials/torchrl_loop.py` (about 15 seconds on one core; needs the extra `dev`, for TorchRL).
"""

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.envs import ExplorationType, GymEnv, SerialEnv, default_info_dict_reader, set_exploration_type
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.fractional import Dinkelbach
from edgewise.envs.aoi_offload.optimum import wait_rule_value

Z_MAX = 2.0  # longest wait, s
torch.manual_seed(0)
torch.set_num_threads(1)  # small networks are fastest on one thread


def make_env() -> GymEnv:
    """A lone device. With joint decisions a step is a whole cycle: wait, compute, and the task completes."""
    env = GymEnv("edgewise/AoIOffload-v0", preset="single", decision="joint", z_max=Z_MAX)
    return env.set_info_dict_reader(default_info_dict_reader(["cost", "duration"]))


env = SerialEnv(16, make_env)
env.set_seed(0)

# The action has two parts, "server" and "wait" (s). A lone device has one place to compute, so the server is constant
# (TorchRL writes it one-hot), and the wait is learned. Linear networks are enough to see learning.
wait_mean, value = nn.Linear(4, 1), nn.Linear(4, 1)


def wait_law(obs: Tensor) -> tuple[Tensor, Tensor]:
    """Location and scale of the wait before it is squashed to [0, Z_MAX]."""
    location = wait_mean(obs)
    return location, torch.full_like(location, 0.5)


wait = ProbabilisticActor(
    TensorDictModule(wait_law, ["observation"], ["loc", "scale"]),
    in_keys=["loc", "scale"],
    out_keys=["wait"],
    distribution_class=TanhNormal,
    distribution_kwargs={"low": 0.0, "high": Z_MAX},
    default_interaction_type=ExplorationType.RANDOM,  # explore unless told otherwise
    return_log_prob=True,
)
server = TensorDictModule(lambda obs: torch.ones(*obs.shape[:-1], 1, dtype=torch.int64), ["observation"], ["server"])
policy = TensorDictSequential(server, wait)
critic = ValueOperator(value)
# The wait does not change what follows the cycle, so nothing is lost with a discount of 0 per decision.
advantage = GAE(gamma=0.0, lmbda=0.0, value_network=critic, average_gae=True)
loss = ClipPPOLoss(wait, critic, entropy_coeff=0.0, loss_critic_type="l2")
loss.set_keys(action="wait", sample_log_prob="wait_log_prob")
optimiser = torch.optim.Adam([*wait_mean.parameters(), *value.parameters()], lr=0.03)

outer = Dinkelbach(ratio=2.0, omega=0.1)  # the price of a second; never waiting achieves 2 s
for _ in range(30):
    with torch.no_grad():
        data = env.rollout(16, policy)
    cost, duration = data["next", "cost"], data["next", "duration"]
    data["next", "reward"] = -(cost - outer.ratio * duration).unsqueeze(-1)  # what the wrapper RatioReward gives
    advantage(data)
    for _ in range(5):
        for batch in data.split(8):
            terms = loss(batch)
            optimiser.zero_grad()
            (terms["loss_objective"] + terms["loss_critic"]).backward()
            optimiser.step()
    outer.update(cost.sum(), duration.sum())


def learned_wait(delay: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Waits (s) without exploration after delays (s): observations [kind 2 = joint, delay, age, 0]."""
    y = torch.as_tensor(delay, dtype=torch.float32)
    obs = torch.stack([torch.full_like(y, 2.0), y, y, torch.zeros_like(y)], dim=-1)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        return policy(TensorDict(observation=obs, batch_size=y.shape))["wait"].squeeze(-1).double().numpy()


# A lone device's wait rule is scored exactly, by integrating it over the service law.
learned = wait_rule_value(learned_wait, "exponential")
zero_wait = wait_rule_value(np.zeros_like, "exponential")
optimum = make_env().unwrapped.optimum().value
print(f"mean age: never waiting {zero_wait:.3f} s, learned {learned:.3f} s, optimum {optimum:.3f} s")
