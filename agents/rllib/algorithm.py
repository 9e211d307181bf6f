"""Asynchronous fractional multi-agent learning as an RLlib Algorithm."""

from __future__ import annotations

from typing import Any, Literal, Self

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from ..networks.asynchronous import CriticKind, Learn, Parameters
from ..networks.hybrid import Family
from .callbacks import DinkelbachCallback
from .env_runner import EventStreamEnvRunner
from .module import AsyncFractionalModule
from .pricing import Chain, PricingSettings
from .torch_learner import AsyncFractionalTorchLearner

_MODEL = (
    *("n_devices", "parameters", "ignored", "hidden", "family", "init_mean", "init_scale", "learn"),
    *("averaging", "critic", "critic_hidden", "gru_width"),
)
_OWN = (
    *("critic_lr", "min_scale", "fixed_wait", "server_rule", "critic_memory", "critic_lambda", "segment"),
    *("chain", "winsorise"),
)
_PRICING = ("fractional", "ratio", "shared_ratio", "omega", "horizon", "gamma")


# What a decision means for the whole system shows many events later, and no table of features tells the system's state:
# without traces the critic would pass on its own errors. But events of the system have no heavy tails.
_CRITIC_LAMBDA = {"device": 0.0, "system": 0.95}
_WINSORISE = {"device": 0.001, "system": 0.0}


_OF_RLLIB: dict[str, Any] = {
    "num_env_runners": 0,
    "env_runner_cls": EventStreamEnvRunner,
    "num_envs_per_env_runner": 64,
    "rollout_fragment_length": 256,
    "episode_lookback_horizon": 64,
    "batch_mode": "truncate_episodes",
    "merge_env_runner_states": False,  # there are no connector states to merge
    "add_default_connectors_to_learner_pipeline": False,
    "lr": 2e-3,
    "lambda_": 0.9,
    "gamma": None,
    "clip_param": 0.2,
    "grad_clip": 0.5,
    "num_epochs": 4,
    "minibatch_size": 4096,
    "train_batch_size": 64 * 256,  # RLlib checks minibatches against it where no size per learner is given
    "vf_loss_coeff": 0.5,
    "use_kl_loss": False,
}


class AsyncFractionalAlgorithmConfig(PPOConfig):
    """RLlib configuration of `AsyncFractional`.

    >>> from edgewise.agents.rllib import AsyncFractionalAlgorithmConfig
    >>> config = (
    ...     AsyncFractionalAlgorithmConfig()
    ...     .environment("edgewise/AoIOffloadGame-v0", env_config={"preset": "paper", "objective": "team"})
    ...     .env_runners(num_envs_per_env_runner=32, rollout_fragment_length=256, episode_lookback_horizon=64)
    ...     .training(critic="recurrent", lr=1e-3, num_epochs=4, minibatch_size=2048)
    ... )
    >>> config.num_env_runners, config.critic
    (0, 'recurrent')
    """

    rollout_fragment_length: Any
    minibatch_size: Any
    lambda_: Any
    _train_batch_size_per_learner: Any

    def __init__(self, algo_class: type[PPO] | None = None) -> None:
        super().__init__(algo_class=algo_class or AsyncFractional)  # type: ignore[no-untyped-call]
        for name, value in _OF_RLLIB.items():  # whose own types are those of its defaults
            setattr(self, name, value)
        self.callbacks_class = DinkelbachCallback
        self.critic_lr: Any = None
        self.n_devices: int | None = None
        self.parameters: Parameters = "shared"
        self.ignored: tuple[int, ...] = ()
        self.hidden: tuple[int, ...] = (64, 64)
        self.family: Family = "censored"
        self.init_mean, self.init_scale = 0.33, 0.15
        self.min_scale: Any = 0.08
        self.averaging: float | None = None
        self.learn: Learn = "both"
        self.fixed_wait, self.server_rule = "fixed:0", "jsq"
        self.critic: CriticKind | Literal["table", "lstd"] = "table"
        self.critic_hidden: tuple[int, ...] = (64, 64)
        self.gru_width = 64
        self.critic_memory = 8.0
        self.critic_lambda: float | None = None
        self.segment = 64
        self.chain: Chain | None = None
        self.fractional = True
        self.ratio: float | None = None
        self.shared_ratio = False
        self.omega = 0.2
        self.horizon: float | None = None
        self.winsorise: float | None = None

    def training(self, **kwargs: Any) -> Self:
        """Set learning options: those of PPO, and the fields of this class by name.

        Args:
            **kwargs: ``critic_lr``, ``parameters``, ``ignored``, ``hidden``, ``family``, ``init_mean``, ``init_scale``,
                ``min_scale``, ``averaging``, ``learn``, ``fixed_wait``, ``server_rule`` (actor); ``critic``,
                ``critic_hidden``, ``gru_width``, ``critic_memory``, ``critic_lambda``, ``segment`` (critic); ``chain``
                (None: ``system`` under a team objective), ``fractional``, ``ratio``, ``shared_ratio``, ``omega``,
                ``horizon``, ``winsorise`` (pricing); ``n_devices``; and everything `PPOConfig.training` takes, of which
                ``gamma`` is a discount per decision (None: not used) and ``lambda_`` a number or a schedule, as is
                ``min_scale``.
        """
        for name in {*_OWN, *_MODEL, *_PRICING} & kwargs.keys():
            value = kwargs.pop(name)
            setattr(self, name, tuple(value) if name in ("ignored", "hidden", "critic_hidden") else value)
        return super().training(**kwargs)

    def validate(self) -> None:
        """Check what RLlib checks, and that a minibatch fits into an iteration: it would be filled with copies."""
        super().validate()
        batch = self.total_train_batch_size // max(1, self.num_learners)
        if not self.in_evaluation and self.minibatch_size is not None and self.minibatch_size > batch:
            self._value_error(f"minibatch_size ({self.minibatch_size}) must be <= decisions per learner ({batch})")
        self.pricing_settings()

    @property
    def _team(self) -> bool:
        return bool(self.env_config.get("objective") == "team")

    @property
    def _whose(self) -> Chain:
        """Whose decisions follow each other."""
        return self.chain or ("system" if self._team else "device")

    def pricing_settings(self) -> PricingSettings:
        """How the learner prices decisions."""
        team, chain = self._team, self._whose
        schedule = self.lambda_
        return PricingSettings(
            chain=chain,
            trapezoid=not team,
            lam=schedule[0][1] if isinstance(schedule, list) else schedule,
            critic_lam=_CRITIC_LAMBDA[chain] if self.critic_lambda is None else self.critic_lambda,
            winsorise=_WINSORISE[chain] if self.winsorise is None else self.winsorise,
            per_device_gain=self.parameters == "per_device" and chain == "device",
            **{name: getattr(self, name) for name in _PRICING},
        )

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """Actors and critic."""
        return RLModuleSpec(
            module_class=AsyncFractionalModule, model_config={name: getattr(self, name) for name in _MODEL}
        )

    def get_default_learner_class(self) -> type[AsyncFractionalTorchLearner]:
        """The learner."""
        return AsyncFractionalTorchLearner

    @property
    def total_train_batch_size(self) -> int:
        """Decisions of an iteration: ``train_batch_size_per_learner`` if given, else one fragment of every lane."""
        if self._train_batch_size_per_learner is not None or self.rollout_fragment_length == "auto":
            return int(super().total_train_batch_size)
        return int(self.rollout_fragment_length * self.num_envs_per_env_runner * max(1, self.num_env_runners))

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        included: dict[str, Any] = AlgorithmConfig._model_config_auto_includes.fget(self)  # type: ignore[attr-defined]
        return included


class AsyncFractional(PPO):
    """Fractional learning of asynchronous decision makers: PPO on event streams, priced by Dinkelbach's ratios.

    Sampling runs in `EventStreamEnvRunner` at compiled speed, learning in `AsyncFractionalTorchLearner`; the ratios are
    moved by `DinkelbachCallback`. Everything else (iterations, remote workers, metrics, checkpoints, Tune) is RLlib's.

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ❌ | ❌ | ✔️ | ❌ | ✔️ (critic) | ✔️ | ✔️ | ✔️ |
    """

    @classmethod
    def get_default_config(cls) -> AsyncFractionalAlgorithmConfig:
        """The configuration."""
        return AsyncFractionalAlgorithmConfig()
