"""Reward and action wrappers, scalar and vector, in every autoreset mode."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.vector_wrappers import (
    VectorFlatHybridAction,
    VectorRateReward,
    VectorRatioReward,
    column,
    columns,
)
from edgewise.envs.core.wrappers import FlatHybridAction, RateReward, RatioReward

DURATIONS = (0.5, 2.0, 7.0)
COSTS = (3.0, 1.0, 10.0)
RATIO = 1.25


class Scripted(gym.Env):
    """Three steps with known costs; devices take turns; resets cost something too."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, durations=DURATIONS, z_max=3.0, servers=3, start=0):
        self.action_space = spaces.Dict(
            {"server": spaces.Discrete(servers, start=start), "wait": spaces.Box(0.0, z_max, (1,), np.float32)}
        )
        self.durations = durations
        self.taken = None

    def _info(self, cost, duration):
        self.time += duration
        terms = {"a": 0.25 * cost, "b": 0.75 * cost}
        return {"cost": cost, "duration": duration, "time": self.time, "cost_terms": terms, "device": self.k % 2}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.k, self.time = 0, 0.0
        return np.zeros(1, np.float32), self._info(100.0, 50.0)

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken = action
        cost, duration = COSTS[self.k], self.durations[self.k]
        self.k += 1
        info = self._info(cost, duration)
        return np.full(1, self.k, np.float32), -cost, False, self.k == 3, info


ACTION = {"server": np.int64(0), "wait": np.zeros(1, np.float32)}


def rollout(env, steps=3):
    env.reset(seed=1)
    return [env.step(ACTION) for _ in range(steps)]


def vector(wrapper, mode, steps, lanes=2, durations=DURATIONS, **kwargs):
    env = wrapper(SyncVectorEnv([lambda: Scripted(durations)] * lanes, autoreset_mode=mode), **kwargs)
    env.reset(seed=0)
    actions = {"server": np.zeros(lanes, np.int64), "wait": np.zeros((lanes, 1), np.float32)}
    return env, [env.step(actions) for _ in range(steps)]


def test_ratio_reward_prices_cost_and_duration_and_leaves_info_alone():
    plain, priced = rollout(Scripted()), rollout(RatioReward(Scripted(), RATIO))
    assert [step[1] for step in priced] == [-(c - RATIO * d) for c, d in zip(COSTS, DURATIONS, strict=True)]
    for before, after in zip(plain, priced, strict=True):
        assert before[4] == after[4]
        assert before[2:4] == after[2:4]


def test_ratio_per_agent_uses_the_device_that_observes():
    rewards = [step[1] for step in rollout(RatioReward(Scripted(), [1.0, 10.0]))]
    # Devices after steps 1, 2, 3: 1, 0, 1.
    assert rewards == [-(3.0 - 10.0 * 0.5), -(1.0 - 1.0 * 2.0), -(10.0 - 10.0 * 7.0)]


def test_ratio_is_settable_also_through_other_wrappers():
    env = gym.wrappers.TimeLimit(RatioReward(Scripted(), 0.0), 10)
    env.reset()
    env.set_wrapper_attr("ratio", 2.0)
    assert env.get_wrapper_attr("ratio") == 2.0
    assert env.step(ACTION)[1] == -(3.0 - 2.0 * 0.5)
    env.set_wrapper_attr("ratio", [2.0, 4.0])
    assert env.step(ACTION)[1] == -(1.0 - 2.0 * 2.0)
    with pytest.raises(ValueError, match="read-only"):
        env.get_wrapper_attr("ratio")[0] = 3.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("nan")], [], [[1.0]], "fast", None, {}])
@pytest.mark.parametrize("vectorised", [False, True])
def test_bad_ratio_is_refused_by_name(bad, vectorised):
    env = SyncVectorEnv([Scripted]) if vectorised else Scripted()
    wrapper = (VectorRatioReward if vectorised else RatioReward)(env, 1.0)
    with pytest.raises(InvalidInputError, match=r"^ratio must be a finite number"):
        type(wrapper)(env, bad)
    with pytest.raises(InvalidInputError, match=r"^ratio must be"):
        wrapper.ratio = bad
    assert wrapper.ratio == 1.0


def test_ratio_without_a_value_for_the_acting_device():
    env = RatioReward(Scripted(), [1.0])
    env.reset()
    with pytest.raises(InvalidInputError, match="device 1 acts"):
        env.step(ACTION)
    with pytest.raises(InvalidInputError, match="device 1 acts"):
        vector(VectorRatioReward, AutoresetMode.NEXT_STEP, 1, ratio=[1.0])


@pytest.mark.parametrize("key", ["cost", "duration", "device"])
def test_missing_info_key_is_named(key):
    class Forgetful(Scripted):
        def _info(self, cost, duration):
            info = super()._info(cost, duration)
            del info[key]
            return info

    env = RatioReward(Forgetful(), [1.0, 2.0])
    env.reset()
    with pytest.raises(InvalidInputError, match=f"'{key}'"):
        env.step(ACTION)
    vec = VectorRatioReward(SyncVectorEnv([Forgetful]), [1.0, 2.0])
    vec.reset()
    with pytest.raises(InvalidInputError, match=f"'{key}'"):
        vec.step({"server": np.zeros(1, np.int64), "wait": np.zeros((1, 1), np.float32)})


def test_rate_reward_and_its_refusal_of_zero_durations():
    rewards = [step[1] for step in rollout(RateReward(Scripted()))]
    assert rewards == [-c / d for c, d in zip(COSTS, DURATIONS, strict=True)]
    with pytest.raises(InvalidInputError, match="joint decisions"):
        rollout(RateReward(Scripted((0.5, 0.0, 7.0))))


@pytest.mark.parametrize("ratio", [RATIO, (1.0, 10.0)])
def test_vector_next_step_equals_scalar_and_reset_steps_are_zero(ratio):
    expected = [step[1] for step in rollout(RatioReward(Scripted(), ratio))]
    _, steps = vector(VectorRatioReward, AutoresetMode.NEXT_STEP, 8, ratio=ratio)
    for lane in (0, 1):
        assert [step[1][lane] for step in steps] == [*expected, 0.0, *expected, 0.0]
    assert steps[3][4]["cost"].tolist() == [100.0, 100.0]


@pytest.mark.parametrize("ratio", [RATIO, (1.0, 10.0)])
def test_vector_same_step_prices_the_ended_transition_and_leaves_infos_alone(ratio):
    expected = [step[1] for step in rollout(RatioReward(Scripted(), ratio))]
    _, steps = vector(VectorRatioReward, AutoresetMode.SAME_STEP, 6, ratio=ratio)
    assert [step[1][0] for step in steps] == expected * 2
    assert steps[2][4]["cost"].tolist() == [100.0, 100.0]
    assert steps[2][4]["final_info"]["cost"].tolist() == [10.0, 10.0]


def test_vector_same_step_with_the_suites_convention():
    # Top level: the ended transition; the reset stands under reset_info, and final_info holds no cost.
    class Suite(SyncVectorEnv):
        def step(self, actions):
            obs, rewards, terminated, truncated, infos = super().step(actions)
            final = infos.get("final_info")
            if final is not None:
                infos = {**infos, "reset_info": {"cost": infos["cost"]}, "final_info": {"seen": np.ones(2)}}
                infos.update({key: final[key] for key in ("cost", "duration", "device")})
            return obs, rewards, terminated, truncated, infos

    env = VectorRatioReward(Suite([Scripted] * 2, autoreset_mode=AutoresetMode.SAME_STEP), RATIO)
    env.reset(seed=0)
    actions = {"server": np.zeros(2, np.int64), "wait": np.zeros((2, 1), np.float32)}
    rewards = [env.step(actions)[1][1] for _ in range(4)]
    expected = [-(c - RATIO * d) for c, d in zip(COSTS, DURATIONS, strict=True)]
    assert rewards == [*expected, expected[0]]


def test_vector_rate_reward_ignores_reset_steps_only():
    expected = [-c / d for c, d in zip(COSTS, DURATIONS, strict=True)]
    _, steps = vector(VectorRateReward, AutoresetMode.NEXT_STEP, 5)
    assert [step[1][1] for step in steps] == [*expected, 0.0, expected[0]]
    with pytest.raises(InvalidInputError, match="joint decisions"):
        vector(VectorRateReward, AutoresetMode.NEXT_STEP, 2, durations=(0.5, 0.0, 7.0))


@pytest.mark.parametrize("end", [True, False])
def test_rewards_are_right_after_a_state_was_restored(end):
    """Whether a lane resets now is the environment's state, not the wrapper's."""
    env = VectorRateReward(gym.make_vec("edgewise/AoIOffload-v0", num_envs=2, preset="single", decision="joint"))
    actions = {"server": np.zeros(2, np.int64), "wait": np.full((2, 1), 0.5, np.float32)}
    env.reset(seed=0)
    middle = env.unwrapped.get_state()
    while not env.step(actions)[3].any():
        pass
    ended = env.unwrapped.get_state()
    env.unwrapped.set_state(middle)
    assert (env.step(actions)[1] < 0.0).all()
    if end:
        env.unwrapped.set_state(ended)
        over = env.unwrapped.waiting
        assert over.any()
        assert (env.step(actions)[1][over] == 0.0).all()


def test_lanes_that_end_at_different_times_reset_alone():
    class Long(Scripted):
        def step(self, action):
            obs, reward, terminated, _, info = super().step(action)
            return obs, reward, terminated, self.k == 2, info

    env = VectorRatioReward(SyncVectorEnv([Scripted, Long]), 0.0)
    env.reset(seed=0)
    actions = {"server": np.zeros(2, np.int64), "wait": np.zeros((2, 1), np.float32)}
    rewards = np.array([env.step(actions)[1] for _ in range(4)])
    assert rewards.T.tolist() == [[-3.0, -1.0, -10.0, 0.0], [-3.0, -1.0, 0.0, -3.0]]
    env.reset(seed=0)
    assert env.step(actions)[1].tolist() == [-3.0, -3.0]


def test_partial_reset_keeps_the_other_lanes_state():
    env = VectorRatioReward(SyncVectorEnv([Scripted] * 2, autoreset_mode=AutoresetMode.DISABLED), 0.0)
    env.reset(seed=0)
    actions = {"server": np.zeros(2, np.int64), "wait": np.zeros((2, 1), np.float32)}
    env.step(actions)
    env.reset(options={"reset_mask": np.array([True, False])})
    assert env.step(actions)[1].tolist() == [-3.0, -1.0]


def test_wrapper_arguments_are_recorded():
    gym.register("core-test/Scripted-v0", entry_point=lambda **kwargs: Scripted(**kwargs))
    try:
        env = RatioReward(FlatHybridAction(gym.make("core-test/Scripted-v0", disable_env_checker=True)), [1.0, 2.0])
        recorded = {spec.name: spec.kwargs for spec in env.spec.additional_wrappers}
        assert recorded == {"FlatHybridAction": {}, "RatioReward": {"ratio": [1.0, 2.0]}}
    finally:
        del gym.registry["core-test/Scripted-v0"]
    assert VectorRatioReward(SyncVectorEnv([Scripted]), 3.0)._saved_kwargs == {"ratio": 3.0}
    assert RateReward(Scripted())._saved_kwargs == {}


def test_flat_action_decodes_wait_and_server():
    env = FlatHybridAction(Scripted())
    assert env.action_space == spaces.Box(-1.0, 1.0, (4,), np.float32)
    env.reset()
    env.step(np.array([0.0, -0.5, 0.5, 0.25], np.float32))
    taken = env.unwrapped.taken
    assert taken["server"] == 1
    assert taken["wait"].tolist() == [1.5]
    for a, wait in ((-1.0, 0.0), (1.0, 3.0)):
        assert env.decode([a, 0, 0, 0])["wait"].tolist() == [wait]


def test_flat_action_ties_go_to_the_lowest_index():
    env = FlatHybridAction(Scripted(start=5))
    assert env.decode([0.0, 0.3, 0.3, 0.3])["server"] == 5
    assert env.decode([0.0, -1.0, 0.3, 0.3])["server"] == 6


@given(st.integers(0, 2), st.floats(0.0, 3.0, width=32))
def test_flat_action_round_trip(server, wait):
    env = FlatHybridAction(Scripted())
    carrier = env.encode({"server": server, "wait": np.array([wait], np.float32)})
    assert env.action_space.contains(carrier)
    back = env.decode(carrier)
    assert back["server"] == server
    assert env.unwrapped.action_space.contains(back)
    assert abs(float(back["wait"][0]) - wait) <= 3.0 * 2.0**-23


@given(st.lists(st.lists(st.floats(-1.0, 1.0, width=32), min_size=4, max_size=4), min_size=2, max_size=2))
def test_flat_vector_twin_equals_scalar_bitwise(rows):
    scalar = FlatHybridAction(Scripted())
    vec = VectorFlatHybridAction(SyncVectorEnv([Scripted] * 2))
    batch = vec.decode(np.array(rows, np.float32))
    again = vec.decode(vec.encode(batch))
    assert batch["server"].shape == (2,)
    assert batch["wait"].shape == (2, 1)
    assert again["server"].tolist() == batch["server"].tolist()
    for lane, row in enumerate(rows):
        one = scalar.decode(np.array(row, np.float32))
        assert one["server"] == batch["server"][lane]
        assert one["wait"].tobytes() == batch["wait"][lane].tobytes()


def test_flat_vector_steps():
    env = VectorFlatHybridAction(SyncVectorEnv([Scripted] * 2))
    assert env.single_action_space.shape == (4,)
    assert env.action_space.shape == (2, 4)
    env.reset(seed=0)
    env.step(np.array([[1.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 1.0]], np.float32))
    assert [e.taken["server"] for e in env.unwrapped.envs] == [1, 2]
    assert [float(e.taken["wait"][0]) for e in env.unwrapped.envs] == [3.0, 0.0]


@pytest.mark.parametrize(
    "bad", [np.zeros(3), np.zeros((1, 4)), [np.nan, 0, 0, 0], [0, 0, 0, np.nan], [1.01, 0, 0, 0], ["a"] * 4, None]
)
def test_bad_carriers_are_refused(bad):
    env = FlatHybridAction(Scripted())
    env.reset()
    with pytest.raises(InvalidInputError, match=r"^action must be .*\[-1, 1\]"):
        env.step(bad)
    vec = VectorFlatHybridAction(SyncVectorEnv([Scripted] * 2))
    vec.reset()
    with pytest.raises(InvalidInputError, match=r"^action must be"):
        vec.step([bad, bad])


@pytest.mark.parametrize(
    ("action", "field"),
    [({"server": 3, "wait": [0.0]}, "server"), ({"server": 0, "wait": [3.5]}, "wait"),
     ({"server": 0, "wait": [np.nan]}, "wait")],
)  # fmt: skip
def test_encode_refuses_what_the_space_does_not_hold(action, field):
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        FlatHybridAction(Scripted()).encode(action)


def test_flat_action_needs_the_hybrid_space():
    with pytest.raises(InvalidInputError, match=r"^action_space must be Dict"):
        FlatHybridAction(gym.make("CartPole-v1"))


def test_wrapped_environments_pickle():
    env = pickle.loads(pickle.dumps(RatioReward(FlatHybridAction(Scripted()), [1.0, 2.0])))  # noqa: S301
    env.reset(seed=0)
    assert env.step(np.zeros(4))[1] == -(3.0 - 2.0 * 0.5)


@pytest.mark.parametrize("entry", ["vector_entry_point", "sync"])
def test_rows_and_inner_dicts_of_an_ending_step_are_the_transitions(entry):
    """Under SAME_STEP Gymnasium's own vector environment reports the new episode, and the old one in final_info."""
    same = {"autoreset_mode": AutoresetMode.SAME_STEP}
    wrapped = {"vectorization_mode": entry, **(same if entry == "vector_entry_point" else {"vector_kwargs": same})}
    caches = gym.make_vec("edgewise/ModelCaching-v0", 2, **wrapped, horizon=3)
    routes = gym.make_vec("edgewise/ExpertRoute-v0", 2, **wrapped, horizon=3, constraints="cmdp", rate=5.0)
    for venv in (caches, routes):
        venv.reset(seed=0)
    for step in range(6):
        info = caches.step(caches.action_space.sample())[-1]
        cost = column(info, "cost")
        assert (cost > 0).all()
        np.testing.assert_allclose(column(info, "cost_by_agent").sum(axis=1), cost)
        info = routes.step(np.zeros(2, int))[-1]
        used = columns(info, "constraint_costs")
        assert list(used) == ["energy", "delay"]
        np.testing.assert_array_equal(used["energy"], column(info, "energy_J"))
        assert (used["energy"] > 0).all(), step
