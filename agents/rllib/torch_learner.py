"""Proximal policy optimisation on windows of asynchronous events."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.schedules.scheduler import Scheduler
from torch import Tensor

from ..networks.event_table import table_width
from .connectors import SemiMarkovAdvantages
from .module import ENTROPY, LOGP, ROWS, VALUES, AsyncFractionalModule
from .pricing import RIDGE, RIDGE_COMPRESSED, CriticScale, Pricing

PRICING = "pricing"
"""Component of the learner's state: ratios, outer loop, scales, linear critic."""


class AsyncFractionalTorchLearner(TorchLearner):
    """PPO's clipped surrogate on the decisions of all devices, and a critic of cost and duration.

    Its connector (`SemiMarkovAdvantages`) prices the decisions with ratios that live here, in `pricing`, are moved by
    `DinkelbachCallback`, and are part of `get_state`. Every learner of a distributed group holds the same ones.

    *Source*: Schulman et al. 2017 (PPO); Jin et al., arXiv 2409.16832 (fractional asynchronous learning).
    """

    config: Any
    pricing: Pricing

    def build(self) -> None:
        """Build the module, the optimizers and the connector."""
        super().build()
        config = self.config
        modules = {name: self._own(name) for name, _ in self.module.items()}
        critics = {name: CriticScale(config.critic_memory, _ridge(module)) for name, module in modules.items()}
        n_devices = next(iter(modules.values())).n_devices
        for module in modules.values():
            module.entropy_counts = config.entropy_coeff != 0.0
        self.pricing = Pricing(config.pricing_settings(), n_devices, critics)
        self._learner_connector = LearnerConnectorPipeline(
            connectors=[SemiMarkovAdvantages(self.pricing, config.segment)]
        )
        self._decisions = 0
        self._entropy_coeff = Scheduler(fixed_value_or_schedule=config.entropy_coeff, framework=self.framework)
        self._lambda = Scheduler(fixed_value_or_schedule=config.lambda_, framework=self.framework)
        self._min_scale = Scheduler(fixed_value_or_schedule=config.min_scale, framework=self.framework)

    def _own(self, module_id: str) -> AsyncFractionalModule:
        """A module without the wrapper of distributed learning."""
        module = self.module[module_id].unwrapped()
        assert isinstance(module, AsyncFractionalModule)
        return module

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """One Adam for the actor and one for the critic, each with its own learning rate."""
        module = self._own(module_id)
        for name, part, rate in (
            ("actor", module.actor, config.lr),
            ("critic", module.critic, config.lr if config.critic_lr is None else config.critic_lr),
        ):
            if part is not None:
                parameters = [parameter for parameter in part.parameters() if parameter.requires_grad]
                self.register_optimizer(
                    module_id=module_id,
                    optimizer_name=name,
                    optimizer=torch.optim.Adam(parameters),
                    params=parameters,
                    lr_or_lr_schedule=rate,
                )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """Clipped surrogate, squared errors of the normalised values, and the entropy bonus, over the marked rows."""
        rows = batch[ROWS]
        advantage = batch[Postprocessing.ADVANTAGES][rows]
        log_ratio = fwd_out[LOGP] - batch[Columns.ACTION_LOGP][rows]
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - config.clip_param, 1.0 + config.clip_param)
        policy_loss = -torch.min(advantage * ratio, advantage * clipped).mean()
        entropy = fwd_out[ENTROPY].mean()
        loss: Tensor = policy_loss - self._entropy_coeff.get_current_value() * entropy
        metrics = {
            "policy_loss": policy_loss,
            "entropy": entropy,
            "kl": (ratio - 1.0 - log_ratio).mean(),
            "clip_fraction": ((ratio - 1.0).abs() > config.clip_param).float().mean(),
        }
        if VALUES in fwd_out:
            errors = (fwd_out[VALUES] - batch[Postprocessing.VALUE_TARGETS][rows]).square().mean(0)
            loss = loss + config.vf_loss_coeff * errors.sum()
            metrics |= {"value_loss_cost": errors[0], "value_loss_duration": errors[1]}
        self.metrics.log_dict({name: value.detach() for name, value in metrics.items()}, key=module_id, window=1)
        return loss

    def apply_gradients(self, gradients_dict: dict[Any, Any]) -> None:
        """Step the optimizers, and keep the least spread of the waits."""
        super().apply_gradients(gradients_dict)
        for name, _ in self.module.items():
            self._own(name).actor.clamp(float(self._min_scale.get_current_value()))

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Move the schedules and the averages of the weights."""
        super().after_gradient_based_update(timesteps=timesteps)
        for name, _ in self.module.items():
            module = self._own(name)
            if module.average is not None:
                module.average.update_parameters(module.actor)
        self._schedule(int(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME) or 0))

    def _schedule(self, decisions: int) -> None:
        self._decisions = decisions
        self._entropy_coeff.update(timestep=decisions)
        self._min_scale.update(timestep=decisions)
        self.pricing.lam = float(self._lambda.update(timestep=decisions))

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """RLlib's state and, under ``pricing``, what it does not checkpoint itself."""
        state: dict[str, Any] = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(PRICING, components, not_components):
            state[PRICING] = self.pricing.get_state() | {"decisions": self._decisions}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        super().set_state(state)
        if PRICING in state:
            self.pricing.set_state(state[PRICING])
            self._schedule(int(state[PRICING]["decisions"]))


def _ridge(module: AsyncFractionalModule) -> NDArray[np.float64] | None:
    """Ridge of a linear critic's features; None where the module has a network."""
    if module.critic is not None:
        return None
    if module.table:
        return np.full(table_width(module.n_edges), RIDGE)
    return module.actor.features.per_linear(RIDGE, RIDGE_COMPRESSED, RIDGE)
