"""`check_smdp`: does a Gymnasium environment, scalar or vector, keep the semi-Markov contract?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from .actions import Actor
from .contract import Freshness, Info, Interval, Ledger, Policy, check_reward, close, fail, finite_number, read_interval
from .digest import digest, step_digest
from .lanes import batch_actions, lane_info

_OTHER_SEED = 1_000_003
_RESULT = ("observations", "rewards", "terminations", "truncations", "infos")


@dataclass(frozen=True, slots=True)
class _Rules:
    seed: int
    steps: int
    policy: Policy | None
    reward_is_cost: bool
    agent_key: str


@dataclass(frozen=True, slots=True)
class _Trace:
    """What one run leaves behind: digests per lane and step, and digests of the finished episodes per lane."""

    steps: list[list[bytes]]
    episodes: list[list[bytes]]


def check_smdp(
    env: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any],
    *,
    seed: int = 0,
    steps: int = 1000,
    policy: Policy | None = None,
    reward_is_cost: bool = True,
    stochastic: bool = True,
    agent_key: str = "device",
) -> int:
    """Check that an environment keeps the semi-Markov contract.

    Every reset and step must report cost, duration, time and cost_terms: finite, durations >= 0, an empty interval
    free of charge, the terms adding up to the cost, and the clock equal to the sum of the durations of each agent (all
    of them relative 1e-9; an agent's first interval starts at the reset). Observations lie in their space, no array is
    handed out twice, the reward is -cost. The same seed and actions give the same trajectory, other seeds another one,
    and later episodes and other lanes other draws. Vector environments are checked in the autoreset mode that their
    metadata declare: with SAME_STEP the info beside a reward belongs to the finished transition and the new episode's
    first stretch stands under ``reset_info``; with NEXT_STEP a reset step is empty and has ``reset_info`` too.

    Args:
        env: a scalar or a vector environment; it is reset and stepped, not closed.
        seed: of the environment and of the random actions.
        steps: decisions per run (there are three runs); long enough for several episodes finds most.
        policy: chooses actions from (observation, info, generator) instead of the uniform draws.
        reward_is_cost: demand reward == -cost; pass False behind a wrapper that prices the ratio.
        stochastic: demand that other seeds, lanes and episodes differ; pass False for a deterministic model.
        agent_key: info key that names the agent, where several agents share the stream.

    Returns:
        The number of finished episodes seen in one run: 0 means that no episode end was checked.

    Raises:
        ContractError: with one sentence that says what is wrong, and where.
    """
    rules = _Rules(seed, steps, policy, reward_is_cost, agent_key)
    first, again = _run(env, rules), _run(env, rules)
    for lane, (one, two) in enumerate(zip(first.steps, again.steps, strict=True)):
        if one != two:
            step = next(k for k, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
            fail(f"lane {lane}, step {step}", f"two runs with seed {seed} and the same actions differ")
    if stochastic:
        _check_variety(first, _run(env, replace(rules, seed=seed + _OTHER_SEED)), seed)
    return sum(map(len, first.episodes))


def _run(env: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any], rules: _Rules) -> _Trace:
    return _run_vector(env, rules) if isinstance(env, VectorEnv) else _run_scalar(env, rules)


def _check_variety(first: _Trace, other: _Trace, seed: int) -> None:
    seen: dict[bytes, int] = {}
    for lane, (one, two) in enumerate(zip(first.steps, other.steps, strict=True)):
        if one == two:
            fail(f"lane {lane}", f"seeds {seed} and {seed + _OTHER_SEED} give the same trajectory")
        twin = seen.setdefault(digest(*one), lane)
        if twin != lane:
            fail(f"lanes {twin} and {lane}", "both give the same trajectory, so their seeds collide")
    for lane, episodes in enumerate(first.episodes):
        if len(episodes) > 1 and len(set(episodes)) == 1:
            fail(f"lane {lane}", f"all {len(episodes)} episodes are the same: later ones repeat the first one's draws")


class _Lane:
    """One system in a run: its clock, its actions, and the digests of its steps."""

    def __init__(self, space: gymnasium.Space[Any], rules: _Rules) -> None:
        # The actions depend on the position in the episode only: what differs then is the environment's own draws.
        # They keep one seed in all runs and lanes for the same reason.
        self.actor, self.rules = Actor(space, 0, rules.policy), rules
        self.digests: list[bytes] = []
        self.episodes: list[bytes] = []

    def _read(self, info: Info, where: str, name: str = "info") -> Interval:
        return read_interval(info, where, _agent(info, self.rules.agent_key), name)

    def begin(self, observation: Any, info: Info, where: str, name: str = "info") -> None:
        """Enter a reset: `info` prices the stretch to the first decision."""
        self.ledger, self._seen = Ledger(), (observation, info)
        self.actor.restart()
        self._first = len(self.digests)
        self.ledger.add(self._read(info, where, name), where)
        self.digests.append(step_digest(observation, 0.0, False, False, info))

    def act(self) -> Any:
        """Action for the latest observation."""
        return self.actor(*self._seen)

    def advance(
        self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Info, where: str
    ) -> Interval:
        """Enter a step; `observation` is the one that belongs to `info`."""
        interval, self._seen = self._read(info, where), (observation, info)
        self.ledger.add(interval, where)
        if self.rules.reward_is_cost:
            check_reward(reward, interval.cost, where)
        if truncated:
            _check_open_intervals(info, self.ledger, interval, where)
        self.digests.append(step_digest(observation, reward, terminated, truncated, info))
        if terminated or truncated:
            self.episodes.append(digest(*self.digests[self._first :]))
        return interval


def _agent(info: Info, key: str) -> Hashable:
    agent = info.get(key)
    return agent.item() if isinstance(agent, (np.generic, np.ndarray)) else agent


def _check_open_intervals(info: Info, ledger: Ledger, last: Interval, where: str) -> None:
    """At a truncation every agent of a shared stream gets its final observation and its open interval."""
    keys = ("agents_obs", "agents_cost", "agents_duration")
    missing = [key for key in keys if key not in info]
    if missing:
        if len(ledger.own) > 1:
            fail(where, f"the episode of {len(ledger.own)} agents is truncated but info lacks {', '.join(missing)}")
        return
    observations, costs, durations = (info[key] for key in keys)
    if not len(observations) == len(costs) == len(durations):
        fail(where, "agents_obs, agents_cost and agents_duration speak of different numbers of agents")
    for agent, raw in enumerate(durations):
        duration = finite_number(raw, f"agents_duration[{agent}]", where)
        cost = finite_number(costs[agent], f"agents_cost[{agent}]", where)
        if duration < 0 or (duration == 0 and cost != 0):
            fail(where, f"the open interval of agent {agent} has duration {duration!r} and cost {cost!r}")
        total = ledger.own.get(agent, 0.0) + duration
        if agent == last.agent:
            total -= last.duration
            if not (close(duration, last.duration) and close(cost, last.cost)):
                fail(where, f"agents_duration and agents_cost of agent {agent} differ from the step's own")
        if not close(total, last.time):
            fail(where, f"the durations of agent {agent} add up to {total!r} but the clock ends at {last.time!r}")


def _in_space(space: gymnasium.Space[Any], observation: Any, where: str, name: str = "the observation") -> None:
    if not space.contains(observation):
        fail(where, f"{name} {observation!r} is not in {space}")


def _check_flag(flag: Any, name: str, where: str) -> None:
    if not isinstance(flag, (bool, np.bool_)):
        fail(where, f"{name} is {flag!r}, not a bool")


def _run_scalar(env: gymnasium.Env[Any, Any], rules: _Rules) -> _Trace:
    lane, fresh = _Lane(env.action_space, rules), Freshness()
    observation, info = env.reset(seed=rules.seed)
    fresh.add("reset", observation=observation, info=info)
    _in_space(env.observation_space, observation, "reset")
    lane.begin(observation, info, "reset")
    for step in range(1, rules.steps + 1):
        where = f"step {step}"
        observation, reward, terminated, truncated, info = env.step(lane.act())
        fresh.add(where, observation=observation, info=info)
        _in_space(env.observation_space, observation, where)
        _check_flag(terminated, "terminated", where)
        _check_flag(truncated, "truncated", where)
        lane.advance(observation, reward, terminated, truncated, info, where)
        if terminated or truncated:
            where = f"reset after step {step}"
            observation, info = env.reset()
            fresh.add(where, observation=observation, info=info)
            _in_space(env.observation_space, observation, where)
            lane.begin(observation, info, where)
    return _Trace([lane.digests], [lane.episodes])


def _run_vector(env: VectorEnv[Any, Any, Any], rules: _Rules) -> _Trace:
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        fail("metadata", f"metadata['autoreset_mode'] is {mode!r}, not a gymnasium.vector.AutoresetMode")
    lanes = [_Lane(env.single_action_space, rules) for _ in range(env.num_envs)]
    fresh, ended = Freshness(), np.zeros(env.num_envs, dtype=np.bool_)
    observations, infos = env.reset(seed=rules.seed)
    fresh.add("reset", observations=observations, infos=infos)
    _in_space(env.observation_space, observations, "reset")
    for i, (lane, observation) in enumerate(zip(lanes, iterate(env.observation_space, observations), strict=True)):
        lane.begin(observation, lane_info(infos, i), f"lane {i}, reset")
    for step in range(1, rules.steps + 1):
        result = env.step(batch_actions(env.single_action_space, [lane.act() for lane in lanes]))
        observations, rewards, terminations, truncations, infos = result
        fresh.add(f"step {step}", **dict(zip(_RESULT, result, strict=True)))
        _in_space(env.observation_space, observations, f"step {step}")
        _check_batch(env.num_envs, rewards, terminations, truncations, f"step {step}")
        over = terminations | truncations
        for i, (lane, observation) in enumerate(zip(lanes, iterate(env.observation_space, observations), strict=True)):
            where, info = f"lane {i}, step {step}", lane_info(infos, i)
            row = (observation, rewards[i], terminations[i], truncations[i], info)
            if mode is AutoresetMode.NEXT_STEP and ended[i]:
                _next_step_reset(lane, *row, where)
            elif mode is AutoresetMode.SAME_STEP and over[i]:
                _same_step_end(lane, *row, where, env.single_observation_space)
            else:
                _no_reset_keys(info, where)
                lane.advance(*row, where)
        if mode is AutoresetMode.DISABLED and over.any():
            _masked_reset(env, lanes, observations, over, fresh, f"reset after step {step}")
        ended = over
    return _Trace([lane.digests for lane in lanes], [lane.episodes for lane in lanes])


def _check_batch(n: int, rewards: Any, terminations: Any, truncations: Any, where: str) -> None:
    arrays = {"rewards": rewards, "terminations": terminations, "truncations": truncations}
    for name, array in arrays.items():
        kind = "float" if name == "rewards" else "bool"
        if not isinstance(array, np.ndarray) or array.shape != (n,) or array.dtype.kind != kind[0]:
            fail(where, f"{name} must be an array of {n} {kind}s, not {array!r}")


def _no_reset_keys(info: Info, where: str) -> None:
    present = [key for key in ("reset_info", "final_obs", "final_info") if key in info]
    if present:
        fail(where, f"info holds {', '.join(present)} for this lane although no reset happened in this step")


def _reset_info(info: Info, where: str) -> Mapping[str, Any]:
    value = info.get("reset_info")
    if not isinstance(value, Mapping):
        fail(where, "this lane was reset but info['reset_info'] with the cost and duration of that stretch is missing")
    return value


def _next_step_reset(
    lane: _Lane, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Info, where: str
) -> None:
    if terminated or truncated:
        fail(where, "the reset step of a NEXT_STEP environment says that the episode is over again")
    interval = read_interval(info, where)
    if interval.cost != 0 or interval.duration != 0 or float(reward) != 0 or any(interval.terms.values()):
        fail(
            where,
            "the reset step of a NEXT_STEP environment must be empty, with its stretch under reset_info, but has "
            f"cost {interval.cost!r}, duration {interval.duration!r}, reward {float(reward)!r}, terms {interval.terms}",
        )
    lane.begin(observation, _reset_info(info, where), where, "info['reset_info']")
    if not close(interval.time, lane.ledger.now):
        fail(where, f"time is {interval.time!r} but reset_info says {lane.ledger.now!r}")


def _same_step_end(
    lane: _Lane,
    observation: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
    info: Info,
    where: str,
    space: gymnasium.Space[Any],
) -> None:
    for key in ("final_obs", "final_info"):
        if key not in info:
            fail(where, f"the episode is over but info[{key!r}] is missing")
    _in_space(space, info["final_obs"], where, "final_obs")
    reset = _reset_info(info, where)
    top, final = read_interval(info, where), read_interval(info["final_info"], where, name="info['final_info']")
    if top != final:
        fail(
            where,
            "info beside the reward must belong to the finished transition, but says "
            f"{top} where final_info says {final}",
        )
    lane.advance(info["final_obs"], reward, terminated, truncated, info, where)
    lane.begin(observation, reset, where, "info['reset_info']")


def _masked_reset(
    env: VectorEnv[Any, Any, Any], lanes: list[_Lane], before: Any, over: Any, fresh: Freshness, where: str
) -> None:
    observations, infos = env.reset(options={"reset_mask": over.copy()})
    fresh.add(where, observations=observations, infos=infos)
    _in_space(env.observation_space, observations, where)
    pairs = zip(iterate(env.observation_space, before), iterate(env.observation_space, observations), strict=True)
    for i, (old, new) in enumerate(pairs):
        if over[i]:
            lanes[i].begin(new, lane_info(infos, i), f"lane {i}, {where}")
        elif digest(old) != digest(new):
            fail(f"lane {i}, {where}", "the observation of a lane outside the reset_mask changed")
