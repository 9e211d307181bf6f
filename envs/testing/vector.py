"""`check_vector_equals_scalar`: is lane i of a vector environment the scalar environment with its seed, bit for bit?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from .actions import Actor
from .contract import Info, Policy, fail
from .digest import digest
from .lanes import batch_actions, lane_info

MakeVector = Callable[[int, AutoresetMode], VectorEnv[Any, Any, Any]]
MakeScalar = Callable[[], gymnasium.Env[Any, Any]]


def check_vector_equals_scalar(
    make_vec: MakeVector,
    make_env: MakeScalar,
    *,
    n: int = 4,
    steps: int = 500,
    seed: int = 0,
    modes: Sequence[AutoresetMode] = tuple(AutoresetMode),
    policy: Policy | None = None,
    stochastic: bool = True,
) -> int:
    """Check that each lane of a vector environment repeats the scalar one with its seed, in every autoreset mode.

    Lane i of ``reset(seed=s)`` is compared with a scalar environment seeded s + i, and a list of seeds gives each lane
    its own; both get the same actions, different in each lane. Observation, reward, flags and every entry of the
    scalar info must be equal bit for bit, across episode ends: a scalar ``reset()`` without a seed continues with the
    next episode of its seed, as an automatic reset does. Then equal actions go to all lanes, and no two lanes may do
    the same.

    Args:
        make_vec: builds a vector environment from (number of lanes, autoreset mode).
        make_env: builds the scalar environment.
        n: number of lanes.
        steps: steps per mode; long enough for several episodes finds most.
        seed: of the environments and of the random actions.
        modes: the autoreset modes to check.
        policy: chooses actions from (observation, info, generator) instead of the uniform draws.
        stochastic: demand that lanes differ; pass False for a deterministic model.

    Returns:
        The number of finished episodes compared, over all modes.

    Raises:
        ContractError: with one sentence that says what differs, and where.
    """
    episodes = 0
    for mode in modes:
        consecutive = [seed + i for i in range(n)]
        episodes += _compare(make_vec(n, mode), make_env, mode, seed, consecutive, steps, policy)
        own = [seed + 7 * (n - i) for i in range(n)]
        episodes += _compare(make_vec(n, mode), make_env, mode, own, own, max(steps // 10, 1), policy)
    if stochastic:
        _check_collisions(make_vec(n, modes[0]), seed, min(steps, 100), policy)
    return episodes


class _Pair:
    """A lane and the scalar environment that it must repeat."""

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int, label: str, policy: Policy | None) -> None:
        self.env, self.label, self.seed = env, label, seed
        self.actor = Actor(env.action_space, seed, policy)
        self.seen: tuple[Any, Info] = env.reset(seed=seed)
        self.waiting = False

    def equal(self, name: str, vector: Any, scalar: Any, where: str) -> None:
        """Compare one value, dicts entry by entry, so that the message can name the field."""
        if isinstance(scalar, Mapping) and isinstance(vector, Mapping):
            for key in scalar:
                if key not in vector:
                    fail(f"{self.label}, {where}", f"the scalar environment has {name}[{key!r}], the lane has not")
                self.equal(f"{name}[{key!r}]", vector[key], scalar[key], where)
        elif digest(vector) != digest(scalar):
            fail(
                f"{self.label}, {where}",
                f"{name} is {vector!r} but {scalar!r} in the scalar environment seeded {self.seed}",
            )

    def restart(self) -> tuple[Any, Info]:
        """Reset the scalar environment as an automatic reset does: the next episode of the same seed."""
        self.actor.restart()
        self.seen = self.env.reset()
        return self.seen

    def step(self, action: Any, row: tuple[Any, Any, Any, Any, Info], mode: AutoresetMode, where: str) -> bool:
        """Step the scalar environment, compare with the lane's row, and say whether the episode ended."""
        observation, reward, terminated, truncated, info = row
        if self.waiting:  # the reset step of NEXT_STEP
            self.waiting = False
            self._compare_reset(observation, info, where)
            self.equal("the reward of a reset step", reward, 0.0, where)
            self.equal("the end flag of a reset step", bool(terminated or truncated), False, where)
            return False
        seen, expected_reward, *flags, expected = self.env.step(action)
        over = bool(flags[0] or flags[1])
        self.equal("reward", reward, float(expected_reward), where)
        self.equal("terminated", bool(terminated), bool(flags[0]), where)
        self.equal("truncated", bool(truncated), bool(flags[1]), where)
        self.equal("info", info, expected, where)
        self.seen = seen, expected
        if over and mode is AutoresetMode.SAME_STEP:
            self.equal("final_obs", info.get("final_obs"), seen, where)
            self.equal("final_info", info.get("final_info"), expected, where)
            self._compare_reset(observation, info, where)
        else:
            self.equal("the observation", observation, seen, where)
        self.waiting = over and mode is AutoresetMode.NEXT_STEP
        return over

    def _compare_reset(self, observation: Any, info: Info, where: str) -> None:
        seen, expected = self.restart()
        self.equal("the reset observation", observation, seen, where)
        self.equal("reset_info", info.get("reset_info"), expected, where)


def _compare(
    vec: VectorEnv[Any, Any, Any],
    make_env: MakeScalar,
    mode: AutoresetMode,
    seed: int | list[int],
    seeds: list[int],
    steps: int,
    policy: Policy | None,
) -> int:
    declared = vec.metadata.get("autoreset_mode")
    if declared is not mode:
        fail("metadata", f"a vector environment made with {mode} declares autoreset_mode {declared!r}")
    pairs = [_Pair(make_env(), s, f"{mode.name}, lane {i}", policy) for i, s in enumerate(seeds)]
    observations, infos = vec.reset(seed=seed)  # type: ignore[arg-type]  # lists are allowed, the stubs lag
    for i, (pair, observation) in enumerate(zip(pairs, iterate(vec.observation_space, observations), strict=True)):
        pair.equal("the observation", observation, pair.seen[0], "reset")
        pair.equal("info", lane_info(infos, i), pair.seen[1], "reset")
    episodes = 0
    for step in range(1, steps + 1):
        actions = [pair.actor(*pair.seen) for pair in pairs]
        observations, *columns, infos = vec.step(batch_actions(vec.single_action_space, actions))
        over = np.zeros(len(pairs), dtype=np.bool_)
        for i, observation in enumerate(iterate(vec.observation_space, observations)):
            reward, terminated, truncated = (column[i] for column in columns)
            row = (observation, reward, terminated, truncated, lane_info(infos, i))
            over[i] = pairs[i].step(actions[i], row, mode, f"step {step}")
        episodes += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            observations, infos = vec.reset(options={"reset_mask": over.copy()})
            for i, observation in enumerate(iterate(vec.observation_space, observations)):
                where = f"reset after step {step}"
                if over[i]:
                    pairs[i].restart()
                    pairs[i].equal("info", lane_info(infos, i), pairs[i].seen[1], where)
                pairs[i].equal("the observation", observation, pairs[i].seen[0], where)
    vec.close()
    for pair in pairs:
        pair.env.close()  # type: ignore[no-untyped-call]
    return episodes


def _check_collisions(vec: VectorEnv[Any, Any, Any], seed: int, steps: int, policy: Policy | None) -> None:
    """Give every lane the same actions: lanes that then do the same share their draws."""
    actors = [Actor(vec.single_action_space, seed, policy) for _ in range(vec.num_envs)]
    observations, infos = vec.reset(seed=seed)
    trails: list[list[bytes]] = [[] for _ in actors]
    for _ in range(steps):
        lanes = list(iterate(vec.observation_space, observations))
        for i, observation in enumerate(lanes):
            info = lane_info(infos, i)
            trails[i].append(digest(observation, info.get("cost"), info.get("duration")))
        actions = [actor(lane, lane_info(infos, i)) for i, (actor, lane) in enumerate(zip(actors, lanes, strict=True))]
        observations, _, terminations, truncations, infos = vec.step(batch_actions(vec.single_action_space, actions))
        if (terminations | truncations).any():
            break  # the lanes' episodes are no longer in step
    vec.close()
    seen: dict[bytes, int] = {}
    for lane, trail in enumerate(trails):
        twin = seen.setdefault(digest(*trail), lane)
        if twin != lane:
            fail(f"lanes {twin} and {lane}", f"both do the same after reset(seed={seed}), so their seeds collide")
