"""The ablation in which PPO goes on at test time, on real costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode
from pydantic import BaseModel

from ....envs.core.seeding import SeedTree
from ....train.checkpoint import load
from ....train.learners import make_learner
from ....train.run_folder import open_run
from ...estimates import FINITE, Estimate
from ...statistics import bootstrap, mean, relative_difference

FILE_NAME = "online_ppo.json"


class Online(BaseModel):
    """PPO that goes on, exploring, against the same checkpoint that only adapts, on the same demand.

    Attributes:
        run: name of the checkpoint's run folder.
        lanes, episodes: servers, and episodes of each.
        cost: per slot while PPO goes on.
        adapted: per slot of the same checkpoint with inner steps only.
        relative: the former over the latter, minus 1; lanes are resampled.
        milliseconds: per slot of one server, updates included.
    """

    model_config = FINITE
    run: str
    lanes: int
    episodes: int
    cost: Estimate
    adapted: Estimate
    relative: Estimate
    milliseconds: float


def measure_online(folder: Path, episodes: int) -> Online:
    """Deploy the best checkpoint of a run twice: with PPO going on, and with inner steps only.

    Args:
        folder: a run of T2DRL.
        episodes: per lane.
    """
    from ....agents.sb3.t2drl_deploy import deploy, online_ppo

    run = open_run(folder)
    config, seed = run.config, SeedTree(run.config.seed).evaluate
    learner: Any = make_learner(config)
    try:
        learner.restore(load(run.checkpoint("best"), config.learner.algorithm).snapshot)
        adapted = deploy(learner.model, _vector(config), episodes, seed)
        going_on = online_ppo(learner.model, _vector(config), episodes, seed)
    finally:
        learner.close()
    ours, theirs = going_on.rates.mean(axis=1), adapted.rates.mean(axis=1)
    return Online(
        run=folder.name,
        lanes=len(ours),
        episodes=episodes,
        cost=Estimate(**bootstrap([ours], mean).as_dict()),
        adapted=Estimate(**bootstrap([theirs], mean).as_dict()),
        relative=Estimate(**bootstrap([ours, theirs], relative_difference).as_dict()),
        milliseconds=going_on.milliseconds,
    )


def _vector(config: Any) -> Any:
    return gymnasium.make_vec(
        config.env.id,
        num_envs=config.env.num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.SAME_STEP,
        **config.env.kwargs(),
    )
