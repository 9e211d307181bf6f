"""`check_event_clock`: does a PettingZoo AEC environment run on an event clock?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from pettingzoo import AECEnv

from .actions import Actor
from .contract import Freshness, Ledger, Policy, check_reward, close, fail, read_interval
from .digest import step_digest

Pending = Callable[[AECEnv[Any, Any, Any]], Mapping[Any, float]]
"""Reads the time of every living agent's next decision."""

_OTHER_SEED = 1_000_003


def check_event_clock(
    env: AECEnv[Any, Any, Any],
    *,
    seed: int = 0,
    steps: int = 1000,
    policy: Policy | None = None,
    reward_is_cost: bool = True,
    stochastic: bool = True,
    pending: Pending | None = None,
) -> int:
    """Check that an AEC environment asks its agents in the order of an event clock.

    The clock (``info["time"]`` of the selected agent) never goes back, as it must where `agent_selection` is the agent
    with the earliest pending decision. (An agent that is never asked cannot be told from a patient one by looking at
    the clock: `pending` tells.) What `last` reports spans the time since that agent's own previous
    decision: cost, duration and cost_terms keep the contract, and each agent's durations since reset add up to its
    time. A truncation reaches all agents at one instant, and each gets a final observation with its open interval.
    Observations lie in their spaces and are fresh, and a run is a function of the seed and the actions.

    Args:
        env: the environment; it is reset and stepped, not closed.
        seed: of the environment and of the random actions.
        steps: decisions per run (there are three runs); episodes begun are played to `steps` only.
        policy: chooses actions from (observation, info, generator) instead of the uniform draws.
        reward_is_cost: demand reward == -cost. An agent's first interval is exempt: it may begin before the first
            step, where PettingZoo knows no reward.
        stochastic: demand that another seed gives another run; pass False for a deterministic model.
        pending: reads every living agent's next decision time from the environment, if that can be known in advance;
            the selected agent's must then be the smallest.

    Returns:
        The number of finished episodes seen in one run: 0 means that no episode end was checked.

    Raises:
        ContractError: with one sentence that says what is wrong, and where.
    """
    rules = (steps, policy, reward_is_cost, pending)
    first, episodes = _run(env, seed, *rules)
    again, _ = _run(env, seed, *rules)
    if first != again:
        step = next((k for k, (a, b) in enumerate(zip(first, again, strict=False)) if a != b), len(first))
        fail(f"decision {step}", f"two runs with seed {seed} and the same actions differ")
    if stochastic and first == _run(env, seed + _OTHER_SEED, *rules)[0]:
        fail("reset", f"seeds {seed} and {seed + _OTHER_SEED} give the same run")
    return episodes


def _run(
    env: AECEnv[Any, Any, Any],
    seed: int,
    steps: int,
    policy: Policy | None,
    reward_is_cost: bool,
    pending: Pending | None,
) -> tuple[list[bytes], int]:
    env.reset(seed=seed)
    actors = {a: Actor(env.action_space(a), (0, i), policy) for i, a in enumerate(env.possible_agents)}
    episode, trail, episodes = _Episode(env, reward_is_cost), [], 0
    for step in range(steps):
        agent = env.agent_selection
        where = f"decision {step} ({agent})"
        if agent not in env.agents:
            fail(where, f"agent_selection is {agent!r}, which is not among the living agents {env.agents}")
        observation, reward, terminated, truncated, info = env.last()
        over = episode.enter(agent, observation, reward, terminated, truncated, info, where)
        trail.append(step_digest(observation, reward, terminated, truncated, info))
        if pending and not over:
            _check_earliest(agent, pending(env), where)
        env.step(None if over else actors[agent](observation, info))
        if not env.agents:
            episode.close(where)
            episodes += 1
            env.reset()
            episode = _Episode(env, reward_is_cost)
            for actor in actors.values():
                actor.restart()
    return trail, episodes


def _check_earliest(agent: Hashable, pending: Mapping[Any, float], where: str) -> None:
    first = min(pending, key=lambda name: pending[name])
    if pending[agent] > pending[first]:
        fail(
            where,
            f"agent_selection is {agent}, pending at {pending[agent]!r}, but the earliest pending decision is that of "
            f"{first} at {pending[first]!r}",
        )


class _Episode:
    """One episode's clock and what each agent has been told."""

    def __init__(self, env: AECEnv[Any, Any, Any], reward_is_cost: bool) -> None:
        self.env, self.reward_is_cost = env, reward_is_cost
        self.ledger, self.fresh = Ledger(), Freshness()
        self.expected = set(env.agents)
        self.finished: dict[Hashable, float] = {}
        self.end: float | None = None

    def enter(
        self, agent: Hashable, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any, where: str
    ) -> bool:
        """Check what `last` told one agent; say whether it is over for this agent."""
        self.fresh.add(where, observation=observation, info=info)
        if not self.env.observation_space(agent).contains(observation):
            fail(where, f"the observation {observation!r} is not in {self.env.observation_space(agent)}")
        interval = read_interval(info, where, agent)
        if interval.time < self.ledger.now and not close(interval.time, self.ledger.now):
            fail(
                where,
                f"{agent} is asked at time {interval.time!r} after another agent was asked at {self.ledger.now!r}, so "
                "the clock goes back and agent_selection was not the agent with the earliest pending decision",
            )
        self.ledger.add(interval, where)
        if self.reward_is_cost and self.ledger.decisions[agent] > 1:
            check_reward(reward, interval.cost, where)
        if truncated:
            self._check_truncation(interval.time, where)
        if terminated or truncated:
            self.finished[agent] = interval.time
        elif self.end is not None:
            fail(where, f"{agent} is asked for a decision after the truncation at time {self.end!r}")
        return bool(terminated or truncated)

    def _check_truncation(self, time: float, where: str) -> None:
        if self.end is None:
            self.end = time
            going = [a for a in self.env.agents if not (self.env.truncations[a] or self.env.terminations[a])]
            if going:
                fail(where, f"this agent is truncated but {', '.join(map(str, going))} goes on")
        elif not close(time, self.end):
            fail(where, f"the truncation came at time {self.end!r} but this agent's open interval ends at {time!r}")

    def close(self, where: str) -> None:
        """Check that everybody has been told of the end."""
        forgotten = sorted(map(str, self.expected - set(self.finished)))
        if forgotten:
            fail(where, f"the episode is over but {', '.join(forgotten)} got no final observation")
