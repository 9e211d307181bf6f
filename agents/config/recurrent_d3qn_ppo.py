"""Hyper-parameters of the asynchronous learner with recurrent states, and the defects of the released code."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from .base import LearnerSection

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
