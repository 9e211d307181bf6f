"""The policy of T2DRL and its neighbours for Stable-Baselines3: it carries a state from slot to slot."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from ...envs.core.errors import InvalidInputError
from ..config import CacheNetworkFields
from ..networks.cache_share import CacheActorCritic
from ..networks.caching import cache_network

TestTime = Literal["episodic", "lifelong", "frozen", "held"]
TEST_TIMES: tuple[TestTime, ...] = get_args(TestTime)
States = tuple[NDArray[np.float32]]


class T2DRLPolicy(ActorCriticPolicy):
    """Actor-critic over cache bits and shares whose backbone carries a state (weights that adapt, or a memory).

    `predict` takes and returns the state as ``(array (n, S),)``. What happens to it in deployment is `test_time`:

    | test_time | the state at the start of an episode | inner steps |
    | --- | --- | --- |
    | ``episodic`` | zeros: the trained weights W_0 | yes |
    | ``lifelong`` | kept | yes |
    | ``frozen`` | zeros | no |
    | ``held`` | kept as it is given (see `hold`) | no |

    Args:
        observation_space: a one-dimensional Box.
        action_space: the carrier ``Box(-1, 1, (2 I,))``, see `CacheCarrier`.
        lr_schedule: learning rate as a function of the remaining progress.
        network: the network's settings; None: the defaults.
        test_time: see the table.
        **kwargs: the rest of SB3's policy arguments.

    Raises:
        InvalidInputError: other spaces, or an unknown `test_time`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        network: CacheNetworkFields | None = None,
        test_time: TestTime = "episodic",
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise InvalidInputError.of("observation_space", "a one-dimensional Box", observation_space)
        if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1 or action_space.shape[0] % 2:
            allowed = "the carrier Box(-1, 1, (2 I,)) of VectorFlatCacheAction"
            raise InvalidInputError.of("action_space", allowed, action_space)
        self.settings = network or CacheNetworkFields()
        self.set_test_time(test_time)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    network: CacheActorCritic

    def set_test_time(self, test_time: TestTime) -> None:
        """Say what `predict` does with the state.

        Raises:
            InvalidInputError: unknown.
        """
        if test_time not in TEST_TIMES:
            raise InvalidInputError.of("test_time", f"one of {', '.join(TEST_TIMES)}", test_time)
        self.test_time = test_time

    def _build(self, lr_schedule: Schedule) -> None:
        assert self.observation_space.shape is not None
        assert self.action_space.shape is not None
        items = self.action_space.shape[0] // 2
        self.network = cache_network(self.observation_space.shape[0], items, self.settings)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def initial_state(self, n: int) -> Tensor:
        """States (n, S) of episodes that begin: zeros."""
        return self.network.initial_state(n)

    def forward(  # type: ignore[override]  # as in sb3-contrib's recurrent policies, with a state
        self, obs: Tensor, state: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Decide in training.

        Args:
            obs: observations (n, D).
            state: states (n, S), zeros where an episode begins.
            deterministic: the mode instead of a sample.

        Returns:
            Carriers (n, 2 I) as drawn, as requested of the environment (`CacheActorCritic.requested`), parts (n, P) of
            the values, log-probabilities (n, I) by item, and next states (n, S).
        """
        adapt = float(self.network.backbone.adapts_in_training)
        law, values, after = self.network.step(obs.float(), state, adapt)
        carrier = law.sample(deterministic)
        requested = self.network.requested(carrier, obs.float())
        return carrier, requested, values, law.log_probs(carrier), self.network.note_action(after, requested)

    def values_of(self, obs: Tensor, state: Tensor) -> Tensor:
        """Parts (n, P) of the values of observations (n, D) that follow states (n, S)."""
        return self.network.step(obs.float(), state, float(self.network.backbone.adapts_in_training))[1]

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Decide in deployment.

        Args:
            observation: one observation (D,) or a batch (n, D).
            state: what the last call returned; None begins.
            episode_start: which rows begin an episode, boolean (n,); None: none of them.
            deterministic: the likelier bits and the modes of the shares.

        Returns:
            Carriers and the next state.

        Raises:
            InvalidInputError: a state of other rows or width, or none where ``test_time="held"``.
        """
        self.set_training_mode(False)
        obs, vectorised = self.obs_to_tensor(observation)
        assert isinstance(obs, Tensor)
        before = self._state(state, episode_start, len(obs))
        adapt = 1.0 if self.test_time in ("episodic", "lifelong") else 0.0
        with torch.no_grad():
            law, _, after = self.network.step(obs.float(), before, adapt)
            carrier = self.network.requested(law.sample(deterministic), obs.float())
            after = self.network.note_action(after, carrier)
        actions = np.clip(carrier.cpu().numpy(), -1.0, 1.0)
        return (actions if vectorised else actions[0]), (after.cpu().numpy(),)

    def hold(self, state: tuple[NDArray[Any], ...]) -> States:
        """A state at which ``test_time="held"`` keeps the weights that another state has reached."""
        with torch.no_grad():
            return (self.network.settled(torch.as_tensor(state[0], device=self.device)).cpu().numpy(),)

    def _state(self, state: tuple[NDArray[Any], ...] | None, starts: NDArray[Any] | None, n: int) -> Tensor:
        if state is None:
            if self.test_time == "held":
                raise InvalidInputError.of("state", "given where test_time is 'held'", None)
            return self.initial_state(n)
        before = torch.as_tensor(state[0], dtype=torch.float32, device=self.device)
        if before.shape != (n, self.network.state_width):
            raise InvalidInputError.of("state", f"of shape {(n, self.network.state_width)}", tuple(before.shape))
        if starts is None or self.test_time in ("lifelong", "held"):
            return before
        kept = ~torch.as_tensor(np.asarray(starts, np.bool_), device=self.device)
        return torch.where(kept.view(-1, 1), before, torch.zeros_like(before))

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Not without states: use ``network.sequence``.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("use network.sequence(obs, state, actions): single rows have no state")

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Not without states: use ``network.step``.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("use network.step(obs, state): single rows have no state")

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        return data | {"network": self.settings, "test_time": self.test_time}
