"""Evaluation of one learning device against every scripted baseline and against the certified optimum.

All policies meet the same evaluation seeds, hence the same service draws; differences are taken per seed. Baselines
with a free number are tuned on other seeds. Evaluation seeds are disjoint from those of training and of the outer loop.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.optimum import UpdateOrWait
from ...envs.aoi_offload.policies import ScriptedPolicy
from ...envs.aoi_offload.simulate import simulate
from ...envs.aoi_offload.state import JOINT, UPDATE
from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...train.environments import AoIEnvConfig
from ...train.run_folder import git_revision
from ..estimates import estimate
from ..statistics import difference, relative_difference
from . import results
from .baselines import Contest, Rule, Runner, baselines
from .episodes import can_record_all, observations, record, record_all, response, run_policy, trace
from .metrics import Metrics, device_ages, measure
from .scores import reference, score

if TYPE_CHECKING:
    from ...envs.aoi_offload.params import AoIParams
    from ...train.config import TrainConfig
    from ...train.learners import Policy

DEFAULT_SEEDS = 64
HORIZON_FACTOR = 4.0
"""The default evaluation episode is this many training episodes long, so that its start weighs little."""
TUNING_SEEDS = 8
TRACE_SECONDS, TRACE_AGES = 60.0, 12.0
"""The shown episode lasts 60 s, or 12 mean ages where that is longer, but no longer than a training episode."""
QUADRATURE_NODES = 1 << 16
_LEARNER = 0  # the learning device


def evaluate_device(
    policy: Policy,
    config: TrainConfig,
    *,
    seeds: int = DEFAULT_SEEDS,
    horizon: float | None = None,
    checkpoint: str = "",
    command: list[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> results.Evaluation:
    """Evaluate any policy of one learning device in the environment of a training configuration.

    Args:
        policy: ``act(obs (n, 4 + N)) -> {"server", "wait"}``.
        config: names the environment and the run's seed.
        seeds: number of evaluation seeds.
        horizon: length of an episode, s; None takes four training horizons.
        checkpoint: name for the record.
        command: command line for the record.
        progress: told, in a few words, what is being computed.

    Raises:
        InvalidInputError: `seeds` or `horizon` out of range, or the horizon too short for one completed task.
    """
    started, env = time.monotonic(), config.env_as(AoIEnvConfig)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= 65536:
        raise InvalidInputError.of("seeds", "an integer in [1, 65536]", seeds)
    length = HORIZON_FACTOR * env.horizon if horizon is None else float(horizon)
    if not 0 < length <= 1e9:
        raise InvalidInputError.of("horizon", "in (0, 1e9] s", horizon)
    tell = progress or _silent
    tell("the optimum")
    tree, params, kwargs = SeedTree(config.seed), env.params(), env.kwargs()
    eval_seeds = [tree.evaluate + lane for lane in range(seeds)]
    optimum = reference(env.id, kwargs)
    tell("the learner")
    ours = measure(run_policy(policy, env.id, kwargs | {"horizon": length}, eval_seeds), counted(kwargs))
    learner = score("learner", ("learned", "learned"), ours)
    rows = _compare(params, kwargs, env.id, ours, eval_seeds, tree.outer, length, optimum.threshold, tell)
    stretch = min(max(TRACE_SECONDS, TRACE_AGES * learner.mean_age.estimate), env.horizon)
    events = record(policy, env.id, kwargs, eval_seeds[0])
    everyone = events
    if can_record_all(params, kwargs):
        everyone = record_all(policy, params, kwargs | {"horizon": stretch}, eval_seeds[0])
    target = optimum.bound if optimum.value is None else optimum.value
    shown = sorted(rows, key=lambda row: row.mean_age.estimate)
    return results.Evaluation(
        checkpoint=checkpoint,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command or [],
        git=git_revision(),
        seconds=round(time.monotonic() - started, 3),
        first_seed=eval_seeds[0],
        n_seeds=seeds,
        horizon=length,
        decision=env.decision,
        objective=env.objective,
        learner=learner,
        baselines=shown,
        zero_wait=next(row.label for row in shown if row.tuned == 1 and row.wait == "fixed:0"),
        best=shown[0].label,
        optimum=optimum,
        gap=estimate([ours.mean_age], lambda age, axis: np.mean(age, axis=axis) / target - 1.0),
        quadrature=_quadrature(policy, params, env.decision, target),
        trace=trace(everyone, stretch),
        response=response(policy, params, events, env.decision, optimum.threshold),
    )


def score_device(policy: Policy, config: TrainConfig, *, seeds: int = 16) -> dict[str, float]:
    """Score a policy of one learning device during training, on the seeds of the outer loop.

    Args:
        policy: the policy of the present weights.
        config: the run's configuration.
        seeds: number of episodes, each of one training horizon; unused for a lone device, which is integrated exactly.

    Returns:
        ``score`` and ``mean_age``, s: lower is better.
    """
    env = config.env_as(AoIEnvConfig)
    exact = _quadrature(policy, env.params(), env.decision, None)
    if exact is not None:
        return {"score": exact.mean_age, "mean_age": exact.mean_age}
    first = SeedTree(config.seed).outer
    counters = run_policy(policy, env.id, env.kwargs(), [first + lane for lane in range(seeds)])
    devices = counted(env.kwargs())
    age = float(device_ages(counters, env.horizon)[:, slice(None) if devices is None else devices].mean())
    return {"score": age, "mean_age": age}


def _silent(text: str) -> None:
    """Report nothing."""


def counted(kwargs: dict[str, Any]) -> list[int] | None:
    """The devices whose age the objective counts: the learning one, or all (None) for a team."""
    return None if kwargs["objective"] == "team" else [_LEARNER]


def _quadrature(policy: Policy, params: AoIParams, decision: str, target: float | None) -> results.Quadrature | None:
    """Integrate the learned wait over the service law: exact where the device has one processor and no company."""
    if params.n_devices > 1 or params.n_edges > 0:
        return None
    scale = float(params.scales()[0, 0])
    problem = UpdateOrWait.parse(params.service, scale, params.drop, params.z_max)

    def wait(delay: NDArray[np.float64]) -> NDArray[np.float64]:
        obs = observations(JOINT if decision == "joint" else UPDATE, delay, delay, 0.0, np.zeros((1, 0)))
        return np.asarray(policy.act(obs)["wait"], dtype=np.float64)

    age = float(problem.rule(wait, QUADRATURE_NODES))
    return results.Quadrature(mean_age=age, gap=None if target is None else age / target - 1.0, nodes=QUADRATURE_NODES)


def _runner(params: AoIParams, kwargs: dict[str, Any], env_id: str) -> Runner:
    """How to run a rule on the learning device: compiled, or through the environment for joint decisions."""
    if kwargs["decision"] == "staged":

        def compiled(rule: Rule, seeds: list[int], horizon: float) -> dict[str, NDArray[Any]]:
            background = (kwargs["background"], kwargs["background_wait"])
            return simulate(params, *background, horizon=horizon, seeds=seeds, deviator=(_LEARNER, *rule)).statistics

        return compiled

    def stepped(rule: Rule, seeds: list[int], horizon: float) -> dict[str, NDArray[Any]]:
        policy = ScriptedPolicy(*rule, params=params, seed=seeds[0] % 2**32)
        return run_policy(policy, env_id, kwargs | {"horizon": horizon}, seeds)

    return stepped


def _compare(
    params: AoIParams,
    kwargs: dict[str, Any],
    env_id: str,
    ours: Metrics,
    eval_seeds: list[int],
    first_tuning_seed: int,
    horizon: float,
    threshold: float | None,
    tell: Callable[[str], None],
) -> list[results.Score]:
    """Score every baseline on the evaluation seeds; the free numbers are chosen on the tuning seeds."""
    tuning = [first_tuning_seed + lane for lane in range(TUNING_SEEDS)]
    contest = Contest(
        _runner(params, kwargs, env_id),
        counted(kwargs),
        (tuning, min(horizon, kwargs["horizon"])),
        (eval_seeds, horizon),
    )
    rows = []
    for baseline in baselines(params, threshold):
        tell(f"“{baseline.label}”")
        rule, theirs = contest.best(baseline.rules)
        pair = [ours.mean_age, theirs.mean_age]
        compared = {
            "tuned": len(baseline.rules),
            "difference": estimate(pair, difference),
            "relative": estimate(pair, relative_difference),
        }
        rows.append(score(baseline.label, rule, theirs).model_copy(update=compared))
    return rows
