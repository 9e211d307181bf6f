"""A small caching problem with the spaces of model caching: which item is asked for is to be found out, and it drifts.

One of I items is hot. Each slot, every item is asked for with probability 0.5 (hot) or 0.05. Before that is seen, a
server decides what to keep (0.12 per item and slot) and which share of it to serve; every unserved request costs 1. The
observation holds the requests of the slot *before*, which is empty half of the time, so a policy needs memory; with
`drift` another item becomes hot every so many slots.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

HOT, COLD, KEEP = 0.5, 0.05, 0.12
ID = "tests/DriftingCaches-v0"

Array = NDArray[Any]


def _uniform(key: Array, *counters: Any) -> Array:
    """A hash of keys and counters as numbers in (0, 1): the same whatever the number of lanes."""
    z = key.astype(np.uint64)
    for counter in counters:
        z = z + (np.atleast_1d(counter).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


class DriftingCachesVectorEnv(VectorEnv[Any, Any, Any]):
    def __init__(
        self,
        num_envs: int = 1,
        items: int = 3,
        horizon: int = 40,
        drift: int = 20,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        **_: Any,
    ) -> None:
        mode = AutoresetMode[autoreset_mode] if isinstance(autoreset_mode, str) else autoreset_mode
        self.metadata = {"autoreset_mode": mode, "render_modes": []}
        self.num_envs, self.items, self.horizon, self.drift = num_envs, items, horizon, drift
        self.single_observation_space = spaces.Box(0.0, 1.0, (items,), np.float32)
        self.single_action_space = spaces.Dict(
            {"cache": spaces.MultiBinary(items), "local_share": spaces.Box(0.0, 1.0, (items,), np.float32)}
        )
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self._seed = np.arange(num_envs, dtype=np.uint64)
        self._episode, self._slot = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self._asked = np.zeros((num_envs, items))
        self._ended = np.zeros(num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        if seed is not None:
            given = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
            self._seed = np.array([int(s) % 2**64 for s in given], np.uint64)
            self._episode[:] = 0
        else:
            self._episode += 1
        self._start(np.ones(self.num_envs, np.bool_))
        self._ended[:] = False
        return self._observation(), self._info(np.zeros(self.num_envs), np.zeros((self.num_envs, 2)), 0.0)

    def _start(self, lanes: Array) -> None:
        self._slot[lanes], self._asked[lanes] = 0, 0.0

    def hot(self) -> Array:
        """The hot item of the slot to come, per lane."""
        phase = self._slot // self.drift if self.drift else np.zeros_like(self._slot)
        return (_uniform(self._seed, self._episode, phase, 10**6) * self.items).astype(np.int64)

    def _observation(self) -> Array:
        return self._asked.astype(np.float32)

    def _info(self, cost: Array, terms: Array, duration: float | Array) -> dict[str, Any]:
        parts = {name: terms[:, i].copy() for i, name in enumerate(("missed", "kept"))}
        every = np.full(self.num_envs, 1.0) * duration
        return {"cost": cost, "duration": every, "time": self._slot.astype(np.float64), "cost_terms": parts}

    def step(self, actions: Any) -> tuple[Any, ...]:
        cache, share = np.asarray(actions["cache"], np.float64), np.asarray(actions["local_share"], np.float64)
        chance = np.where(np.arange(self.items) == self.hot()[:, None], HOT, COLD)
        draws = [_uniform(self._seed, self._episode, self._slot, item) for item in range(self.items)]
        asked = (np.stack(draws, axis=1) < chance).astype(np.float64)
        missed = (asked * (1.0 - cache * share)).sum(1)
        terms = np.stack([missed, KEEP * cache.sum(1)], axis=1)
        cost, duration = terms.sum(1), np.ones(self.num_envs)
        idle = self._ended.copy()  # NEXT_STEP: this call only brings the first observation of the next episode
        self._asked, self._slot = asked, self._slot + 1
        if idle.any():
            self._episode[idle] += 1
            self._start(idle)
            cost, terms, duration = cost * ~idle, terms * ~idle[:, None], duration * ~idle
        truncated = (self._slot >= self.horizon) & ~idle
        info = self._info(cost, terms, duration)
        info["cost_by_agent"] = (asked * (1.0 - cache * share) + KEEP * cache) * ~idle[:, None]
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP:
            if truncated.any():
                final = np.full(self.num_envs, None, object)
                for lane in np.flatnonzero(truncated):
                    final[lane] = self._observation()[lane]
                info |= {"final_obs": final, "_final_obs": truncated.copy()}
                self._episode[truncated] += 1
                self._start(truncated)
        else:
            self._ended = truncated.copy()
        return self._observation(), -cost, np.zeros(self.num_envs, np.bool_), truncated, info

    def get_state(self) -> dict[str, Array]:
        names = ("seed", "episode", "slot", "asked", "ended")
        return {name: getattr(self, f"_{name}").copy() for name in names}

    def set_state(self, state: dict[str, Array]) -> None:
        for name, value in state.items():
            setattr(self, f"_{name}", np.array(value))


class DriftingCachesEnv(gymnasium.Env[Any, Any]):
    """One lane."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        self._lane = DriftingCachesVectorEnv(1, **kwargs | {"autoreset_mode": AutoresetMode.DISABLED})
        self.observation_space = self._lane.single_observation_space
        self.action_space = self._lane.single_action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        observation, info = self._lane.reset(seed=None if seed is None else [seed])
        return observation[0], {name: float(info[name][0]) for name in ("cost", "duration", "time")}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        batch = {name: np.asarray(value)[None] for name, value in action.items()}
        observation, reward, terminated, truncated, info = self._lane.step(batch)
        own = {name: float(info[name][0]) for name in ("cost", "duration", "time")}
        self._lane._ended[:] = False
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), own


if ID not in gymnasium.registry:
    gymnasium.register(ID, entry_point=DriftingCachesEnv, vector_entry_point=DriftingCachesVectorEnv)
