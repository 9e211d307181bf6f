"""A device that learns its best response: fractional PPO against others that keep to their policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.env import BatchBackground
from ...envs.core.extras import require
from ...envs.core.seeding import RUN_SEED_LIMIT

if TYPE_CHECKING:
    from ...envs.aoi_offload.params import AoIParams
    from ...train.learners import Policy

ENV_ID = "edgewise/AoIOffload-v0"
LANES = 512
EPISODE = 300.0
"""Length of a training episode, s."""
# Tuned on the paper's system: many lanes, as the others' decisions are asked for in batches, and few steps of each.
STEPS = 8
SETTINGS = {"n_steps": STEPS, "learning_rate": 2e-3, "gae_lambda": 0.5, "ent_coef": 0.01}


class _Relabelled:
    """The frozen policy of devices that sit in each other's places: the learner's place 0 was another device's."""

    def __init__(self, policy: Policy, device: int) -> None:
        self._policy, self._device = policy, device

    def act(self, obs: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for the devices of places 1 to M - 1."""
        if self._device:
            obs = obs.copy()
            obs[obs[:, 0] == self._device, 0] = 0.0
        return self._policy.act(obs)


def _exchanged(params: AoIParams, device: int) -> AoIParams:
    """The physics with device 0 and another in each other's places."""
    if not isinstance(params.local_ghz, tuple):
        return params
    capacities = list(params.local_ghz)
    capacities[0], capacities[device] = capacities[device], capacities[0]
    return type(params)(**(params.model_dump() | {"local_ghz": tuple(capacities)}))


def train_deviation(
    profile: Policy | tuple[str, str], params: AoIParams, device: int, *, decisions: int, seed: int
) -> Policy:
    """Train one device from scratch, for itself alone, while the others keep to a profile.

    Args:
        profile: the others' policy on event-stream observations (n, 5 + N), or their scripted rules.
        params: the physics.
        device: the device that learns.
        decisions: its decisions.
        seed: the run's seed; the learner gets another one, derived from it.

    Returns:
        A greedy policy on plain observations (n, 4 + N).

    Raises:
        MissingExtraError: the learner's library is not installed.
    """
    require("stable_baselines3", "sb3")
    from ...agents.sb3.build import build, policy_of

    if isinstance(profile, tuple):
        others: dict[str, Any] = {"background": profile[0], "background_wait": profile[1]}
    else:
        others = {"background": BatchBackground(_Relabelled(profile, device).act)}
    lanes = min(LANES, max(decisions // 64, 2))
    model = build(
        "fractional_ppo",
        ENV_ID,
        {"params": _exchanged(params, device), "horizon": EPISODE, **others},
        num_envs=lanes,
        seed=(seed + 1 + device) % RUN_SEED_LIMIT,
        batch_size=min(1024, STEPS * lanes),
        **SETTINGS,
    )
    model.learn(decisions)
    return policy_of(model)
