"""Age-minimal offloading as a family of environments that `edgewise evaluate` knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.core.errors import EdgewiseError, InvalidInputError
from ...train.environments import AoIEnvConfig
from . import results
from .device import DEFAULT_SEEDS, evaluate_device, score_device
from .game import BUDGETS, GameBudget, evaluate_game, score_game, with_seeds
from .results import Evaluation

if TYPE_CHECKING:
    from ...train.config import TrainConfig
    from ...train.learners import Policy
    from ...train.run_folder import RunFolder
    from ..evaluate import Request

evaluation = Evaluation
_SMOKE_SEEDS = 4


def check(config: TrainConfig, request: Request) -> None:
    """Refuse a Nash check of a single learner, and what is for model caching."""
    if request.static is not None:
        raise InvalidInputError("--static is for runs of the family model_caching")
    if request.nash and not config.env_as(AoIEnvConfig).is_game:
        raise InvalidInputError("--exploitability needs a game, in which all devices learn; this run has one learner")


def evaluate(policy: Policy, config: TrainConfig, request: Request) -> Evaluation:
    """Evaluate one device's policy or a game's."""
    common: dict[str, Any] = {
        "horizon": request.horizon,
        "checkpoint": request.checkpoint,
        "command": request.command,
        "progress": request.progress,
    }
    if config.env_as(AoIEnvConfig).is_game:
        budget = with_seeds(request.game or BUDGETS[request.budget], request.seeds)
        return evaluate_game(policy, config, budget=budget, nash=request.nash, **common)
    usual = _SMOKE_SEEDS if request.budget == "smoke" else DEFAULT_SEEDS
    return evaluate_device(policy, config, seeds=usual if request.seeds is None else request.seeds, **common)


def with_earlier(folder: Path, evaluation: Evaluation) -> Evaluation:
    """Keep the Nash check of an earlier evaluation of the same checkpoint where the new one has none."""
    if evaluation.game is None or evaluation.game.exploitability is not None:
        return evaluation
    try:
        earlier = results.read(folder)
    except EdgewiseError:
        return evaluation
    if earlier.game is None or earlier.checkpoint != evaluation.checkpoint:
        return evaluation
    kept = {"exploitability": earlier.game.exploitability, "references": earlier.game.references}
    return evaluation.model_copy(update={"game": evaluation.game.model_copy(update=kept)})


def repeat(stored: Evaluation) -> dict[str, Any]:
    """The same seeds and horizons."""
    game = None
    if stored.game is not None:
        game = GameBudget(stretch_seeds=stored.game.stretch_seeds, stretch_horizon=stored.game.stretch_horizon)
    return {"seeds": stored.n_seeds, "horizon": stored.horizon, "game": game}


def result(evaluation: Evaluation) -> tuple[float, list[float]]:
    """Mean age in seconds, and per seed."""
    return evaluation.age, evaluation.learner.per_seed


def score(policy: Policy, config: TrainConfig) -> dict[str, float]:
    """Mean age, or what a few deviations gain among selfish devices; see `score_device` and `score_game`."""
    is_game = config.env_as(AoIEnvConfig).is_game
    return score_game(policy, config) if is_game else score_device(policy, config)


def show(evaluation: Evaluation, console: Any) -> None:
    """Print the comparison with every baseline and the verdict."""
    from .terminal import print_evaluation

    print_evaluation(evaluation, console)


def page(run: RunFolder, evaluation: Evaluation, rows: list[dict[str, Any]]) -> str:
    """The report."""
    from .report import render

    return render(run, evaluation, rows)
