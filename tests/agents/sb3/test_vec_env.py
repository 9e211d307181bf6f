"""The adapter hands SB3 what the vector environment says, lane by lane."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecMonitor

from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv, step_arrays
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.vector_wrappers import VectorFlatHybridAction

Make = Callable[..., Any]


def test_infos_and_arrays_tell_the_same_step(counting: Make) -> None:
    env = SemiMarkovVecEnv(counting(2))
    env.reset()
    zero = np.zeros((2, 2), np.float32)
    for _ in range(2):
        _, reward, done, infos = env.step(zero)
        assert not done.any()
    assert reward.tolist() == [-20.0, -20.0]
    assert [info["cost"] for info in infos] == [20.0, 20.0]
    assert [info["duration"] for info in infos] == [2.0, 3.0]
    observation, _, done, infos = env.step(zero)
    assert done.all()
    assert observation.tolist() == [[0.0, 0.0], [0.0, 0.0]]  # already the next episode's
    assert [info["terminal_observation"].tolist() for info in infos] == [[3.0, 6.0], [3.0, 9.0]]
    assert all(info["TimeLimit.truncated"] for info in infos)
    assert [info["episode"] for info in infos] == [{"r": -60.0, "l": 3, "t": 6.0}, {"r": -60.0, "l": 3, "t": 9.0}]
    arrays = env.last_arrays
    assert arrays is not None
    assert arrays.duration.tolist() == [3.0, 4.0]
    assert arrays.final_obs.tolist() == [[3.0, 6.0], [3.0, 9.0]]


def test_arrays_gathered_from_infos_equal_the_adapters(counting: Make) -> None:
    env = SemiMarkovVecEnv(counting(3))
    env.reset()
    for _ in range(3):
        _, _, dones, infos = env.step(np.zeros((3, 2), np.float32))
        gathered = step_arrays(VecMonitorless(env), infos, dones, 2)  # type: ignore[arg-type]
        assert env.last_arrays is not None
        for mine, theirs in zip(gathered, env.last_arrays, strict=True):
            assert np.array_equal(mine, theirs)


class VecMonitorless:
    """An environment that is not ours: only the infos are left."""

    def __init__(self, env: SemiMarkovVecEnv) -> None:
        self.unwrapped = object()


def test_wrappers_of_sb3_do_not_hide_the_arrays(counting: Make) -> None:
    env = VecMonitor(SemiMarkovVecEnv(counting(2)))
    env.reset()
    _, _, dones, infos = env.step(np.zeros((2, 2), np.float32))
    assert step_arrays(env, infos, dones, 2) is env.unwrapped.last_arrays


def test_lane_i_gets_seed_plus_i(counting: Make) -> None:
    inner = counting(3)
    env = SemiMarkovVecEnv(inner)
    env.seed(2**62 + 5)
    env.reset()
    assert inner.seeds == [2**62 + 5, 2**62 + 6, 2**62 + 7]
    env.reset()
    assert inner.seeds is None  # later resets continue


def test_steps_are_those_of_the_environment(age_env: Make) -> None:
    direct, env = age_env(4), SemiMarkovVecEnv(VectorFlatHybridAction(age_env(4)))
    env.seed(11)
    observation, _ = direct.reset(seed=11)
    assert np.array_equal(env.reset(), observation)
    rng = np.random.default_rng(0)
    for _ in range(60):
        carrier = rng.uniform(-1.0, 1.0, (4, 2)).astype(np.float32)
        observation, reward, _, truncated, info = direct.step(env.venv.decode(carrier))  # type: ignore[attr-defined]
        mine = env.step(carrier)
        assert np.array_equal(mine[0], observation)
        assert np.array_equal(mine[1], reward.astype(np.float32))
        assert np.array_equal(mine[2], truncated)
        assert [i["cost"] for i in mine[3]] == info["cost"].tolist()


def test_state_round_trip(age_env: Make) -> None:
    left, right = (SemiMarkovVecEnv(VectorFlatHybridAction(age_env(4))) for _ in range(2))
    left.seed(1)
    left.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (80, 4, 2)).astype(np.float32)
    for action in actions[:40]:
        left.step(action)
    right.set_state(left.get_state())
    for action in actions[40:]:
        a, b = left.step(action), right.step(action)
        assert a[0].tobytes() == b[0].tobytes()
        assert a[3].__repr__() == b[3].__repr__()


def test_refuses_next_step_autoreset(age_env: Make) -> None:
    with pytest.raises(InvalidInputError, match="SAME_STEP"):
        SemiMarkovVecEnv(VectorFlatHybridAction(age_env(2, autoreset_mode=AutoresetMode.NEXT_STEP)))
