"""Tutorial 4: write your own scripted policy and compare it with the optimum.

A policy is any function from an observation to an action. This one has a target age: after a completion it waits until
the age (s) has reached the target, and it sends the task to the edge node where it would leave first.

Run it: `python docs/tutorials/own_policy.py` (a few seconds).
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.aoi_offload import AoIParams, ScriptedPolicy
from edgewise.envs.aoi_offload.state import AGE, QUEUES

Observations = NDArray[np.float32]
Policy = Callable[[Observations], dict[str, Any]]


class TargetAge:
    """Wait until the age reaches a target; join the node with the least expected work.

    Args:
        params: the physics, for the speeds of the places.
        target: age to wait for, s.
    """

    def __init__(self, params: AoIParams, target: float) -> None:
        self.params, self.target = params, target
        self.service = params.scales()[0]  # mean service time (s) of device 0 at each place; place 0 is local

    def __call__(self, obs: Observations) -> dict[str, Any]:
        """Decide for a batch of observations (n, 4 + N): servers (n,) and waits (n, 1) in seconds."""
        expected = (obs[:, QUEUES:] + 1) * self.service[1:]  # tasks ahead and one's own, s
        expected = np.concatenate([np.full((len(obs), 1), self.service[0]), expected], axis=1)
        wait = np.clip(self.target - obs[:, AGE], 0.0, self.params.z_max)
        return {"server": expected.argmin(axis=1), "wait": wait.astype(np.float32)[:, None]}


def mean_age(policy: Policy, preset: str, lanes: int = 256, horizon: float = 2000.0) -> tuple[float, float]:
    """Mean age (s) of device 0 and its standard error, from `lanes` systems of `horizon` seconds.

    The seeds are the same for every policy, so all of them meet the same service times.
    """
    env = gymnasium.make_vec("edgewise/AoIOffload-v0", num_envs=lanes, preset=preset, horizon=horizon)
    obs, _ = env.reset(seed=0)
    ended = np.zeros(lanes, bool)
    area, seconds = np.zeros(lanes), np.zeros(lanes)
    while not ended.all():
        obs, _, _, truncated, info = env.step(policy(obs))
        area += np.where(ended, 0.0, info["cost"])  # s^2
        seconds += np.where(ended, 0.0, info["duration"])
        ended |= truncated
    return float(area.sum() / seconds.sum()), float((area / seconds).std(ddof=1) / np.sqrt(lanes))


# 1. A lone device: the optimum is known exactly, and a target age reaches it.
single = AoIParams.make("single")
optimum = gymnasium.make("edgewise/AoIOffload-v0", preset="single").unwrapped.optimum()
print(f"single: optimum {optimum.value:.3f} s ({optimum.method})")
ages = {target: mean_age(TargetAge(single, target), "single") for target in (0.0, 0.5, 0.9, 1.5)}
for target, (age, error) in ages.items():
    print(f"  target {target:.1f} s: mean age {age:.3f} s, standard error {error:.3f} s")

# 2. Twenty devices and two edge nodes. The other 19 never wait and flood the edge. Only a bound is known.
params = AoIParams.make("heterogeneous")
bound = gymnasium.make("edgewise/AoIOffload-v0", preset="heterogeneous").unwrapped.optimum()
print(f"heterogeneous: no policy is below {bound.bound:.3f} s ({bound.method})")
rules: dict[str, Policy] = {
    "join the shortest queue": ScriptedPolicy("jsq", "fixed:0", params),
    "compute locally": ScriptedPolicy("local", "fixed:0", params),
    "target age 3.2 s": TargetAge(params, 3.2),
}
results = {name: mean_age(rule, "heterogeneous", lanes=64) for name, rule in rules.items()}
for name, (age, error) in results.items():
    print(f"  {name}: mean age {age:.2f} s, standard error {error:.2f} s")
