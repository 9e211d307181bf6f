"""Rounds of the modified second-bid auction: what its mechanism sees of them, and an environment to learn from."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError
from ...envs.model_caching.second_bid import checked_bids, highest_rival, modified_second_bid, surplus

Floats = NDArray[np.float64]
CAP = 10.0
"""Largest relative bid that a state shows."""


def factors(actions: int) -> Floats:
    """The factors rho = 10^(a / |A|), a = 0 to |A| - 1, (actions,)."""
    return 10.0 ** (np.arange(actions) / actions)


def leave_one_out_states(bids: Floats, means: Floats) -> NDArray[np.float32]:
    """What decides each bidder's factor: nothing that its own bid of this round moves.

    The others' bids are divided by the highest of them and sorted, so that neither a common factor in all bids nor the
    bidders' names matter; in the place of the own bid stands the running mean of its past relative bids.

    Args:
        bids: (..., N) of this round.
        means: (..., N) means of past relative bids (own over highest rival), see `relative_bids`.

    Returns:
        float32 (..., N, N): N - 1 relative bids of the others, falling, then the own mean.
    """
    count = bids.shape[-1]
    others = np.stack([np.delete(bids, n, axis=-1) for n in range(count)], axis=-2)
    highest = highest_rival(bids)[..., None]
    relative = np.divide(others, highest, out=np.zeros_like(others), where=highest > 0)
    state = np.concatenate([-np.sort(-relative, axis=-1), np.minimum(means, CAP)[..., None]], axis=-1)
    return state.astype(np.float32)


def relative_bids(bids: Floats) -> Floats:
    """Every bid over the highest of the others, at most `CAP`; 1 where all are 0."""
    rivals = highest_rival(bids)
    ratio = np.divide(bids, rivals, out=np.where(bids > 0, CAP, 1.0), where=rivals > 0)
    return np.minimum(ratio, CAP)


class BidModel:
    """Values of the base stations: a common factor times an own one.

    Args:
        bidders: N.
        contract: value of the contract bidder.
        law: ``"uniform"`` on [0, 1], or ``"lognormal"`` with median 1 and log-standard deviation ``spread``.
        spread: of the lognormal law.
        common: log-standard deviation of the factor that all values share in a round.

    Raises:
        InvalidInputError: an argument out of range.
    """

    def __init__(
        self,
        bidders: int = 5,
        contract: float = 1.0,
        *,
        law: str = "lognormal",
        spread: float = 1.0,
        common: float = 0.0,
    ) -> None:
        if isinstance(bidders, bool) or not isinstance(bidders, int | np.integer) or bidders < 2:
            raise InvalidInputError.of("bidders", "an integer >= 2", bidders)
        if law not in ("uniform", "lognormal"):
            raise InvalidInputError.of("law", "uniform or lognormal", law)
        for name, value in (("contract", contract), ("spread", spread), ("common", common)):
            if not 0 <= value < np.inf:
                raise InvalidInputError.of(name, "a finite number >= 0", value)
        self.bidders, self.contract = int(bidders), float(contract)
        self.law, self.spread, self.common = law, float(spread), float(common)

    def draw(self, generator: np.random.Generator, rounds: int) -> Floats:
        """Values of some rounds, (rounds, N)."""
        shape = (rounds, self.bidders)
        own = (
            generator.random(shape) if self.law == "uniform" else np.exp(self.spread * generator.standard_normal(shape))
        )
        shared: Floats = np.exp(self.common * generator.standard_normal((rounds, 1)))
        return own * shared


class SecondBidRounds(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Rounds of truthful bids, to learn the factor of the highest bidder: nobody else's factor can matter.

    Observation: that bidder's leave-one-out state. Action: index of its factor. Reward: the round's surplus divided by
    ``scale``. An episode is ``length`` rounds, truncated.

    Args:
        model: draws the values.
        actions: number of factors.
        length: rounds per episode.

    Raises:
        InvalidInputError: ``actions`` or ``length`` is not positive.
    """

    def __init__(self, model: BidModel, actions: int = 20, length: int = 100) -> None:
        for name, value in (("actions", actions), ("length", length)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InvalidInputError.of(name, "a positive integer", value)
        self.model, self.factors, self.length = model, factors(int(actions)), int(length)
        # Surplus in units of the contract, or of the typical value where there is none.
        self.scale = model.contract or 1.0
        high = np.ones(model.bidders, np.float32)
        high[-1] = CAP
        self.observation_space = spaces.Box(np.zeros(model.bidders, np.float32), high, dtype=np.float32)
        self.action_space = spaces.Discrete(int(actions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw the rounds of an episode; running means begin at 1."""
        super().reset(seed=seed)
        self._values = self.model.draw(self.np_random, self.length + 1)
        first = np.ones((1, self.model.bidders))  # the mean before the first round counts like one observation
        relative = np.vstack([first, relative_bids(self._values[:-1])])
        self._means = np.cumsum(relative, axis=0) / np.arange(1, self.length + 2)[:, None]
        self._top = np.argmax(self._values, axis=1)
        self._round = 0
        return self._state(), {}

    def _state(self) -> NDArray[np.float32]:
        states = leave_one_out_states(self._values[self._round], self._means[self._round])
        top: NDArray[np.float32] = states[self._top[self._round]]
        return top

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold the round with this factor and show the next one."""
        values = checked_bids(self._values[self._round])
        winner, payment = modified_second_bid(values, self.factors[int(action)])
        gained = float(surplus(values, winner, self.model.contract))
        self._round += 1
        info = {"surplus": gained, "winner": int(winner), "payment": float(payment)}
        return self._state(), gained / self.scale, False, self._round >= self.length, info
