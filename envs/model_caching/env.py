"""Model caching and inference offloading at one edge server, as a Gymnasium environment and its vector twin."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from ..core.faces import LaneEnv, LaneVectorEnv, VectorStep
from ..core.lane_system import Flags, Info, Obs
from ..core.lanes import check_lanes
from ..core.optimum import Optimum
from ..core.params import make_params
from .optimum import TIME_LIMIT, solve
from .params import CachingParams
from .render import RENDER_FPS, RENDER_MODES, Drawing
from .simulator import Buffers, Simulator
from .state import CONTEXT, INPUT, KAPPA, SEEN, SIZE, observation_width


def action_space(params: CachingParams) -> spaces.Dict:
    """Cache bits and local shares, one each per agent."""
    count = params.n_agents
    return spaces.Dict({"cache": spaces.MultiBinary(count), "local_share": spaces.Box(0.0, 1.0, (count,), np.float32)})


def observation_space(params: CachingParams) -> spaces.Box:
    """Box of blocks of I entries: cache, requests, kappa / (kappa + kappa_half), s / G, d in thousands of tokens."""
    count, width = params.n_agents, observation_width(params)
    high = np.ones(width, np.float32)
    for block in (SEEN, SIZE, INPUT):
        high[block * count : (block + 1) * count] = np.inf
    assert KAPPA * count < CONTEXT * count <= width
    if params.observe_more:
        high[-1] = np.inf
    return spaces.Box(np.zeros(width, np.float32), high, dtype=np.float32)


def parse_action(action: Any, shape: tuple[int, ...]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Cache bits and shares of an action, checked for type and shape; the kernel checks their values.

    Raises:
        InvalidInputError: a key is missing or its value has the wrong type or shape.
    """
    try:
        cache, share = np.asarray(action["cache"]), np.asarray(action["local_share"])
    except (TypeError, KeyError, IndexError, ValueError):
        raise InvalidInputError.of("action", "a dict with the keys 'cache' and 'local_share'", action) from None
    if cache.shape != shape or cache.dtype.kind not in "iub":
        raise InvalidInputError.of("cache", f"integers 0 or 1 of shape {shape}", cache)
    if share.shape != shape or share.dtype.kind not in "fiu":
        raise InvalidInputError.of("local_share", f"numbers in [0, 1] of shape {shape}", share)
    bits = cache.astype(np.int8, copy=False)
    if cache.dtype.itemsize > 1 and (bits != cache).any():  # a wide integer that does not fit is no bit either
        raise InvalidInputError.of("cache", f"integers 0 or 1 of shape {shape}", cache)
    return bits, share.astype(np.float64)  # one type, so that one kernel is compiled


class ModelCachingEnv(LaneEnv):
    """An edge server decides which agents' models to keep in GPU memory and how much to run locally.

    ## Description

    I agents (services) send requests to an edge server, each agent bound to one large language model. In every slot the
    server chooses, for each agent, whether its model is resident (*cache*) and which share of its requests runs here
    (*local share*); the rest goes to the cloud. Loading a model costs by its size, serving here costs access, energy
    and lost accuracy. A model that keeps serving accumulates context: its *age of thoughts* kappa grows with the
    reasoning done, loses Delta per slot, and falls to zero on eviction, and with it accuracy. (Xu et al.,
    arXiv 2501.14205 and 2403.05826.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/ModelCaching-v0", preset="stationary")
    >>> obs, info = env.reset(seed=0)
    >>> action = {"cache": [1, 1, 1, 0, 0, 0, 0, 0, 0, 0], "local_share": [1.0] * 10}
    >>> obs, reward, terminated, truncated, info = env.step(action)
    >>> sorted(info["cost_terms"])
    ['accuracy', 'cloud', 'communication', 'compute', 'switching']
    >>> print(info["cache"], info["loads"], reward == -info["cost"])
    [1 1 1 0 0 0 0 0 0 0] 3.0 True

    ## Action space

    `Dict({"cache": MultiBinary(I), "local_share": Box(0, 1, (I,))})`. The environment projects it: requested entries
    are kept by ascending memory (resident ones first among equals, then by index) while they fit; shares count only
    where the model is resident and there is demand; a full context window follows `window_rule`; shares are cut,
    largest energy per token first, until the energy budget holds. What was carried out stands in the info. A feasible
    action is carried out as it is.

    ## Observation space

    Five blocks of I entries, float32:

    | Block | Observation | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | resident after the last slot | 0 | 1 | - |
    | 1 | requests of the slot to be decided (with `hide_demand`: of the one before) | 0 | inf | requests |
    | 2 | age of thoughts kappa / (kappa + kappa_half) | 0 | 1 | - |
    | 3 | memory of the agent's model / memory of the server | 0 | inf | - |
    | 4 | input size per request | 0 | inf | 1000 tokens |

    Nothing is normalised by what was seen before: a learner that wants this standardises (T2DRL does). With
    `observe_more` follow: context / window (I entries), free share of the memory, time / horizon.

    ## Time and duration

    Every step is one slot: `info["duration"]` is 1 and `info["time"]` counts slots.

    ## Rewards and the ratio objective

    `info["cost"]` is the cost of the slot and the reward is exactly its negative. As every slot lasts equally long, the
    ratio of summed cost to summed duration is the mean cost per slot.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`switching`, `communication`, `compute`, `accuracy`, `cloud`); of the
    slot: `loads`, `evictions`, `requests`, `local` (requests served here), `correct` (sum of their accuracies),
    `energy` (J), `memory` (GB in use); the projected action: `cache`, `local_share`, arrays (I,); and `cost_by_agent`
    (I,), each agent's part of the cost (with a market, without that of the paths sold to other servers).

    ## Starting state

    Nothing is resident; the first slot's demand is drawn. The cost of a reset is 0.

    ## Episode end

    Truncated after `horizon` slots; never terminated.

    ## Arguments

    `preset` names a population (`drift`, `stationary`, `drift_proactive`, `section14`, `section14_drift`), `mode` the
    physics (`calibrated`, `paper_literal`, `modern`); every field of `CachingParams` can be given as a keyword.
    `horizon` (slots), `render_mode` (`ansi`, `rgb_array`, `human`). The agents are drawn from `instance_seed`, never
    from the reset's seed.

    ## Known optimum

    `env.unwrapped.optimum()`: a certified lower bound for the episode's own demand, known in advance, from a mixed
    integer programme, beside the value of the look-ahead policy.

    ## Fidelity

    `mode="paper_literal"` evaluates the equations as printed. `calibrated` counts paths once, keeps the age of thoughts
    in thoughts, prices access per token and path and switching per megabyte, and gives the accuracy cost a floor.
    `modern` has open models with key-value caches, shared weights, roofline energy and load times; what reading and
    writing take on the roofline counts as energy, seconds times watts, within the slot's budget.

    ## Version history

    - v0: first version.

    Args:
        preset: name in `params.PRESETS`.
        params: the system as a model; excludes single fields.
        horizon: episode length in slots.
        render_mode: None, ``"ansi"``, ``"rgb_array"`` or ``"human"``.
        **overrides: fields of `CachingParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # type: ignore[misc]
    _system: Simulator

    def __init__(
        self,
        preset: str = "drift",
        *,
        params: CachingParams | None = None,
        horizon: float = 100.0,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.params = make_params(CachingParams, preset, params, overrides)
        simulator = Simulator(self.params, horizon=horizon)
        super().__init__(simulator, observation_space(self.params), action_space(self.params))
        self.render_mode = render_mode
        self._shape = (self.params.n_agents,)
        self._buffers = simulator.buffers()
        self._drawing = Drawing(render_mode, self.params, simulator.world)

    # --- episodes -----------------------------------------------------------------------------------------------------

    def _begin(self) -> tuple[Obs, Info]:
        self._buffers = self._system.reset()
        if self._drawing.on:
            self._drawing.restart()
        return self._buffers.obs[0].copy(), self._buffers.lane_info()

    def step(self, action: dict[str, Any]) -> tuple[Obs, float, bool, bool, Info]:
        """Carry out one slot.

        Args:
            action: ``{"cache": (I,) bits, "local_share": (I,) shares}``.

        Returns:
            Observation, reward (-cost), False, whether the horizon is reached, info.

        Raises:
            InvalidInputError: malformed action, or an entry is NaN or out of range; the state is unchanged.
            ResetNeeded: the episode is over.
        """
        if self._done:
            raise ResetNeeded("the episode is over (or has not begun): call reset() first")
        cache, share = parse_action(action, self._shape)
        buffers = self._system.step(cache[None], share[None], buffers=self._buffers)
        self._done = bool(self._system.world.lane["done"][0])
        info = buffers.lane_info()
        if self._drawing.on:
            self._drawing.note(info)
        return buffers.obs[0].copy(), -info["cost"], False, self._done, info

    def render(self) -> Any:
        """Draw the latest slots: text, pixels (H, W, 3) or a window, by ``render_mode``.

        Raises:
            MissingExtraError: pixels and windows need the extra ``render``.
        """
        return self._drawing.render()

    def close(self) -> None:
        """Close the window, if any."""
        self._drawing.close()

    # --- inspection ---------------------------------------------------------------------------------------------------

    def optimum(self, *, time_limit: float = TIME_LIMIT) -> Optimum:
        """Certified lower bound on the cost per slot of this episode's demand; see `optimum.solve`.

        Args:
            time_limit: of the solver, s.

        Returns:
            Value of the better of look-ahead and the programme's own plan, and the bound. Before the first reset the
            episode is the first one of seed 0.

        Raises:
            InvalidInputError: the horizon is too long for the programme.
        """
        lane = self._system.world.lane[0]
        seed, episode = int(lane["seed"]), max(0, int(lane["episode"]))
        return solve(self.params, seed, episode, horizon=self._system.horizon, time_limit=time_limit)

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue bit for bit from a state of `get_state`.

        Raises:
            InvalidInputError: the state does not fit these parameters.
        """
        super().set_state(state)
        if self._drawing.on:
            self._drawing.restart()

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return self._system.done()


class ModelCachingVectorEnv(LaneVectorEnv[Buffers]):
    """Many independent edge servers, advanced together: the vector twin of `ModelCachingEnv`.

    Lane i of ``reset(seed=s)`` repeats the scalar environment seeded s + i bit for bit. All lanes share one instance.

    Args:
        num_envs: number of lanes n.
        preset: name in `params.PRESETS`.
        params: the system as a model; excludes single fields.
        horizon: episode length in slots.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its name.
        max_episode_steps: must be None (Gymnasium passes it); episodes end at the horizon.
        **overrides: fields of `CachingParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _system: Simulator

    def __init__(
        self,
        num_envs: int = 1,
        preset: str = "drift",
        *,
        params: CachingParams | None = None,
        horizon: float = 100.0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **overrides: Any,
    ) -> None:
        lanes = check_lanes(num_envs, max_episode_steps)
        self.params = make_params(CachingParams, preset, params, overrides)
        simulator = Simulator(self.params, lanes, horizon=horizon)
        super().__init__(simulator, observation_space(self.params), action_space(self.params), autoreset_mode)
        self._shape = (lanes, self.params.n_agents)

    def step(self, actions: dict[str, Any]) -> VectorStep:
        """Carry out one slot in every lane.

        Args:
            actions: ``{"cache": (n, I) bits, "local_share": (n, I) shares}``; values are ignored in a lane that
                NEXT_STEP resets now.

        Returns:
            Observations (n, D), rewards (n,), terminations (never), truncations (n,), infos with arrays (n, ...).

        Raises:
            InvalidInputError: malformed actions, or an entry is NaN or out of range; no lane has moved then.
            ResetNeeded: DISABLED mode, and a lane's episode is over.
        """
        return self._step(parse_action(actions, self._shape))

    def _advance(
        self, actions: tuple[NDArray[np.int8], NDArray[np.float64]], skip: Flags
    ) -> tuple[Buffers, Flags, Flags]:
        cache, share = actions
        buffers = self._system.step(cache, share, skip)
        return buffers, np.zeros(self.num_envs, bool), self._system.done() & ~skip

    def _over(self, state: dict[str, NDArray[Any]]) -> Flags:
        return self._system.done()
