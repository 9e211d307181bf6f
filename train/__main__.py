"""``python -m edgewise.train``: train from a config or continue a run, without evaluation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..envs.core.errors import EdgewiseError, InvalidInputError
from .config import load_config
from .config_io import packaged, parse_overrides, split_overrides
from .progress import make_progress
from .trainer import resume, train

_FLAGS = ("--out", "--overwrite", "--resume", "--help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and print the one sentence of an error.

    Args:
        arguments: the command line without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code: 0, 2 for bad input or a failed write, 130 when interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edgewise.train",
        description="Train from a config, or continue a run. Any field can be overridden: --env.n_devices 40 --seed 3. "
        "Checkpoints are not scored; `edgewise train` scores them and keeps the best.",
    )
    parser.add_argument("config", nargs="?", help=f"a YAML file, or one of {', '.join(packaged())}")
    parser.add_argument("--out", type=Path, help="the run folder to make (default: runs/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in that folder")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue this run bit for bit")
    try:
        own, assignments = split_overrides(list(sys.argv[1:] if arguments is None else arguments), _FLAGS)
        chosen = parser.parse_args(own)
        if chosen.resume is not None:
            if chosen.config or chosen.out or chosen.overwrite or assignments:
                raise InvalidInputError(
                    "--resume continues the configuration in RUN/run.json; give nothing else with it"
                )
            result = resume(chosen.resume, progress=make_progress())
        elif chosen.config is None:
            raise InvalidInputError(f"CONFIG is missing: a YAML file or one of {', '.join(packaged())}")
        else:
            config = load_config(chosen.config, parse_overrides(assignments))
            folder = chosen.out or Path("runs") / config.name
            result = train(config, folder, overwrite=chosen.overwrite, progress=make_progress())
    except EdgewiseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; continue with --resume RUN", file=sys.stderr)
        return 130
    print(f"{result.path}: {result.step} decisions, weights {result.weights_sha256[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
