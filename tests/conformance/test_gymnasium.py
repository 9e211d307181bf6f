"""What Gymnasium and its users expect: check_env, make in every form, pickling, processes."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from edgewise.envs.testing import Actor, digest, trajectory_hash
from edgewise.envs.testing.lanes import batch_actions

EXPECTED = {
    "Box observation space maximum value is infinity": "delays and ages have no upper bound",
    "Box observation space minimum value is -infinity": "features, logits and overdrawn budgets have no bounds",
    "Box observation space maximum and minimum values are equal": "the index of a lone device can only be 0",
    "we recommend using a symmetric and normalized space": "a wait is in seconds, in [0, Z_max]",
}
SB3_EXPECTED = EXPECTED | {
    "Dict.*action": "the truth is a hybrid Dict action; FlatHybridAction carries it for SB3",
}


def play(env, actor, observation, info, steps):
    """Digests of some steps, through episode ends."""
    seen = []
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(actor(observation, info))
        seen.append(digest(observation, reward, terminated, truncated, info))
        if terminated or truncated:
            observation, info = env.reset()
            seen.append(digest(observation, info))
    return seen


def test_check_env_has_nothing_unexpected_to_say(case, only_warnings):
    # The checker steps once and takes a truncation there for a mistake, so the horizon is the usual one.
    env = case.make(horizon=300.0)
    with only_warnings(EXPECTED):
        check_env(env.unwrapped)


def test_make_has_nothing_unexpected_to_say(case, only_warnings):
    with only_warnings(EXPECTED):
        env = case.make()
        play(env, Actor(env.action_space, 0), *env.reset(seed=1), 20)
        env.close()


def test_sb3_accepts_the_flat_carrier(case, only_warnings):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    from edgewise.envs.core.wrappers import FlatHybridAction

    env = case.make()
    hybrid = isinstance(env.action_space, gymnasium.spaces.Dict)
    if hybrid and set(env.action_space.spaces) != {"server", "wait"}:
        pytest.skip("the carrier is for a server and a wait")
    with only_warnings(EXPECTED):
        checker.check_env(FlatHybridAction(env) if hybrid else env, warn=True)


def test_sb3s_checker_accepts_the_plain_environment_but_for_its_dict_action(registered, only_warnings):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with only_warnings(SB3_EXPECTED):
        checker.check_env(registered.make(), warn=True)


def test_every_form_of_make_works_in_a_fresh_process(registered):
    code = (
        "import gymnasium\n"
        "from gymnasium.vector import VectorEnv\n"
        f"name = 'edgewise:{registered.id}'\n"
        "env = gymnasium.make(name)\n"
        "env.reset(seed=0); env.step(env.action_space.sample())\n"
        "vec = gymnasium.make_vec(name, num_envs=2)\n"
        "vec.reset(seed=0); vec.step(vec.action_space.sample())\n"
        "assert isinstance(gymnasium.make_vec(name, num_envs=2, vectorization_mode='sync'), VectorEnv)\n"
        "import sys\n"
        "assert not {'torch', 'ray', 'stable_baselines3', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True, cwd="/", timeout=250)


def test_make_vec_takes_our_own_vector_environment_by_default(registered):
    vec = gymnasium.make_vec(registered.id, num_envs=3)
    _, _, name = gymnasium.spec(registered.id).vector_entry_point.partition(":")
    assert type(vec.unwrapped).__name__ == name
    assert vec.num_envs == 3
    assert vec.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, _ = vec.reset(seed=0)
    assert vec.observation_space.contains(observations)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_the_autoreset_mode_can_be_named(registered, mode):
    by_name = registered.make_vec(2, autoreset_mode=mode.name)
    assert by_name.metadata["autoreset_mode"] is mode
    assert registered.make_vec(2, autoreset_mode=mode).metadata["autoreset_mode"] is mode


def test_one_vector_environment_sees_the_same_episodes_in_every_mode(registered):
    """Ends, final observations and first observations agree; only where they are reported differs."""
    stories = {}
    for mode in AutoresetMode:
        vec = registered.make_vec(1, autoreset_mode=mode)
        actor = Actor(vec.single_action_space, 0)
        observation, _ = vec.reset(seed=5)
        story = [observation[0].tolist()]
        while len(story) < 60:
            observation, reward, terminated, truncated, info = vec.step(
                batch_actions(vec.single_action_space, [actor(None, {})])
            )
            over = terminated | truncated
            if mode is AutoresetMode.SAME_STEP and over[0]:
                story += [(reward[0], info["final_obs"][0].tolist()), observation[0].tolist()]
                continue
            story.append((reward[0], observation[0].tolist()))
            if over[0] and mode is AutoresetMode.NEXT_STEP:
                ignored = batch_actions(vec.single_action_space, [Actor(vec.single_action_space, 9)(None, {})])
                story.append(vec.step(ignored)[0][0].tolist())
            elif over[0]:
                story.append(vec.reset(options={"reset_mask": over})[0][0].tolist())
        stories[mode] = story[:60]
    assert stories[AutoresetMode.NEXT_STEP] == stories[AutoresetMode.SAME_STEP] == stories[AutoresetMode.DISABLED]


def test_a_copy_continues_alike_and_independently(case, copy_of):
    env, control = case.make().unwrapped, case.make().unwrapped
    actor = Actor(env.action_space, 1)
    start = [play(e, Actor(e.action_space, 0), *e.reset(seed=2), 37) for e in (env, control)]
    assert start[0] == start[1]
    twin = copy_of(env)
    ahead = play(twin, actor, None, {}, 50)  # must not move the original
    actor.restart()
    assert play(env, actor, None, {}, 50) == ahead
    actor.restart()
    assert play(control, actor, None, {}, 50) == ahead


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2], ids=lambda mode: mode.name)
def test_a_copied_vector_environment_continues_alike_and_independently(registered, mode, copy_of):
    def drive(vec, steps, seed):
        actors = [Actor(vec.single_action_space, (seed, i)) for i in range(vec.num_envs)]
        for _ in range(steps):
            yield digest(*vec.step(batch_actions(vec.single_action_space, [actor(None, {}) for actor in actors])))

    # Masks of infos are part of the digests; rows that no mask selects are unspecified, so horizons are long enough
    # for the compared stretch to be free of resets.
    vec = registered.make_vec(3, autoreset_mode=mode, horizon=1e6)
    vec.reset(seed=1)
    list(drive(vec, 20, 0))
    twin = copy_of(vec)
    ahead = list(drive(twin, 30, 1))
    assert list(drive(vec, 30, 1)) == ahead


def test_environments_cross_into_spawned_processes(registered):
    env = registered.make()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        far = pool.apply(trajectory_hash, (env,), {"steps": 100, "seed": 4})
    assert far == trajectory_hash(env, steps=100, seed=4)


def test_async_vector_environments_equal_the_sync_ones(registered):
    make = partial(gymnasium.make, f"edgewise:{registered.id}", horizon=10.0)  # spawned workers import no test module
    sync, far = SyncVectorEnv([make] * 2), AsyncVectorEnv([make] * 2, context="spawn")
    try:
        assert digest(sync.reset(seed=3)[0]) == digest(far.reset(seed=3)[0])
        actors = [Actor(sync.single_action_space, i) for i in range(2)]
        for _ in range(60):
            actions = batch_actions(sync.single_action_space, [actor(None, {}) for actor in actors])
            assert digest(*sync.step(actions)[:4]) == digest(*far.step(actions)[:4])
    finally:
        far.close()


def test_spaces_are_what_the_design_says(case):
    env = case.make()
    action, observation = env.action_space, env.observation_space
    assert isinstance(observation, gymnasium.spaces.Box)
    assert observation.dtype == np.float32
    if "AoI" in case.id:
        assert set(action.spaces) == {"server", "wait"}
        assert action["wait"].shape == (1,)
        assert action["wait"].dtype == np.float32
        assert action["wait"].low == 0
    if "ModelCaching" in case.id:
        assert set(action.spaces) == {"cache", "local_share"}
        assert isinstance(action["cache"], gymnasium.spaces.MultiBinary)
        assert action["local_share"].shape == action["cache"].shape == (env.unwrapped.params.n_agents,)
        assert (action["local_share"].low == 0).all()
        assert (action["local_share"].high == 1).all()


def test_saved_states_continue_bit_for_bit(case):
    env, other = case.make().unwrapped, case.make().unwrapped
    play(env, Actor(env.action_space, 0), *env.reset(seed=2), 33)
    state = env.get_state()
    ahead = play(env, Actor(env.action_space, 1), None, {}, 60)
    other.reset(seed=77)
    other.set_state(state)
    assert play(other, Actor(env.action_space, 1), None, {}, 60) == ahead
    env.set_state(state)
    assert play(env, Actor(env.action_space, 1), None, {}, 60) == ahead


def test_optima_carry_their_certificate(registered):
    optimum = registered.make().unwrapped.optimum()
    assert optimum.method
    assert optimum.seconds >= 0
    assert np.isfinite(optimum.bound)
