"""`check_event_clock` passes the good toy and names each planted fault."""

from __future__ import annotations

import numpy as np
import pytest
from pettingzoo.test import api_test

from edgewise.envs.testing import ContractError, check_event_clock


def test_the_good_toy_passes_and_its_episode_ends_are_counted(toys):
    assert check_event_clock(toys.AEC()) > 20


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_good_toy_is_good_for_pettingzoo_too(toys):
    api_test(toys.AEC(), num_cycles=100)


def test_one_agent_is_enough(toys):
    assert check_event_clock(toys.AEC(agents=1)) > 20


def test_asking_another_agent_than_the_earliest_is_found(toys):
    class Impatient(toys.System):
        turn = 0

        def jump(self):
            self.turn += 1
            self.agent = int((np.argmax if self.turn % 5 == 0 else np.argmin)(self.pending))
            self.now = self.pending[self.agent]
            return self.agent

    env = toys.AEC()
    env.system = Impatient(3)
    with pytest.raises(ContractError, match="agent_selection was not the agent with the earliest pending decision"):
        check_event_clock(env, reward_is_cost=False)


def test_an_agent_that_is_never_asked_shows_in_the_pending_times(toys):
    class Favourite(toys.System):
        def jump(self):
            self.agent, self.now = 1, self.pending[1]
            return self.agent

    def pending(env):
        return dict(zip(env.possible_agents, env.system.pending, strict=True))

    env = toys.AEC()
    assert check_event_clock(env, pending=pending) > 20
    env.system = Favourite(3)
    with pytest.raises(ContractError, match=r"agent_selection is device_1, pending at .* that of device_[02] at"):
        check_event_clock(env, pending=pending)


def test_an_interval_since_anybodys_decision_is_found(toys):
    class Global(toys.AEC):
        def step(self, action):
            before = self.system.now
            super().step(action)
            for agent, info in self.infos.items():
                if info and agent == self.agent_selection:
                    self.infos[agent] = self.system.interval(self.index(agent), before)

    with pytest.raises(ContractError, match=r"the durations of agent 'device_.' since reset add up to"):
        check_event_clock(Global(), reward_is_cost=False)


def test_the_reward_must_be_minus_the_cost_since_the_own_decision(toys):
    class Forgetful(toys.AEC):
        def _accumulate_rewards(self):
            for agent in self.rewards:
                self._cumulative_rewards[agent] = 0.5 * self.rewards[agent]

    with pytest.raises(ContractError, match=r"the reward is .* but the cost is"):
        check_event_clock(Forgetful())


def test_a_truncation_for_some_only_is_found(toys):
    class Some(toys.AEC):
        def truncate(self):
            super().truncate()
            self.truncations["device_1"] = self.agent_selection == "device_1"

    with pytest.raises(ContractError, match="this agent is truncated but device_1 goes on"):
        check_event_clock(Some())


def test_an_agent_that_vanishes_without_a_farewell_is_found(toys):
    class Vanishes(toys.AEC):
        def truncate(self):
            super().truncate()
            gone = next(a for a in self.agents if a != self.agent_selection)
            self.agents.remove(gone)
            for table in (self.rewards, self._cumulative_rewards, self.terminations, self.truncations, self.infos):
                del table[gone]

    with pytest.raises(ContractError, match=r"the episode is over but device_. got no final observation"):
        check_event_clock(Vanishes())


def test_a_truncation_without_the_open_intervals_is_found(toys):
    class Stale(toys.AEC):
        def truncate(self):
            infos = dict(self.infos)
            super().truncate()
            self.infos.update({a: infos[a] for a in self.agents if a != self.agent_selection and infos[a]})

    with pytest.raises(ContractError, match=r"clock goes back|since reset add up to"):
        check_event_clock(Stale(), reward_is_cost=False)


def test_a_selected_agent_must_be_alive(toys):
    class Ghost(toys.AEC):
        def select(self):
            super().select()
            self.agents = [a for a in self.agents if a != "device_2"]

    with pytest.raises(ContractError, match="'device_2', which is not among the living agents"):
        check_event_clock(Ghost(), reward_is_cost=False)


def test_missing_keys_are_named(toys):
    class Lacks(toys.AEC):
        def select(self):
            super().select()
            del self.infos[self.agent_selection]["cost_terms"]

    with pytest.raises(ContractError, match=r"decision 0 \(device_.\): info lacks cost_terms"):
        check_event_clock(Lacks())


def test_observations_must_be_fresh_and_in_their_space(toys):
    class Reuses(toys.AEC):
        buffer = np.zeros(3, dtype=np.float32)

        def observe(self, agent):
            self.buffer[:] = super().observe(agent)
            return self.buffer

    class Outside(toys.AEC):
        def observe(self, agent):
            return -1.0 - super().observe(agent)

    with pytest.raises(ContractError, match="observation is the same memory"):
        check_event_clock(Reuses())
    with pytest.raises(ContractError, match="is not in Box"):
        check_event_clock(Outside())


def test_an_agent_asked_after_the_end_is_found(toys):
    class GoesOn(toys.AEC):
        """Forgets the truncation of one agent as soon as another one has been told of it."""

        def _was_dead_step(self, action):
            super()._was_dead_step(action)
            if len(self.agents) == 1:
                self.truncations[self.agents[0]] = False
                self.agent_selection = self.agents[0]

    with pytest.raises(ContractError, match="is asked for a decision after the truncation"):
        check_event_clock(GoesOn())


def test_seeds_must_rule_the_run(toys):
    class Unseeded(toys.AEC):
        def reset(self, seed=None, options=None):
            self.generator = np.random.default_rng()
            super().reset(None)

    class Fixed(toys.AEC):
        def reset(self, seed=None, options=None):
            super().reset(3)

    with pytest.raises(ContractError, match="two runs with seed 0 and the same actions differ"):
        check_event_clock(Unseeded())
    with pytest.raises(ContractError, match=r"seeds 0 and .* give the same run"):
        check_event_clock(Fixed())
    assert check_event_clock(Fixed(), stochastic=False) > 0
