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
from numpy.typing import NDArray

from ...agents.config import T2DRLConfig
from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...envs.model_caching.optimum import MAX_SLOTS, TIME_LIMIT, horizon_bound
from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.policies import LOOKAHEAD_SLOTS, ScriptedPolicy
from ...envs.model_caching.simulate import EpisodePolicy, best_lookahead, run_policy
from ...envs.model_caching.state import ACCURACY_COST, COST, LOADS, LOCAL, REQUESTS, SWITCHING, TERMS
from ...envs.model_caching.workload import Workload
from ...train.environments import CachingEnvConfig
from ...train.run_folder import git_revision, load_policy
from ..estimates import estimate
from ..statistics import difference, relative_difference
from .episode import record
from .learned import AdaptivePolicy, Learned, State
from .results import (
    FROZEN_0,
    FROZEN_W,
    HINDSIGHT,
    LIFELONG,
    LOOKAHEAD,
    STATIC_NET,
    Bound,
    CachingEvaluation,
    Kind,
    Row,
    Speed,
)
from .rules import GRIDS, tuned

if TYPE_CHECKING:
    from ...train.config import TrainConfig
    from ...train.learners import Policy

SCRIPTED = ("cloud", "fifo", "lfu", "lru", "laot", "random", "admission_lfu", "gdsf")
"""Scripted policies that see what a learner sees, with the numbers they come with."""
SCORE_EPISODES = 32
_WARM_UP = 1 << 20  # of the outer seeds: the episodes that weights are held after


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


@dataclass(frozen=True)
class _Field:
    """The episodes on which policies meet.

    Attributes:
        params: the system.
        horizon: slots.
        first: seed of the first episode; the others follow.
        count: number of episodes.
    """

    params: CachingParams
    horizon: float
    first: int
    count: int

    @property
    def episodes(self) -> list[tuple[int, int]]:
        return [(self.first + lane, 0) for lane in range(self.count)]

    def play(self, policy: EpisodePolicy) -> NDArray[np.float64]:
        """Sums over the slots of all rows of the simulator's output, (OUT_ROWS, episodes)."""
        return run_policy(self.params, policy, self.episodes, self.horizon)

    def row(
        self,
        label: str,
        kind: Kind,
        rule: str,
        policy: EpisodePolicy,
        ours: NDArray[np.float64] | None = None,
        tried: int = 1,
    ) -> Row:
        """Play a policy and compare the learner, whose costs per slot are `ours`, with it."""
        totals = self.play(policy)
        cost = totals[COST] / self.horizon
        local, requests = float(totals[LOCAL].sum()), float(totals[REQUESTS].sum())
        weight = self.params.weight_accuracy
        lost = float(totals[ACCURACY_COST].sum()) / weight if weight else 0.0
        return Row(
            label=label,
            kind=kind,
            rule=rule,
            tuned=tried,
            cost=estimate([cost]),
            per_seed=cost.tolist(),
            terms={name: float(totals[SWITCHING + k].mean() / self.horizon) for k, name in enumerate(TERMS)},
            loads=float(totals[LOADS].mean() / self.horizon),
            local_ratio=local / requests if requests else 0.0,
            accuracy=1.0 - lost / local if local and weight else None,
            difference=None if ours is None else estimate([ours, cost], difference),
            relative=None if ours is None else estimate([ours, cost], relative_difference),
        )


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
    started, env, learner = time.monotonic(), config.env_as(CachingEnvConfig), _settings(config)
    length = env.horizon if horizon is None else float(horizon)
    if not (length.is_integer() and 1 <= length <= MAX_SLOTS):
        raise InvalidInputError.of("horizon", f"a whole number of slots in [1, {MAX_SLOTS}]", horizon)
    tree, params, ours = SeedTree(config.seed), env.params(), cast(AdaptivePolicy, policy)
    static_net = None if static is None else _static_net(static, config)
    deployed, adapts = learner.test_time, inner_steps(learner)
    field = _Field(params, length, tree.evaluate, budget.seeds)
    progress("the learner")
    acting = Learned(ours, deployed)
    row = field.row("learner", "learner", deployed if adapts else "no inner steps", acting)
    costs = np.array(row.per_seed)
    warm = _warm_up(ours, env, tree, budget.seeds) if adapts else None
    variants = _variants(field, ours, warm, static_net, costs, progress)
    # As the training's lanes met them.
    training = [(tree.train + i % env.num_envs, i // env.num_envs) for i in range(budget.tuning)]
    causal = _causal(field, training, budget.share, costs, progress)
    scripted = [*causal, *_scripted(field, costs, progress)]
    progress("the clairvoyant rules")
    clairvoyant = _clairvoyant(field, costs)
    progress("the certified bound")
    bound = _bound(field, budget, row, clairvoyant[-1])
    progress("the control without drift")
    control = _control(field, ours, deployed, warm, static_net)
    return CachingEvaluation(
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
        inner_steps=adapts,
        parameters=ours.count_parameters(),
        learner=row,
        variants=variants,
        scripted=sorted(scripted, key=lambda entry: entry.cost.estimate),
        clairvoyant=clairvoyant,
        causal=min(causal, key=lambda entry: entry.cost.estimate).label,
        bound=bound,
        control=control,
        static_run=None if static is None else str(static),
        speed=_speed(field, ours, deployed, acting),
        tuning_episodes=budget.tuning,
        episode=record(Learned(ours, deployed), params, tree.evaluate, length),
    )


def score_caching(policy: Policy, config: TrainConfig) -> dict[str, float]:
    """Score a policy during training, on the outer seeds.

    Args:
        policy: the policy of the present weights.
        config: the run's configuration.

    Returns:
        ``score`` and ``cost`` (per slot: lower is better), ``loads`` per slot and ``local_ratio``.
    """
    env = config.env_as(CachingEnvConfig)
    field = _Field(env.params(), env.horizon, SeedTree(config.seed).outer, SCORE_EPISODES)
    totals = field.play(Learned(cast(AdaptivePolicy, policy), _settings(config).test_time))
    slots = SCORE_EPISODES * env.horizon
    cost, requests = float(totals[COST].sum() / slots), float(totals[REQUESTS].sum())
    local = float(totals[LOCAL].sum()) / requests if requests else 0.0
    return {"score": cost, "cost": cost, "loads": float(totals[LOADS].sum() / slots), "local_ratio": local}


def inner_steps(learner: T2DRLConfig) -> bool:
    """Whether a learner's policy adapts at test time."""
    adapting = learner.backbone in ("ttt", "pad") and learner.inner_rate > 0.0
    return adapting and learner.test_time != "frozen"


def _settings(config: TrainConfig) -> T2DRLConfig:
    assert isinstance(config.learner, T2DRLConfig)  # the only learner of the family
    return config.learner


def _static_net(folder: Path, config: TrainConfig) -> AdaptivePolicy:
    """The policy of a run without inner steps in the same system."""
    policy, other = load_policy(folder)
    same = {"num_envs"}
    if other.env.model_dump(exclude=same) != config.env.model_dump(exclude=same):
        raise InvalidInputError(f"static {folder}: must be a run in the same environment as the one evaluated")
    settings = _settings(other)
    if settings.backbone != "ttt" or settings.inner_rate > 0.0:
        raise InvalidInputError(f"static {folder}: must be a run with learner.backbone ttt and learner.eta_base 0")
    return cast(AdaptivePolicy, policy)


def _warm_up(policy: AdaptivePolicy, env: CachingEnvConfig, tree: SeedTree, rows: int) -> tuple[State, State]:
    """States after one episode of the training's distribution each: to hold the weights at, and to go on from."""
    field = _Field(env.params(), env.horizon, tree.outer + _WARM_UP, rows)
    field.play(Learned(policy, "episodic"))
    assert policy.state is not None
    return policy.hold(), policy.state


def _variants(
    field: _Field,
    policy: AdaptivePolicy,
    warm: tuple[State, State] | None,
    static_net: AdaptivePolicy | None,
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
    if static_net is not None:
        progress(f"“{STATIC_NET}”")
        rule = "same network, trained without inner steps"
        found.append(field.row(STATIC_NET, "static", rule, Learned(static_net, "frozen"), ours))
    return found


def _causal(
    field: _Field,
    training: list[tuple[int, int]],
    share: int,
    ours: NDArray[np.float64],
    progress: Callable[[str], None],
) -> list[Row]:
    """The density rules, tuned on training episodes."""
    found = []
    for name in GRIDS:
        progress(f"“{name}”, its numbers")
        rule, tried = tuned(field.params, name, training, field.horizon, share)
        found.append(field.row(name, "causal", rule, ScriptedPolicy(rule, field.params), ours, tried))
    return found


def _scripted(field: _Field, ours: NDArray[np.float64], progress: Callable[[str], None]) -> list[Row]:
    """The policies without free numbers, or with the numbers they come with."""
    found = []
    for name in SCRIPTED:
        progress(f"“{name}”")
        policy = ScriptedPolicy(name, field.params)
        rule = ":".join([name, *map("{:g}".format, policy.numbers)])
        found.append(field.row(name, "scripted", rule, policy, ours))
    return found


def _clairvoyant(field: _Field, ours: NDArray[np.float64]) -> list[Row]:
    """One set in hindsight, and the best look-ahead rule over these very episodes."""
    params, (rule, _) = field.params, best_lookahead(field.params, field.episodes, field.horizon)
    return [
        field.row(HINDSIGHT, "clairvoyant", "static", ScriptedPolicy("static", params), ours),
        field.row(LOOKAHEAD, "clairvoyant", rule, ScriptedPolicy(rule, params), ours, 2 * len(LOOKAHEAD_SLOTS)),
    ]


def _control(
    field: _Field,
    policy: AdaptivePolicy,
    deployed: str,
    warm: tuple[State, State] | None,
    static_net: AdaptivePolicy | None,
) -> list[Row]:
    """The same checkpoint where the popularity is never redrawn."""
    params = field.params
    if params.workload == "trace" or params.shift_every == 0:
        return []
    still = CachingParams(**params.model_dump() | {"shift_every": 0})
    control = _Field(still, field.horizon, field.first, field.count)
    row = control.row("learner", "learner", deployed, Learned(policy, deployed))
    return [row, *_variants(control, policy, warm, static_net, np.array(row.per_seed))]


def _bound(field: _Field, budget: Budget, learner: Row, lookahead: Row) -> Bound:
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


def _speed(field: _Field, policy: AdaptivePolicy, deployed: str, batch: Learned) -> Speed:
    single = Learned(policy, deployed)
    run_policy(field.params, single, field.episodes[:1], field.horizon)
    return Speed(single=round(single.milliseconds, 4), batch=round(batch.milliseconds, 5), batch_size=field.count)


def result_of(evaluation: CachingEvaluation) -> tuple[float, list[float]]:
    """The learner's cost per slot, and per episode."""
    return evaluation.learner.cost.estimate, evaluation.learner.per_seed


def repeat_of(evaluation: CachingEvaluation) -> dict[str, Any]:
    """The same episodes; what is around them is not needed to compare the learner's costs."""
    return {"seeds": evaluation.n_seeds, "horizon": evaluation.horizon, "budget": "smoke"}
