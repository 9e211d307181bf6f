"""Model caching as a family of environments that `edgewise evaluate` knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.core.errors import InvalidInputError
from ..study.checks import check_seeds
from .evaluation import BUDGETS, evaluate_caching, repeat_of, result_of, score_caching
from .results import CachingEvaluation

if TYPE_CHECKING:
    from ...train.config import TrainConfig
    from ...train.learners import Policy
    from ...train.run_folder import RunFolder
    from ..evaluate import Request

evaluation = CachingEvaluation
repeat, result, score = repeat_of, result_of, score_caching
_MOST_SEEDS = 65_536


def check(config: TrainConfig, request: Request) -> None:
    """Refuse what only a game has, and a number of episodes out of range."""
    if request.nash:
        raise InvalidInputError("--exploitability needs a game, in which all devices learn; here one server does")
    check_seeds(request.seeds, _MOST_SEEDS)


def evaluate(policy: Policy, config: TrainConfig, request: Request) -> CachingEvaluation:
    """Evaluate beside test-time variants, scripted policies, clairvoyant rules and the bound."""
    budget = BUDGETS[request.budget]
    return evaluate_caching(
        policy,
        config,
        budget=budget if request.seeds is None else replace(budget, seeds=request.seeds),
        horizon=request.horizon,
        static=request.static,
        checkpoint=request.checkpoint,
        command=request.command,
        progress=request.progress,
    )


def with_earlier(folder: Path, evaluation: CachingEvaluation) -> CachingEvaluation:
    """Keep nothing: an evaluation here is always complete."""
    return evaluation


def show(evaluation: CachingEvaluation, console: Any) -> None:
    """Print the comparison and the verdict."""
    from .terminal import print_evaluation

    print_evaluation(evaluation, console)


def page(run: RunFolder, evaluation: CachingEvaluation, rows: list[dict[str, Any]]) -> str:
    """The report."""
    from .page import render

    return render(run, evaluation, rows)
