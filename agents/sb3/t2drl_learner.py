"""T2DRL and its neighbours as a training loop and an evaluation see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from pydantic import ValidationError
from stable_baselines3.common.logger import Logger

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ..cache_actions import CacheCarrier, VectorFlatCacheAction
from ..config import CacheNetworkFields, T2DRLConfig
from ..networks.caching import acting_parameters
from .build import linear_schedule
from .learner import SB3Learner
from .t2drl import T2DRL
from .t2drl_policy import States, T2DRLPolicy, TestTime
from .vec_env import SemiMarkovVecEnv


def build_t2drl(
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    num_envs: int = 16,
    seed: int = 0,
    **hyper: Any,
) -> T2DRL:
    """Build T2DRL (or a neighbour, by ``backbone``) on the vector environment of an id.

    Args:
        env_id: a registered id with the action space of `cache_items`, such as ``edgewise/ModelCaching-v0``.
        env_kwargs: keyword arguments of the environment.
        num_envs: lanes.
        seed: the run's seed; libraries and training lanes get theirs from its seed tree.
        **hyper: fields of `T2DRLConfig`.

    Raises:
        InvalidInputError: unknown hyper-parameter, one out of range, or an environment with another action space.
    """
    try:
        config = T2DRLConfig(**hyper)
    except ValidationError as error:
        raise InvalidInputError.from_validation(error, T2DRLConfig) from None
    tree = SeedTree(seed)
    venv: Any = gymnasium.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.SAME_STEP,
        **(env_kwargs or {}),
    )
    env = SemiMarkovVecEnv(VectorFlatCacheAction(venv))
    rate = config.learning_rate
    network = CacheNetworkFields(**config.model_dump(include=set(CacheNetworkFields.model_fields)))
    elsewhere = {"algorithm", "learning_rate", "anneal", "test_time", *CacheNetworkFields.model_fields}
    model = T2DRL(
        T2DRLPolicy,
        env,
        learning_rate=linear_schedule(rate) if config.anneal else rate,
        seed=tree.libraries,
        device="cpu",
        policy_kwargs={"network": network, "test_time": config.test_time},
        **config.model_dump(exclude=elsewhere),
    )
    env.seed(tree.train)  # after the model, which seeds its environment with the libraries' seed
    return model


class AdaptivePolicy:
    """The deterministic policy of a model that carries a state from call to call, in the environment's own actions.

    Successive calls with as many rows are successive slots of the same sequences. What happens at the start of an
    episode, and whether the backbone adapts, is the policy's ``test_time``, see `T2DRLPolicy`.

    Args:
        model: later training changes the policy.

    Attributes:
        state: ``(array (n, S),)`` after the last call, or None; assign to continue from another one.
    """

    def __init__(self, model: T2DRL) -> None:
        inner = model.get_env()
        assert inner is not None
        self._policy = model.policy
        venv: Any = inner.unwrapped.venv  # type: ignore[attr-defined]
        self._carrier: CacheCarrier = venv.carrier
        self.state: tuple[NDArray[Any], ...] | None = None

    def reset(self) -> None:
        """Forget everything: the next call begins episodes from the trained weights."""
        self.state = None

    def act(self, observation: NDArray[np.float32], episode_start: NDArray[Any] | None = None) -> dict[str, Any]:
        """Adapt to the observations and decide.

        Args:
            observation: one observation (D,) or a batch (n, D).
            episode_start: which rows begin an episode, boolean (n,); None: none of them.

        Returns:
            ``{"cache": int8, "local_share": float32}``, shape (I,) or (n, I).

        Raises:
            InvalidInputError: another number of rows than in the last call, without `reset`.
        """
        batch = np.atleast_2d(np.asarray(observation, np.float32))
        carrier, self.state = self._policy.predict(batch, self.state, episode_start, deterministic=True)
        decisions: dict[str, Any] = self._carrier.decode(carrier if np.ndim(observation) > 1 else carrier[0])
        return decisions

    @property
    def test_time(self) -> TestTime:
        """What happens to the state, see `T2DRLPolicy`; assigning changes the model's policy."""
        return self._policy.test_time

    @test_time.setter
    def test_time(self, test_time: TestTime) -> None:
        self._policy.set_test_time(test_time)

    def count_parameters(self) -> int:
        """Parameters that decide and value."""
        return acting_parameters(self._policy.network)

    def hold(self) -> States:
        """The state to hold what was learned so far at (``test_time="held"``).

        Raises:
            InvalidInputError: nothing was seen yet.
        """
        if self.state is None:
            raise InvalidInputError("nothing was seen yet that could be held")
        return self._policy.hold(self.state)


class T2DRLLearner(SB3Learner):
    """A `T2DRL` model that can be watched, saved and continued bit for bit.

    Args:
        env_id: the environment's id.
        env_kwargs: its keyword arguments.
        num_envs: lanes.
        seed: the run's seed.
        threads: torch threads; sums depend on their number.
        **hyper: fields of `T2DRLConfig`.

    Raises:
        InvalidInputError: as `build_t2drl`.
    """

    _model: T2DRL

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        *,
        num_envs: int,
        seed: int,
        threads: int = 1,
        **hyper: Any,
    ) -> None:
        torch.set_num_threads(threads)
        self._model = build_t2drl(env_id, env_kwargs, num_envs=num_envs, seed=seed, **hyper)
        self._model.set_logger(Logger(folder=None, output_formats=[]))
        self._restored = False

    @property
    def model(self) -> T2DRL:
        """The model."""
        return self._model

    def policy(self) -> AdaptivePolicy:  # type: ignore[override]  # GreedyPolicy has no state
        """The deterministic policy of the present weights."""
        return AdaptivePolicy(self._model)
