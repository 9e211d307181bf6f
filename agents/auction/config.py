"""Hyper-parameters of the market's learners; they need no learner's library."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..config import LearnerSection


class DQMSBConfig(LearnerSection):
    """Of `DQMSB`: the papers state none of these (arXiv 2403.05826 delegates them), so all are our choice."""

    bidders: int = Field(5, ge=2, le=1000, description="[-] base stations N")
    actions: int = Field(20, ge=2, le=1000, description="[-] number |A| of factors 10^(a/|A|)")
    hidden: tuple[int, ...] = Field((64, 64), min_length=1, description="[-] units of the hidden layers")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="[-] Adam's")
    buffer_size: int = Field(10_000, ge=1, description="[rounds] replay")
    batch_size: int = Field(64, ge=1, description="[rounds] per update")
    first_epsilon: float = Field(1.0, ge=0, le=1, description="[-] exploration at first")
    last_epsilon: float = Field(0.05, ge=0, le=1, description="[-] exploration at last")
    exploration: float = Field(0.5, gt=0, le=1, description="[-] share of the training over which epsilon falls")
    target_period: int = Field(200, ge=1, description="[updates] between copies to the target network")
    gamma: float = Field(0.95, ge=0, lt=1, description="[-] discount per round")


class ClockStepConfig(LearnerSection):
    """Of the learner that controls the clocks: stock PPO or DQN of Stable-Baselines3."""

    algorithm: Literal["ppo", "dqn"] = "ppo"
    regret: bool = Field(True, description="[-] train on `VectorRegretReward`: same best policies, far less noise")
    num_envs: int = Field(256, ge=1, le=65536, description="[-] auctions stepped together")
    hidden: tuple[int, ...] = Field((64, 64), min_length=1, description="[-] units of the hidden layers")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="[-] Adam's")
    gamma: float = Field(1.0, ge=0, le=1, description="[-] discount per tick: an auction is short, and its sum counts")
    n_steps: int = Field(64, ge=1, description="[ticks] per lane and update (PPO)")
    batch_size: int = Field(4096, ge=2, description="[ticks] per gradient step")
    n_epochs: int = Field(10, ge=1, description="[-] passes over a rollout (PPO)")
    ent_coef: float = Field(0.02, ge=0, description="[-] weight of the entropy (PPO)")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="[-] (PPO)")
    buffer_size: int = Field(50_000, ge=1, description="[ticks] replay (DQN)")
    train_freq: int = Field(1, ge=1, description="[steps] between updates (DQN)")
    target_period: int = Field(500, ge=1, description="[ticks] between copies to the target network (DQN)")
    exploration: float = Field(0.5, gt=0, le=1, description="[-] share of the training over which epsilon falls (DQN)")
