"""Digests of what an environment returns, to compare whole trajectories exactly or to a few digits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from .actions import Actor
from .contract import Info, Policy

_INFO_KEYS = ("cost", "duration", "time", "cost_terms")


def digest(*values: Any, digits: int | None = None) -> bytes:
    """Digest nested observations, numbers and infos.

    Numbers count by value (``1``, ``np.float64(1)`` and ``1.0`` are equal, so are ``-0.0`` and ``0.0``), arrays by
    type, shape and bits.

    Args:
        *values: dicts, sequences, arrays, numbers, strings, None.
        digits: round floats to this many significant digits, so that machines whose logarithm differs in the last bit
            agree; None compares bits.

    Returns:
        16 bytes.
    """
    hasher = hashlib.blake2b(digest_size=16)
    _feed(hasher, values, digits)
    return hasher.digest()


def _feed(hasher: hashlib.blake2b, value: Any, digits: int | None) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            hasher.update(f"k{key}".encode())
            _feed(hasher, value[key], digits)
    elif isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.dtype == object):
        hasher.update(f"s{len(value)}".encode())
        for item in value:
            _feed(hasher, item, digits)
    elif isinstance(value, np.ndarray) and value.ndim:
        hasher.update(f"a{value.dtype}{value.shape}".encode())
        if digits is not None and np.issubdtype(value.dtype, np.floating):
            _feed(hasher, value.ravel().tolist(), digits)
        else:
            hasher.update(value.tobytes())
    else:
        plain = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        if isinstance(plain, float) or (type(plain) is int and abs(plain) < 2**53):
            plain = float(plain) + 0.0  # folds -0.0 into 0.0
            hasher.update((f"f{plain!r}" if digits is None else f"f{plain:.{digits - 1}e}").encode())
        else:
            hasher.update(f"{type(plain).__name__}{plain!r}".encode())


def step_digest(
    observation: Any, reward: Any, terminated: Any, truncated: Any, info: Info, digits: int | None = None
) -> bytes:
    """Digest of one step: observation, reward, both flags and the contract's part of the info.

    Args:
        observation: as returned.
        reward: as returned.
        terminated: as returned.
        truncated: as returned.
        info: as returned; wall-clock times that wrappers add are left out.
        digits: as in `digest`.

    Returns:
        16 bytes.
    """
    kept = {key: info[key] for key in _INFO_KEYS if key in info}
    return digest(observation, float(reward), bool(terminated), bool(truncated), kept, digits=digits)


def trajectory_hash(
    env: gymnasium.Env[Any, Any],
    *,
    seed: int = 0,
    steps: int = 1000,
    policy: Policy | None = None,
    digits: int | None = None,
) -> str:
    """Hash of a seeded run with reproducible random actions, through episode ends (later resets carry no seed).

    Args:
        env: a scalar environment.
        seed: of the environment and of the actions.
        steps: number of decisions.
        policy: replaces the random actions; called with (observation, info, generator).
        digits: significant digits that count; None means every bit.

    Returns:
        32 hexadecimal characters.
    """
    actor = Actor(env.action_space, seed, policy)
    observation, info = env.reset(seed=seed)
    parts = [step_digest(observation, 0.0, False, False, info, digits)]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(actor(observation, info))
        parts.append(step_digest(observation, reward, terminated, truncated, info, digits))
        if terminated or truncated:
            observation, info = env.reset()
            parts.append(step_digest(observation, 0.0, False, False, info, digits))
    return digest(*parts).hex()
