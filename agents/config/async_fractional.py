"""Hyper-parameters of asynchronous fractional multi-agent PPO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import HybridPolicyFields


class AsyncFractionalConfig(HybridPolicyFields):
    """Asynchronous fractional multi-agent PPO on RLlib, with a critic over the global event sequence.

    Two of `horizon`, `gamma` and neither are criteria: discounting by elapsed time, discounting per decision (as
    published), and, by default, the long-run average.
    """

    algorithm: Literal["async_fractional"] = Field(default="async_fractional", description="name of the learner")
    n_steps: int = Field(default=16, ge=1, le=100_000, description="[-] decisions per device, lane and rollout")
    lookback: int = Field(
        default=64, ge=0, le=100_000, description="[-] events before a rollout that the critic reads first"
    )
    batch_size: int = Field(default=4096, ge=2, description="[-] minibatch of an update")
    n_epochs: int = Field(default=4, ge=1, le=1000, description="[-] passes over a rollout")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="[-] Adam step")
    critic_learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="[-] Adam step of a network critic; none: that of the actor"
    )
    chain: Literal["device", "system"] | None = Field(
        default=None,
        description="what follows a decision: the next one of its device, or of any device (the objectives of all are "
        "one then); none: system for a team, else device",
    )
    gae_lambda: float = Field(default=0.9, ge=0, le=1, description="[-] per decision of the chain")
    gae_lambda_final: float | None = Field(
        default=None, ge=0, le=1, description="[-] its value at the end of training; none: that of the beginning"
    )
    winsorise: float | None = Field(
        default=None,
        ge=0,
        lt=0.5,
        description="[-] share of costs pulled in on either side; none: 0 for a system, 0.001 for a device",
    )
    critic: Literal["table", "lstd", "recurrent", "memoryless", "centralised"] = Field(
        default="table",
        description="values by least squares on the table of all devices' last events or on the own observation alone; "
        "or by a network on the global event sequence, the own observation, or the last events of all devices",
    )
    critic_memory: float = Field(default=8.0, ge=1, description="[rollouts] remembered by a least-squares critic")
    critic_lambda: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="[-] of a least-squares critic's eligibility traces, per decision of the chain; none: 0.95 for a "
        "system, 0 for a device",
    )
    gru_width: int = Field(default=64, ge=1, le=4096, description="[-] units of the recurrent critic")
    parameters: Literal["shared", "per_device"] = Field(default="shared", description="whose weights a device uses")
    ratio: float | None = Field(default=None, description="[s] first ratio; none: that of the untrained policy")
    shared_ratio: bool = Field(default=False, description="one pooled ratio instead of one per device")
    omega: float = Field(default=0.2, gt=0, le=1, description="[-] step of the outer loop per rollout")
    horizon: float | None = Field(default=None, gt=0, description="[s] discounting horizon; none: average criterion")
    gamma: float | None = Field(
        default=None, gt=0, le=1, description="[-] discount per decision as published; none: not used"
    )
    fractional: bool = Field(default=True, description="false: the non-fractional cost, area per time of each interval")
    learn: Literal["both", "wait", "server"] = Field(
        default="both", description="which decisions are learned; the other follows a fixed rule"
    )
    fixed_wait: float = Field(default=0.0, ge=0, description="[s] wait where only servers are learned")
    server_rule: Literal["jsq", "uniform"] = Field(default="jsq", description="servers where only waits are learned")
    family: Literal["squashed", "beta", "censored"] = Field(default="censored", description="law of the wait")
    init_mean: float = Field(default=0.33, gt=0, lt=1, description="[-] first mean wait, as a share of its range")
    init_scale: float = Field(
        default=0.15,
        gt=0,
        description="[-] first spread of the wait, share of its range (squashed: logit units)",
    )
    min_scale: float = Field(
        default=0.08,
        ge=0,
        description="[-] least spread of the wait, share of its range (squashed: logit units)",
    )
    min_scale_final: float | None = Field(
        default=None, ge=0, description="[-] its value at the end of training; none: that of the beginning"
    )
    averaging: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="[-] greedy policies act with weights averaged over about the last 1 / (averaging + 1) of all "
        "iterations (polynomial decay); none: with the last ones",
    )

    @model_validator(mode="after")
    def _one_criterion(self) -> AsyncFractionalConfig:
        if self.horizon is not None and self.gamma is not None:
            raise ValueError("gamma: excludes horizon; discount per decision or by elapsed time")
        return self
