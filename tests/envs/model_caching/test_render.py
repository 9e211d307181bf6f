"""Frames of the caching server say what the record says, and the record what happened."""

from __future__ import annotations

import copy
import pickle
import sys

import gymnasium
import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError, MissingExtraError
from edgewise.envs.model_caching import ModelCachingEnv, render
from edgewise.envs.model_caching.params import CachingParams
from edgewise.envs.model_caching.recording import SlotRecorder
from edgewise.envs.model_caching.state import TERMS

PARAMS = CachingParams.make("stationary", n_agents=3)


def info(time, cache, cost=2.0, **more):
    terms = dict.fromkeys(TERMS, cost / 5)
    return {"time": time, "cache": np.array(cache, np.int8), "local_share": np.array(cache, float), "memory": 500.0,
            "cost": cost, "cost_terms": terms, **more}  # fmt: skip


@pytest.fixture
def recorder():
    """Agent 0 is loaded in slot 1 and evicted in slot 3, agent 1 is loaded in slot 2 and kept."""
    r = SlotRecorder(PARAMS)
    r.record([2, 0, 1], [0.5, 0.0, 0.0], info(1, [1, 0, 0]))
    r.record([1, 4, 0], [1.5, 2.0, 0.0], info(2, [1, 1, 0], cost=4.0))
    r.record([0, 3, 1], [0.0, 2.5, 0.0], info(3, [0, 1, 0], cost=6.0))
    return r


def test_loads_and_evictions_are_changes_of_the_cache(recorder):
    assert recorder.history("loaded").tolist() == [[True, False, False], [False, True, False], [False] * 3]
    assert recorder.history("evicted").tolist() == [[False, False, True], [False] * 3, [False] * 3]
    assert recorder.mean_cost == 4.0
    recorder.reset()
    assert not recorder.slots
    assert np.isnan(recorder.mean_cost)


def test_memory_is_bounded_and_means_are_not():
    r = SlotRecorder(PARAMS, keep=5)
    for t in range(1, 21):
        r.record([1, 0, 0], [0, 0, 0], info(t, [1, 0, 0], cost=float(t)))
    assert len(r.slots) == 5
    assert r.mean_cost == pytest.approx(10.5)
    assert not r.history("loaded").any()


def test_text_shows_costs_requests_and_marks(recorder):
    lines = render.ansi(recorder).splitlines()
    assert "slot 3" in lines[0]
    assert "cost 6.00" in lines[0]
    assert "switching 1.20" in lines[0]
    assert "mean so far 4.00" in lines[0]
    assert "500 of 3200 GB" in lines[1]
    assert "0 loaded, 1 evicted" in lines[1]
    assert [line.split()[-1] for line in lines[2:]] == ["+#-", ".+#", "..."]
    assert "3 req" in lines[3]


def test_text_of_an_empty_record_and_of_very_many_agents():
    assert "no slot yet" in render.ansi(SlotRecorder(PARAMS))
    many = SlotRecorder(CachingParams.make("stationary", n_agents=100))
    many.record(np.ones(100), np.zeros(100), info(1, [1] * 100))
    assert "and 60 more agents" in render.ansi(many)


def test_pixels_change_with_the_record(recorder):
    pytest.importorskip("matplotlib")
    before = render.rgb_array(recorder)
    assert before.shape == (render.FRAME_SIZE[1], render.FRAME_SIZE[0], 3)
    assert before.dtype == np.uint8
    assert before.std() > 5
    recorder.record([0, 0, 5], [0.0, 2.0, 1.0], info(4, [0, 1, 1]))
    assert (before != render.rgb_array(recorder)).any(axis=2).mean() > 0.01


def test_svg_is_repeatable_and_names_its_parts(recorder):
    pytest.importorskip("matplotlib")
    text = render.svg(recorder)
    assert text == render.svg(recorder)
    for part in ("resident models", "Cost of each slot", "500 of 3200 GB", *TERMS):
        assert part in text
    assert "no slot yet" in render.svg(SlotRecorder(PARAMS))


def test_a_missing_library_names_the_extra(recorder, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"edgewise\[render\]"):
        render.rgb_array(recorder)
    assert render.ansi(recorder)


@pytest.mark.parametrize("mode", ["ansi", "rgb_array", "human"])
def test_the_environment_renders(mode):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygame")
    env = gymnasium.make("edgewise/ModelCaching-v0", preset="stationary", render_mode=mode)
    plain = gymnasium.make("edgewise/ModelCaching-v0", preset="stationary")
    obs, _ = env.reset(seed=0)
    plain.reset(seed=0)
    requests, costs = [], []
    try:
        for t in range(3):
            requests.append(obs[10:20].astype(int).tolist())
            action = {"cache": np.eye(10, dtype=np.int8)[t], "local_share": np.ones(10, np.float32)}
            obs, reward, *_ = env.step(action)
            assert reward == plain.step(action)[1]  # drawing changes nothing
            costs.append(-reward)
        record = env.unwrapped._drawing.recorder
        assert record.history("requests").T.tolist() == requests
        assert [slot.cost for slot in record.slots] == costs
        assert record.slots[-1].kappa.tolist() == env.unwrapped.get_state()["agent"]["kappa"][0].tolist()
        frame = env.render()
        env.reset()
        assert not record.slots
    finally:
        env.close()
    if mode == "ansi":
        assert "slot 3" in frame
    elif mode == "rgb_array":
        assert frame.shape == (render.FRAME_SIZE[1], render.FRAME_SIZE[0], 3)
    else:
        assert frame is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
def test_a_copy_records_its_own_slots(copied):
    env = ModelCachingEnv("stationary", render_mode="ansi")
    env.reset(seed=0)
    other = copied(env)
    for _ in range(3):
        action = {"cache": np.ones(10, np.int8), "local_share": np.ones(10, np.float32)}
        other.step(action)
    assert not env._drawing.recorder.slots
    assert env.step(action)[1] == -other._drawing.recorder.slots[0].cost
    found = [
        recorder.history("requests")[:, 0].tolist() for recorder in (env._drawing.recorder, other._drawing.recorder)
    ]
    assert found[0] == found[1]
    assert len({tuple(slot.requests) for slot in other._drawing.recorder.slots}) == 3


def test_an_unknown_mode_names_the_known_ones():
    with pytest.raises(InvalidInputError, match="rgb_array"):
        ModelCachingEnv(render_mode="svg")
