"""Evaluation of a trained run of any family, and the score of a checkpoint during training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..envs.core.errors import InvalidInputError
from ..train.run_folder import load_policy, open_run
from . import families, results

if TYPE_CHECKING:
    from ..train.config import TrainConfig
    from ..train.learners import Policy
    from .aoi.game import GameBudget


@dataclass(frozen=True)
class Request:
    """What is asked of an evaluation.

    Attributes:
        seeds: number of evaluation seeds, one episode each; None takes the default.
        horizon: length of an episode, in the environment's unit of time; None takes the default.
        nash: of a game: how much could a device gain by leaving the learned policy?
        budget: ``full``, or ``smoke``: does it run?
        game: seeds and horizons of a game's evaluation; None takes those of the budget.
        static: of model caching: the run of the network trained without inner steps, to compare with.
        checkpoint: name of the checkpoint, for the record.
        command: the command line, for the record.
        progress: told, in a few words, what is being computed.
    """

    seeds: int | None = None
    horizon: float | None = None
    nash: bool = False
    budget: Literal["full", "smoke"] = "full"
    game: GameBudget | None = None
    static: Path | None = None
    checkpoint: str = ""
    command: list[str] = field(default_factory=list)
    progress: Callable[[str], None] = lambda text: None


def evaluate_run(
    run_dir: str | Path,
    *,
    seeds: int | None = None,
    horizon: float | None = None,
    checkpoint: Literal["best", "last"] | int = "best",
    nash: bool = False,
    budget: Literal["full", "smoke"] = "full",
    game: GameBudget | None = None,
    static: Path | None = None,
    command: list[str] | None = None,
    write: bool = True,
    progress: Callable[[str], None] | None = None,
) -> results.AnyEvaluation:
    """Evaluate a run's policy and write ``evaluation.json`` into its folder.

    Args:
        run_dir: the run folder.
        seeds: number of evaluation seeds, one episode each; None takes the family's default.
        horizon: length of an episode, in the environment's unit of time; None takes the family's default.
        checkpoint: ``"best"``, ``"last"`` or a step.
        nash: of a game: how much could a device gain by leaving the learned policy? An earlier check of the same
            checkpoint is kept where none is asked for.
        budget: ``full``, or ``smoke`` for figures that mean little.
        game: seeds and horizons of a game's evaluation instead of the budget's.
        static: of model caching: the run of the network trained without inner steps, to compare with.
        command: the command line for the record; None takes ``sys.argv``.
        write: store the result in the run folder.
        progress: told, in a few words, what is being computed.

    Raises:
        CheckpointError: no run folder, no such checkpoint, or a corrupt or foreign one.
        InvalidInputError: a number out of range, or something is asked for that the family does not have.
        StorageError: the result could not be written.
    """
    if budget not in ("full", "smoke"):
        raise InvalidInputError.of("budget", "full or smoke", budget)
    run = open_run(run_dir)
    family = families.of(run.config)
    request = Request(
        seeds=seeds,
        horizon=horizon,
        nash=nash,
        budget=budget,
        game=game,
        static=static,
        command=sys.argv if command is None else command,
        progress=progress or (lambda text: None),
    )
    family.check(run.config, request)
    request = replace(request, checkpoint=run.checkpoint(checkpoint).name)
    policy, config = load_policy(run_dir, checkpoint)
    evaluation = family.evaluate(policy, config, request)
    if write:
        evaluation = family.with_earlier(run.path, evaluation)
        results.write(run.path, evaluation)
    return evaluation


def score_checkpoint(policy: Policy, config: TrainConfig) -> dict[str, float]:
    """Score a policy during training; the command line passes this to the trainer.

    Args:
        policy: the policy of the present weights.
        config: the run's configuration.

    Returns:
        ``score``, lower is better, and more by family.
    """
    return families.of(config).score(policy, config)


def parse_checkpoint(text: str) -> Literal["best", "last"] | int:
    """Read ``best``, ``last`` or a step.

    Raises:
        InvalidInputError: it is none of these.
    """
    if text == "best" or text == "last":
        return "best" if text == "best" else "last"
    if text.isascii() and text.isdigit():
        return int(text)
    raise InvalidInputError.of("checkpoint", "best, last or a step", text)
