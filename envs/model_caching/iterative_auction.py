"""The iterative double auction (IDA) that the market's paper compares with, its budget always beside its result."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..core.errors import InvalidInputError
from .market import Auction, Trades, unit_values
from .market_kernel import Floats, Ints

PAIRINGS = ("random", "best")


def iterative(
    values: ArrayLike,
    costs: ArrayLike,
    *,
    rounds: int = 10,
    concession: tuple[float, float] = (0.01, 0.05),
    pairing: str = "random",
    seed: int = 0,
    low: float = 0.0,
    high: float = 1.0,
) -> Auction:
    """An iterative double auction (IDA): bids and asks are revised one side at a time, within a budget of rounds.

    Buyers begin halfway between ``low`` and their value, sellers halfway between their cost and ``high``. In every
    round the side whose turn it is concedes a step, never beyond its value or cost; then each waiting buyer meets at
    most one waiting seller, and the two trade halfway between bid and ask if these have crossed. The paper leaves its
    comparator undefined, so the numbers mean something only beside the budget: impatient and paired at random it loses
    most of the welfare, patient and paired best with best it reaches the optimum.

    Args:
        values: (n,) in [low, high].
        costs: (m,) in [low, high].
        rounds: the budget.
        concession: range of an agent's uniformly drawn step per turn.
        pairing: ``"random"``, or ``"best"`` (highest bid with lowest ask, and so on).
        seed: of the steps and of the pairing.
        low: lower end of the range.
        high: upper end.

    Raises:
        InvalidInputError: an argument out of range.
    """
    values, costs = unit_values("values", values), unit_values("costs", costs)
    _check(values, costs, rounds, concession, pairing, low, high)
    generator = np.random.default_rng(seed)
    bids, asks = 0.5 * (low + values), 0.5 * (costs + high)
    buyers, sellers = np.arange(len(values)), np.arange(len(costs))
    pairs: list[tuple[Ints, Ints]] = []
    polled = 0
    for turn in range(rounds):
        if turn % 2 == 0:
            bids[buyers] = np.minimum(bids[buyers] + generator.uniform(*concession, len(buyers)), values[buyers])
            polled += len(buyers)
        else:
            asks[sellers] = np.maximum(asks[sellers] - generator.uniform(*concession, len(sellers)), costs[sellers])
            polled += len(sellers)
        if pairing == "best":
            buyers, sellers = buyers[np.argsort(-bids[buyers])], sellers[np.argsort(asks[sellers])]
        else:
            buyers, sellers = generator.permutation(buyers), generator.permutation(sellers)
        met = min(len(buyers), len(sellers))
        crossed = np.flatnonzero(bids[buyers[:met]] >= asks[sellers[:met]])
        pairs.append((buyers[crossed], sellers[crossed]))
        buyers, sellers = np.delete(buyers, crossed), np.delete(sellers, crossed)
    bought, sold = (np.concatenate(side) for side in zip(*pairs, strict=True))
    prices = 0.5 * (bids[bought] + asks[sold])
    case = "pairwise" if len(bought) else "none"
    trades = Trades(bought, sold, prices, prices.copy(), len(bought), case)
    step = f"{concession[0]:g}" if concession[0] == concession[1] else f"U[{concession[0]:g}, {concession[1]:g}]"
    label = f"iterative double auction, budget {rounds} rounds, concession {step}, {pairing} pairing"
    return Auction(trades, bids, asks, rounds, polled, label, budget=int(rounds))


def _check(
    values: Floats, costs: Floats, rounds: int, concession: tuple[float, float], pairing: str, low: float, high: float
) -> None:
    """Raise InvalidInputError for an argument of `iterative` out of range."""
    if isinstance(rounds, bool) or not isinstance(rounds, int | np.integer) or rounds < 1:
        raise InvalidInputError.of("rounds", "a positive integer", rounds)
    if not (len(concession) == 2 and 0 < concession[0] <= concession[1] < math.inf):
        raise InvalidInputError.of("concession", "two numbers, 0 < least <= greatest", concession)
    if pairing not in PAIRINGS:
        raise InvalidInputError.of("pairing", " or ".join(PAIRINGS), pairing)
    for name, side in (("values", values), ("costs", costs)):
        if not ((side >= low) & (side <= high)).all():
            raise InvalidInputError.of(name, f"numbers in [{low:g}, {high:g}]", side)
