"""Hyper-parameters of D3QN and DDPG for offloading, and the defects of the released code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import LearnerSection, Widths

Defect = Literal[
    "cumulative_absolute_cost",
    "doubled_area",
    "exploration_collapse",
    "wait_in_seconds",
    "batch_norm",
    "offload_only",
]


class FractionalD3QNDDPGConfig(LearnerSection):
    """Dueling double DQN for the server and DDPG for the wait (Jin et al., AAAI-24), corrected by default."""

    algorithm: Literal["fractional_d3qn_ddpg"] = Field(
        default="fractional_d3qn_ddpg", description="name of the learner"
    )
    buffer_size: int = Field(default=200_000, ge=1000, description="[-] transitions kept")
    learning_starts: int = Field(default=10_000, ge=100, description="[-] decisions before the first update")
    batch_size: int = Field(default=256, ge=2, description="[-] minibatch of an update")
    train_freq: int = Field(default=4, ge=1, description="[-] decisions per lane between updates")
    gradient_steps: int = Field(default=8, ge=1, description="[-] minibatches per update")
    learning_rate: float = Field(default=3e-3, gt=0, le=1, description="[-] Adam step of the critics; actor: a tenth")
    anneal: bool = Field(default=True, description="lower the learning rate linearly to 0")
    tau: float = Field(default=0.005, gt=0, le=1, description="[-] step of the target networks")
    epsilon: float = Field(default=0.05, ge=0, le=1, description="[-] final share of random servers")
    noise: float = Field(default=0.5, ge=0, description="[-] final spread of the wait's logit")
    explore_share: float = Field(default=0.2, gt=0, le=1, description="[-] share of training until both are final")
    winsorise: float = Field(default=0.001, ge=0, lt=0.5, description="[-] share of targets pulled in on either side")
    ratio: float | None = Field(default=None, description="[s] first ratio; none: that of the untrained policy")
    omega: float = Field(default=0.5, gt=0, le=1, description="[-] step of the outer loop")
    period: int = Field(default=8192, ge=1, description="[-] decisions between steps of the outer loop")
    horizon: float | None = Field(default=None, gt=0, description="[s] discounting horizon; none: average criterion")
    init_mean: float = Field(default=0.1, gt=0, lt=1, description="[-] first wait, as a share of its range")
    hidden: Widths = Field(default=(64, 64), description="[-] hidden layers of the actor")
    critic_hidden: Widths = Field(default=(64, 64), description="[-] hidden layers of the critics; none: linear")
    fidelity: Literal["corrected", "paper"] = Field(
        default="corrected", description="the corrected algorithm, or as released: its discounts and defects"
    )
    defects: tuple[Defect, ...] = Field(default=(), description="single defects of the released code, by name")
    parameters: Literal["shared", "per_device"] = Field(
        default="shared", description="in a game: whose weights a device uses; per_device is the independent learner"
    )
    shared_ratio: bool = Field(default=False, description="in a game: one pooled ratio instead of one per device")
