"""Counter-based random streams: the same bits compiled or not, whatever the batch size.

A stream is a 64-bit key made of (seed, episode, stream, device); its draw number ``c`` is a pure function of
(key, c). Nothing is consumed in order, so two policies can be compared on the same draws, a lane of a vector
environment equals the scalar environment with its seed, and a checkpoint stores counters only.

The mixer is the finaliser of splitmix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*,
OOPSLA 2014). All arithmetic is modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_ONE = np.uint64(1)
_ULP = 2.0**-53

_F = TypeVar("_F", bound=Callable[..., Any])


def _inlined(function: _F) -> _F:
    return cast(_F, numba.njit(inline="always", cache=True)(function))


if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # the stub lacks numba's settings
    # numpy warns when a uint64 scalar wraps around, which here is the point: use Python's integers instead.
    _MASK = (1 << 64) - 1

    def _mul(a: np.uint64, b: np.uint64) -> np.uint64:
        return np.uint64((int(a) * int(b)) & _MASK)

    def _add(a: np.uint64, b: np.uint64) -> np.uint64:
        return np.uint64((int(a) + int(b)) & _MASK)

else:

    @_inlined
    def _mul(a: np.uint64, b: np.uint64) -> np.uint64:
        return a * b

    @_inlined
    def _add(a: np.uint64, b: np.uint64) -> np.uint64:
        return a + b


@_inlined
def mix64(z: np.uint64) -> np.uint64:
    """Scramble 64 bits (a bijection).

    Args:
        z: any uint64.

    Returns:
        The scrambled uint64.
    """
    z = _mul(z ^ (z >> _S30), _MIX_A)
    z = _mul(z ^ (z >> _S27), _MIX_B)
    return z ^ (z >> _S31)


@_inlined
def episode_key(seed: int | np.uint64, episode: int, stream: int) -> np.uint64:
    """Key of one stream without its last part, the device.

    Args:
        seed: the lane's seed, 0 to 2^64 - 1; from Python pass ``np.uint64(seed)`` (numba reads an int as int64).
        episode: number of the episode since that seed was set, from 0.
        stream: a number of `core.streams`.

    Returns:
        A uint64 for `device_key`.
    """
    key = mix64(np.uint64(seed))
    key = mix64(_add(key, _mul(_GOLDEN, _add(np.uint64(episode), _ONE))))
    return mix64(_add(key, _mul(_GOLDEN, _add(np.uint64(stream), _ONE))))


@_inlined
def device_key(key: np.uint64, device: int) -> np.uint64:
    """Complete an `episode_key`.

    Args:
        key: from `episode_key`.
        device: index of the device, from 0.

    Returns:
        The stream's key, a uint64 for `uniform`.
    """
    return mix64(_add(key, _mul(_GOLDEN, _add(np.uint64(device), _ONE))))


@_inlined
def stream_key(seed: int | np.uint64, episode: int, stream: int, device: int) -> np.uint64:
    """Key of one stream: `device_key` of the `episode_key`.

    Args:
        seed: the lane's seed, 0 to 2^64 - 1; from Python pass ``np.uint64(seed)`` (numba reads an int as int64).
        episode: number of the episode since that seed was set, from 0.
        stream: a number of `core.streams`.
        device: index of the device, from 0.

    Returns:
        The key, a uint64 for `uniform`.
    """
    return device_key(episode_key(seed, episode, stream), device)


@_inlined
def uniform(key: np.uint64, counter: int) -> float:
    """Draw number `counter` of a stream.

    Args:
        key: from `stream_key`.
        counter: index of the draw, from 0.

    Returns:
        A float64 in (0, 1]: its logarithm is always finite. (The value 1 itself has probability below 2^-53.)
    """
    bits = mix64(_add(key, _mul(_GOLDEN, _add(np.uint64(counter), _ONE))))
    return (np.float64(bits >> _S11) + 0.5) * _ULP
