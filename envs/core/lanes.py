"""What vector environments have in common: seeds of lanes, partial resets, the autoreset mode."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from .errors import InvalidInputError, UnknownArgumentError

SEED_LIMIT = 1 << 64


def check_seed(seed: Any) -> int:
    """A lane's seed.

    Raises:
        InvalidInputError: not an integer in [0, 2^64).
    """
    try:
        value = operator.index(seed)
    except TypeError:
        raise InvalidInputError.of("seed", "an integer in [0, 2^64)", seed) from None
    if not 0 <= value < SEED_LIMIT:
        raise InvalidInputError.of("seed", "an integer in [0, 2^64)", seed)
    return value


def lane_seeds(seed: Any, lanes: int) -> NDArray[np.uint64]:
    """Seeds of all lanes, uint64 (lanes,): seed + i from one integer, or a list's own.

    Raises:
        InvalidInputError: a seed is not an integer in [0, 2^64), or the list has another length.
    """
    if np.ndim(seed) == 0:
        first = check_seed(seed)
        return np.array([(first + i) % SEED_LIMIT for i in range(lanes)], np.uint64)
    if len(seed) != lanes:
        raise InvalidInputError.of("seed", f"one integer or a list of {lanes}", f"{len(seed)} seeds")
    return np.array([check_seed(s) for s in seed], np.uint64)


def check_draws_nothing(render_mode: Any) -> None:
    """Refuse a render mode as a keyword that is not taken: Stable-Baselines3 then makes the environment without one.

    Raises:
        UnknownArgumentError: it is not None.
    """
    if render_mode is not None:
        raise UnknownArgumentError(f"unexpected keyword argument 'render_mode': it must be None, got {render_mode!r}")


def check_options(options: dict[str, Any] | None, known: Iterable[str]) -> None:
    """Refuse options of `reset` that would change nothing.

    Raises:
        InvalidInputError: an option is unknown.
    """
    unknown = set(options or ()) - set(known)
    if unknown:
        allowed = ", ".join(sorted(known)) or "empty: this environment has none"
        raise InvalidInputError.of("options", allowed, ", ".join(sorted(map(str, unknown))))


def reset_mask(options: dict[str, Any] | None, lanes: int) -> NDArray[np.bool_]:
    """The lanes to reset, bool (lanes,): those of ``options["reset_mask"]``, or all.

    Raises:
        InvalidInputError: the mask has another shape or type, or selects no lane.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(lanes, bool)
    mask = np.asarray(mask)
    if mask.shape != (lanes,) or mask.dtype != bool or not mask.any():
        raise InvalidInputError.of("reset_mask", f"a bool array of shape ({lanes},) with a True", mask)
    return mask


def check_lanes(num_envs: Any, max_episode_steps: Any, name: str = "num_envs") -> int:
    """The number of lanes of a vector environment, or of whatever `name` counts.

    Raises:
        InvalidInputError: not a positive integer, or Gymnasium's step limit is given (the horizon takes its place).
    """
    if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise InvalidInputError.of(name, "a positive integer", num_envs)
    if max_episode_steps is not None:
        raise InvalidInputError.of("max_episode_steps", "None: episodes end at the horizon", max_episode_steps)
    return int(num_envs)


def autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    """An autoreset mode from itself, its value or its name.

    Raises:
        InvalidInputError: there is no such mode.
    """
    try:
        return AutoresetMode(mode)
    except ValueError:
        try:
            return AutoresetMode[str(mode).upper()]
        except KeyError:
            allowed = ", ".join(each.name for each in AutoresetMode)
            raise InvalidInputError.of("autoreset_mode", f"one of {allowed}", mode) from None
