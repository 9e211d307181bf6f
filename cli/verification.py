"""The evaluation's part of `edgewise verify`."""

from __future__ import annotations

from pathlib import Path

from ..envs.core.errors import CheckpointError
from ..eval import families, results
from ..eval.evaluate import evaluate_run
from ..train.run_folder import open_run
from ..train.verify import Check


def verify_evaluation(run: Path) -> list[Check]:
    """Compute a stored evaluation again, on the same seeds; nothing if the run was not evaluated.

    Raises:
        CheckpointError: the evaluation or the checkpoint it names is damaged.
    """
    if not (run / results.FILE_NAME).exists():
        return []
    family = families.of(open_run(run).config)
    stored = results.read_as(family.evaluation, run)
    try:
        results.check_checkpoint(open_run(run), stored.checkpoint)
    except CheckpointError as error:
        return [Check(f"{stored.checkpoint}, which was evaluated, can be evaluated again", False, str(error))]
    step = int(stored.checkpoint.removeprefix("step_"))
    again = evaluate_run(run, checkpoint=step, command=[], write=False, **family.repeat(stored))
    (recorded, each), (found, each_found) = family.result(stored), family.result(again)
    same = recorded == found and each == each_found
    return [
        Check(
            f"evaluating {stored.checkpoint} again gives the reported result",
            same,
            f"recorded {recorded!r}, found {found!r}",
        )
    ]
