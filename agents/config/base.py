"""What the sections of several learners share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Widths = tuple[int, ...]


class LearnerSection(BaseModel):
    """Base of the learners' sections: frozen, finite, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HybridPolicyFields(LearnerSection):
    """What every learner with a hybrid actor-critic policy shares."""

    n_steps: int = Field(default=16, ge=1, le=100_000, description="[-] decisions per lane and rollout")
    batch_size: int = Field(default=1024, ge=2, description="[-] minibatch of an update")
    n_epochs: int = Field(default=5, ge=1, le=1000, description="[-] passes over a rollout")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="[-] Adam step")
    anneal: bool = Field(default=True, description="lower the learning rate linearly to 0")
    clip_range: float = Field(default=0.2, gt=0, lt=1, description="[-] PPO clip")
    ent_coef: float = Field(default=0.0, ge=0, description="[-] weight of the entropy bonus")
    max_grad_norm: float = Field(default=0.5, gt=0, description="[-] gradient clip")
    family: Literal["squashed", "beta", "censored"] = Field(default="squashed", description="law of the wait")
    init_mean: float = Field(default=0.1, gt=0, lt=1, description="[-] first mean wait, as a share of its range")
    init_scale: float = Field(default=1.0, gt=0, description="[-] first spread of the wait (logit units if squashed)")
    hidden: Widths = Field(default=(64, 64), description="[-] hidden layers of the actor and of a network critic")
