"""Edge experts as a family of environments that `edgewise evaluate` knows."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...train.environments import ExpertsEnvConfig
from ...train.run_folder import git_revision
from ..study.checks import check_seeds
from .epochs import EPOCHS, compare_epochs, score_epochs
from .results import ExpertsEvaluation
from .routing import compare_routing, default_decisions, score_routing
from .selecting import compare_selections, score_selections

if TYPE_CHECKING:
    from ...train.config import TrainConfig
    from ...train.learners import Policy
    from ...train.run_folder import RunFolder
    from ..evaluate import Request

evaluation = ExpertsEvaluation
DRAWN_BUDGETS, EPISODES = 50, 64
"""Evaluated by default: budgets drawn beside the grid, or routed episodes."""
_SMOKE = 4
_SCORED_BUDGETS, _SCORED_EPISODES = 32, 16
_MOST_SEEDS, _MOST_DECISIONS = 65_536, 10**6


def check(config: TrainConfig, request: Request) -> None:
    """Refuse what the family does not have, and numbers out of range."""
    env, seeds, horizon = config.env_as(ExpertsEnvConfig), request.seeds, request.horizon
    if request.static is not None:
        raise InvalidInputError("--static is for runs of the family model_caching")
    if request.nash:
        raise InvalidInputError("--exploitability needs a game, in which all devices learn; here one router does")
    check_seeds(seeds, _MOST_SEEDS)
    if horizon is not None and env.selects:
        raise InvalidInputError("horizon: selections end by themselves; leave it out")
    if horizon is not None and not (1 <= horizon <= _MOST_DECISIONS and float(horizon).is_integer()):
        what = "epochs" if env.mode == "epochs" else "prompts"
        raise InvalidInputError.of("horizon", f"a whole number of {what} in [1, {_MOST_DECISIONS}]", horizon)


def evaluate(policy: Policy, config: TrainConfig, request: Request) -> ExpertsEvaluation:
    """Evaluate beside the scripted policies and the certified optimum or bound."""
    started, env = time.monotonic(), config.env_as(ExpertsEnvConfig)
    first = SeedTree(config.seed).evaluate
    usual = DRAWN_BUDGETS if env.selects else EPISODES
    seeds = request.seeds or (_SMOKE if request.budget == "smoke" else usual)
    if env.selects:
        request.progress("selections under every pair of budgets")
        decisions = 0
        parts = compare_selections(policy, env, first, seeds)
    elif env.mode == "epochs":
        request.progress("selections for every epoch")
        decisions = int(request.horizon or env.horizon or EPOCHS)
        parts = compare_epochs(policy, env, first, seeds, decisions)
    else:
        request.progress("routed prompts")
        decisions = default_decisions(env) if request.horizon is None else int(request.horizon)
        parts = compare_routing(policy, env, first, seeds, decisions)
    instance = parts.pop("instance")
    others = sorted(parts.pop("others"), key=lambda row: -row.value.estimate)
    return ExpertsEvaluation(
        checkpoint=request.checkpoint,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=request.command,
        git=git_revision(),
        seconds=round(time.monotonic() - started, 3),
        first_seed=first,
        n_seeds=seeds,
        horizon=float(decisions or instance.n),
        mode=env.mode,
        objective=env.params().objective,
        instance=instance.source or env.instance,
        experts=[expert.id for expert in instance.experts],
        categories=list(instance.categories),
        others=others,
        **parts,
    )


def with_earlier(folder: Path, evaluation: ExpertsEvaluation) -> ExpertsEvaluation:
    """Keep nothing: an evaluation here is always complete."""
    return evaluation


def repeat(stored: ExpertsEvaluation) -> dict[str, Any]:
    """The same seeds and number of prompts or epochs."""
    return {"seeds": stored.n_seeds, "horizon": None if stored.mode == "select" else stored.horizon}


def result(evaluation: ExpertsEvaluation) -> tuple[float, list[float]]:
    """Mean value, and per budget or episode."""
    return evaluation.learner.value.estimate, evaluation.learner.per_seed


def score(policy: Policy, config: TrainConfig) -> dict[str, float]:
    """Mean regret on drawn budgets, or the negated value; on seeds that evaluations do not use."""
    env, first = config.env_as(ExpertsEnvConfig), SeedTree(config.seed).outer
    if env.selects:
        return score_selections(policy, env, first, _SCORED_BUDGETS)
    if env.mode == "epochs":
        return score_epochs(policy, env, first, _SCORED_EPISODES)
    return score_routing(policy, env, first, _SCORED_EPISODES)


def show(evaluation: ExpertsEvaluation, console: Any) -> None:
    """Print the comparison and the verdict."""
    from .terminal import print_evaluation

    print_evaluation(evaluation, console)


def page(run: RunFolder, evaluation: ExpertsEvaluation, rows: list[dict[str, Any]]) -> str:
    """The report."""
    from .report import render

    return render(run, evaluation, rows)
