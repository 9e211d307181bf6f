"""``python -m edgewise.eval RUN``: evaluate a run, print the table, write the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..envs.core.errors import EdgewiseError


def evaluate(
    run_dir: Path,
    *,
    seeds: int | None = None,
    horizon: float | None = None,
    checkpoint: str = "best",
    nash: bool = False,
    budget: Literal["full", "smoke"] = "full",
    static: Path | None = None,
    command: list[str] | None = None,
) -> Path:
    """Evaluate a run, print the comparison, write ``evaluation.json`` and ``report.html``.

    Args:
        run_dir: the run folder.
        seeds: number of evaluation seeds; None takes the default.
        horizon: length of an evaluation episode, in the environment's unit of time; None takes the default.
        checkpoint: ``best``, ``last`` or a step.
        nash: of a game: do the Nash check, too.
        budget: ``full``, or ``smoke`` for figures that mean little.
        static: of model caching: the run of the network trained without inner steps, to compare with.
        command: command line for the record; None takes ``sys.argv``.

    Returns:
        Path of the report.

    Raises:
        EdgewiseError: anything the user can mend; the message is one sentence.
    """
    from ..train.run_folder import open_run
    from .console import stdout_console
    from .evaluate import evaluate_run, parse_checkpoint
    from .families import of
    from .report import require_drawing, write_report
    from .terminal import status

    require_drawing()
    with status() as progress:
        evaluation = evaluate_run(
            run_dir,
            seeds=seeds,
            horizon=horizon,
            checkpoint=parse_checkpoint(checkpoint),
            nash=nash,
            budget=budget,
            static=static,
            command=command,
            progress=progress,
        )
    run = open_run(run_dir)
    of(run.config).show(evaluation, stdout_console())
    path = write_report(run_dir)
    print(f"report: {path}")
    if "result" not in run.record:
        print(f"note: the training is not finished; this is {evaluation.checkpoint}")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code: 0, or 2 for bad input or a failed write.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edgewise.eval", description="Evaluate a run, print the table, write the report."
    )
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--seeds", type=int, help="number of evaluation seeds")
    parser.add_argument("--horizon", type=float, help="seconds per seed (default: four training horizons; a game: one)")
    parser.add_argument("--checkpoint", default="best", help="best, last or a step")
    parser.add_argument("--exploitability", action="store_true", help="of a game: what a device gains by deviating")
    parser.add_argument("--budget", default="full", help="full, or smoke for figures that mean little")
    parser.add_argument(
        "--static", type=Path, help="of model caching: a run trained without inner steps, to compare with"
    )
    parser.add_argument("--report-only", action="store_true", help="draw the report again from the stored evaluation")
    options = parser.parse_args(arguments)
    try:
        if options.report_only:
            from .report import redraw_report

            print(f"report: {redraw_report(options.run)}")
        else:
            evaluate(
                options.run,
                seeds=options.seeds,
                horizon=options.horizon,
                checkpoint=options.checkpoint,
                nash=options.exploitability,
                budget=options.budget,
                static=options.static,
            )
    except EdgewiseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
