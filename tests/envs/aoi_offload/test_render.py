"""Frames say what the record says: ages, queues, the sawtooth; in text, pixels, SVG and a window."""

import gymnasium
import numpy as np
import pytest

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.aoi_offload import render
from edgewise.envs.aoi_offload.policies import ScriptedPolicy
from edgewise.envs.aoi_offload.recording import EventRecorder, Recorder
from edgewise.envs.core.errors import InvalidInputError, MissingExtraError

UPDATE, OFFLOAD, JOINT = 0, 1, 2


def obs(kind, age, *queues):
    return [kind, age, age, 0.0, *queues]


def act(server=0, wait=0.0):
    return {"server": server, "wait": np.array([wait], np.float32)}


@pytest.fixture
def recorder():
    """One edge. Device 0: done at 2 s with delay 2, waits 1, done at 4 with delay 1; device 1: done at 3.5."""
    r = EventRecorder(2, 1)
    r.record(2.0, 0, UPDATE, obs(UPDATE, 2.0, 1), act(wait=1.0))
    r.record(3.0, 0, OFFLOAD, obs(OFFLOAD, 3.0, 1), act(server=1))
    r.record(3.5, 1, UPDATE, obs(UPDATE, 3.5, 2), act(wait=2.0))
    r.record(4.0, 0, UPDATE, obs(UPDATE, 1.0, 1))
    return r


def test_the_sawtooth_has_a_corner_per_completion(recorder):
    times, ages = recorder.sawtooth(0)
    np.testing.assert_allclose(times, [0, 2, 3, 4, 4])
    np.testing.assert_allclose(ages, [0, 2, 3, 4, 1])
    times, ages = recorder.sawtooth(0, start=2.5)
    np.testing.assert_allclose((times[0], ages[0]), (2.5, 2.5))
    np.testing.assert_allclose(recorder.sawtooth(1), [[0, 3.5, 4.0], [0, 3.5, 4.0]])


def test_mean_age_is_the_area_under_the_sawtooth(recorder):
    assert recorder.mean_age(0) == pytest.approx((0.5 * 4 * 4) / 4)
    recorder.record(6.0, 0, OFFLOAD, obs(OFFLOAD, 3.0, 0), act())
    assert recorder.mean_age(0) == pytest.approx((8.0 + 0.5 * (1 + 3) * 2) / 6)
    times, ages = recorder.sawtooth(0)
    assert recorder.mean_age(0) == pytest.approx(np.trapezoid(ages, times) / 6)


def test_ages_and_phases_now(recorder):
    np.testing.assert_allclose(recorder.ages(), [1.0, 4.0])
    np.testing.assert_allclose(recorder.ages(5.0), [2.0, 5.0])
    assert recorder.phases() == ["waiting", "waiting"]
    recorder.record(4.0, 0, UPDATE, obs(UPDATE, 1.0, 1), act(wait=0.5))
    recorder.record(4.5, 0, OFFLOAD, obs(OFFLOAD, 1.5, 1), act(server=1))
    assert recorder.phases() == ["edge 1", "waiting"]


def test_a_pending_decision_is_completed_not_repeated(recorder):
    assert len(recorder.decisions) == 4
    assert not recorder.decisions[-1].decided
    recorder.record(4.0, 0, UPDATE, obs(UPDATE, 1.0, 1), act(wait=0.5))
    assert len(recorder.decisions) == 4
    assert recorder.decisions[-1].wait == 0.5
    recorder.record(4.0, 0, OFFLOAD, obs(OFFLOAD, 1.0, 1), act(server=0))  # same instant, another kind
    assert len(recorder.decisions) == 5


def test_a_joint_decision_turns_from_waiting_to_computing():
    r = EventRecorder(1, 1)
    r.record(1.0, 0, JOINT, obs(JOINT, 1.0, 0), act(server=1, wait=2.0))
    assert r.phases() == ["waiting"]
    r.now = 3.5
    assert r.phases() == ["edge 1"]


def test_queue_contents_are_exact_when_given_and_inferred_when_not():
    r = EventRecorder(4, 2)
    for device, time in ((3, 1.0), (1, 2.0)):
        r.record(time, device, OFFLOAD, obs(OFFLOAD, 1.0, 1, 0), act(server=1))
    r.record(3.0, 0, UPDATE, obs(UPDATE, 1.0, 3, 1), act())
    assert r.contents() == [[None, 3, 1], [None]]
    r.record(4.0, 0, OFFLOAD, obs(OFFLOAD, 1.0, 3, 1), act(), contents=[[2, 3, 1], [7]])
    assert r.contents() == [[2, 3, 1], [7]]


def test_a_task_is_left_unnamed_rather_than_misnamed():
    r = EventRecorder(3, 1)
    r.record(1.0, 0, OFFLOAD, obs(OFFLOAD, 1.0, 0), act(server=1))  # one of these two was dropped
    r.record(2.0, 1, OFFLOAD, obs(OFFLOAD, 1.0, 0), act(server=1))
    r.record(3.0, 2, UPDATE, obs(UPDATE, 1.0, 1), act())
    assert r.contents() == [[None]]


def test_an_environments_frame_names_every_queued_device():
    env = gymnasium.make("edgewise/AoIOffload-v0", preset="paper", render_mode="ansi")
    observation, _ = env.reset(seed=1)
    policy = ScriptedPolicy("jsq", "fixed:0.1", params=env.unwrapped.params)
    for _ in range(25):
        queues = [
            line.split("[")[1].split("]")[0].split() for line in env.render().splitlines() if line.startswith("edge ")
        ]
        assert [len(queue) for queue in queues] == observation[4:].astype(int).tolist()
        named = [int(device) for queue in queues for device in queue]
        assert len(set(named)) == len(named)
        assert set(named) <= set(range(20))
        observation, *_ = env.step(policy(observation))


def test_memory_is_bounded_and_the_curve_starts_where_memory_does():
    r = EventRecorder(1, 0, max_decisions=10)
    for k in range(1, 101):
        r.record(float(k), 0, UPDATE, obs(UPDATE, 0.5), act(wait=0.1))
    assert len(r.decisions) == 10
    times, ages = r.sawtooth(0)
    assert times[0] == 91.0
    assert ages.max() == pytest.approx(1.5)
    assert r.mean_age(0) == pytest.approx((0.5 + 99 * 1.0) / 100)  # first second from age 0, then 0.5 to 1.5


def test_text_shows_clock_queues_ages_and_choice(recorder):
    recorder.record(4.0, 0, UPDATE, obs(UPDATE, 1.0, 1), act(wait=0.25))
    text = render.ansi(recorder)
    lines = text.splitlines()
    assert "t =     4.000 s" in lines[0]
    assert "device 0 waits 0.25 s" in lines[0]
    assert "edge 1" in lines[1]
    assert "1 task" in lines[1]
    assert any(line.startswith("device   1     4.000 s") and "#" * 30 in line for line in lines)
    assert lines[-2].startswith("age of device 0")
    assert "@" in lines[-1]


def test_text_of_an_empty_record_and_of_very_many_devices():
    assert "no decision yet" in render.ansi(EventRecorder(1, 0))
    many = EventRecorder(10_000, 3)
    many.record(1.0, 9_999, UPDATE, obs(UPDATE, 1.0, 0, 0, 0), act())
    assert "and 9960 more devices" in render.ansi(many)
    assert len(render.ansi(many).splitlines()) < 60


def test_pixels_change_with_the_record(recorder):
    pytest.importorskip("matplotlib")
    before = render.rgb_array(recorder)
    assert before.shape == (render.FRAME_SIZE[1], render.FRAME_SIZE[0], 3)
    assert before.dtype == np.uint8
    assert before.std() > 5
    assert np.array_equal(before, render.rgb_array(recorder))
    recorder.record(5.0, 0, OFFLOAD, obs(OFFLOAD, 2.0, 0), act(server=1))
    after = render.rgb_array(recorder)
    assert (before != after).any(axis=2).mean() > 0.01


def test_svg_is_repeatable_and_names_its_parts(recorder):
    pytest.importorskip("matplotlib")
    text = render.svg(recorder)
    assert text == render.svg(recorder)
    assert "<svg" in text
    assert "Edge queues" in text
    assert "Age of device 0" in text


@pytest.mark.parametrize("entry", ["edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"])
def test_what_is_drawn_begins_where_a_state_was_restored(entry):
    env = gymnasium.make(entry, preset="small", render_mode="ansi")
    env.reset(seed=0)
    action = {"server": 1, "wait": np.array([0.5], np.float32)}
    for _ in range(6):
        info = env.step(action)[4]
    saved, then = env.unwrapped.get_state(), env.unwrapped.render()
    for _ in range(6):
        env.step(action)
    env.unwrapped.set_state(saved)
    restored = env.unwrapped.render()
    clock = f"{info['time']:.3f} s"
    assert clock in then
    assert clock in restored
    env.step(action)
    assert clock not in env.unwrapped.render()


def test_a_window_shows_frames_and_closes_twice(recorder):
    pygame = pytest.importorskip("pygame")
    window = render.Window(size=(320, 200), fps=1000)
    window.show(recorder)
    shown = pygame.surfarray.array3d(pygame.display.get_surface())
    assert shown.shape == (320, 200, 3)
    assert shown.std() > 5
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.show(recorder)
    assert window.closed
    window.show(recorder)
    window.close()


def test_an_unknown_mode_names_the_known_ones(recorder):
    with pytest.raises(InvalidInputError, match="rgb_array"):
        render.render(recorder, "svg3d")


def test_a_missing_library_names_the_extra(recorder, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"edgewise\[render\]"):
        render.rgb_array(recorder)
    assert render.ansi(recorder)  # text needs no extra


@pytest.mark.parametrize(
    ("preset", "decision"), [("single", "staged"), ("small", "staged"), ("small", "joint"), ("paper", "staged")]
)
def test_the_recorded_curve_agrees_with_the_environments_own_counters(preset, decision):
    env = Recorder(gymnasium.make("edgewise/AoIOffload-v0", preset=preset, decision=decision, horizon=60.0))
    params = env.unwrapped.params
    policy = ScriptedPolicy("jsq" if params.n_edges else "local", "uniform:0.5", params=params)
    observation, info = env.reset(seed=11)
    cost = info["cost"]
    truncated = False
    while not truncated:
        observation, _, _, truncated, info = env.step(policy(observation))
        cost += info["cost"]
    assert env.events.n_devices == 1
    assert env.events.now == info["time"]
    assert env.events.mean_age(0) == pytest.approx(cost / info["time"], rel=1e-5)  # observations are float32
    times, ages = env.events.sawtooth(0)
    assert np.trapezoid(ages, times) == pytest.approx(cost, rel=1e-5)
    drops_down = int((np.diff(ages) < 0).sum())
    assert drops_down == env.unwrapped.statistics()["completions"][0]


@pytest.mark.parametrize("mode", ["ansi", "rgb_array", "human"])
def test_the_environment_renders(mode):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygame")
    env = gymnasium.make("edgewise/AoIOffload-v0", preset="small", render_mode=mode)
    try:
        observation, _ = env.reset(seed=0)
        policy = ScriptedPolicy("jsq", "fixed:0.1", params=env.unwrapped.params)
        for _ in range(3):
            observation, *_ = env.step(policy(observation))
        frame = env.render()
    finally:
        env.close()
    if mode == "ansi":
        assert "device   0" in frame
    elif mode == "rgb_array":
        assert frame.shape == (render.FRAME_SIZE[1], render.FRAME_SIZE[0], 3)
    else:
        assert frame is None
