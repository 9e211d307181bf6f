"""Actor-critic policy for Stable-Baselines3 with exact hybrid (choice and wait) log-probabilities."""

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from ...envs.aoi_offload.state import OFFLOAD, UPDATE
from ...envs.core.errors import InvalidInputError
from ..networks.features import CompressedFeatures, mlp
from ..networks.hybrid import Family, HybridDistribution, HybridHead


class DecisionFeatures(BaseFeaturesExtractor):
    """`CompressedFeatures` in the form that Stable-Baselines3 expects.

    Args:
        observation_space: a one-dimensional Box.
        kind_column: column of the observation that holds the kind of decision, or None.
        ignored: columns to leave out.

    Raises:
        InvalidInputError: another observation space.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], kind_column: int | None = 0, ignored: Sequence[int] = ()
    ) -> None:
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise InvalidInputError.of("observation_space", "a one-dimensional Box", observation_space)
        layer = CompressedFeatures(observation_space.shape[0], kind_column, ignored)
        super().__init__(observation_space, layer.width)
        self.layer = layer

    def forward(self, observation: Tensor) -> Tensor:
        """Features (n, width) of observations (n, columns)."""
        features: Tensor = self.layer(observation)
        return features


def check_policy(policy: object, name: str, allowed: type[BasePolicy]) -> None:
    """Refuse a policy that lacks what a learner reads from its own.

    Args:
        policy: what the user gave: a class or a name.
        name: the name that is allowed.
        allowed: the class that is allowed, with its subclasses.

    Raises:
        InvalidInputError: it is something else.
    """
    if policy != name and not (isinstance(policy, type) and issubclass(policy, allowed)):
        raise InvalidInputError.of("policy", f"{allowed.__name__}, a subclass of it, or {name!r}", policy)


class _Towers(nn.Module):
    """Separate actor and critic; the critic also hands its features on, so that its value is linear plus a network."""

    def __init__(self, features: CompressedFeatures, actor: tuple[int, ...], critic: tuple[int, ...]) -> None:
        super().__init__()
        self.policy_net, self.latent_dim_pi = mlp(features.width, actor)
        self.value_net, width = mlp(features.width, critic)
        self.latent_dim_vf = width + features.width

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        latent: Tensor = self.policy_net(features)
        return latent

    def forward_critic(self, features: Tensor) -> Tensor:
        return torch.cat([self.value_net(features), features], dim=-1)


class HybridActorCriticPolicy(ActorCriticPolicy):
    """Actor-critic whose action is a choice, bounded continuous parts, or both, on SB3's own PPO and A2C.

    | action space | meaning |
    | --- | --- |
    | ``Box(-1, 1, (d + k,))`` with ``n_choices=k`` | carrier of a hybrid action: d continuous parts, k scores |
    | ``Box(low, high, (d,))`` with ``n_choices=0`` | d bounded continuous parts |
    | ``Discrete(k)`` | a choice |

    When the observation has a kind column, the part that a decision of that kind does not use (the choice at an
    update, the wait at an offload) is excluded from log-probability and entropy, hence from the loss.

    Args:
        observation_space: a one-dimensional Box.
        action_space: see the table.
        lr_schedule: learning rate as a function of the remaining progress.
        n_choices: number of choices in a Box carrier; ignored for Discrete.
        kind_column: column of the observation with the kind of decision; None: every decision uses all parts.
        ignored: columns of the observation that the networks do not see (those that others determine).
        mask_start: first of the columns (one per choice) that are 1 for allowed choices; None: all are allowed.
        family: law of the continuous parts: ``squashed`` (sigmoid of a Gaussian), ``beta`` or ``censored``.
        init_mean: mean of the continuous parts before training, as a share of their range.
        init_scale: spread before training (logit units for ``squashed``, share of the range for ``censored``).
        net_arch: widths of the hidden layers, ``{"pi": [...], "vf": [...]}`` or one list for both.
        **kwargs: the rest of SB3's policy arguments.

    Raises:
        InvalidInputError: another observation or action space, more choices than the carrier has elements, or a value
            outside its range.
    """

    with_entropy = True  # a learner without an entropy bonus turns this off: the quadrature takes time

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        n_choices: int = 0,
        kind_column: int | None = 0,
        ignored: Sequence[int] = (),
        mask_start: int | None = None,
        family: Family = "squashed",
        init_mean: float = 0.5,
        init_scale: float = 1.0,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        self._hybrid: dict[str, Any] = {
            "n_choices": n_choices,
            "kind_column": kind_column,
            "ignored": tuple(ignored),
            "mask_start": mask_start,
            "family": family,
            "init_mean": init_mean,
            "init_scale": init_scale,
        }
        if isinstance(action_space, spaces.Discrete):
            self.n_choices, self.n_continuous = int(action_space.n), 0
        elif isinstance(action_space, spaces.Box) and len(action_space.shape) == 1:
            if not 0 <= n_choices <= action_space.shape[0]:
                raise InvalidInputError.of("n_choices", f"in [0, {action_space.shape[0]}]", n_choices)
            self.n_choices, self.n_continuous = n_choices, action_space.shape[0] - n_choices
        else:
            raise InvalidInputError.of("action_space", "Discrete or a one-dimensional Box", action_space)
        kwargs.pop("features_extractor_class", None)
        kwargs["features_extractor_kwargs"] = {"kind_column": kind_column, "ignored": tuple(ignored)}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=net_arch,
            features_extractor_class=DecisionFeatures,
            **kwargs,
        )
        # The carrier lies in [-1, 1]; predict() and collect_rollouts() map it to the bounds of the action space.
        self._squash_output = self.n_continuous > 0

    @property
    def feature_layer(self) -> CompressedFeatures:
        """The layer whose running statistics standardise the observation."""
        assert isinstance(self.features_extractor, DecisionFeatures)
        return self.features_extractor.layer

    def _build(self, lr_schedule: Schedule) -> None:
        arch = self.net_arch if isinstance(self.net_arch, dict) else {"pi": self.net_arch, "vf": self.net_arch}
        towers = _Towers(self.feature_layer, tuple(arch["pi"]), tuple(arch["vf"]))
        self.mlp_extractor: Any = towers  # the interface of SB3's MlpExtractor
        hybrid = self._hybrid
        self.action_net = HybridHead(
            towers.latent_dim_pi,
            self.n_choices,
            self.n_continuous,
            hybrid["family"],
            hybrid["init_mean"],
            hybrid["init_scale"],
        )
        self.action_net.reset_parameters()
        self.value_net = nn.Linear(towers.latent_dim_vf, 1)
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def hybrid_distribution(self, obs: Tensor, features: Tensor | None = None) -> HybridDistribution:
        """Law of the decisions of a batch of observations (n, columns)."""
        obs = obs.float()
        features = self.features_extractor(obs) if features is None else features
        uses = None
        if self._hybrid["kind_column"] is not None and self.n_choices and self.n_continuous:
            kinds = self.feature_layer.kinds(obs)
            uses = (kinds != UPDATE, kinds != OFFLOAD)
        mask, start = None, self._hybrid["mask_start"]
        if start is not None and self.n_choices:
            mask = obs[:, start : start + self.n_choices] > 0.5
        head: HybridHead = self.action_net  # type: ignore[assignment]
        law: HybridDistribution = head(self.mlp_extractor.forward_actor(features), uses, mask)
        return law

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Sample actions.

        Returns:
            Actions (n, ...) in the carrier (an index for Discrete), values (n, 1), log-probabilities (n,).
        """
        features = self.features_extractor(obs.float())
        law = self.hybrid_distribution(obs, features)
        carrier = law.sample(deterministic)
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        return self._to_action(carrier), values, law.log_prob(carrier)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (n, 1), log-probabilities (n,) and entropies (n,) or None of actions taken at observations."""
        assert isinstance(obs, Tensor)
        features = self.features_extractor(obs.float())
        law = self.hybrid_distribution(obs, features)
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        entropy = law.entropy() if self.with_entropy else None
        return values, law.log_prob(self._to_carrier(actions)), entropy

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """SB3's distribution classes have no hybrid law: use `hybrid_distribution`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("use hybrid_distribution(obs): SB3 has no class for a hybrid law")

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        assert isinstance(observation, Tensor)
        return self._to_action(self.hybrid_distribution(observation).sample(deterministic))

    def _to_action(self, carrier: Tensor) -> Tensor:
        if isinstance(self.action_space, spaces.Discrete):
            return carrier.argmax(-1)
        return carrier

    def _to_carrier(self, actions: Tensor) -> Tensor:
        if isinstance(self.action_space, spaces.Discrete):
            return nn.functional.one_hot(actions.long().flatten(), self.n_choices).float()
        return actions

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.pop("features_extractor_class")
        return data | self._hybrid
