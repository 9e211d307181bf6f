"""`check_parallel_equals_aec` passes the good pair and names each difference between a Parallel and an AEC model."""

from __future__ import annotations

import pytest

from edgewise.envs.testing import ContractError, check_parallel_equals_aec


def test_the_good_pair_passes_and_its_episode_ends_are_counted(toys):
    assert check_parallel_equals_aec(toys.Parallel, toys.AEC) > 20


def test_a_parallel_view_that_tells_agents_only_at_their_decisions_passes_too(toys):
    class Terse(toys.Parallel):
        def reset(self, seed=None, options=None):
            self.kept = None
            observations, infos = super().reset(seed)
            return observations, self.hold_back(infos, False)

        def hold_back(self, infos, over):
            nothing = {"cost": 0.0, "duration": 0.0, "cost_terms": {"linear": 0.0, "square": 0.0}}
            return {
                agent: info | (self.system.interval(m) if over or info["must_act"] else nothing)
                for m, (agent, info) in enumerate(infos.items())
            }

        def step(self, actions):
            observations, _, terminations, truncations, infos = super().step(actions)
            infos = self.hold_back(infos, any(truncations.values()))
            return observations, {a: -infos[a]["cost"] for a in infos}, terminations, truncations, infos

    assert check_parallel_equals_aec(Terse, toys.AEC) > 20


def test_a_difference_of_one_event_is_found(toys):
    class OneMore(toys.Parallel):
        """Takes one decision too many by itself, once."""

        def reset(self, seed=None, options=None):
            self.steps = 0
            return super().reset(seed)

        def step(self, actions):
            self.steps += 1
            if self.steps == 3:
                self.system.decide(actions[self.possible_agents[self.system.agent]])
            return super().step(actions)

    with pytest.raises(ContractError, match=r"the AEC environment asks device_. at time .* but the Parallel one asks"):
        check_parallel_equals_aec(OneMore, toys.AEC)


def test_reading_a_bystanders_action_is_found(toys):
    class ReadsTheNext(toys.Parallel):
        def step(self, actions):
            mine, other = (self.possible_agents[(self.system.agent + k) % 3] for k in (0, 1))
            return super().step(actions | {mine: actions[other]})

    with pytest.raises(ContractError, match=r"asks|observes|time of|add up to"):
        check_parallel_equals_aec(ReadsTheNext, toys.AEC)


def test_lost_cost_is_found(toys):
    class Loses(toys.Parallel):
        def outcome(self, before):
            observations, infos = super().outcome(before)
            for info in infos.values():
                if not info["must_act"]:
                    info.update(cost=0.9 * info["cost"], cost_terms={"all": 0.9 * info["cost"]})
            return observations, infos

    with pytest.raises(ContractError, match=r"the Parallel costs of device_. add up to .* but the AEC cost is"):
        check_parallel_equals_aec(Loses, toys.AEC)


def test_lost_time_is_found(toys):
    class Loses(toys.Parallel):
        def outcome(self, before):
            observations, infos = super().outcome(before)
            for info in infos.values():
                info["duration"] *= 0.5
            return observations, infos

    with pytest.raises(ContractError, match=r"the Parallel durations of device_. add up to"):
        check_parallel_equals_aec(Loses, toys.AEC)


def test_rewards_must_add_up_too(toys):
    class Overpays(toys.Parallel):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, {a: 2 * r for a, r in rewards.items()}, *rest

    with pytest.raises(ContractError, match=r"the Parallel rewards of device_. add up to"):
        check_parallel_equals_aec(Overpays, toys.AEC)


def test_exactly_one_agent_must_act(toys):
    class Everybody(toys.Parallel):
        def outcome(self, before):
            observations, infos = super().outcome(before)
            return observations, {a: info | {"must_act": True} for a, info in infos.items()}

    with pytest.raises(ContractError, match=r"info\['must_act'\] must hold for exactly one Parallel agent"):
        check_parallel_equals_aec(Everybody, toys.AEC)


def test_different_observations_are_found(toys):
    class Blurred(toys.Parallel):
        def outcome(self, before):
            observations, infos = super().outcome(before)
            return {a: o * 1.0000005 for a, o in observations.items()}, infos

    with pytest.raises(ContractError, match=r"in the AEC environment but .* in the Parallel one"):
        check_parallel_equals_aec(Blurred, toys.AEC)


def test_an_agent_that_hears_nothing_is_found(toys):
    class Silent(toys.Parallel):
        def outcome(self, before):
            observations, infos = super().outcome(before)
            infos.pop(next(a for a in infos if not infos[a]["must_act"]))
            return observations, infos

    with pytest.raises(ContractError, match=r"the Parallel environment tells device_. nothing although it was alive"):
        check_parallel_equals_aec(Silent, toys.AEC)


def test_a_later_horizon_is_found(toys):
    class Later(toys.Parallel):
        def step(self, actions):
            agents = self.agents
            observations, rewards, terminations, truncations, infos = super().step(actions)
            self.agents = agents
            return observations, rewards, terminations, dict.fromkeys(truncations, False), infos

    with pytest.raises(ContractError, match=r"\(terminated, truncated\) of device_. is \(False, True\)"):
        check_parallel_equals_aec(Later, toys.AEC)


def test_agents_that_outlive_the_episode_are_found(toys):
    class Lives(toys.Parallel):
        def step(self, actions):
            agents = self.agents
            result = super().step(actions)
            self.agents = agents
            return result

    with pytest.raises(ContractError, match="live in the Parallel environment but"):
        check_parallel_equals_aec(Lives, toys.AEC)


def test_other_agents_are_found(toys):
    with pytest.raises(ContractError, match=r"the Parallel agents .* are not the AEC agents"):
        check_parallel_equals_aec(toys.Parallel, lambda: toys.AEC(agents=2))


def test_the_clock_must_agree(toys):
    class Ahead(toys.Parallel):
        def outcome(self, before):
            observations, infos = super().outcome(before)
            return observations, {a: info | {"time": info["time"] + 1e-6} for a, info in infos.items()}

    with pytest.raises(ContractError, match=r"the time of device_. is"):
        check_parallel_equals_aec(Ahead, toys.AEC)
