"""The auctioneer's clocks as a Gymnasium environment and its vector twin: how far to move them, tick by tick."""

from __future__ import annotations

import math
import operator
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.lanes import autoreset, check_lanes, check_seed, lane_seeds, reset_mask
from ..core.optimum import Optimum
from .clock_kernel import CLEARED, CUT, RUNNING, SELLERS
from .clock_params import STEPS, DutchClockParams
from .clock_simulator import Buffers, Simulator, invalid_action
from .market_optimum import least_auction_cost

Obs = NDArray[np.float32]
Info = dict[str, Any]


def _params(preset: str, params: DutchClockParams | None, overrides: dict[str, Any]) -> DutchClockParams:
    if params is None or overrides.keys() - DutchClockParams.model_fields:
        return DutchClockParams.make(preset, **overrides)  # also says what is wrong with an unknown field
    if overrides:
        raise InvalidInputError(f"params excludes single fields; got params and {', '.join(overrides)}")
    if not isinstance(params, DutchClockParams):
        raise InvalidInputError.of("params", "a DutchClockParams", params)
    return params


def _observation_space() -> spaces.Box:
    return spaces.Box(np.zeros(6, np.float32), np.array([1, 1, 1, 1, 1, SELLERS], np.float32), dtype=np.float32)


class DutchClockEnv(gymnasium.Env[Obs, np.int64]):
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

    def __init__(
        self,
        preset: str = "default",
        *,
        params: DutchClockParams | None = None,
        variant: str = "sweep",
        horizon: float = math.inf,
        **overrides: Any,
    ) -> None:
        self.params = _params(preset, params, overrides)
        self.variant = variant
        self._simulator = Simulator(self.params, variant=variant, horizon=horizon)
        self._state = CUT  # until the first reset
        self.observation_space = _observation_space()
        self.action_space = spaces.Discrete(len(STEPS))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Open an auction.

        Args:
            seed: starts episode 0 of this seed; without one the next episode of the current seed follows.
            options: not used.

        Returns:
            Observation and info; cost and duration are 0.

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64).
        """
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        simulator = self._simulator
        if seed is not None or not simulator.seeded:
            value = seed if seed is not None else int(self.np_random.integers(1 << 62))
            simulator.seed(np.array([value], np.uint64))
        buffers = Buffers(1)
        simulator.reset(np.ones(1, bool), buffers)
        self._state = RUNNING
        return buffers.obs[0], simulator.info_one(buffers)

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
        if self._state != RUNNING:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        try:
            step = operator.index(action)
        except TypeError:
            raise invalid_action(action) from None
        buffers = Buffers(1)
        self._state = self._simulator.step_one(step, buffers)
        info = self._simulator.info_one(buffers)
        return buffers.obs[0], -info["cost"], self._state == CLEARED, self._state == CUT, info

    def optimum(self) -> Optimum:
        """A certified lower bound on the expected cost per auction; see `market_optimum.least_auction_cost`."""
        return least_auction_cost(self.params, self.variant)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self._simulator.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        self._simulator.set_state(state)
        self._state = int(self._simulator.world.lane["state"][0])


class DutchClockVectorEnv(VectorEnv[Obs, NDArray[np.int64], NDArray[Any]]):
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
        self.num_envs = check_lanes(num_envs, max_episode_steps)
        self._mode = autoreset(autoreset_mode)
        self.metadata: dict[str, Any] = {"autoreset_mode": self._mode, "render_modes": []}
        self.render_mode = None
        self.params = _params(preset, params, overrides)
        self.variant = variant
        self._simulator = Simulator(self.params, self.num_envs, variant=variant, horizon=horizon)
        self.single_observation_space = _observation_space()
        self.single_action_space = spaces.Discrete(len(STEPS))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Open an auction in every lane, or in the lanes of ``options["reset_mask"]``.

        Args:
            seed: an integer s gives lane i the seed s + i; a list gives each its own; None starts the next episode.
            options: ``reset_mask``, bool (n,): the lanes to reset (the others stay where they are).

        Returns:
            Observations (n, 6) and infos; cost and duration are 0.

        Raises:
            InvalidInputError: a seed is not an integer in [0, 2^64), a list or mask has the wrong length.
        """
        mask, simulator = reset_mask(options, self.num_envs), self._simulator
        if seed is not None and not mask.all():
            raise InvalidInputError("seed and a partial reset_mask exclude each other")
        if seed is None and not simulator.seeded:
            super().reset(seed=None)
            seed = int(self.np_random.integers(1 << 62))
        if seed is not None:
            seeds = lane_seeds(seed, self.num_envs)
            super().reset(seed=int(seeds[0]))
            simulator.seed(seeds)
            mask = np.ones(self.num_envs, bool)
        buffers = Buffers(self.num_envs)
        simulator.reset(mask, buffers)
        simulator.pending(~mask, buffers)
        return buffers.obs, simulator.info(buffers)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
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
        simulator, over = self._simulator, self._simulator.done
        if over.any() and (self._mode is not AutoresetMode.NEXT_STEP or not simulator.seeded):
            raise ResetNeeded("an episode is over (or has not begun): call reset() for its lane first")
        buffers = Buffers(self.num_envs)
        cleared, cut = simulator.step(chosen.astype(np.int64, copy=False), buffers, over)
        if over.any():
            simulator.reset(over, buffers)
        info = simulator.info(buffers)
        reward, obs = -info["cost"], buffers.obs
        if over.any():  # NEXT_STEP: these lanes were reset, at cost and duration 0
            fresh = {key: dict(value) if isinstance(value, dict) else value.copy() for key, value in info.items()}
            info |= {"reset_info": fresh, "_reset_info": over}
        ended = cleared | cut
        if ended.any() and self._mode is AutoresetMode.SAME_STEP:
            obs = self._reset_same_step(info, ended, buffers)
        return obs, reward, cleared, cut, info

    def _reset_same_step(self, info: Info, ended: NDArray[np.bool_], buffers: Buffers) -> Obs:
        """SAME_STEP: the next episode's first observation comes at once; the last one goes to ``final_obs``."""
        final_obs = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            final_obs[i] = buffers.obs[i].copy()
        fresh = Buffers(self.num_envs)
        self._simulator.reset(ended, fresh)
        info.update(
            final_obs=final_obs,
            _final_obs=ended.copy(),
            final_info=dict(info),
            _final_info=ended.copy(),
            reset_info=self._simulator.info(fresh),
            _reset_info=ended.copy(),
        )
        return np.where(ended[:, None], fresh.obs, buffers.obs)

    def optimum(self) -> Optimum:
        """A certified lower bound on the expected cost per auction; see `market_optimum.least_auction_cost`."""
        return least_auction_cost(self.params, self.variant)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """A copy of the whole state."""
        return self._simulator.get_state()

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        self._simulator.set_state(state)
