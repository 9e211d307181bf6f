"""Networks and optimizers of the D3QN + DDPG learners, as a policy of Stable-Baselines3."""

from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from ...envs.aoi_offload.state import JOINT, OFFLOAD
from ...envs.core.errors import InvalidInputError
from ..networks.d3qn_ddpg import DuelingQ, WaitActor, WaitCritic
from ..networks.stacked import DeviceStack
from .policies import DecisionFeatures


class _OwnedFeatures(DecisionFeatures):
    """Features behind the index of the device they belong to, as `DeviceStack` reads them."""

    device_column = 0

    def forward(self, observation: Tensor) -> Tensor:
        return torch.cat([observation[:, [self.device_column]], super().forward(observation)], dim=-1)


class D3QNDDPGPolicy(BasePolicy):
    """Networks and optimizers of `FractionalD3QNDDPG`; acts on the Box carrier [wait | server scores].

    Where a decision is a choice alone, ``Discrete(k)``, there are no networks for the wait.

    Args:
        observation_space: a one-dimensional Box.
        action_space: the carrier, ``Box(-1, 1, (1 + k,))``, or ``Discrete(k)``.
        lr_schedule: learning rate as a function of the remaining progress.
        kind_column: column of the observation with the kind of decision; None: every decision is joint.
        ignored: columns of the observation that the networks do not see.
        hidden: widths of the actor's hidden layers.
        critic_hidden: widths of the hidden layers of the critics; none: models linear in ages and queues, quadratic in
            the wait.
        init_mean: wait before training, as a share of its range.
        batch_moments: reproduce the released code's batch normalisation.
        device_column: column of the observation with the index of the deciding device, where every device has networks
            of its own; None: one set of networks decides.
        mask_start: first of the columns (one per choice) that are 1 for allowed choices; None: all are allowed.

    Raises:
        InvalidInputError: another observation or action space.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        kind_column: int | None = 0,
        ignored: tuple[int, ...] = (),
        hidden: tuple[int, ...] = (64, 64),
        critic_hidden: tuple[int, ...] = (64, 64),
        init_mean: float = 0.1,
        batch_moments: bool = False,
        device_column: int | None = None,
        mask_start: int | None = None,
    ) -> None:
        self.waits = not isinstance(action_space, spaces.Discrete)
        super().__init__(observation_space, action_space, squash_output=self.waits)
        self._arguments = {
            "kind_column": kind_column,
            "ignored": ignored,
            "hidden": hidden,
            "critic_hidden": critic_hidden,
            "init_mean": init_mean,
            "batch_moments": batch_moments,
            "device_column": device_column,
            "mask_start": mask_start,
        }
        if isinstance(action_space, spaces.Discrete):
            self.n_choices = int(action_space.n)
        elif isinstance(action_space, spaces.Box) and len(action_space.shape) == 1 and action_space.shape[0] >= 2:
            self.n_choices = action_space.shape[0] - 1
        else:
            raise InvalidInputError.of("action_space", "Box(-1, 1, (1 + k,)) or Discrete", action_space)
        self.mask_start = mask_start
        self.extractor: DecisionFeatures
        self.critic: WaitCritic | DeviceStack
        if device_column is None:
            self.extractor, self.n_devices = DecisionFeatures(observation_space, kind_column, ignored), 1
        else:
            self.extractor = _OwnedFeatures(observation_space, kind_column, (*ignored, device_column))
            self.extractor.device_column = device_column
            assert isinstance(observation_space, spaces.Box)
            self.n_devices = int(observation_space.high[device_column]) + 1
        width = self.extractor.features_dim
        raw = self.extractor.layer.n_kept

        def networks(build: Callable[[], nn.Module]) -> tuple[Any, Any]:
            if device_column is None:
                return build(), build()
            return DeviceStack(build, self.n_devices), DeviceStack(build, self.n_devices)

        self.q, self.q_target = networks(lambda: DuelingQ(width, self.n_choices, critic_hidden, raw))
        if self.waits:
            self.critic, self.critic_target = networks(lambda: WaitCritic(width, critic_hidden, raw))
            self.actor, self.actor_target = networks(lambda: WaitActor(width, hidden, init_mean, batch_moments))
        for online, target in self.pairs():
            target.load_state_dict(online.state_dict())
            target.requires_grad_(False)
        rate = lr_schedule(1)
        self.q_optimizer = torch.optim.Adam(self.q.parameters(), rate)
        if self.waits:
            self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), rate)
            self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), rate)

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Every network with its target."""
        found = [(self.q, self.q_target)]
        return [*found, (self.critic, self.critic_target), (self.actor, self.actor_target)] if self.waits else found

    def kinds(self, observation: Tensor) -> Tensor:
        """Kind of decision of every row (n,); without a kind column all joint, or all offloads if nothing waits."""
        layer = self.extractor.layer
        if layer.kind_column is not None:
            return layer.kinds(observation)
        return torch.full((len(observation),), JOINT if self.waits else OFFLOAD, device=observation.device)

    def best(self, q: Tensor, observation: Tensor) -> Tensor:
        """The allowed choices (n,) of the largest values (n, k) at observations (n, columns)."""
        if self.mask_start is not None:
            q = q.masked_fill(~self._allowed(observation), -torch.inf)
        return q.argmax(-1)

    def _allowed(self, observation: Tensor) -> Tensor:
        """Allowed choices (n, k); where the mask allows none, all: the environment then refuses any."""
        assert self.mask_start is not None
        mask = observation[:, self.mask_start : self.mask_start + self.n_choices] > 0.5
        return mask | ~mask.any(-1, keepdim=True)

    def choices(self, observation: Tensor, epsilon: Tensor, features: Tensor | None = None) -> Tensor:
        """Choices (n,) of which a share epsilon (n,) is drawn from all that are allowed."""
        features = self.extractor(observation.float()) if features is None else features
        best = self.best(self.q(features), observation)
        if self.mask_start is None:
            random = torch.randint(self.n_choices, best.shape, device=best.device)
        else:
            random = torch.multinomial(self._allowed(observation).float(), 1).squeeze(-1)
        return torch.where(torch.rand(best.shape, device=best.device) < epsilon, random, best)

    def carrier(self, observation: Tensor, epsilon: Tensor, noise: Tensor) -> Tensor:
        """Exploring decisions.

        Args:
            observation: shape (n, columns).
            epsilon: probability of a random server, per row, shape (n,).
            noise: standard deviation added to the wait's logit, per row, shape (n,).

        Returns:
            Carriers (n, 1 + k) in [-1, 1].
        """
        features = self.extractor(observation.float())
        logit = self.actor(features) + noise.unsqueeze(-1) * torch.randn(len(features), 1, device=features.device)
        return self._carrier(logit, self.choices(observation, epsilon, features))

    def _carrier(self, logit: Tensor, server: Tensor) -> Tensor:
        scores = 2.0 * nn.functional.one_hot(server, self.n_choices) - 1.0
        return torch.cat([2.0 * torch.sigmoid(logit) - 1.0, scores], dim=-1)

    def forward(self, observation: Tensor, deterministic: bool = True) -> Tensor:
        """Greedy carriers (n, 1 + k), or choices (n,)."""
        return self._predict(observation, deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        assert isinstance(observation, Tensor)
        features = self.extractor(observation.float())  # nothing is drawn: evaluations leave the training as it is
        server = self.best(self.q(features), observation)
        return self._carrier(self.actor(features), server) if self.waits else server

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        for name in ("normalize_images", "squash_output"):
            data.pop(name, None)
        return data | self._arguments | {"lr_schedule": self._dummy_schedule}
