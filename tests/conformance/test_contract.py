"""Our own checkers over every id, every variant and every packaged config."""

from __future__ import annotations

import pytest
from gymnasium.vector import AutoresetMode

from edgewise.envs.testing import (
    check_event_clock,
    check_parallel_equals_aec,
    check_smdp,
    check_vector_equals_scalar,
)

MODES = list(AutoresetMode)


def test_scalar_environments_keep_the_contract(case):
    assert check_smdp(case.make(), steps=600) >= 2


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_vector_environments_keep_the_contract(case, mode):
    assert check_smdp(case.make_vec(3, autoreset_mode=mode), steps=200) >= 2


def test_lanes_equal_the_scalar_environment_bit_for_bit(case):
    def make_vec(n, mode):
        return case.make_vec(n, autoreset_mode=mode)

    assert check_vector_equals_scalar(make_vec, case.make, n=3, steps=200) >= 3


def test_the_game_runs_on_an_event_clock(game, faces):
    assert check_event_clock(faces[0](), steps=600) >= 2


def test_the_parallel_view_makes_the_same_decisions(game, faces):
    make_aec, make_parallel = faces
    assert check_parallel_equals_aec(make_parallel, make_aec, steps=600) >= 2


def test_the_event_stream_is_the_aec_environment(game, faces):
    """Decision by decision: the same agent, interval and observation (behind the agent's index)."""
    stream, aec = game.make(), faces[0]()
    stream.action_space.seed(0)
    observation, info = stream.reset(seed=3)
    aec.reset(seed=3)
    for _ in range(300):
        seen, _, _, over, told = aec.last()
        assert aec.agent_selection == f"device_{info['device']}"
        assert observation[0] == info["device"]
        assert observation[1:].tolist() == seen.tolist()
        assert {key: told[key] for key in ("cost", "duration", "time", "cost_terms")} == {
            key: info[key] for key in ("cost", "duration", "time", "cost_terms")
        }
        if over:
            assert info["agents_obs"].shape == (len(aec.agents), len(seen))
            for agent in range(len(info["agents_obs"])):
                told = aec.infos[f"device_{agent}"]
                assert info["agents_obs"][agent].tolist() == aec.observe(f"device_{agent}").tolist()
                assert info["agents_cost"][agent] == pytest.approx(told["cost"], rel=1e-12, abs=0)
                assert info["agents_duration"][agent] == pytest.approx(told["duration"], rel=1e-12, abs=0)
            return
        action = stream.action_space.sample()
        observation, *_, info = stream.step(action)
        aec.step(action)
    raise AssertionError("the episode did not end within 300 decisions")


def test_configs_describe_environments_that_keep_the_contract(described):
    def make_vec(n, mode):
        return described.make_vec(n, autoreset_mode=mode)

    check_smdp(described.make(), steps=300)
    check_smdp(make_vec(2, AutoresetMode.NEXT_STEP), steps=100)
    check_vector_equals_scalar(make_vec, described.make, n=2, steps=100)
