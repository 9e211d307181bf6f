"""T2DRL on RLlib: its own PPO with a stateful module whose weights adapt in every slot."""

from __future__ import annotations

from typing import Any, Self

import torch
from pydantic import ValidationError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from ...envs.core.errors import InvalidInputError
from ..config import CacheNetworkFields
from .t2drl_module import SELF_SUPERVISED, T2DRLModule

_OF_RLLIB: dict[str, Any] = {
    "num_env_runners": 0,
    "num_envs_per_env_runner": 16,
    "rollout_fragment_length": 100,
    "train_batch_size": 1600,
    "lr": 3e-4,
    "gamma": 0.95,
    "lambda_": 0.95,
    "clip_param": 0.2,
    "grad_clip": 0.5,
    "num_epochs": 4,
    "minibatch_size": 128,
    "vf_loss_coeff": 0.25,
    "use_kl_loss": False,
}


class FollowValues(ConnectorV2):
    """Calibrates the network with the first batch, and lets the scale of its values follow the later ones.

    The first batch teaches no decisions: its observations were not standardised.

    Args:
        gamma: discount.
        weight: step towards the statistics of a batch.
    """

    def __init__(self, gamma: float, weight: float) -> None:
        super().__init__()
        self._gamma, self._weight = gamma, weight

    def __call__(self, *, rl_module: Any, batch: Any, episodes: Any, **kwargs: Any) -> Any:
        """Pass the batch on, with values rescaled."""
        for name, columns in batch.items():
            network = rl_module[name].unwrapped().network
            targets = columns[Postprocessing.VALUE_TARGETS]
            mask = columns.get(Columns.LOSS_MASK)
            data = torch.ones_like(targets, dtype=torch.bool) if mask is None else mask.bool()
            if network.calibrated:
                network.follow(targets[data], self._weight)
            else:
                network.calibrate(columns[Columns.OBS][data].float(), columns[Columns.REWARDS][data], self._gamma)
                columns[Postprocessing.ADVANTAGES] = torch.zeros_like(columns[Postprocessing.ADVANTAGES])
                # Targets were computed with values of 0.
                columns[Postprocessing.VALUE_TARGETS] = torch.full_like(targets, float(network.value_mean))
        return batch


class T2DRLTorchLearner(PPOTorchLearner):
    """PPO's clipped surrogate, value errors in units of the values' scale, and the self-supervised loss.

    *Source*: Xu, Niyato, Brinton, arXiv 2501.14205; Schulman et al. 2017.
    """

    config: Any

    def build(self) -> None:
        """Build RLlib's learner, and follow the values after its advantage estimation."""
        super().build()
        assert self._learner_connector is not None
        self._learner_connector.append(FollowValues(self.config.gamma, 1.0 / self.config.value_memory))

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """The loss of a minibatch of sequences."""
        module: T2DRLModule = self.module[module_id].unwrapped()  # type: ignore[assignment]
        data = batch.get(Columns.LOSS_MASK)
        data = torch.ones_like(batch[Columns.ACTION_LOGP], dtype=torch.bool) if data is None else data.bool()
        law = module.get_train_action_dist_cls().from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        log_ratio = (law.logp(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP])[data]
        ratio, advantage = log_ratio.exp(), batch[Postprocessing.ADVANTAGES][data]
        clipped = ratio.clamp(1.0 - config.clip_param, 1.0 + config.clip_param)
        error = (fwd_out[Columns.VF_PREDS] - batch[Postprocessing.VALUE_TARGETS])[data] / module.network.value_scale
        metrics = {
            "policy_loss": -torch.min(advantage * ratio, advantage * clipped).mean(),
            "vf_loss": error.square().mean(),
            "entropy": law.entropy()[data].mean(),
            "kl": (ratio - 1.0 - log_ratio).mean(),
        }
        coefficient = self.entropy_coeff_schedulers_per_module[module_id].get_current_value()
        loss: Tensor = metrics["policy_loss"] + config.vf_loss_coeff * metrics["vf_loss"]
        if coefficient:
            loss = loss - coefficient * metrics["entropy"]
        if SELF_SUPERVISED in fwd_out:
            metrics[SELF_SUPERVISED] = fwd_out[SELF_SUPERVISED]
            loss = loss + module.aux_coef * fwd_out[SELF_SUPERVISED]
        self.metrics.log_dict({name: value.detach() for name, value in metrics.items()}, key=module_id, window=1)
        return loss


class T2DRLAlgorithmConfig(PPOConfig):
    """RLlib's PPO configuration with T2DRL's module, learner and hyper-parameters.

    >>> from edgewise.agents.rllib.t2drl import T2DRLAlgorithmConfig
    >>> config = T2DRLAlgorithmConfig().training(network={"layer": "mlp"}, chunk=20, lr=1e-3)
    >>> config.num_env_runners, config.gamma, config.chunk
    (0, 0.95, 20)

    Environments come from RLlib's own sampling: ``environment(...)`` with an environment of model caching's action
    space, ``env_runners(gym_env_vectorize_mode="vector_entry_point")`` for vector environments in NEXT_STEP mode.
    """

    def __init__(self, algo_class: type[PPO] | None = None) -> None:
        super().__init__(algo_class=algo_class or T2DRLAlgorithm)  # type: ignore[no-untyped-call]
        for name, value in _OF_RLLIB.items():
            setattr(self, name, value)
        self.network: dict[str, Any] = {}
        self.chunk, self.aux_coef, self.value_memory = 20, 0.1, 10.0

    def training(self, **kwargs: Any) -> Self:
        """Set learning options: those of PPO, and the fields of this class by name.

        Args:
            **kwargs: ``network`` (fields of `CacheNetworkFields` as a dict), ``chunk`` (slots that gradients go back
                through), ``aux_coef``, ``value_memory``, and everything `PPOConfig.training` takes.
        """
        for name in ("network", "chunk", "aux_coef", "value_memory"):
            if name in kwargs:
                setattr(self, name, kwargs.pop(name))
        return super().training(**kwargs)

    def validate(self) -> None:
        """Check what RLlib checks, and the network's fields."""
        super().validate()
        try:
            network = CacheNetworkFields(**self.network)
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, CacheNetworkFields) from None
        if network.fill:  # scores are no actions of the environment's space, and RLlib keeps nothing else
            raise InvalidInputError.of("fill", "False with RLlib", network.fill)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The module."""
        model = {"network": dict(self.network), "max_seq_len": self.chunk, "aux_coef": self.aux_coef}
        return RLModuleSpec(module_class=T2DRLModule, model_config=model)

    def get_default_learner_class(self) -> type[T2DRLTorchLearner]:
        """The learner."""
        return T2DRLTorchLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        included: dict[str, Any] = AlgorithmConfig._model_config_auto_includes.fget(self)  # type: ignore[attr-defined]
        return included


class T2DRLAlgorithm(PPO):
    """RLlib's PPO with T2DRL's defaults; `T2DRLAlgorithmConfig` builds it."""

    @classmethod
    def get_default_config(cls) -> T2DRLAlgorithmConfig:
        """The configuration."""
        return T2DRLAlgorithmConfig()
