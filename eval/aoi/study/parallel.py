"""Cells on several processors: one Ray task per cell, on this machine or on a running cluster.

The only module outside the RLlib plug that imports Ray. All machines of a cluster must see the study's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError

from ....agents.config import ClusterConfig
from ....agents.rllib.cluster import ClusterError, ClusterSession
from ....envs.core.errors import EdgewiseError
from .cells import run_cell
from .plan import Cell


def run_cells(
    cells: Sequence[Cell], out: Path, command: list[str], *, workers: int, address: str | None = None
) -> Iterator[Cell]:
    """Run cells at the same time and yield each when it is finished.

    Args:
        cells: what to run, in the order in which they are started.
        out: folder of the study.
        command: the command line for the record.
        workers: processes of a local Ray.
        address: HOST:PORT of a running cluster, or ``auto``; its size decides how many cells run at once.

    Raises:
        ClusterError: Ray does not start, the cluster is not reached, or a worker died.
        EdgewiseError: what a cell raised; the cells that ran beside it continue with the next call.
    """
    where = ClusterConfig(address=address) if address else ClusterConfig(num_env_runners=workers)
    with ClusterSession(where):
        task = ray.remote(num_cpus=1, max_retries=1)(_run)
        waiting = {task.remote(cell, str(out.resolve()), command): cell for cell in cells}
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                cell = waiting.pop(done)
                _result(done, cell)
                yield cell
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


def _run(cell: Cell, out: str, command: list[str]) -> None:
    run_cell(cell, Path(out), command=command)


def _result(reference: ray.ObjectRef[None], cell: Cell) -> None:
    """Pass on how a task ended."""
    try:
        ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, EdgewiseError):
            raise error.cause from None
        raise
    except RayError as error:
        raise ClusterError(f"{cell.name}: its worker died: {' '.join(str(error).split())[:300]}") from None
