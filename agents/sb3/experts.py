"""Learners on discrete, masked decisions of edge experts: sb3-contrib's MaskablePPO, fractional PPO and D3QN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from pydantic import ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm

from ...envs.core.errors import InvalidInputError
from ...envs.core.extras import require
from ...envs.core.seeding import SeedTree
from ...envs.edge_experts.params import PROMPTS_PER_EPISODE
from ..config import FractionalD3QNDDPGConfig, FractionalPPOConfig, LagrangianPPOConfig, MaskedPPOConfig
from .build import fractional_ppo, ppo_arguments, replay_arguments
from .callbacks import DinkelbachCallback
from .d3qn_ddpg import FractionalD3QNDDPG
from .d3qn_ddpg_policy import D3QNDDPGPolicy
from .learner import SB3Learner
from .policies import DecisionFeatures
from .ppo import FractionalPPO
from .vec_env import MaskedVecEnv

OnPolicyConfig = FractionalPPOConfig | MaskedPPOConfig
Config = OnPolicyConfig | FractionalD3QNDDPGConfig
CONFIGS: dict[str, type[Config]] = {
    "fractional_ppo": FractionalPPOConfig,
    "fractional_d3qn_ddpg": FractionalD3QNDDPGConfig,
    "masked_ppo": MaskedPPOConfig,
    "lagrangian_ppo": LagrangianPPOConfig,
}
_OF_WAITS = ("noise", "init_mean", "defects", "fidelity", "parameters", "shared_ratio")
_SAMPLE_LANES, _SAMPLE_STEPS = 16, 64
_BUDGET_COLUMNS = ("energy_left", "steps_left")


def build_experts(
    algorithm: str,
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    num_envs: int = 64,
    seed: int = 0,
    **hyper: Any,
) -> BaseAlgorithm:
    """Build a learner on the vector environment of an id whose choices are masked.

    Args:
        algorithm: ``masked_ppo``; ``lagrangian_ppo``, which keeps the constraints that ``edgewise/ExpertRoute-v0``
            reports with ``constraints="cmdp"``; or ``fractional_ppo`` or ``fractional_d3qn_ddpg``, which read their
            mask in the observation of that environment. The last one is a dueling double DQN here: nothing waits.
        env_id: ``edgewise/ExpertSelect-v0``, ``edgewise/ExpertRoute-v0`` or ``edgewise/ExpertTwoLevel-v0``.
        env_kwargs: keyword arguments of the environment.
        num_envs: lanes.
        seed: the run's seed; libraries and training lanes get theirs from its seed tree.
        **hyper: fields of the algorithm's configuration.

    Raises:
        InvalidInputError: unknown algorithm or hyper-parameter, one out of range, or one that does not fit the
            environment.
        MissingExtraError: sb3-contrib is not installed.
    """
    if algorithm not in CONFIGS:
        raise InvalidInputError.of("algorithm", f"one of {', '.join(CONFIGS)}", algorithm)
    try:
        config = CONFIGS[algorithm](**hyper)
    except ValidationError as error:
        raise InvalidInputError.from_validation(error, CONFIGS[algorithm]) from None
    tree, kwargs = SeedTree(seed), dict(env_kwargs or {})
    sample = _random_play(_make(env_id, kwargs, _SAMPLE_LANES), tree)
    venv = _make(env_id, kwargs, num_envs)
    env = _constrained(venv, kwargs) if isinstance(config, LagrangianPPOConfig) else MaskedVecEnv(venv)
    ignored = set(np.flatnonzero(np.ptp(sample, axis=0) == 0.0).tolist())  # what never varies tells nothing
    for name in _BUDGET_COLUMNS if not kwargs.get("hard_budget") else ():
        if name in venv.layout:  # without a budget that ends anything, an episode's end changes no later prompt
            ignored |= set(range(venv.layout[name].start, venv.layout[name].stop))
    columns = tuple(sorted(ignored))
    model: BaseAlgorithm
    if isinstance(config, FractionalPPOConfig):
        model = _fractional_ppo(env, config, tree.libraries, columns)
    elif isinstance(config, FractionalD3QNDDPGConfig):
        model = _fractional_d3qn(env, config, tree.libraries, columns)
    else:
        model = _masked_ppo(env, config, tree.libraries, columns, sample)
    env.seed(tree.train)  # after the model, which seeds its environment with the libraries' seed
    return model


def _constrained(venv: Any, kwargs: dict[str, Any]) -> MaskedVecEnv:
    """An environment that prices what it reports."""
    require("sb3_contrib", "sb3")
    from .lagrangian import ConstrainedVecEnv

    if kwargs.get("constraints") != "cmdp":
        raise InvalidInputError.of("constraints", "cmdp for lagrangian_ppo", kwargs.get("constraints"))
    horizon = kwargs.get("horizon")
    return ConstrainedVecEnv(venv, PROMPTS_PER_EPISODE if horizon is None else math.ceil(horizon))


def _make(env_id: str, kwargs: dict[str, Any], lanes: int) -> Any:
    return gymnasium.make_vec(
        env_id,
        num_envs=lanes,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.SAME_STEP,
        **kwargs,
    )


def _random_play(venv: Any, tree: SeedTree) -> NDArray[np.float32]:
    """Observations (rows, columns) under uniformly random allowed decisions: the scale of every column."""
    generator = tree.generator("experts/observations")
    space = venv.single_action_space
    sizes = [space.n] if isinstance(space, spaces.Discrete) else getattr(space, "nvec", [2] * space.shape[0])
    ends = np.cumsum(sizes)
    obs, _ = venv.reset(seed=tree.outer)
    rows = [obs]
    for _ in range(_SAMPLE_STEPS):
        mask = venv.action_masks()
        places = np.split(np.where(mask, generator.random(mask.shape), -1.0), ends[:-1], axis=1)
        actions = np.stack([place.argmax(axis=1) for place in places], axis=1)
        obs = venv.step(actions[:, 0] if isinstance(space, spaces.Discrete) else actions)[0]
        rows.append(obs)
    venv.close()
    return np.concatenate(rows)


def _masked_ppo(
    env: MaskedVecEnv, config: MaskedPPOConfig, seed: int, ignored: tuple[int, ...], sample: NDArray[np.float32]
) -> BaseAlgorithm:
    maskable: Any = require("sb3_contrib", "sb3").MaskablePPO
    own: dict[str, Any] = {}
    if isinstance(config, LagrangianPPOConfig):
        from .lagrangian import LagrangianPPO

        maskable, own = LagrangianPPO, {"multiplier_rate": config.multiplier_rate}
    model: BaseAlgorithm = maskable(
        "MlpPolicy",
        env,
        vf_coef=config.vf_coef,
        seed=seed,
        **own,
        policy_kwargs={
            "net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)},
            "features_extractor_class": DecisionFeatures,
            "features_extractor_kwargs": {"kind_column": None, "ignored": ignored},
        },
        **ppo_arguments(config, env.num_envs),
    )
    features = model.policy.features_extractor
    assert isinstance(features, DecisionFeatures)
    features.layer.fit(torch.as_tensor(sample))
    return model


def _fractional_ppo(
    env: MaskedVecEnv, config: FractionalPPOConfig, seed: int, ignored: tuple[int, ...]
) -> FractionalPPO:
    policy = {"kind_column": None, "ignored": ignored, "mask_start": _mask_start(env, config.algorithm)}
    return fractional_ppo(env, config, seed, policy)


def _fractional_d3qn(
    env: MaskedVecEnv, config: FractionalD3QNDDPGConfig, seed: int, ignored: tuple[int, ...]
) -> FractionalD3QNDDPG:
    for name in _OF_WAITS:
        if getattr(config, name) != type(config).model_fields[name].default:
            raise InvalidInputError(f"{name}: is for decisions with a wait, got {getattr(config, name)!r}")
    model = FractionalD3QNDDPG(
        D3QNDDPGPolicy,
        env,
        seed=seed,
        policy_kwargs={
            "kind_column": None,
            "ignored": ignored,
            "mask_start": _mask_start(env, config.algorithm),
            "critic_hidden": config.critic_hidden,
        },
        **replay_arguments(config),
    )
    model.outer_loop = DinkelbachCallback(config.ratio, config.omega, config.period, model.first_measuring_lane)
    return model


def _mask_start(env: MaskedVecEnv, algorithm: str) -> int:
    """First column of the mask in the observation, where fractional learners read it."""
    if not isinstance(env.action_space, spaces.Discrete):
        raise InvalidInputError(f"k: must be 1 for {algorithm}, which makes one choice per decision")
    layout: dict[str, slice] = env.venv.layout  # type: ignore[attr-defined]
    if "available" not in layout:
        raise InvalidInputError(f"algorithm: {algorithm} needs the mask in the observation, as in ExpertRoute")
    start: int = layout["available"].start
    return start


class ExpertPolicy:
    """The deterministic policy of a model.

    Args:
        model: what `build_experts` returned; later training changes the policy.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model, self._masks = model, not isinstance(model, FractionalPPO | FractionalD3QNDDPG)

    def act(
        self, observation: NDArray[np.float32], action_mask: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.int64]]:
        """Decide.

        Args:
            observation: one observation (D,) or a batch (n, D).
            action_mask: actions that may be taken, (A,) or (n, A); None: all may. Fractional learners read the mask in
                the observation.

        Returns:
            ``{"action": int64}`` of shape () or (n,), with another axis of length k where a prompt has k experts.
        """
        batch = np.atleast_2d(np.asarray(observation, np.float32))
        masked: dict[str, Any] = {"action_masks": action_mask} if self._masks and action_mask is not None else {}
        actions, _ = self._model.predict(batch, deterministic=True, **masked)
        found = np.asarray(actions, np.int64)
        return {"action": found if np.ndim(observation) == 2 else found[0]}


class ExpertLearner(SB3Learner):
    """A learner on edge experts, see `build_experts`, that can be watched, saved and continued bit for bit."""

    _build = staticmethod(build_experts)

    def policy(self) -> ExpertPolicy:  # type: ignore[override]  # GreedyPolicy speaks of servers and waits
        """The deterministic policy of the present weights."""
        return ExpertPolicy(self._model)
