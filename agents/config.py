"""Hyper-parameters of the learners, readable without torch, SB3 and Ray."""

from __future__ import annotations

from typing import Any, Literal, get_args

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


RecurrentDefect = Literal[
    "cumulative_absolute_cost",
    "doubled_area",
    "dropped_tasks_unrecorded",
    "initial_placement_recorded",
    "stale_queues",
    "shared_ratio",
    "last_episode_ratio",
    "no_exploration",
    "no_bootstrap",
    "single_q",
    "no_replay",
    "untrained_memory",
    "batch_returns",
    "joined_episodes",
    "mixed_memory",
    "crossed_log_probs",
    "clamped_actions_scored",
]
RECURRENT_DEFECTS: tuple[RecurrentDefect, ...] = get_args(RecurrentDefect)
"""All defects of the released code of the asynchronous learner, in the order of its table."""

_RELEASED_RECURRENT: dict[str, Any] = {
    "defects": RECURRENT_DEFECTS,
    "observations": "published",
    "updates": "single",
    "server_batch": 1,
    "server_steps": 1,
    "server_scale": 1000.0,
    "wait_batch": 64,
    "actor_learning_rate": 3e-4,
    "critic_learning_rate": 1e-3,
    "ent_coef": 0.01,
    "gae_lambda": 1.0,
    "wait_scale": 10_000.0,
    "max_grad_norm": 0.0,
    "period": 50,
}


class RecurrentD3QNPPOConfig(LearnerSection):
    """Recurrent dueling DQN for the server and recurrent-critic PPO for the wait (Jin et al., arXiv 2409.16832).

    With ``fidelity="paper"`` every field that is not given has the released code's value, ``defects`` included.
    """

    algorithm: Literal["recurrent_d3qn_ppo"] = Field(default="recurrent_d3qn_ppo", description="name of the learner")
    fidelity: Literal["corrected", "paper"] = Field(
        default="corrected", description="the corrected algorithm, or as released: its settings and defects"
    )
    defects: tuple[RecurrentDefect, ...] = Field(
        default=(), description="defects of the released code, by name; all of them if fidelity=paper names none"
    )
    observations: Literal["full", "published"] = Field(
        default="full", description="age and queues for both decisions, or the released code's columns"
    )
    updates: Literal["together", "single"] = Field(
        default="together", description="train all devices at once, or each as soon as its own batch is full"
    )
    memory: int = Field(default=8, ge=1, le=1024, description="[-] width of the recurrent states")
    discount: float = Field(default=0.99, gt=0, lt=1, description="[-] discount per decision of the same kind")
    max_grad_norm: float = Field(default=0.5, ge=0, description="[-] gradient clip of a device; 0: no clip")

    server_learning_rate: float = Field(default=1e-3, gt=0, le=1, description="[-] Adam step of the DQN")
    server_hidden: int = Field(default=64, ge=1, le=4096, description="[-] width of the DQN's layers")
    sequence: int = Field(default=16, ge=1, le=4096, description="[-] successive decisions of a device in a sequence")
    server_batch: int = Field(default=8, ge=1, le=4096, description="[-] sequences of a device per gradient step")
    server_steps: int = Field(default=8, ge=1, le=10_000, description="[-] gradient steps of the DQN per update")
    replay: int = Field(default=256, ge=1, le=10**6, description="[-] sequences kept per device")
    target_every: int = Field(default=100, ge=1, le=10**6, description="[-] gradient steps between target copies")
    epsilon: float = Field(default=0.05, ge=0, le=1, description="[-] final share of random servers")
    explore_share: float = Field(default=0.2, gt=0, le=1, description="[-] share of training until it is final")
    server_scale: float = Field(
        default=0.0, ge=0, description="[-] divisor of the DQN's costs; 0: the mean size of those first trained on"
    )

    wait_batch: int = Field(default=128, ge=2, le=10**6, description="[-] waits of a device per update, all lanes")
    epochs: int = Field(default=10, ge=1, le=1000, description="[-] full-batch steps per update")
    actor_learning_rate: float = Field(default=3e-3, gt=0, le=1, description="[-] Adam step of the actor")
    critic_learning_rate: float = Field(default=3e-3, gt=0, le=1, description="[-] Adam step of the critic")
    actor_hidden: int = Field(default=16, ge=1, le=4096, description="[-] width of the actor's layers")
    critic_hidden: int = Field(default=64, ge=1, le=4096, description="[-] width of the critic's layers")
    clip_range: float = Field(default=0.2, gt=0, lt=1, description="[-] PPO clip")
    vf_coef: float = Field(default=0.5, gt=0, description="[-] weight of the value loss")
    ent_coef: float = Field(default=0.0, ge=0, description="[-] weight of the entropy bonus")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="[-] per decision")
    wait_scale: float = Field(
        default=0.0, ge=0, description="[-] divisor of the PPO's costs; 0: the mean size of those first trained on"
    )

    ratio: float = Field(default=5.0, description="[s] first ratio of every device")
    omega: float = Field(default=0.5, gt=0, le=1, description="[-] step of the outer loop")
    period: int = Field(
        default=0, ge=0, description="[-] episodes between steps of the outer loop; 0: one at every update"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_released(cls, values: Any) -> Any:
        """The released code's settings where the configuration asks for its fidelity and names none."""
        if isinstance(values, dict) and values.get("fidelity") == "paper":
            return {**_RELEASED_RECURRENT, **values}
        return values

    @model_validator(mode="after")
    def _has_a_clock(self) -> RecurrentD3QNPPOConfig:
        """Only updates of all devices together can carry the outer loop."""
        if self.period == 0 and self.updates == "single":
            raise ValueError("period: must be a number of episodes where updates=single")
        return self


BackboneName = Literal["ttt", "mlp", "lstm", "gru", "pad"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
"""Backbones of T2DRL: its own, the neighbours of equal size, and policy adaptation during deployment."""

_ETA_BASE = {"linear": 1.0, "mlp": 0.1, "pad": 1e-3}
_OF_BACKBONE = {
    "layer": ("ttt",),
    "intermediate": ("ttt",),
    "layers": ("ttt",),
    "heads": ("ttt",),
    "minibatch": ("ttt",),
    "inner_loss": ("ttt",),
    "eta_base": ("ttt", "pad"),
    "hidden": ("mlp", "lstm", "gru", "pad"),
}


class CacheNetworkFields(LearnerSection):
    """The network of T2DRL (Xu, Niyato, Brinton, arXiv 2501.14205), or of a neighbour."""

    backbone: BackboneName = Field(
        default="ttt", description="what the features come from; all but ttt are comparisons of equal size"
    )
    width: int = Field(default=32, ge=1, le=4096, description="[-] width of the embedding, and of TTT features")
    layer: Literal["linear", "mlp"] = Field(default="linear", description="inner learner of a TTT layer")
    intermediate: int = Field(default=32, ge=1, le=4096, description="[-] width of the gated MLP of a TTT block")
    layers: int = Field(default=1, ge=1, le=64, description="[-] TTT blocks")
    heads: int = Field(default=4, ge=1, le=256, description="[-] heads of a TTT layer")
    minibatch: int = Field(default=4, ge=1, le=256, description="[-] slots between changes of the inner base weights")
    eta_base: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="[-] base inner learning rate; none: 1 (linear), 0.1 (mlp), 0.001 (pad); 0: a static network",
    )
    inner_loss: Literal["ttt", "obs_reconstruction", "next_obs_prediction", "inverse_dynamics"] = Field(
        default="ttt", description="self-supervised task of the inner learner"
    )
    hidden: int | None = Field(
        default=None, ge=1, le=4096, description="[-] width of another backbone; none: as many parameters as TTT"
    )
    separate_critic: bool = Field(default=False, description="a backbone of the critic's own")
    init_cache: float = Field(default=0.5, gt=0, lt=1, description="[-] probability of caching before training")
    item_head: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="[-] width of a network that all items share, beside the heads on the features; 0: none",
    )
    sticky: float = Field(
        default=0.0, ge=0, le=20, description="[-] first preference for what is cached already, logit units; 0: none"
    )

    @model_validator(mode="after")
    def _fits(self) -> CacheNetworkFields:
        """Refuse widths that do not divide, and fields of another backbone, which would do nothing."""
        if self.backbone == "ttt" and self.width % self.heads:
            raise ValueError(f"heads: must divide width = {self.width}, got {self.heads}")
        for name, owners in _OF_BACKBONE.items():
            given = getattr(self, name)
            # Sizes of TTT also say what an equal size is.
            sized = self.hidden is None and name in ("layer", "intermediate", "layers", "heads", "minibatch")
            if self.backbone not in owners and not sized and given != type(self).model_fields[name].default:
                raise ValueError(f"{name}: is for the backbones {', '.join(owners)}, got {given!r}")
        return self

    @property
    def inner_rate(self) -> float:
        """Base inner learning rate."""
        return _ETA_BASE["pad" if self.backbone == "pad" else self.layer] if self.eta_base is None else self.eta_base


class T2DRLConfig(CacheNetworkFields):
    """Test-time deep reinforcement learning: PPO on a backbone that adapts in training and in deployment."""

    algorithm: Literal["t2drl"] = Field(default="t2drl", description="name of the learner")
    n_steps: int = Field(default=100, ge=1, le=100_000, description="[-] slots per lane and rollout")
    chunk: int = Field(default=20, ge=1, le=100_000, description="[-] slots that gradients go back through")
    batch_size: int = Field(default=128, ge=2, description="[-] least slots in a minibatch of whole chunks")
    n_epochs: int = Field(default=4, ge=1, le=1000, description="[-] passes over a rollout")
    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="[-] Adam step")
    anneal: bool = Field(default=False, description="lower the learning rate linearly to 0")
    gamma: float = Field(default=0.95, ge=0, lt=1, description="[-] discount per slot")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="[-] per slot")
    clip_range: float = Field(default=0.2, gt=0, lt=1, description="[-] PPO clip")
    vf_coef: float = Field(default=0.25, ge=0, description="[-] weight of the value loss")
    ent_coef: float = Field(default=0.0, ge=0, description="[-] weight of the entropy bonus")
    aux_coef: float = Field(default=0.1, ge=0, description="[-] weight of the self-supervised loss; 0: none")
    max_grad_norm: float = Field(default=0.5, gt=0, description="[-] gradient clip")
    value_memory: float = Field(default=10.0, ge=1, description="[rollouts] remembered by the scale of the values")
    test_time: Literal["episodic", "lifelong", "frozen"] = Field(
        default="episodic", description="in deployment: restart with each episode, never restart, or do not adapt"
    )

    @model_validator(mode="after")
    def _whole_chunks(self) -> T2DRLConfig:
        """Chunks start where inner base weights change."""
        if self.backbone == "ttt" and self.chunk % self.minibatch:
            raise ValueError(f"chunk: must be a multiple of minibatch = {self.minibatch}, got {self.chunk}")
        return self


class ClusterConfig(LearnerSection):
    """Where an RLlib learner runs; by default all of it in this process, without Ray's daemons."""

    num_env_runners: int = Field(default=0, ge=0, le=10_000, description="[-] processes that sample; 0: this one does")
    num_learners: int = Field(default=0, ge=0, le=1000, description="[-] processes that update; 0: this one does")
    address: str | None = Field(
        default=None, min_length=1, description="HOST:PORT of a running Ray cluster, or auto; none: this machine"
    )
    num_cpus: int | None = Field(
        default=None, ge=1, le=100_000, description="[-] logical processors of a local Ray; none: as many as are needed"
    )
    object_store_mb: int = Field(
        default=200, ge=80, le=10**6, description="[MiB] shared memory of a local Ray for samples and weights"
    )

    @model_validator(mode="after")
    def _local_or_not(self) -> ClusterConfig:
        """The resources of a cluster that is already running are not ours to set."""
        if self.address is not None:
            for name in ("num_cpus", "object_store_mb"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name}: is for a local Ray; the cluster at {self.address} has its own")
        elif self.num_cpus is not None and self.num_cpus < self.workers:
            raise ValueError(
                f"num_cpus: must be at least {self.workers}, one for each env runner and learner, got {self.num_cpus}"
            )
        return self

    @property
    def workers(self) -> int:
        """Processes beside this one."""
        return self.num_env_runners + self.num_learners


RLLIB_LEARNERS = frozenset({"async_fractional"})
"""Learners that run on RLlib and take the section ``cluster``."""

TORCH_LEARNERS = frozenset({"recurrent_d3qn_ppo"})
"""Learners with a loop of their own."""

GAME_LEARNERS = frozenset({"async_fractional", "fractional_d3qn_ddpg", "recurrent_d3qn_ppo"})
"""Learners that regroup the event stream of a game by device."""

SINGLE_DEVICE_LEARNERS = frozenset({"async_fractional", "fractional_d3qn_ddpg", "fractional_ppo", "ppo"})
"""Learners that train one device among others that do not learn."""

CACHING_LEARNERS = frozenset({"t2drl"})
"""Learners that cache models."""

EXPERT_LEARNERS = frozenset({"fractional_d3qn_ddpg", "fractional_ppo", "masked_ppo"})
"""Learners that select experts or route prompts."""
