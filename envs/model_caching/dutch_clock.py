"""The auctioneer's clocks as a Gymnasium environment and its vector twin: how far to move them, tick by tick."""

from __future__ import annotations

import math
import operator
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.faces import LaneEnv, LaneVectorEnv, VectorStep
from ..core.lane_system import Flags, Info, Obs
from ..core.lanes import check_draws_nothing, check_lanes
from ..core.optimum import Optimum
from ..core.params import make_params
from .clock_kernel import CLEARED, CUT, RUNNING, SELLERS
from .clock_params import STEPS, DutchClockParams
from .clock_simulator import Buffers, Simulator, invalid_action
from .market_optimum import least_auction_cost


def _observation_space() -> spaces.Box:
    return spaces.Box(np.zeros(6, np.float32), np.array([1, 1, 1, 1, 1, SELLERS], np.float32), dtype=np.float32)


class DutchClockEnv(LaneEnv):
    """An auctioneer decides how far the clocks of a double Dutch auction move at every tick.

    ## Description

    Buyers and sellers of one unit each face a falling and a rising price clock; each stops its clock at the first price
    it can accept. Every tick polls the agents that still wait, and messages cost. Small steps find out more and cost
    more; coarse steps save messages, lose welfare to ties, and leave agents room to gain by stopping elsewhere: up to
    the largest step used. Agents here are truthful. (Xu et al., arXiv 2501.14205, section V; step control after arXiv
    2111.03776 and 2406.05418.)

    ``variant="sweep"`` (default): both clocks move together through the whole range, then McAfee's rule clears.
    ``variant="alternating"``: one clock moves at a time, until somebody stops it; the pairs found before the clocks
    cross trade at one price.

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/DutchClock-v0")
    >>> obs, info = env.reset(seed=0)
    >>> over = False
    >>> while not over:
    ...     obs, reward, over, _, info = env.step(2)  # both clocks move by 4 ticks, 0.04
    >>> print(info["time"], info["trades"], round(info["buyer_price"], 2))
    25.0 6 0.44

    ## Action space

    `Discrete(5)`: the step is 1, 2, 4, 8 or 16 times ``tick``; the last one ends at the end of the range.

    ## Observation space

    | Num | Observation | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | buyers' clock, falling from 1 | 0 | 1 | value |
    | 1 | sellers' clock, rising from 0 | 0 | 1 | value |
    | 2 | ticks taken, share of the most possible | 0 | 1 | - |
    | 3 | buyers that still wait, share of all | 0 | 1 | - |
    | 4 | sellers that still wait, share of all | 0 | 1 | - |
    | 5 | whose clock moves next: 0 both, 1 the buyers', 2 the sellers' | 0 | 2 | - |

    ## Time and duration

    A step is one tick, and lasts 1; `info["time"]` counts the ticks of the auction.

    ## Rewards

    `info["cost"]` is `message_cost` times the agents polled in this tick, minus the welfare (value minus cost) of the
    pairs that can now trade; the reward is its negative, all in the unit of value. If clearing leaves the last pair
    out, its welfare is taken back in the last step, so that an episode's sum is the welfare realised minus its
    messages. The objective is that sum per auction, the plain return (`RatioReward` at ratio 0); cost per tick would
    reward haste. Payments are transfers between the parties and enter no cost. The opening prices are known
    beforehand: nobody is polled for them.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`messages`, `welfare`: minus the welfare gained); `polled`, agents asked
    in this tick; `trades`, pairs that can trade, after clearing those that do; `buyer_price` and `seller_price`, what
    each trading buyer pays and each trading seller gets: 0 until the auction is cleared, and without a trade;
    `optimal_welfare`, the largest possible with the drawn values, which no auctioneer knows.

    ## Starting state

    Values and costs are drawn afresh for every episode; the clocks stand at 1 and 0.

    ## Episode end

    Terminated when the auction is cleared: the clocks have reached the far end or everybody has stopped (sweep); they
    have crossed (alternating). Truncated, uncleared, after `horizon` ticks.

    ## Arguments

    `preset` names a parameter set (`default`, `small`, `dear`); every field of `DutchClockParams` can be given as a
    keyword. `variant`, `horizon` (ticks).

    ## Known optimum

    `env.unwrapped.optimum()`: a certified lower bound on the expected cost per auction: minus the expected optimal
    welfare (exact), plus one poll of everybody whom the first tick asks.

    ## Version history

    - v0: first version.

    Args:
        preset: name in `clock_params.PRESETS`.
        params: the market as a model; excludes single fields.
        variant: ``"sweep"`` or ``"alternating"``.
        horizon: ticks after which an episode is truncated.
        **overrides: fields of `DutchClockParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    _system: Simulator

    def __init__(
        self,
        preset: str = "default",
        *,
        params: DutchClockParams | None = None,
        variant: str = "sweep",
        horizon: float = math.inf,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        check_draws_nothing(render_mode)
        self.params = make_params(DutchClockParams, preset, params, overrides)
        self.variant = variant
        simulator = Simulator(self.params, variant=variant, horizon=horizon)
        super().__init__(simulator, _observation_space(), spaces.Discrete(len(STEPS)))

    def _begin(self) -> tuple[Obs, Info]:
        buffers = self._system.reset()
        return buffers.obs[0], self._system.info_one(buffers)

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, Info]:
        """Move the clocks by one step.

        Args:
            action: index of the step's size, 0 to 4.

        Returns:
            Observation, reward (-cost), whether the auction is cleared, whether the horizon is reached, info.

        Raises:
            InvalidInputError: the action is not an integer in [0, 4]; the state is unchanged.
            ResetNeeded: the episode is over.
        """
        if self._done:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        try:
            step = operator.index(action)
        except TypeError:
            raise invalid_action(action) from None
        buffers, state = self._system.step_one(step)
        self._done = state != RUNNING
        info = self._system.info_one(buffers)
        return buffers.obs[0], -info["cost"], state == CLEARED, state == CUT, info

    def optimum(self) -> Optimum:
        """A certified lower bound on the expected cost per auction; see `market_optimum.least_auction_cost`."""
        return least_auction_cost(self.params, self.variant)

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return self._system.done()


class DutchClockVectorEnv(LaneVectorEnv[Buffers]):
    """The vector twin of `DutchClockEnv`: lane i with seed s + i equals the scalar environment seeded s + i.

    >>> import gymnasium, numpy, edgewise
    >>> envs = gymnasium.make_vec("edgewise/DutchClock-v0", num_envs=3, autoreset_mode="SAME_STEP")
    >>> obs, info = envs.reset(seed=0)
    >>> obs, reward, terminated, truncated, info = envs.step(numpy.array([0, 2, 4]))
    >>> obs[:, 0].round(2).tolist(), info["polled"].tolist()
    ([0.9900000095367432, 0.9599999785423279, 0.8399999737739563], [40, 40, 40])

    Args:
        num_envs: number of lanes n.
        preset: see `DutchClockEnv`.
        params: see `DutchClockEnv`.
        variant: see `DutchClockEnv`.
        horizon: see `DutchClockEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: `horizon` takes its place.
        **overrides: fields of `DutchClockParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _system: Simulator

    def __init__(
        self,
        num_envs: int = 1,
        preset: str = "default",
        *,
        params: DutchClockParams | None = None,
        variant: str = "sweep",
        horizon: float = math.inf,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **overrides: Any,
    ) -> None:
        lanes = check_lanes(num_envs, max_episode_steps)
        self.params = make_params(DutchClockParams, preset, params, overrides)
        self.variant = variant
        simulator = Simulator(self.params, lanes, variant=variant, horizon=horizon)
        super().__init__(simulator, _observation_space(), spaces.Discrete(len(STEPS)), autoreset_mode)

    def step(self, actions: NDArray[Any]) -> VectorStep:
        """Move the clocks of every lane by one step.

        Args:
            actions: (n,) integers in [0, 4]; ignored in a lane that NEXT_STEP resets now.

        Returns:
            Observations (n, 6), rewards (n,), terminations (n,), truncations (n,), infos with arrays (n,).

        Raises:
            InvalidInputError: malformed actions; no lane has moved then.
            ResetNeeded: an episode is over in a lane that nothing resets.
        """
        chosen = np.asarray(actions)
        if chosen.shape != (self.num_envs,) or chosen.dtype.kind not in "iu":
            raise InvalidInputError.of("actions", f"an integer array of shape ({self.num_envs},)", actions)
        return self._step(chosen.astype(np.int64, copy=False))

    def _advance(self, actions: NDArray[np.int64], skip: Flags) -> tuple[Buffers, Flags, Flags]:
        return self._system.step(actions, skip)

    def optimum(self) -> Optimum:
        """A certified lower bound on the expected cost per auction; see `market_optimum.least_auction_cost`."""
        return least_auction_cost(self.params, self.variant)

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return self._system.done()
