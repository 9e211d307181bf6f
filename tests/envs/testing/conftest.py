"""Tiny environments that keep the contract; the tests break one rule at a time in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from pettingzoo import AECEnv, ParallelEnv

HORIZON = 8.0


def _actions():
    return spaces.Dict({"server": spaces.Discrete(2), "wait": spaces.Box(0, 1, (1,), np.float32)})


class System:
    """Agents that alternate between a chosen wait (perhaps zero) and a random service; the clock jumps to the next."""

    def __init__(self, agents):
        self.agents = agents

    def reset(self, generator):
        self.generator, self.now = generator, 0.0
        self.last, self.kind = [0.0] * self.agents, [0] * self.agents
        self.pending = list(generator.standard_exponential(self.agents))
        return self.jump()

    def jump(self):
        self.agent = int(np.argmin(self.pending))
        self.now = self.pending[self.agent]
        return self.agent

    def decide(self, action):
        agent = self.agent
        self.last[agent], self.kind[agent] = self.now, 1 - self.kind[agent]
        waits = self.kind[agent] == 1
        stay = float(action["wait"][0]) if waits else (1 + action["server"]) * self.generator.standard_exponential()
        self.pending[agent] = self.now + stay
        return self.jump()

    def observe(self, agent):
        return np.array([agent, self.kind[agent], self.now - self.last[agent]], dtype=np.float32)

    def interval(self, agent, start=None):
        start = self.last[agent] if start is None else start
        duration = self.now - start
        terms = {"linear": (agent + 1) * duration, "square": 0.5 * duration**2}
        cost = sum(terms.values())
        return {"cost": cost, "duration": duration, "time": self.now, "cost_terms": terms, "device": agent}


class Env(gymnasium.Env):
    """Scalar environment: the event stream of `agents` agents."""

    metadata: ClassVar = {"render_modes": []}

    def __init__(self, agents=1):
        self.system = System(agents)
        self.observation_space = spaces.Box(0, np.inf, (3,), np.float32)
        self.action_space = _actions()

    def outcome(self):
        return self.system.observe(self.system.agent), self.system.interval(self.system.agent)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.system.reset(self.np_random)
        return self.outcome()

    def step(self, action):
        self.system.decide(action)
        observation, info = self.outcome()
        truncated = self.system.now >= HORIZON
        if truncated and self.system.agents > 1:
            everybody = [self.system.interval(agent) for agent in range(self.system.agents)]
            info["agents_obs"] = np.stack([self.system.observe(agent) for agent in range(self.system.agents)])
            for key in ("cost", "duration"):
                info[f"agents_{key}"] = np.array([interval[key] for interval in everybody])
        return observation, -info["cost"], False, truncated, info


class Vector(VectorEnv):
    """Lanes of scalar environments with the contract's reset semantics in each autoreset mode."""

    def __init__(self, n, mode, make=Env):
        self.envs, self.num_envs, self.mode = [make() for _ in range(n)], n, mode
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = self.envs[0].observation_space, _actions()
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = batch_space(self.single_action_space, n)

    def stack(self, observations):
        space = self.single_observation_space
        return concatenate(space, observations, create_empty_array(space, self.num_envs))

    def lane_seed(self, seed, lane):
        return seed[lane] if isinstance(seed, list) else None if seed is None else seed + lane

    def reset(self, *, seed=None, options=None):
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool))
        if mask.all():
            self.rows, self.over = [None] * self.num_envs, np.zeros(self.num_envs, dtype=bool)
        infos = {}
        for i in np.flatnonzero(mask).tolist():
            self.rows[i], info = self.envs[i].reset(seed=self.lane_seed(seed, i))
            infos = self._add_info(infos, info, i)
        return self.stack(self.rows), infos

    def empty(self, info):
        return {**info, "cost": 0.0, "duration": 0.0, "cost_terms": dict.fromkeys(info["cost_terms"], 0.0)}

    def lane_step(self, i, action):
        env = self.envs[i]
        if self.mode is AutoresetMode.NEXT_STEP and self.over[i]:
            self.rows[i], info = env.reset()
            return 0.0, False, False, {**self.empty(info), "reset_info": info}
        self.rows[i], reward, terminated, truncated, info = env.step(action)
        if self.mode is AutoresetMode.SAME_STEP and (terminated or truncated):
            info = {**info, "final_obs": self.rows[i], "final_info": info}
            self.rows[i], info["reset_info"] = env.reset()
        return reward, terminated, truncated, info

    def step(self, actions):
        columns, infos = [], {}
        for i, action in enumerate(iterate(self.action_space, actions)):
            *row, info = self.lane_step(i, action)
            columns.append(row)
            infos = self._add_info(infos, info, i)
        rewards, terminations, truncations = (np.array(column) for column in zip(*columns, strict=True))
        self.over = terminations | truncations
        return self.stack(self.rows), rewards, terminations, truncations, infos


class AEC(AECEnv):
    """The same system on an event clock."""

    metadata: ClassVar = {"name": "toy_v0", "render_modes": [], "is_parallelizable": False}

    def __init__(self, agents=3):
        self.system = System(agents)
        self.possible_agents = [f"device_{m}" for m in range(agents)]
        self.observation_spaces = {a: spaces.Box(0, np.inf, (3,), np.float32) for a in self.possible_agents}
        self.action_spaces = {a: _actions() for a in self.possible_agents}
        self.render_mode, self.seed = None, 0

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def index(self, agent):
        return self.possible_agents.index(agent)

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {a: {} for a in self.agents}
        self.system.reset(self.generator)
        self.select()

    def select(self):
        self.agent_selection = self.possible_agents[self.system.agent]
        self.infos[self.agent_selection] = self.system.interval(self.system.agent)

    def observe(self, agent):
        return self.system.observe(self.index(agent))

    def truncate(self):
        for agent in self.agents:
            self.truncations[agent] = True
            self.infos[agent] = self.system.interval(self.index(agent))
            self.rewards[agent] = -self.infos[agent]["cost"]

    def step(self, action):
        if self.truncations[self.agent_selection]:
            return self._was_dead_step(action)
        self._cumulative_rewards[self.agent_selection] = 0.0
        self._clear_rewards()
        self.system.decide(action)
        self.select()
        if self.system.now >= HORIZON:
            self.truncate()
        else:
            self.rewards[self.agent_selection] = -self.infos[self.agent_selection]["cost"]
        self._accumulate_rewards()


class Parallel(ParallelEnv):
    """The same system, one decision per step; everybody hears of the stretch since the previous event."""

    metadata: ClassVar = {"name": "toy_parallel_v0", "render_modes": []}

    def __init__(self, agents=3):
        self.system = System(agents)
        self.possible_agents = [f"device_{m}" for m in range(agents)]
        self.observation_spaces = {a: spaces.Box(0, np.inf, (3,), np.float32) for a in self.possible_agents}
        self.action_spaces = {a: _actions() for a in self.possible_agents}
        self.render_mode = None

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def outcome(self, before):
        infos = {}
        for m, agent in enumerate(self.possible_agents):
            whole, told = self.system.interval(m), before[m]
            terms = {key: value - told["cost_terms"][key] for key, value in whole["cost_terms"].items()}
            duration = whole["duration"] - told["duration"]
            infos[agent] = {
                "cost": sum(terms.values()),
                "duration": duration,
                "time": whole["time"],
                "cost_terms": terms,
            }
            infos[agent]["must_act"] = m == self.system.agent
        return {a: self.system.observe(m) for m, a in enumerate(self.possible_agents)}, infos

    def told(self):
        """What each agent has heard of its open interval: nothing yet for the one that decides now."""
        return [
            self.system.interval(m, self.system.now if m == self.system.agent else None)
            for m in range(self.system.agents)
        ]

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.agents = self.possible_agents[:]
        self.system.reset(self.generator)
        nothing = {"duration": 0.0, "cost_terms": {"linear": 0.0, "square": 0.0}}
        return self.outcome([nothing] * self.system.agents)

    def step(self, actions):
        before = self.told()
        self.system.decide(actions[self.possible_agents[self.system.agent]])
        observations, infos = self.outcome(before)
        truncated = self.system.now >= HORIZON
        rewards = {agent: -info["cost"] for agent, info in infos.items()}
        flags = dict.fromkeys(self.agents, truncated)
        terminations = dict.fromkeys(self.agents, False)
        if truncated:
            self.agents = []
        return observations, rewards, terminations, flags, infos


@pytest.fixture
def toys():
    return SimpleNamespace(System=System, Env=Env, Vector=Vector, AEC=AEC, Parallel=Parallel)
