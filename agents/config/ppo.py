"""Hyper-parameters of proximal policy optimisation: fractional, Stable-Baselines3's own, and with masked actions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import HybridPolicyFields, LearnerSection, Widths


class FractionalPPOConfig(HybridPolicyFields):
    """Fractional PPO: semi-Markov advantages, priced by Dinkelbach's coefficient."""

    algorithm: Literal["fractional_ppo"] = Field(default="fractional_ppo", description="name of the learner")
    gae_lambda: float = Field(default=0.0, ge=0, le=1, description="[-] per decision; 0 trusts the critic")
    winsorise: float = Field(default=0.001, ge=0, lt=0.5, description="[-] share of costs pulled in on either side")
    critic: Literal["lstd", "network"] = Field(default="lstd", description="least squares, or SB3's value network")
    critic_memory: float = Field(default=20.0, ge=1, description="[rollouts] remembered by the critic")
    ratio: float | None = Field(default=None, description="[s] first ratio; none: that of the untrained policy")
    omega: float = Field(default=0.1, gt=0, le=1, description="[-] step of the outer loop per rollout")
    horizon: float | None = Field(default=None, gt=0, description="[s] discounting horizon; none: average criterion")
    fidelity: Literal["corrected", "paper"] = Field(
        default="corrected", description="discount by duration, or per decision as published"
    )
    gamma: float = Field(default=0.99, gt=0, le=1, description="[-] discount per decision, fidelity=paper only")


class PPOConfig(HybridPolicyFields):
    """Stable-Baselines3's own PPO on the hybrid policy: the non-fractional baseline."""

    algorithm: Literal["ppo"] = Field(default="ppo", description="name of the learner")
    objective: Literal["cost", "rate"] = Field(
        default="cost", description="reward per decision: -cost, or -cost/duration (joint decisions only)"
    )
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="[-] per decision")
    gamma: float = Field(default=0.99, gt=0, le=1, description="[-] discount per decision")
    vf_coef: float = Field(default=0.5, ge=0, description="[-] weight of the value loss")


class MaskedPPOConfig(LearnerSection):
    """Sb3-contrib's MaskablePPO: proximal policy optimisation that never takes a masked action."""

    algorithm: Literal["masked_ppo"] = Field(default="masked_ppo", description="name of the learner")
    n_steps: int = Field(default=32, ge=1, le=100_000, description="[-] decisions per lane and rollout")
    batch_size: int = Field(default=512, ge=2, description="[-] minibatch of an update")
    n_epochs: int = Field(default=10, ge=1, le=1000, description="[-] passes over a rollout")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="[-] Adam step")
    anneal: bool = Field(default=True, description="lower the learning rate linearly to 0")
    gamma: float = Field(default=1.0, ge=0, le=1, description="[-] discount per decision")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="[-] per decision")
    clip_range: float = Field(default=0.2, gt=0, lt=1, description="[-] PPO clip")
    vf_coef: float = Field(default=0.5, ge=0, description="[-] weight of the value loss")
    ent_coef: float = Field(default=0.01, ge=0, description="[-] weight of the entropy bonus")
    max_grad_norm: float = Field(default=0.5, gt=0, description="[-] gradient clip")
    hidden: Widths = Field(default=(128, 128), description="[-] hidden layers of the actor and of the critic")


class LagrangianPPOConfig(MaskedPPOConfig):
    """Masked PPO that keeps constraints on expected sums, by a price per constraint."""

    algorithm: Literal["lagrangian_ppo"] = Field(default="lagrangian_ppo", description="name of the learner")  # type: ignore[assignment]
    multiplier_rate: float = Field(default=0.01, gt=0, le=100, description="[-] step of the prices per rollout")
