"""Evaluation of model caching: every policy meets the same demand.

Costs are compared episode by episode, on seeds disjoint from those of training. What the free numbers of scripted rules
are chosen on are training episodes.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...envs.model_caching.optimum import MAX_SLOTS, TIME_LIMIT, horizon_bound
from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.state import COST, LOADS, LOCAL, REQUESTS
from ...envs.model_caching.workload import Workload
from ...train.environments import CachingEnvConfig
from ...train.run_folder import git_revision
from ..estimates import estimate
from ..statistics import relative_difference
from .episode import record
from .field import Field
from .learned import AdaptivePolicy, Learned
from .market import record_market
from .opponents import inner_steps, meet, settings, static_net, training_episodes, variants, warm_up
from .results import Bound, CachingEvaluation, Row

if TYPE_CHECKING:
    from ...train.config import TrainConfig
    from ...train.learners import Policy

SCORE_EPISODES = 32


@dataclass(frozen=True)
class Budget:
    """How much an evaluation may spend.

    Attributes:
        seeds: evaluation episodes.
        tuning: training episodes that the density rules are tuned on.
        share: every so many-th member of their grids is tried.
        bounds: episodes with a certified bound.
        time_limit: of the solver per episode, s.
    """

    seeds: int
    tuning: int
    share: int
    bounds: int
    time_limit: float


BUDGETS = {"full": Budget(100, 64, 1, 10, TIME_LIMIT), "smoke": Budget(8, 4, 7, 1, 2.0)}


def evaluate_caching(
    policy: Policy,
    config: TrainConfig,
    *,
    budget: Budget,
    horizon: float | None = None,
    static: Path | None = None,
    checkpoint: str = "",
    command: list[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> CachingEvaluation:
    """Evaluate a learned policy beside its test-time variants, scripted policies, clairvoyant rules and the bound.

    Args:
        policy: the policy, see `AdaptivePolicy`.
        config: names the environment, the network and the run's seed.
        budget: episodes and effort.
        horizon: slots of an episode; None takes the training's.
        static: folder of a run of the same system whose network was trained without inner steps; None: there is none.
        checkpoint: name for the record.
        command: command line for the record.
        progress: told, in a few words, what is being computed.

    Raises:
        InvalidInputError: the horizon is out of range, or `static` is a run of another kind.
        CheckpointError: `static` is no run folder, or has no checkpoint.
    """
    started, env, learner = time.monotonic(), config.env_as(CachingEnvConfig), settings(config)
    length = env.horizon if horizon is None else float(horizon)
    if not (length.is_integer() and 1 <= length <= MAX_SLOTS):
        raise InvalidInputError.of("horizon", f"a whole number of slots in [1, {MAX_SLOTS}]", horizon)
    tree, params, ours = SeedTree(config.seed), env.params(), cast(AdaptivePolicy, policy)
    other = None if static is None else static_net(static, config)
    field = Field(params, length, tree.evaluate, budget.seeds)
    training = training_episodes(config, budget.tuning, length)
    found = meet(field, ours, config, training, budget.share, other, progress)
    progress("the certified bound")
    bound = _bound(field, budget, found.learner, found.lookahead)
    progress("the control without drift")
    control = _control(field, ours, config, other)
    return CachingEvaluation(
        **dict(found),
        checkpoint=checkpoint,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command or [],
        git=git_revision(),
        seconds=round(time.monotonic() - started, 3),
        first_seed=tree.evaluate,
        n_seeds=budget.seeds,
        horizon=length,
        preset=env.preset,
        mode=env.mode,
        backbone=learner.backbone,
        inner_steps=inner_steps(learner),
        bound=bound,
        control=control,
        static_run=None if static is None else str(static),
        tuning_episodes=budget.tuning,
        episode=record(Learned(ours, learner.test_time), params, tree.evaluate, length),
        market=record_market(Learned(ours, learner.test_time), params, tree.evaluate, length),
        replayed=_replayed(params),
    )


def _replayed(params: CachingParams) -> str | None:
    """The part of a trace that all episodes replay, in words."""
    if params.trace is None:
        return None
    name = Path(params.trace).name
    return name if params.trace_slots is None else f"slots {params.trace_slots[0]} to {params.trace_slots[1]} of {name}"


def score_caching(policy: Policy, config: TrainConfig) -> dict[str, float]:
    """Score a policy during training, on the outer seeds.

    Args:
        policy: the policy of the present weights.
        config: the run's configuration.

    Returns:
        ``score`` and ``cost`` (per slot: lower is better), ``loads`` per slot and ``local_ratio``.
    """
    env = config.env_as(CachingEnvConfig)
    field = Field(env.params(), env.horizon, SeedTree(config.seed).outer, SCORE_EPISODES)
    means = field.play(Learned(cast(AdaptivePolicy, policy), settings(config).test_time)).mean(1)
    cost, local = float(means[COST]), float(means[LOCAL] / means[REQUESTS]) if means[REQUESTS] else 0.0
    return {"score": cost, "cost": cost, "loads": float(means[LOADS]), "local_ratio": local}


def _control(field: Field, policy: AdaptivePolicy, config: TrainConfig, other: AdaptivePolicy | None) -> list[Row]:
    """The same checkpoint where the popularity is never redrawn."""
    params = field.params
    if params.workload == "trace" or params.shift_every == 0:
        return []
    deployed = settings(config).test_time
    control = Field(CachingParams(**params.model_dump() | {"shift_every": 0}), field.horizon, field.first, field.count)
    row = control.row("learner", "learner", deployed, Learned(policy, deployed))
    return [row, *variants(control, policy, warm_up(policy, config, field.count), other, np.array(row.per_seed))]


def _bound(field: Field, budget: Budget, learner: Row, lookahead: Row) -> Bound:
    """Bounds on the first episodes."""
    started, count = time.monotonic(), min(budget.bounds, field.count)
    workload = Workload(field.params, field.horizon)
    found = [
        horizon_bound(field.params, workload.episode(*episode), budget.time_limit) for episode in field.episodes[:count]
    ]
    bounds = np.array([one.bound for one in found])
    ours, ahead = (np.array(row.per_seed[:count]) for row in (learner, lookahead))
    proved = sum("time limit" not in one.method for one in found)
    return Bound(
        episodes=count,
        bound=float(bounds.mean()),
        learner=float(ours.mean()),
        lookahead=float(ahead.mean()),
        gap=estimate([ours, bounds], relative_difference),
        lookahead_gap=float(np.median(ahead / bounds - 1.0)),
        proved=proved,
        method=found[0].method.removesuffix(" at its time limit"),
        seconds=round(time.monotonic() - started, 3),
    )


def result_of(evaluation: CachingEvaluation) -> tuple[float, list[float]]:
    """The learner's cost per slot, and per episode."""
    return evaluation.learner.cost.estimate, evaluation.learner.per_seed


def repeat_of(evaluation: CachingEvaluation) -> dict[str, Any]:
    """The same episodes; what is around them is not needed to compare the learner's costs."""
    return {"seeds": evaluation.n_seeds, "horizon": evaluation.horizon, "budget": "smoke"}
