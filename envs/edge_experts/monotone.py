"""Increasing set functions: the guard that refuses others, and the monotone hull that repairs them.

The exact solvers are right for increasing functions only and silently wrong for others. Quality realised by a fixed
gate, expected Top-k energy and Top-k delay are *not* increasing: adding an expert can divert traffic to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..core.errors import InvalidInputError

SetFunction = Callable[[int], float]
"""A function of a subset, given as a bit mask: bit i stands for expert i."""
TOLERANCE = 1e-9
"""Decreases up to this, relative to the larger value where that exceeds 1, are rounding."""
ALL_PAIRS = 10
"""Up to this many experts every covering pair is checked."""


class NotMonotoneError(InvalidInputError):
    """A function that must be increasing is not.

    Attributes:
        smaller: members of the smaller set.
        larger: members of the larger set, whose value is lower.
    """

    def __init__(self, name: str, smaller: int, larger: int, low: float, high: float) -> None:
        self.smaller, self.larger = members(smaller), members(larger)
        super().__init__(
            f"{name} must be increasing, but {name}({_show(smaller)}) = {high:.9g} and {name}({_show(larger)}) = "
            f"{low:.9g}: adding an expert lowered it; use its worst case or `monotone_hull`"
        )


def members(subset: int) -> tuple[int, ...]:
    """Sorted indices in a bit mask."""
    return tuple(i for i in range(subset.bit_length()) if subset >> i & 1)


def mask_of(indices: Iterator[int] | tuple[int, ...] | list[int] | range) -> int:
    """Bit mask of indices."""
    mask = 0
    for i in indices:
        mask |= 1 << int(i)
    return mask


def _show(subset: int) -> str:
    return "{" + ", ".join(map(str, members(subset))) + "}"


def assert_monotone(function: SetFunction, n: int, *, name: str = "f", trials: int = 20, seed: int = 0) -> None:
    """Check that a set function is increasing: every covering pair up to ten experts, random chains always.

    Args:
        function: of a bit mask.
        n: number of experts.
        name: how the message calls it.
        trials: random chains from the empty to the full set.
        seed: of the chains.

    Raises:
        NotMonotoneError: naming the pair of subsets.
    """
    if n <= ALL_PAIRS:
        values = [function(subset) for subset in range(1 << n)]
        for subset, value in enumerate(values):
            for i in range(n):
                if not subset >> i & 1:
                    _check(name, subset, subset | 1 << i, value, values[subset | 1 << i])
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        subset, value = 0, function(0)
        for i in rng.permutation(n):
            larger = subset | 1 << int(i)
            following = function(larger)
            _check(name, subset, larger, value, following)
            subset, value = larger, following


def _check(name: str, smaller: int, larger: int, low: float, high: float) -> None:
    if not high >= low - TOLERANCE * max(1.0, abs(low)):
        raise NotMonotoneError(name, smaller, larger, high, low)


def monotone_hull(function: SetFunction, n: int) -> SetFunction:
    """The least increasing function above another one: its maximum over all subsets of the argument.

    Args:
        function: any set function.
        n: number of experts, at most 12 (all 2^n subsets are visited).

    Raises:
        InvalidInputError: n is larger.
    """
    if not 0 <= n <= 12:
        raise InvalidInputError.of("n", "at most 12 for a monotone hull", n)
    table = np.array([function(subset) for subset in range(1 << n)])
    for i in range(n):
        above = (np.arange(1 << n) >> i & 1).astype(bool)
        table[above] = np.maximum(table[above], table[np.flatnonzero(above) ^ (1 << i)])
    return lambda subset: float(table[subset])
