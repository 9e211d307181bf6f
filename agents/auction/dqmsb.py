"""DQMSB: the modified second-bid auction whose factor a deep Q-network chooses, without giving up truthfulness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...envs.core.errors import InvalidInputError
from ...envs.core.extras import require
from ...envs.model_caching.second_bid import checked_bids, modified_second_bid
from .rounds import factors, leave_one_out_states, relative_bids

require("torch", "sb3")

import torch  # noqa: E402

FIDELITIES = ("corrected", "paper")


@dataclass(frozen=True)
class Award:
    """Outcome of one round.

    Attributes:
        winner: index of the base station that serves, -1 for the contract bidder.
        payment: what it pays; 0 for the contract bidder, whose price is its contract's.
        rho: factor of every bidder, (N,).
    """

    winner: int
    payment: float
    rho: NDArray[np.float64]


class DQMSB:
    """A Q-network chooses, for every bidder, by how much it must outbid the others.

    In the published mechanism one factor comes from a network that sees all bids, so it depends on the winner's own bid
    and truth is no dominant strategy (its proof replaces the own bid by its mean). Here bidder n's factor is computed
    from the others' bids and the running mean of its own past ones: for fixed weights nobody gains by lying in a round,
    and at most one bidder wins since every factor is at least 1. The others' bids enter as shares of the highest, so
    that a common factor in all bids changes neither winner nor factors (no adverse selection). ``fidelity="paper"``
    keeps the published form, on raw bids, for comparison.

    The network is any torch module from states (n, N) to values (n, |A|): that of a trained Stable-Baselines3 DQN
    (`agents.sb3.auction.build_dqmsb`), or an untrained one.

    *Source*: Xu et al., arXiv 2403.05826, section V.

    Args:
        network: the Q-network; its last layer has one output per factor.
        bidders: N, at least 2.
        actions: number |A| of factors 10^(a / |A|).
        fidelity: ``"corrected"`` or ``"paper"``.

    Attributes:
        means: running mean of every bidder's past relative bids, (N,); 1 before the first round.
        rounds: rounds awarded so far.

    Raises:
        InvalidInputError: an argument out of range, or a network with another number of outputs.
    """

    def __init__(
        self, network: torch.nn.Module, bidders: int, actions: int = 20, *, fidelity: str = "corrected"
    ) -> None:
        if isinstance(bidders, bool) or not isinstance(bidders, int | np.integer) or bidders < 2:
            raise InvalidInputError.of("bidders", "an integer >= 2", bidders)
        if fidelity not in FIDELITIES:
            raise InvalidInputError.of("fidelity", " or ".join(FIDELITIES), fidelity)
        self.network, self.bidders, self.fidelity = network, int(bidders), fidelity
        self.factors = factors(int(actions))
        self.means, self.rounds = np.ones(self.bidders), 0
        if (shape := self._values(np.zeros((1, self.bidders), np.float32)).shape) != (1, len(self.factors)):
            raise InvalidInputError.of("network", f"a module with {len(self.factors)} outputs", f"outputs {shape}")

    def _values(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            values: NDArray[np.float32] = self.network(torch.as_tensor(states)).cpu().numpy()
        return values

    def rho(self, bids: ArrayLike) -> NDArray[np.float64]:
        """Factor of every bidder in this round, (N,); nothing is remembered.

        Raises:
            InvalidInputError: the bids are not N finite numbers >= 0.
        """
        array = self._checked(bids)
        if self.fidelity == "paper":
            chosen = np.argmax(self._values(array.astype(np.float32)[None]), axis=1)
            return np.repeat(self.factors[chosen], self.bidders)
        chosen = np.argmax(self._values(leave_one_out_states(array, self.means)), axis=1)
        rho: NDArray[np.float64] = self.factors[chosen]
        return rho

    def award(self, bids: ArrayLike) -> Award:
        """Hold a round: choose the factors, award the right, and remember the relative bids.

        Args:
            bids: (N,), >= 0.

        Raises:
            InvalidInputError: the bids are not N finite numbers >= 0.
        """
        array = self._checked(bids)
        rho = self.rho(array)
        winner, payment = modified_second_bid(array, rho)
        self.rounds += 1
        self.means += (relative_bids(array) - self.means) / (self.rounds + 1)
        return Award(int(winner), float(payment), rho)

    def reset(self) -> None:
        """Forget all past bids."""
        self.means, self.rounds = np.ones(self.bidders), 0

    def _checked(self, bids: ArrayLike) -> NDArray[np.float64]:
        array = checked_bids(bids)
        if array.shape != (self.bidders,):
            raise InvalidInputError.of("bids", f"{self.bidders} numbers", array)
        return array
