"""What no auction of unit agents can beat: the expected optimal welfare of random markets, exactly."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np

from ..core.errors import InvalidInputError
from ..core.optimum import Optimum
from .clock_params import VALUATIONS, DutchClockParams

Range = tuple[float, float]


def expected_optimal_welfare(buyers: int, sellers: int, values: Range = (0.0, 1.0), costs: Range = (0.0, 1.0)) -> float:
    """Expected welfare of the best allocation among independent, uniformly distributed agents.

    The optimal welfare is the integral over all prices p of min(D(p), S(p)), where D buyers have a value of at least p
    and S sellers a cost of at most p; its expectation is the integral of the sum over k of P(D >= k) P(S >= k), a
    polynomial between the ends of the two ranges. On [0, 1] for both it is n m / (2 (n + m + 1)).

    Args:
        buyers: n.
        sellers: m.
        values: range of the buyers' values.
        costs: range of the sellers' costs.

    Raises:
        InvalidInputError: a range is empty.
    """
    for name, (low, high) in (("values", values), ("costs", costs)):
        if not high > low:
            raise InvalidInputError.of(name, "a range (low, high) with low < high", (low, high))
    from scipy.special import bdtrc

    nodes, weights = np.polynomial.legendre.leggauss((buyers + sellers) // 2 + 1)
    count = np.arange(min(buyers, sellers))[:, None]  # k - 1
    ends = sorted({*values, *costs})
    total = 0.0
    for low, high in pairwise(ends):
        price = low + 0.5 * (high - low) * (nodes + 1.0)
        demand = np.clip((values[1] - price) / (values[1] - values[0]), 0.0, 1.0)
        supply = np.clip((price - costs[0]) / (costs[1] - costs[0]), 0.0, 1.0)
        both = bdtrc(count, buyers, demand) * bdtrc(count, sellers, supply)
        total += 0.5 * (high - low) * float(weights @ both.sum(axis=0))
    return total


def least_auction_cost(params: DutchClockParams, variant: str) -> Optimum:
    """A lower bound on the expected cost of one auction under every policy of its clocks.

    No allocation yields more than the optimal welfare, and the first tick polls everybody whose clock it moves: all
    agents in a sweep, the buyers where clocks alternate.
    """
    start = time.perf_counter()
    welfare = expected_optimal_welfare(params.n_buyers, params.n_sellers, *VALUATIONS[params.values])
    polled = params.n_buyers + (params.n_sellers if variant == "sweep" else 0)
    return Optimum.bound_only(
        params.message_cost * polled - welfare,
        "expected optimal welfare (exact integral of the matched demand and supply), less the first tick's messages",
        time.perf_counter() - start,
        per="auction",
        optimal_welfare=welfare,
        variant=variant,
    )
