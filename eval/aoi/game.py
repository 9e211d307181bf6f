"""Evaluation of a game run: every device follows the learned policy.

Two horizons, both with both age estimators: episodes of the training horizon, as the papers report, and one long
stretch, whose start no longer counts. The first cycle of every device is left out, as its task is placed before anybody
is asked (the papers' estimator keeps it). All scripted baselines meet the same seeds. The Nash check is
`exploitability`.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.simulate import simulate
from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...train.environments import AoIEnvConfig
from ...train.run_folder import git_revision
from ..estimates import Estimate, estimate
from ..statistics import difference, relative_difference
from . import results
from .baselines import Contest, Rule, baselines
from .deviations import SCALES, Deviation, Job, PolicyArena
from .episodes import GAME_ID, queue_response, record_game, response, trace
from .exploitability import NashBudget, exploitability
from .metrics import Metrics, device_ages, measure, without_first_cycles
from .nash_results import ScriptedCheck
from .play import AFTER_START, everyone, first_completions, play
from .scores import reference, score

if TYPE_CHECKING:
    from ...envs.aoi_offload.params import AoIParams
    from ...train.config import TrainConfig
    from ...train.learners import Policy

_STRETCH = 1 << 17  # offset of the stretch's seeds within the evaluation's, beyond those of the episodes
_TUNING_SEEDS = 8
_LONG_TUNING = 2000.0  # seconds in which a rule leaves its start behind
_TRACE_SECONDS, _TRACE_AGES = 60.0, 12.0
_SCORE_SEEDS = 16
_SCORE_WORK = 15_000.0  # device-seconds of a lane while training is scored: more devices get shorter episodes
_QUICK = (
    *(Deviation("scaled", scale) for scale in SCALES),
    *(Deviation("fixed", wait) for wait in (0.0, 0.3, 1.0)),
)


@dataclass(frozen=True)
class GameBudget:
    """How much an evaluation of a game may spend.

    Attributes:
        seeds: episodes of one training horizon.
        stretch_seeds, stretch_horizon: seeds and length (s) of the long stretch.
        nash: of the learner's Nash check.
        references: of the same check for the scripted pair it is compared with.
    """

    seeds: int = 64
    stretch_seeds: int = 10
    stretch_horizon: float = 20_000.0
    nash: NashBudget = field(default_factory=NashBudget)
    references: NashBudget = field(default_factory=lambda: NashBudget(devices=3, horizon=4000.0, decisions=0))


BUDGETS = {
    "full": GameBudget(),
    "smoke": GameBudget(
        seeds=8,
        stretch_seeds=3,
        stretch_horizon=1000.0,
        nash=NashBudget(
            devices=2, screening_seeds=1, screening_horizon=100.0, seeds=4, horizon=400.0, decisions=16_384
        ),
        references=NashBudget(
            devices=1, screening_seeds=2, screening_horizon=100.0, seeds=4, horizon=400.0, decisions=0
        ),
    ),
}


def evaluate_game(
    policy: Policy,
    config: TrainConfig,
    *,
    budget: GameBudget | None = None,
    horizon: float | None = None,
    nash: bool = False,
    checkpoint: str = "",
    command: list[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> results.Evaluation:
    """Evaluate a policy that all devices follow.

    Args:
        policy: ``act(obs (n, 5 + N)) -> {"server", "wait"}``, greedy.
        config: names the physics, the objective and the run's seed.
        budget: seeds and horizons; None takes the full one.
        horizon: length of an episode, s; None takes the training horizon.
        nash: do the Nash check, too.
        checkpoint: name for the record.
        command: command line for the record.
        progress: told, in a few words, what is being computed.

    Raises:
        InvalidInputError: a number out of range, a horizon too short for every device to complete a task, or a Nash
            check of the synchronous game.
        MissingExtraError: the Nash check needs Stable-Baselines3.
    """
    started, env = time.monotonic(), config.env_as(AoIEnvConfig)
    if nash and env.sync_slot is not None:
        raise InvalidInputError("a Nash check needs asynchronous devices; those of this run share a clock (sync_slot)")
    budget, tell = budget or BUDGETS["full"], progress or (lambda text: None)
    length = env.horizon if horizon is None else float(horizon)
    _check(budget, length)
    params, tree, slot = env.params(), SeedTree(config.seed), env.sync_slot
    seeds = [tree.evaluate + lane for lane in range(budget.seeds)]
    far = [tree.evaluate + _STRETCH + lane for lane in range(budget.stretch_seeds)]
    bound = reference(GAME_ID, {"params": params, "objective": "team"})
    tell(f"the learner, {budget.seeds} episodes")
    ours = _measure(params, play(params, everyone(policy), seeds, length, sync_slot=slot), seeds, length)
    tell(f"the learner, {budget.stretch_seeds} × {budget.stretch_horizon:g} s")
    whole = play(params, everyone(policy), far, budget.stretch_horizon, sync_slot=slot)
    ours_far = _measure(params, whole, far, budget.stretch_horizon)
    learner = _game_score("learner", ("learned", "learned"), ours, ours_far)
    tuning = [tree.outer + lane for lane in range(_TUNING_SEEDS)]
    contests = (
        Contest(_runner(params), None, (tuning, min(length, env.horizon)), (seeds, length)),
        Contest(
            _runner(params), None, (tuning, min(_LONG_TUNING, budget.stretch_horizon)), (far, budget.stretch_horizon)
        ),
    )
    rows = _compare(params, contests, ours, ours_far, tell)
    stretch = min(max(_TRACE_SECONDS, _TRACE_AGES * learner.age.estimate), length)
    events = record_game(policy, params, stretch, seeds[0], slot)
    shown = sorted(rows, key=lambda row: row.age.estimate)
    pair = rows[0].label, rows[1].label
    game = results.Game(
        drop=drop_name(params),
        n_devices=params.n_devices,
        n_edges=params.n_edges,
        stretch_horizon=budget.stretch_horizon,
        stretch_seeds=budget.stretch_seeds,
        stretch_first_seed=far[0],
        equilibrium=pair[0],
        cooperative=pair[1],
        queue_response=queue_response(policy, params, events),
    )
    if nash:
        game = game.model_copy(update=_nash(policy, params, budget, config.seed, rows[:2], tell))
    return results.Evaluation(
        checkpoint=checkpoint,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command or [],
        git=git_revision(),
        seconds=round(time.monotonic() - started, 3),
        first_seed=seeds[0],
        n_seeds=budget.seeds,
        horizon=length,
        decision="staged",
        objective=env.objective,
        learner=learner,
        baselines=shown,
        zero_wait=next(row.label for row in shown if row.tuned == 1 and row.wait == "fixed:0"),
        best=shown[0].label,
        optimum=bound,
        gap=_gap(ours_far, bound),
        quadrature=None,
        trace=trace(events, stretch),
        response=response(_Device(policy), params, events, "staged", None),
        game=game,
    )


def drop_name(params: AoIParams) -> str:
    """The drop mode in words: what is behind its limit changes ages, too."""
    running = params.drop != "none" and params.drop_mean == "running"
    return params.drop + (" against running means" if running else "")


class _Device:
    """The game's policy as device 0 has it, on plain observations."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for a batch (n, 4 + N)."""
        return self._policy.act(np.insert(observation, 0, 0.0, axis=-1))


def _check(budget: GameBudget, horizon: float) -> None:
    for name, value in (("seeds", budget.seeds), ("stretch_seeds", budget.stretch_seeds)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65536:
            raise InvalidInputError.of(name, "an integer in [1, 65536]", value)
    for name, length in (("horizon", horizon), ("stretch_horizon", budget.stretch_horizon)):
        if not 0 < length <= 1e9:
            raise InvalidInputError.of(name, "in (0, 1e9] s", length)


def _game_score(label: str, rule: Rule, near: Metrics, far: Metrics, wait: str | None = None) -> results.Score:
    """One policy over episodes and over the stretch."""
    whole = far.summary()
    stretch = results.Stretch(
        mean_age=estimate([far.mean_age]),
        per_seed=[float(age) for age in far.mean_age],
        authors_age=estimate([far.authors_age]),
        worst_age=estimate([far.worst_age]),
        device_ages=[float(f"{age:.6g}") for age in far.device_age.mean(axis=0)],
        wait=wait,
        **{name: whole[name] for name in ("peak_age", "drop_rate", "mean_wait", "server_shares")},
    )
    update = {"authors": estimate([near.authors_age]), "worst_age": estimate([near.worst_age]), "stretch": stretch}
    return score(label, rule, near).model_copy(update=update)


def _measure(params: AoIParams, counters: dict[str, NDArray[Any]], seeds: list[int], horizon: float) -> Metrics:
    """Figures without the first cycles, whose tasks no policy places; the papers' estimator keeps them."""
    return measure(without_first_cycles(counters, first_completions(params, seeds, horizon)))


def _runner(params: AoIParams) -> Callable[[Rule, list[int], float], dict[str, NDArray[Any]]]:
    """How to run a rule for all devices."""

    def run(rule: Rule, seeds: list[int], horizon: float) -> dict[str, NDArray[Any]]:
        counters = simulate(params, *rule, horizon=horizon, seeds=seeds).statistics
        return without_first_cycles(counters, first_completions(params, seeds, horizon))

    return run


def _compare(
    params: AoIParams,
    contests: tuple[Contest, Contest],
    ours: Metrics,
    ours_far: Metrics,
    tell: Callable[[str], None],
) -> list[results.Score]:
    """Score every baseline on both horizons; free numbers are tuned for each, as the start weighs differently."""
    rows = []
    for baseline in baselines(params, whole=False):
        tell(f"“{baseline.label}”")
        rule, near = contests[0].best(baseline.rules)
        (_, wait), far = contests[1].best(baseline.rules)
        theirs, theirs_far = [ours.mean_age, near.mean_age], [ours_far.mean_age, far.mean_age]
        row = _game_score(baseline.label, rule, near, far, wait)
        assert row.stretch is not None
        compared = {
            "tuned": len(baseline.rules),
            "difference": estimate(theirs, difference),
            "relative": estimate(theirs, relative_difference),
            "stretch": row.stretch.model_copy(update={"relative": estimate(theirs_far, relative_difference)}),
        }
        rows.append(row.model_copy(update=compared))
    return rows


def _gap(ours: Metrics, bound: results.Reference) -> Estimate:
    """The learner's long-run age over the optimum's value, or its proven bound, minus 1."""
    target = bound.bound if bound.value is None else bound.value
    return estimate([ours.mean_age], lambda age, axis: np.mean(age, axis=axis) / target - 1.0)


def _nash(
    policy: Policy,
    params: AoIParams,
    budget: GameBudget,
    seed: int,
    pair: list[results.Score],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """The learner's Nash check, and that of the two scripted profiles that frame it."""
    found = exploitability(policy, params, budget=budget.nash, seed=seed, progress=tell)
    checks = []
    for row in pair:
        tell(f"deviations from “{row.label}”")
        scripted = exploitability((row.server, row.long_wait), params, budget=budget.references, seed=seed)
        checks.append(ScriptedCheck(label=row.label, mean=scripted.mean, maximum=scripted.maximum))
    return {"exploitability": found, "references": checks}


def score_game(policy: Policy, config: TrainConfig) -> dict[str, float]:
    """Score a game's policy during training, in a few seconds and on the seeds of the outer loop.

    A team wants a low mean age. Devices that are selfish want an equilibrium, whose mean age is *higher* than that of
    policies that are easily exploited: their score is what a few deviations gain at most, relative to the own age
    (their mean age, where they share a clock).

    Args:
        policy: the policy of the present weights.
        config: the run's configuration.

    Returns:
        ``score`` (lower is better) and ``mean_age``, s; for selfish devices also ``regret``.
    """
    env = config.env_as(AoIEnvConfig)
    params, first = env.params(), SeedTree(config.seed).outer
    length = min(env.horizon, _SCORE_WORK / params.n_devices)
    seeds = [first + lane for lane in range(_SCORE_SEEDS)]
    slot = env.sync_slot
    if env.objective == "team" or slot is not None:  # deviations are asynchronous
        counters = play(params, everyone(policy), seeds, length, sync_slot=slot)
        counted = without_first_cycles(counters, first_completions(params, seeds, length))
        age = float(device_ages(counted, length).mean())
        return {"score": age, "mean_age": age}
    options = [d for d in _QUICK if d.kind == "scaled" or d.number <= params.z_max]
    everybody, device = tuple(range(params.n_devices)), (0,)
    jobs = [Job(everybody, None), Job(device, None), *(Job(device, option) for option in options)]
    ages = PolicyArena(params, policy, finite=True).ages(jobs, seeds, length, AFTER_START).mean(axis=1)
    regret = max(float(1.0 - ages[2:].min() / ages[1]), 0.0)
    return {"score": regret, "mean_age": float(ages[0]), "regret": regret}


def with_seeds(budget: GameBudget, seeds: int | None) -> GameBudget:
    """The same budget with another number of episodes, where one is given."""
    return budget if seeds is None else replace(budget, seeds=seeds)
