"""Entry point of the `edgewise` command: parse, call, print the one sentence of an error, set the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..envs.core.errors import EdgewiseError

TRAIN_FLAGS = ("--out", "--overwrite", "--resume", "--set", "--help")
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code: 0, 1 for a failed verification, 2 for bad input or a failed write, 130 when interrupted.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from .commands import make_app

        if tokens[:1] == ["train"]:
            from ..train.config_io import split_overrides

            own, assignments = split_overrides(tokens[1:], TRAIN_FLAGS)
            tokens = ["train", *own, *(["--set", *assignments] if assignments else [])]
        code = make_app().cli(prog="edgewise", args=tokens)
        return int(code or 0)
    except EdgewiseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; a training run continues with: edgewise train --resume RUN", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`edgewise ... | head`): not an error, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
