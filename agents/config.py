"""Hyper-parameters of the learners, readable without torch, SB3 and Ray."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="[-] Adam step")
    gae_lambda: float = Field(default=0.9, ge=0, le=1, description="[-] per decision")
    critic: Literal["recurrent", "memoryless", "centralised", "lstd"] = Field(
        default="recurrent",
        description="what values see: the global event sequence, the own observation, the state of all devices, "
        "or the own observation by least squares",
    )
    parameters: Literal["shared", "per_device"] = Field(default="shared", description="whose weights a device uses")
    ratio: float | None = Field(default=None, description="[s] first ratio; none: that of the untrained policy")
    shared_ratio: bool = Field(default=False, description="one pooled ratio instead of one per device")
    omega: float = Field(default=0.1, gt=0, le=1, description="[-] step of the outer loop per rollout")
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
    gru_width: int = Field(default=64, ge=1, le=4096, description="[-] units of the recurrent critic")

    @model_validator(mode="after")
    def _one_criterion(self) -> AsyncFractionalConfig:
        if self.horizon is not None and self.gamma is not None:
            raise ValueError("gamma: excludes horizon; discount per decision or by elapsed time")
        return self


RLLIB_LEARNERS = frozenset({"async_fractional"})
"""Learners that run on RLlib and take the section ``cluster``."""

GAME_LEARNERS = frozenset({"async_fractional"})
"""Learners that regroup the event stream of a game by device."""
