"""`check_parallel_equals_aec`: are the two PettingZoo faces of one model the same model?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pettingzoo import AECEnv, ParallelEnv

from .actions import Actor
from .contract import Policy, close, fail, read_interval
from .digest import digest

MakeAEC = Callable[[], AECEnv[Any, Any, Any]]
MakeParallel = Callable[[], ParallelEnv[Any, Any, Any]]


def check_parallel_equals_aec(
    make_parallel: MakeParallel,
    make_aec: MakeAEC,
    *,
    seed: int = 0,
    steps: int = 1000,
    policy: Policy | None = None,
    must_act: str = "must_act",
) -> int:
    """Check that the Parallel view processes the same decisions as the AEC environment, one per step.

    Both are driven with the same decisions. In each Parallel step exactly one living agent's info says `must_act`,
    and it is the AEC environment's `agent_selection`; the others send actions too, which must not matter. At an
    agent's decision the two observations are equal bit for bit, the times agree, and the costs, durations and rewards
    that the Parallel view gave it since its previous decision add up to what `last` reports (relative 1e-9). At the
    end every agent is told so by both, with the same final observation and the same open interval. Rewards of an
    agent's first interval are not compared: PettingZoo knows no reward before the first step.

    Args:
        make_parallel: builds the Parallel environment.
        make_aec: builds the AEC environment.
        seed: of the environments and of the random actions.
        steps: decisions to compare.
        policy: chooses actions from (observation, info, generator) instead of the uniform draws.
        must_act: info key that marks the agent whose action is read.

    Returns:
        The number of finished episodes compared: 0 means that no episode end was checked.

    Raises:
        ContractError: with one sentence that says what differs, and where.
    """
    run = _Run(make_parallel(), make_aec(), must_act)
    agents = enumerate(run.aec.possible_agents)
    actors = {a: Actor(run.aec.action_space(a), (seed, i), policy) for i, a in agents}
    ignored = {a: Actor(run.parallel.action_space(a), (seed, i, 1)) for i, a in enumerate(run.aec.possible_agents)}
    run.reset(seed)
    for step in range(steps):
        agent, observation, info = run.compare_decision(f"decision {step}")
        action = actors[agent](observation, info)
        actions = {a: action if a == agent else ignored[a](None, {}) for a in run.parallel.agents}
        if run.advance(action, actions, f"decision {step}"):
            run.reset(None)
            for actor in actors.values():
                actor.restart()
    run.parallel.close()
    run.aec.close()
    return run.episodes


class _Run:
    """The two environments side by side, and what the Parallel one has given each agent since its own decision."""

    def __init__(self, parallel: ParallelEnv[Any, Any, Any], aec: AECEnv[Any, Any, Any], must_act: str) -> None:
        self.parallel, self.aec, self.must_act, self.episodes = parallel, aec, must_act, 0

    def reset(self, seed: int | None) -> None:
        """Begin an episode in both."""
        self.observations, self.infos = self.parallel.reset(seed=seed)
        self.aec.reset(seed=seed)
        if set(self.parallel.agents) != set(self.aec.agents):
            fail("reset", f"the Parallel agents {self.parallel.agents} are not the AEC agents {self.aec.agents}")
        self.sums = {agent: [0.0, 0.0, 0.0] for agent in self.aec.agents}
        self.asked: set[Any] = set()
        self._collect(dict.fromkeys(self.parallel.agents, 0.0), "reset")

    def _collect(self, rewards: dict[Any, Any], where: str) -> None:
        for agent in self.sums:
            if agent not in self.infos or agent not in rewards:
                fail(where, f"the Parallel environment tells {agent} nothing although it was alive")
            interval = read_interval(self.infos[agent], where, agent, f"the Parallel info of {agent}")
            for index, value in enumerate((interval.cost, interval.duration, float(rewards[agent]))):
                self.sums[agent][index] += value

    def compare_decision(self, where: str) -> tuple[Any, Any, Any]:
        """Check that both ask the same agent the same question; return it, its observation and the AEC info."""
        acting = [agent for agent in self.parallel.agents if self.infos[agent].get(self.must_act)]
        if len(acting) != 1:
            fail(where, f"info[{self.must_act!r}] must hold for exactly one Parallel agent, not for {acting}")
        agent = self.aec.agent_selection
        info = self.aec.last()[4]
        if acting[0] != agent:
            fail(
                where,
                f"the AEC environment asks {agent} at time {info.get('time')!r} but the Parallel one asks {acting[0]} "
                f"at {self.infos[acting[0]].get('time')!r}",
            )
        observation = self._compare_last(agent, where)
        self.asked.add(agent)
        self.sums[agent] = [0.0, 0.0, 0.0]
        return agent, observation, info

    def _compare_last(self, agent: Any, where: str) -> Any:
        observation, reward, *_, info = self.aec.last()
        interval, seen = read_interval(info, where, agent, f"the AEC info of {agent}"), self.observations[agent]
        if digest(observation) != digest(seen):
            fail(where, f"{agent} observes {observation!r} in the AEC environment but {seen!r} in the Parallel one")
        time = float(self.infos[agent]["time"])
        if not close(time, interval.time):
            fail(where, f"the time of {agent} is {interval.time!r} in the AEC environment but {time!r} in the Parallel")
        cost, duration, gained = self.sums[agent]
        pairs = [("cost", cost, interval.cost), ("duration", duration, interval.duration)]
        if agent in self.asked:
            pairs.append(("reward", gained, float(reward)))
        for name, total, expected in pairs:
            if not close(total, expected):
                fail(
                    where,
                    f"since its own previous decision the Parallel {name}s of {agent} add up to {total!r} but the AEC "
                    f"{name} is {expected!r}",
                )
        return observation

    def advance(self, action: Any, actions: dict[Any, Any], where: str) -> bool:
        """Take one decision in both; at the end of an episode compare the farewell and say True."""
        self.observations, rewards, terminations, truncations, self.infos = self.parallel.step(actions)
        self._collect(rewards, where)
        self.aec.step(action)
        for agent in self.aec.agents:
            told = (bool(terminations.get(agent)), bool(truncations.get(agent)))
            expected = (bool(self.aec.terminations[agent]), bool(self.aec.truncations[agent]))
            if told != expected:
                fail(
                    where,
                    f"(terminated, truncated) of {agent} is {expected} in the AEC view but {told} in the Parallel",
                )
        while self.aec.agents and any(self._over(agent) for agent in self.aec.agents):
            agent = self.aec.agent_selection
            self._compare_last(agent, f"end after {where}")
            del self.sums[agent]
            self.aec.step(None)
        if set(self.parallel.agents) != set(self.aec.agents):
            fail(where, f"{self.parallel.agents} live in the Parallel environment but {self.aec.agents} in the AEC one")
        self.episodes += not self.aec.agents
        return not self.aec.agents

    def _over(self, agent: Any) -> bool:
        return bool(self.aec.terminations[agent] or self.aec.truncations[agent])
