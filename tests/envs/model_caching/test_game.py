"""Several servers: without a market each is a scalar environment of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.game import aec_env, parallel_env
from edgewise.envs.model_caching.params import CachingParams
from edgewise.envs.model_caching.traces import read_trace
from edgewise.envs.model_caching.workload import slotted
from edgewise.envs.testing import Actor, digest

spec = importlib.util.spec_from_file_location("caching_traces", Path(__file__).with_name("traces.py"))
synthetic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(synthetic)


@pytest.mark.parametrize("preset", ["drift", "drift_proactive"])
def test_without_a_market_the_game_is_n_scalar_environments(preset):
    game = parallel_env(3, preset, horizon=12)
    alone = [gymnasium.make("edgewise/ModelCaching-v0", preset=preset, horizon=12) for _ in range(3)]
    for episode in range(2):
        seed = 40 if episode == 0 else None
        observations, infos = game.reset(seed=seed)
        starts = [env.reset(seed=None if seed is None else seed + n) for n, env in enumerate(alone)]
        for n, agent in enumerate(game.agents):
            assert digest(observations[agent], infos[agent]) == digest(*starts[n])
        actors = [Actor(env.action_space, n) for n, env in enumerate(alone)]
        while game.agents:
            agents = game.agents
            actions = {agent: actors[n](None, {}) for n, agent in enumerate(agents)}
            result = game.step(actions)
            for n, agent in enumerate(agents):
                assert digest(*(part[agent] for part in result)) == digest(*alone[n].step(actions[agent]))


def test_by_turns_they_are_the_same_environments():
    game = aec_env(3, horizon=6)
    alone = [gymnasium.make("edgewise/ModelCaching-v0", horizon=6) for _ in range(3)]
    game.reset(seed=40)
    seen = [env.reset(seed=40 + n) for n, env in enumerate(alone)]
    actors = [Actor(env.action_space, n) for n, env in enumerate(alone)]
    for _ in range(6):
        actions = [actor(None, {}) for actor in actors]
        for n, agent in enumerate(game.agents):
            assert agent == game.agent_selection
            np.testing.assert_array_equal(game.observe(agent), seen[n][0])
            game.step(actions[n])
        for n, agent in enumerate(game.possible_agents):
            obs, reward, terminated, truncated, info = alone[n].step(actions[n])
            seen[n] = obs, info
            assert game.rewards[agent] == reward
            assert (game.terminations[agent], game.truncations[agent]) == (terminated, truncated)
            assert digest(game.observe(agent), game.infos[agent]) == digest(obs, info)
    assert all(game.truncations.values())


@pytest.mark.parametrize("start", ["first", "random"])
def test_of_a_trace_every_session_goes_to_one_server(tmp_path, start):
    synthetic.write_azure(tmp_path / "a.csv", rows=400)
    replay = {"workload": "trace", "trace": str(tmp_path / "a.csv"), "trace_format": "azure", "slot_s": 2.0}
    game = parallel_env(3, trace_start=start, horizon=20, **replay)
    observations, _ = game.reset(seed=7)
    shares = [{"trace_start": start, "trace_share": (n, 3), "horizon": 20, **replay} for n in range(3)]
    alone = [gymnasium.make("edgewise/ModelCaching-v0", **share) for share in shares]
    for n, env in enumerate(alone):
        np.testing.assert_array_equal(observations[f"server_{n}"], env.reset(seed=7 + n)[0])
    whole = slotted(read_trace(replay["trace"], "azure"), CachingParams.make(**replay))[0]
    parts = [slotted(read_trace(replay["trace"], "azure"), env.unwrapped.params)[0] for env in alone]
    np.testing.assert_array_equal(sum(parts), whole)
    assert min(part.sum() for part in parts) > 100
    action = {"cache": np.zeros(20, np.int8), "local_share": np.ones(20, np.float32)}
    while game.agents:
        result = game.step(dict.fromkeys(game.agents, action))
        for n, env in enumerate(alone):
            assert digest(*(part[f"server_{n}"] for part in result)) == digest(*env.step(action))
    with pytest.raises(InvalidInputError, match="trace_share must be None"):
        parallel_env(3, trace_share=(0, 2), **replay)


def test_pettingzoos_tests_pass():
    parallel_api_test(parallel_env(2, horizon=10), num_cycles=50)
    parallel_seed_test(lambda: parallel_env(2, horizon=10), num_cycles=30)
    api_test(aec_env(2, horizon=10), num_cycles=30)


def test_malformed_actions_move_nobody():
    game = parallel_env(2, "stationary")
    with pytest.raises(ResetNeeded):
        game.step({})
    game.reset(seed=1)
    good = {"cache": np.ones(10, np.int8), "local_share": np.ones(10, np.float32)}
    before = digest({k: v.tolist() for k, v in game._simulator.get_state().items()})
    for bad in ({"server_0": good}, None, {"server_0": good, "server_1": {"cache": good["cache"]}},
                {"server_0": good, "server_1": good | {"local_share": np.full(10, np.nan)}}):  # fmt: skip
        with pytest.raises(InvalidInputError):
            game.step(bad)
        assert digest({k: v.tolist() for k, v in game._simulator.get_state().items()}) == before
