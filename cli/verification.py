"""The evaluation's part of `edgewise verify`."""

from __future__ import annotations

from pathlib import Path

from ..eval import results
from ..eval.evaluate import evaluate_run
from ..eval.game import GameBudget
from ..train.verify import Check


def verify_evaluation(run: Path) -> list[Check]:
    """Compute a stored evaluation again, on the same seeds; nothing if the run was not evaluated.

    Raises:
        CheckpointError: the evaluation or the checkpoint it names is damaged or gone.
    """
    if not (run / results.FILE_NAME).exists():
        return []
    stored = results.read(run)
    step = int(stored.checkpoint.removeprefix("step_"))
    budget = None
    if stored.game is not None:
        budget = GameBudget(stretch_seeds=stored.game.stretch_seeds, stretch_horizon=stored.game.stretch_horizon)
    again = evaluate_run(
        run, seeds=stored.n_seeds, horizon=stored.horizon, checkpoint=step, budget=budget, command=[], write=False
    )
    detail = f"recorded {stored.age!r} s, found {again.age!r} s"
    same = stored.age == again.age and stored.learner.per_seed == again.learner.per_seed
    return [Check(f"evaluating {stored.checkpoint} again gives the reported age", same, detail)]
