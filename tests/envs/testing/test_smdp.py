"""`check_smdp` passes the good toys and names each planted fault."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from edgewise.envs.testing import ContractError, check_smdp

MODES = list(AutoresetMode)


class Tampered(gymnasium.Wrapper):
    """Applies `tamper(info)` to every info from the tenth one on."""

    def __init__(self, env, tamper, after=10):
        super().__init__(env)
        self.tamper, self.left = tamper, after

    def _changed(self, result):
        self.left -= 1
        if self.left < 0:
            self.tamper(result[-1])
        return result

    def reset(self, *, seed=None, options=None):
        return self._changed(super().reset(seed=seed, options=options))

    def step(self, action):
        return self._changed(super().step(action))


def one_sentence(error):
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_the_good_toys_pass_and_their_episode_ends_are_counted(toys):
    assert check_smdp(toys.Env()) > 20
    assert check_smdp(toys.Env(agents=3)) > 20


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("agents", [1, 3])
def test_the_good_vector_toy_passes_in_every_mode(toys, mode, agents):
    assert check_smdp(toys.Vector(3, mode, lambda: toys.Env(agents)), steps=200) > 10


def test_a_policy_replaces_the_random_actions(toys):
    asked = []

    def policy(observation, info, generator):
        asked.append(info["time"])
        return {"server": 0, "wait": np.array([generator.random()], dtype=np.float32)}

    check_smdp(toys.Env(), policy=policy, steps=50)
    assert len(asked) == 150


INFO_FAULTS = {
    "no cost": (lambda info: info.pop("cost"), "lacks cost"),
    "no terms": (lambda info: info.pop("cost_terms"), "lacks cost_terms"),
    "two keys gone": (lambda info: [info.pop(k) for k in ("duration", "time")], "lacks duration, time"),
    "nan cost": (lambda info: info.update(cost=float("nan")), r"info\['cost'\] is nan, not finite"),
    "infinite duration": (lambda info: info.update(duration=np.inf), r"info\['duration'\] is inf, not finite"),
    "text": (lambda info: info.update(time="now"), r"info\['time'\] is 'now', not a number"),
    "a term is None": (lambda info: info["cost_terms"].update(linear=None), r"\['linear'\] is None, not a number"),
    "terms are no dict": (lambda info: info.update(cost_terms=3.0), "not a dict of named parts"),
    "terms do not add up": (
        lambda info: info["cost_terms"].update(linear=info["cost_terms"]["linear"] + 1e-6),
        "cost_terms add up to .* but the cost is",
    ),
    "negative duration": (lambda info: info.update(duration=-1.0), "time cannot run backwards"),
    "free lunch": (lambda info: info.update(duration=0.0, cost=1.0), "although no time passed"),
    "clock is off": (lambda info: info.update(time=info["time"] * (1 + 1e-7)), "durations .* add up to"),
    "duration is short": (lambda info: info.update(duration=info["duration"] * 0.999), "durations .* add up to"),
}


@pytest.mark.parametrize("fault", INFO_FAULTS)
def test_a_fault_in_the_info_is_named(toys, fault):
    tamper, sentence = INFO_FAULTS[fault]
    with pytest.raises(ContractError, match=sentence) as error:
        check_smdp(Tampered(toys.Env(), tamper))
    assert "step" in one_sentence(error)


def test_a_clock_that_goes_back_is_named(toys):
    class BackAndForth(toys.Env):
        def outcome(self):
            observation, info = super().outcome()
            self.odd = not getattr(self, "odd", False)
            # Durations follow the clock, so only its direction is wrong for the second agent.
            info["time"] = info["duration"] = info["time"] + (50.0 if self.odd else 0.0)
            info["device"], info["cost"], info["cost_terms"] = object(), 1.0, {"all": 1.0}
            return observation, info

    with pytest.raises(ContractError, match="the clock goes back from"):
        check_smdp(BackAndForth(), reward_is_cost=False)


def test_a_hidden_skip_is_found(toys):
    class Skips(toys.Env):
        """Steps on by itself while the agent has nothing to choose, and forgets what that stretch cost."""

        def step(self, action):
            result = super().step(action)
            if self.system.kind[0] == 1 and not result[3]:
                result = super().step(action)
            return result

    with pytest.raises(ContractError, match=r"durations .* add up to"):
        check_smdp(Skips())


def test_one_clock_for_all_agents_is_not_each_agents_own(toys):
    class Global(toys.Env):
        """Reports the time since anybody's previous decision instead of the agent's own."""

        def step(self, action):
            before = self.system.now
            observation, _, terminated, truncated, info = super().step(action)
            info.update({k: v for k, v in self.system.interval(info["device"], before).items() if k != "time"})
            return observation, -info["cost"], terminated, truncated, info

    with pytest.raises(ContractError, match=r"the durations of agent . since reset add up to"):
        check_smdp(Global(agents=3))
    assert check_smdp(Global(agents=1)) > 0


def test_agent_names_come_from_the_given_key(toys):
    class Renamed(toys.Env):
        def outcome(self):
            observation, info = super().outcome()
            info["who"] = info.pop("device")
            return observation, info

    assert check_smdp(Renamed(agents=2), agent_key="who") > 0
    with pytest.raises(ContractError, match="the durations since reset add up to"):
        check_smdp(Renamed(agents=2))


def test_the_reward_must_be_minus_the_cost_unless_waived(toys):
    priced = gymnasium.wrappers.TransformReward(toys.Env(), lambda reward: reward + 0.001)
    with pytest.raises(ContractError, match="an unwrapped reward is -cost"):
        check_smdp(priced)
    assert check_smdp(priced, reward_is_cost=False) > 0


def test_float32_rewards_count_to_their_own_precision(toys):
    narrow = gymnasium.wrappers.TransformReward(toys.Env(), np.float32)
    assert check_smdp(narrow) > 0


def test_a_reused_observation_buffer_is_found(toys):
    class Reuses(toys.Env):
        def outcome(self):
            observation, info = super().outcome()
            if not hasattr(self, "buffer"):
                self.buffer = observation.copy()
            self.buffer[:] = observation
            return self.buffer[:], info

    with pytest.raises(ContractError, match="observation is the same memory as observation of an earlier step"):
        check_smdp(Reuses())


def test_two_alternating_buffers_are_found(toys):
    class Alternates(toys.Env):
        buffers = np.zeros((2, 3), dtype=np.float32)
        turn = 0

        def outcome(self):
            observation, info = super().outcome()
            self.turn = 1 - self.turn
            self.buffers[self.turn] = observation
            return self.buffers[self.turn], info

    with pytest.raises(ContractError, match=r"the same memory as|was overwritten"):
        check_smdp(Alternates())


def test_an_observation_outside_its_space_is_found(toys):
    class Outside(toys.Env):
        def outcome(self):
            observation, info = super().outcome()
            return observation.astype(np.float64), info

    with pytest.raises(ContractError, match=r"reset: the observation .* is not in Box"):
        check_smdp(Outside())


def test_flags_must_be_booleans(toys):
    class Flags(toys.Env):
        def step(self, action):
            observation, reward, _, truncated, info = super().step(action)
            return observation, reward, None, truncated, info

    with pytest.raises(ContractError, match="terminated is None, not a bool"):
        check_smdp(Flags())


def test_a_second_source_of_randomness_is_found(toys):
    class Unseeded(toys.Env):
        own = np.random.default_rng()

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.system.reset(self.own)
            return self.outcome()

    with pytest.raises(ContractError, match="two runs with seed 0 and the same actions differ"):
        check_smdp(Unseeded())


def test_a_seed_that_changes_nothing_is_found(toys):
    class Fixed(toys.Env):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=None if seed is None else 5)

    with pytest.raises(ContractError, match=r"seeds 0 and .* give the same trajectory"):
        check_smdp(Fixed())
    assert check_smdp(Fixed(), stochastic=False) > 0


def test_an_episode_number_that_stands_still_is_found(toys):
    class Repeats(toys.Env):
        def reset(self, *, seed=None, options=None):
            self.first = self.first if seed is None else seed
            return super().reset(seed=self.first)

    with pytest.raises(ContractError, match="later ones repeat the first one's draws"):
        check_smdp(Repeats())


@pytest.mark.parametrize("key", ["agents_obs", "agents_cost", "agents_duration"])
def test_every_agent_needs_its_final_interval(toys, key):
    with pytest.raises(ContractError, match=f"3 agents is truncated but info lacks {key}"):
        check_smdp(Tampered(toys.Env(agents=3), lambda info: info.pop(key, None), after=0))


def test_wrong_final_intervals_are_found(toys):
    def half(info):
        if "agents_duration" in info:
            info["agents_duration"] = info["agents_duration"] * (np.arange(3) != (info["device"] + 1) % 3)
            info["agents_cost"] = info["agents_cost"] * (info["agents_duration"] > 0)

    def others(info):
        if "agents_cost" in info:
            info["agents_cost"] = info["agents_cost"] + 1.0

    with pytest.raises(ContractError, match=r"add up to .* but the clock ends at"):
        check_smdp(Tampered(toys.Env(agents=3), half))
    with pytest.raises(ContractError, match="differ from the step's own"):
        check_smdp(Tampered(toys.Env(agents=3), others))


def broken_vector(toys, mode, tamper):
    """A vector toy whose lane results go through tamper(env, lane, was_over, row)."""

    class Broken(toys.Vector):
        def lane_step(self, i, action):
            was_over = self.over[i]
            row = list(super().lane_step(i, action))
            row[3] = copy.deepcopy(row[3])
            tamper(self, i, was_over, row)
            return row

    return Broken(3, mode)


def test_gymnasiums_own_vector_environment_breaks_the_reset_semantics(toys):
    with pytest.raises(ContractError, match="the reset step of a NEXT_STEP environment must be empty"):
        check_smdp(SyncVectorEnv([toys.Env] * 2, autoreset_mode=AutoresetMode.NEXT_STEP))
    with pytest.raises(ContractError, match=r"info\['reset_info'\] .* is missing"):
        check_smdp(SyncVectorEnv([toys.Env] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert check_smdp(SyncVectorEnv([toys.Env] * 2, autoreset_mode=AutoresetMode.DISABLED), steps=200) > 0


def same_step_shows_the_reset(env, i, was_over, row):
    if row[2]:
        row[3].update({key: row[3]["reset_info"][key] for key in ("cost", "duration", "time", "cost_terms")})


def same_step_stale(env, i, was_over, row):
    if row[2]:
        row[3]["final_info"] = {**row[3]["final_info"], "time": 0.5 * row[3]["time"]}


def same_step_no_final(env, i, was_over, row):
    row[3].pop("final_obs", None)


def same_step_alien_final(env, i, was_over, row):
    if row[2]:
        row[3]["final_obs"] = row[3]["final_obs"][:2]


def next_step_nothing(env, i, was_over, row):
    row[3].pop("reset_info", None)


def next_step_over_again(env, i, was_over, row):
    row[2] = row[2] or bool(was_over)


def next_step_pays(env, i, was_over, row):
    if was_over:
        row[0] = -1.0


def next_step_late(env, i, was_over, row):
    if was_over:
        row[3]["time"] += 1.0


def always_reset_info(env, i, was_over, row):
    row[3].setdefault("reset_info", {k: v for k, v in row[3].items() if k in ("cost", "time")})


@pytest.mark.parametrize(
    ("mode", "tamper", "sentence"),
    [
        ("SAME_STEP", same_step_shows_the_reset, "info beside the reward must belong to the finished transition"),
        ("SAME_STEP", same_step_stale, "says .* where final_info says"),
        ("SAME_STEP", same_step_no_final, r"the episode is over but info\['final_obs'\] is missing"),
        ("SAME_STEP", same_step_alien_final, "final_obs .* is not in Box"),
        ("NEXT_STEP", next_step_nothing, r"this lane was reset but info\['reset_info'\]"),
        ("NEXT_STEP", next_step_over_again, "says that the episode is over again"),
        ("NEXT_STEP", next_step_pays, "must be empty"),
        ("NEXT_STEP", next_step_late, "time is .* but reset_info says"),
        ("DISABLED", always_reset_info, "info holds reset_info for this lane although no reset happened"),
    ],
)
def test_wrong_autoreset_semantics_are_named(toys, mode, tamper, sentence):
    with pytest.raises(ContractError, match=sentence) as error:
        check_smdp(broken_vector(toys, AutoresetMode[mode], tamper), steps=100)
    assert one_sentence(error).startswith("lane")


def test_the_declared_mode_must_be_the_one_in_force(toys):
    env = toys.Vector(2, AutoresetMode.SAME_STEP)
    env.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    with pytest.raises(ContractError, match="info holds reset_info, final_obs, final_info"):
        check_smdp(env)
    env.metadata = {"autoreset_mode": "NextStep"}
    with pytest.raises(ContractError, match=r"is 'NextStep', not a gymnasium.vector.AutoresetMode"):
        check_smdp(env)


def test_reused_info_arrays_of_a_vector_are_found(toys):
    class Reuses(toys.Vector):
        def step(self, actions):
            *rest, infos = super().step(actions)
            self.cost = getattr(self, "cost", infos["cost"])
            self.cost[:] = infos["cost"]
            return *rest, {**infos, "cost": self.cost}

    with pytest.raises(ContractError, match=r"infos\['cost'\] is the same memory as infos\['cost'\] of an earlier"):
        check_smdp(Reuses(2, AutoresetMode.NEXT_STEP))


def test_an_array_that_a_later_step_overwrites_is_found(toys):
    class Overwrites(toys.Vector):
        def step(self, actions):
            if hasattr(self, "rewards"):
                self.rewards *= 2.0
            result = super().step(actions)
            self.rewards = result[1]
            return result

    with pytest.raises(ContractError, match="rewards of an earlier step was overwritten"):
        check_smdp(Overwrites(2, AutoresetMode.NEXT_STEP))


def test_batches_of_the_wrong_form_are_found(toys):
    class Columns(toys.Vector):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, rewards[:, None], *rest

    with pytest.raises(ContractError, match="rewards must be an array of 2 floats"):
        check_smdp(Columns(2, AutoresetMode.NEXT_STEP))


def test_colliding_lane_seeds_are_found(toys):
    class Collides(toys.Vector):
        def lane_seed(self, seed, lane):
            return super().lane_seed(seed, lane // 2)

    with pytest.raises(ContractError, match="lanes 0 and 1: both give the same trajectory, so their seeds collide"):
        check_smdp(Collides(3, AutoresetMode.NEXT_STEP), steps=100)


def test_a_masked_reset_must_leave_the_others_alone(toys):
    class ResetsAll(toys.Vector):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)

    with pytest.raises(ContractError, match="a lane outside the reset_mask changed"):
        check_smdp(ResetsAll(3, AutoresetMode.DISABLED))
