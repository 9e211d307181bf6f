"""PettingZoo's own tests over every game, and copies of games."""

from __future__ import annotations

import pettingzoo
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test

from edgewise.envs.testing import Actor, digest

EXPECTED = {
    "maximum observation space value is infinity": "delays and ages have no upper bound",
    "Action space for each agent probably should be": "the truth is a hybrid Dict action",
    "We recommend agents to be named": "devices are named device_0, device_1, ...",
    "old environment creation API": "PettingZoo's own test module imports an example environment the old way",
}


def test_the_aec_environment_passes_the_api_test(game, faces, only_warnings):
    with only_warnings(EXPECTED):
        api_test(faces[0](), num_cycles=50)


def test_the_parallel_environment_passes_the_api_test(game, faces, only_warnings):
    with only_warnings(EXPECTED):
        parallel_api_test(faces[1](), num_cycles=300)


def test_seeds_rule_both_faces(game, faces, only_warnings):
    with only_warnings(EXPECTED):
        seed_test(faces[0], num_cycles=50)
        parallel_seed_test(faces[1], num_cycles=50)


@pytest.mark.parametrize("kind", ["aec", "parallel"])
@pytest.mark.parametrize(
    ("name", "first"), [("edgewise/AoIOffloadGame-v0", "device_0"), ("edgewise/ModelCaching-v0", "server_0")]
)
def test_games_are_in_pettingzoos_registry(kind, name, first):
    env = pettingzoo.make(kind, name)
    env.reset(seed=0)
    assert env.agents[0] == first


def test_rendering_passes_its_test(small_aec):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygame")
    render_test(small_aec)


def aec_story(env, decisions, seed):
    actors = {agent: Actor(env.action_space(agent), (seed, i)) for i, agent in enumerate(env.possible_agents)}
    seen = []
    for _ in range(decisions):
        if not env.agents:
            env.reset()
        agent = env.agent_selection
        observation, reward, terminated, truncated, info = env.last()
        seen.append(digest(agent, observation, reward, terminated, truncated, info))
        env.step(None if terminated or truncated else actors[agent](observation, info))
    return seen


def test_a_copied_game_continues_alike_and_independently(game, faces, copy_of):
    env, control = faces[0](), faces[0]()
    for one in (env, control):
        one.reset(seed=4)
        aec_story(one, 40, 0)
    ahead = aec_story(copy_of(env), 60, 1)
    assert aec_story(env, 60, 1) == ahead
    assert aec_story(control, 60, 1) == ahead


def test_a_copied_parallel_game_continues_alike_and_independently(game, faces, copy_of):
    def story(env, steps):
        actors = {agent: Actor(env.action_space(agent), (1, i)) for i, agent in enumerate(env.possible_agents)}
        seen = []
        for _ in range(steps):
            if not env.agents:
                env.reset()
            seen.append(digest(*env.step({agent: actors[agent](None, {}) for agent in env.agents})))
        return seen

    env = faces[1]()
    env.reset(seed=4)
    ahead = story(copy_of(env), 60)
    assert story(env, 60) == ahead


def test_only_the_parallel_view_says_who_must_act(faces, game):
    parallel = faces[1]()
    _, infos = parallel.reset(seed=0)
    assert sum(bool(info["must_act"]) for info in infos.values()) == 1
