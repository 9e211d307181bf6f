"""The deterministic policy of an `AsyncFractionalModule`, for one device or for all devices of a game."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ..networks.greedy import GreedyActor
from .acting import Acting, with_device
from .algorithm import AsyncFractionalAlgorithmConfig
from .build import spaces_of
from .module import AsyncFractionalModule, game_shape


class AsyncFractionalPolicy:
    """Greedy servers and the mode of the waits, of the averaged weights where the learner keeps an average.

    Only a scripted part draws at random (ties of the server rule, where only waits are learned): from a generator of
    the policy's own.

    Args:
        config: the algorithm's configuration.
        weights: state of the module; what only the critic needs is left aside.

    Raises:
        KeyError, RuntimeError: the weights are not of such a module.
    """

    def __init__(self, config: AsyncFractionalAlgorithmConfig, weights: dict[str, Any]) -> None:
        observation, action = spaces_of(str(config.env), config.env_config)
        spec = config.get_default_rl_module_spec()
        module = AsyncFractionalModule(
            observation_space=observation, action_space=action, inference_only=True, model_config=spec.model_config
        )
        actor = "actor." if config.averaging is None else "average.module."
        names = ((name, name.replace("actor.", actor, 1)) for name in module.state_dict())
        module.load_state_dict({own: torch.as_tensor(np.array(weights[name])) for own, name in names})
        self._actor = GreedyActor(module.actor)
        edges, self.n_devices, first = game_shape(observation, action, None)
        assert observation.shape is not None
        self._given = observation.shape[0]
        self._width = self._given + 1 - first
        generator = SeedTree(config.seed or 0).generator("policy")
        wait = action["wait"]
        assert isinstance(wait, spaces.Box)
        longest = float(wait.high[0])
        self._acting = Acting(edges, longest, config.learn, config.fixed_wait, config.server_rule, generator)

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for one observation (D,) or a batch (n, D), in a game with the device's index in column 0.

        Returns:
            ``{"server": int or (n,), "wait": (1,) or (n, 1) in seconds}``.

        Raises:
            InvalidInputError: observations of another width, or of a device that the game does not have.
        """
        batch = np.atleast_2d(np.asarray(observation, np.float32))
        if batch.ndim != 2 or batch.shape[1] != self._given:
            raise InvalidInputError.of("observation", f"of width {self._given}", np.shape(observation))
        batch = with_device(batch, self._width)
        devices = batch[:, 0]
        if not ((devices >= 0) & (devices < self.n_devices) & (devices == np.floor(devices))).all():
            raise InvalidInputError.of("observation", f"of devices 0 to {self.n_devices - 1} in column 0", batch[:, 0])
        action = self._acting.greedy(self._actor, batch)
        if np.ndim(observation) == 1:
            return {"server": int(action["server"][0]), "wait": action["wait"][0]}
        return action
