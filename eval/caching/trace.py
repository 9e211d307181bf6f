"""One pass over the test half of a trace, by a policy that was trained on the other half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import SeedTree
from ...envs.model_caching.trace_split import TraceSplit
from ...train import atomic
from ...train.environments import CachingEnvConfig
from ...train.run_folder import load_policy
from .evaluation import Budget
from .field import Field
from .learned import AdaptivePolicy
from .opponents import meet, static_net, training_episodes
from .results import TraceEvaluation

FILE_NAME = "trace.json"
BLOCK = 50
"""Slots that are resampled together: costs of successive slots depend on each other."""


def evaluate_trace(
    run: Path,
    split: TraceSplit,
    budget: Budget,
    *,
    static: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> TraceEvaluation:
    """Let the learner and all it is held against pass once over the test half, and write ``trace.json``.

    The density rules are tuned on training episodes, of the training half.

    Args:
        run: folder of a run whose environment has ``split.fields("train")``.
        split: of the trace.
        budget: effort for the tuning.
        static: folder of a run of the same system whose network was trained without inner steps; None: there is none.
        progress: told, in a few words, what is being computed.

    Raises:
        InvalidInputError: the run was not trained on the training half, or `static` is a run of another kind.
        CheckpointError: a folder holds no run, or no checkpoint.
    """
    policy, config = load_policy(run)
    if config.env_as(CachingEnvConfig).params() != split.train:
        raise InvalidInputError(f"{run}: was not trained on the training half of this trace")
    other = None if static is None else static_net(static, config)
    field = Field(split.test, float(split.slots), SeedTree(config.seed).evaluate, 1, min(BLOCK, split.slots))
    training = training_episodes(config, budget.tuning)
    found = meet(field, cast(AdaptivePolicy, policy), config, training, budget.share, other, progress)
    evaluation = TraceEvaluation(**dict(found), split=str(split), slots=split.slots, block=field.block)
    atomic.write_json(run / FILE_NAME, evaluation.model_dump(mode="json"))
    return evaluation
