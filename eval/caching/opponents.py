"""What a learner is held against: itself with other inner steps, scripted policies, and rules that know the demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ...agents.config import T2DRLConfig
from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.policies import LOOKAHEAD_SLOTS, ScriptedPolicy
from ...envs.model_caching.simulate import best_lookahead, run_policy
from ...train.environments import CachingEnvConfig
from ...train.run_folder import load_policy
from .field import Field
from .learned import AdaptivePolicy, Learned, State
from .results import FROZEN_0, FROZEN_W, HINDSIGHT, LIFELONG, LOOKAHEAD, STATIC_NET, Comparison, Row, Speed
from .rules import GRIDS, tuned

if TYPE_CHECKING:
    from ...train.config import TrainConfig

SCRIPTED = ("cloud", "fifo", "lfu", "lru", "laot", "random", "admission_lfu", "gdsf")
"""Scripted policies that see what a learner sees, with the numbers they come with."""
_WARM_UP = 1 << 20  # of the outer seeds: the episodes that weights are held after


@dataclass(frozen=True)
class Training:
    """Episodes as the training's lanes met them, on which the numbers of scripted rules are chosen.

    Attributes:
        params: the system.
        horizon: slots.
        episodes: (seed, number of the episode).
    """

    params: CachingParams
    horizon: float
    episodes: list[tuple[int, int]]


def training_episodes(config: TrainConfig, count: int, horizon: float | None = None) -> Training:
    """The first training episodes of a run; `horizon` replaces the training's."""
    env, first = config.env_as(CachingEnvConfig), SeedTree(config.seed).train
    episodes = [(first + i % env.num_envs, i // env.num_envs) for i in range(count)]
    return Training(env.params(), env.horizon if horizon is None else horizon, episodes)


def inner_steps(learner: T2DRLConfig) -> bool:
    """Whether a learner's policy adapts at test time."""
    adapting = learner.backbone in ("ttt", "pad") and learner.inner_rate > 0.0
    return adapting and learner.test_time != "frozen"


def settings(config: TrainConfig) -> T2DRLConfig:
    """The learner's section of a run's configuration."""
    assert isinstance(config.learner, T2DRLConfig)  # the only learner of the family
    return config.learner


def static_net(folder: Path, config: TrainConfig) -> AdaptivePolicy:
    """The policy of a run without inner steps in the same system.

    Raises:
        InvalidInputError: it is a run of another kind.
        CheckpointError: there is no run folder, or it has no checkpoint.
    """
    policy, other = load_policy(folder)
    same = {"num_envs"}
    if other.env.model_dump(exclude=same) != config.env.model_dump(exclude=same):
        raise InvalidInputError(f"static {folder}: must be a run in the same environment as the one evaluated")
    learner = settings(other)
    if learner.backbone != "ttt" or learner.inner_rate > 0.0:
        raise InvalidInputError(f"static {folder}: must be a run with learner.backbone ttt and learner.eta_base 0")
    return cast(AdaptivePolicy, policy)


def meet(
    field: Field,
    policy: AdaptivePolicy,
    config: TrainConfig,
    training: Training,
    share: int,
    other: AdaptivePolicy | None,
    progress: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Play the learner and everything it is held against on the same episodes.

    Args:
        field: the episodes.
        policy: the learner's.
        config: of its run.
        training: what the density rules are tuned on.
        share: every so many-th member of their grids is tried.
        other: the policy of a network trained without inner steps, if there is one.
        progress: told, in a few words, what is being computed.
    """
    learner = settings(config)
    acting = Learned(policy, learner.test_time)
    progress("the learner")
    row = field.row("learner", "learner", learner.test_time if inner_steps(learner) else "no inner steps", acting)
    costs = np.array(row.per_seed)
    tuned_rules = causal(field, training, share, costs, progress)
    rules = [*tuned_rules, *scripted(field, costs, progress)]
    found = variants(field, policy, warm_up(policy, config, field.count), other, costs, progress)
    progress("the clairvoyant rules")
    single = Learned(policy, learner.test_time)
    run_policy(field.params, single, field.episodes[:1], field.horizon)
    return Comparison(
        learner=row,
        variants=found,
        scripted=sorted(rules, key=lambda entry: entry.cost.estimate),
        clairvoyant=clairvoyant(field, costs),
        causal=min(tuned_rules, key=lambda entry: entry.cost.estimate).label,
        parameters=policy.count_parameters(),
        speed=Speed(single=round(single.milliseconds, 4), batch=round(acting.milliseconds, 5), batch_size=field.count),
    )


def warm_up(policy: AdaptivePolicy, config: TrainConfig, rows: int) -> tuple[State, State] | None:
    """States after one episode of the training's distribution each: to hold the weights at, and to go on from.

    None for a policy that does not adapt.
    """
    if not inner_steps(settings(config)):
        return None
    env, tree = config.env_as(CachingEnvConfig), SeedTree(config.seed)
    Field(env.params(), env.horizon, tree.outer + _WARM_UP, rows).play(Learned(policy, "episodic"))
    assert policy.state is not None
    return policy.hold(), policy.state


def variants(
    field: Field,
    policy: AdaptivePolicy,
    warm: tuple[State, State] | None,
    other: AdaptivePolicy | None,
    ours: NDArray[np.float64],
    progress: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """What the learner's test-time adaptation is held against."""
    found = []
    if warm is not None:
        held, reached = warm
        for label, rule, test_time, state in (
            (FROZEN_0, "inner learning rate 0: W_0 throughout", "frozen", None),
            (FROZEN_W, "W held as one training episode left it", "held", held),
            (LIFELONG, "W goes on from one training episode", "lifelong", reached),
        ):
            progress(f"“{label}”")
            found.append(field.row(label, "test_time", rule, Learned(policy, test_time, state), ours))
    if other is not None:
        progress(f"“{STATIC_NET}”")
        rule = "same network, trained without inner steps"
        found.append(field.row(STATIC_NET, "static", rule, Learned(other, "frozen"), ours))
    return found


def causal(
    field: Field,
    training: Training,
    share: int,
    ours: NDArray[np.float64],
    progress: Callable[[str], None],
) -> list[Row]:
    """The density rules, tuned on training episodes."""
    found = []
    for name in GRIDS:
        progress(f"“{name}”, its numbers")
        rule, tried = tuned(training.params, name, training.episodes, training.horizon, share)
        found.append(field.row(name, "causal", rule, ScriptedPolicy(rule, field.params), ours, tried))
    return found


def scripted(field: Field, ours: NDArray[np.float64], progress: Callable[[str], None]) -> list[Row]:
    """The policies without free numbers, or with the numbers they come with."""
    found = []
    for name in SCRIPTED:
        progress(f"“{name}”")
        policy = ScriptedPolicy(name, field.params)
        rule = ":".join([name, *map("{:g}".format, policy.numbers)])
        found.append(field.row(name, "scripted", rule, policy, ours))
    return found


def clairvoyant(field: Field, ours: NDArray[np.float64]) -> list[Row]:
    """One set in hindsight, and the best look-ahead rule over these very episodes."""
    params, (rule, _) = field.params, best_lookahead(field.params, field.episodes, field.horizon)
    return [
        field.row(HINDSIGHT, "clairvoyant", "static", ScriptedPolicy("static", params), ours),
        field.row(LOOKAHEAD, "clairvoyant", rule, ScriptedPolicy(rule, params), ours, 2 * len(LOOKAHEAD_SLOTS)),
    ]
