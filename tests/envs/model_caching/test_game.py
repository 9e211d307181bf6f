"""Several servers: without a market each is a scalar environment of its own."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.game import aec_env, parallel_env
from edgewise.envs.testing import Actor, digest


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
