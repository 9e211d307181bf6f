"""Records of decisions, on a trace worked out by hand and on the environment."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from edgewise.agents.asynchronous.records import Closed, Features, Pricing, Recorder, initial_servers

LANE = np.array([0])
Y0 = 2.0  # first delay; then: wait 1 s, a dropped attempt of 0.5 s, an accepted one of 0.5 s, wait 1 s


def observation(kind: int, delay: float, age: float, queues: tuple[float, float], device: int = 0) -> np.ndarray:
    return np.array([[device, kind, delay, age, 0.0, *queues]], np.float32)


def play(**defects: bool) -> tuple[Recorder, list[Closed], list[Closed]]:
    recorder = Recorder(1, 2, Features(2, published=False), 3, **defects)
    waits, servers = [], []
    events: list[tuple[int, float, float, tuple[float, float], float, float, float]] = [
        (0, 2.0, 2.0, (1.0, 4.0), 2.0, 2.0, 2.0),
        (1, 2.0, 3.0, (2.0, 5.0), 2.5, 1.0, 3.0),
        (1, 2.0, 3.5, (3.0, 6.0), 1.625, 0.5, 3.5),
        (0, 0.5, 0.5, (4.0, 7.0), 1.875, 0.5, 4.0),
        (1, 0.5, 1.5, (5.0, 8.0), 1.0, 1.0, 5.0),
    ]
    for number, (kind, delay, age, queues, cost, duration, time) in enumerate(events):
        obs = observation(kind, delay, age, queues)
        wait, server = recorder.observe(LANE, obs, np.array([cost]), np.array([duration]), np.array([time]))
        waits.append(wait)
        servers.append(server)
        if kind == 0:
            values = {"action": 0.1, "log_prob": 0.2, "memory": np.ones(3), "position": number}
            recorder.decide_wait(LANE, obs, **{name: np.array([value]) for name, value in values.items()})
        else:
            recorder.decide_server(LANE, obs, np.array([number]))
        other = observation(0, 1.0, 1.0, (9.0, 9.0), device=1)  # another device completes a task in between
        recorder.observe(LANE, other, np.zeros(1), np.zeros(1), np.array([time + 0.1]))
    return recorder, waits, servers


def rows(closed: list[Closed]) -> list[tuple[int, np.void]]:
    return [(number, each.records[0]) for number, each in enumerate(closed) if len(each.records)]


def test_a_wait_is_closed_at_the_next_completion_with_the_cycles_cost() -> None:
    _, waits, _ = play()
    ((number, record),) = rows(waits)
    assert number == 3
    cycle = 2.0
    assert (record["cost"], record["duration"]) == (Y0 * cycle + 0.5 * cycle**2, cycle)
    assert record["x"] == pytest.approx(np.log1p([2.0, 1.0, 4.0]))
    assert record["next_x"] == pytest.approx(np.log1p([0.5, 4.0, 7.0]))
    assert record["first"]


def test_costs_are_signed_cycles_and_the_released_ones_absolute_sums() -> None:
    _, waits, _ = play()
    record = rows(waits)[0][1].reshape(1)
    trapezoid = 0.5 * ((Y0 + 1.5 + 0.5) ** 2 - 0.5**2)  # the dropped attempt's time counts as waiting
    ratio = np.array([5.0])
    assert Pricing()(record, ratio) == pytest.approx(6.0 - 5.0 * 2.0)
    assert Pricing(area=2.0)(record, ratio) == pytest.approx(12.0 - 5.0 * 2.0)
    assert Pricing(cumulative=True)(record, ratio) == pytest.approx(abs(trapezoid - 5.0 * 4.0))
    assert Pricing(2.0, True)(record, ratio) == pytest.approx(abs(2.0 * trapezoid - 5.0 * 4.0))


def test_every_attempt_is_a_record_from_generation_to_generation() -> None:
    _, _, servers = play()
    (first, dropped), (second, accepted) = rows(servers)
    assert (first, second) == (2, 4)
    assert (dropped["server"], dropped["cost"], dropped["duration"]) == (1, 1.625, 0.5)
    assert (accepted["server"], accepted["cost"], accepted["duration"]) == (2, 1.875 + 1.0, 1.5)
    assert dropped["x"] == pytest.approx(np.log1p([3.0, 2.0, 5.0]))
    assert np.array_equal(dropped["next_x"], accepted["x"])
    assert accepted["next_x"] == pytest.approx(np.log1p([1.5, 5.0, 8.0]))
    assert dropped["first"]
    assert not accepted["first"]


def test_unrecorded_drops_charge_the_whole_cycle_to_the_accepted_server() -> None:
    _, _, servers = play(drops_unrecorded=True)
    ((number, record),) = rows(servers)
    assert number == 4
    assert (record["server"], record["cost"], record["duration"]) == (2, 6.0, 2.0)
    assert (record["sum_cost"], record["sum_duration"]) == (7.875, 4.0)
    assert record["x"] == pytest.approx(np.log1p([3.5, 3.0, 6.0]))


def test_stale_queues_are_anybodys_in_acting_and_the_devices_own_in_learning() -> None:
    recorder, _, servers = play(stale_queues=True)
    fresh = observation(1, 0.5, 1.5, (5.0, 8.0))
    assert recorder.server_features(LANE, fresh, recorded=False)[0] == pytest.approx(np.log1p([1.5, 9.0, 9.0]))
    assert recorder.server_features(LANE, fresh, recorded=True)[0] == pytest.approx(np.log1p([1.5, 4.0, 7.0]))
    assert [record["x"][1:] for _, record in rows(servers)] == [pytest.approx(np.log1p([1.0, 4.0]))] * 2
    assert play()[0].server_features(LANE, fresh, recorded=False)[0] == pytest.approx(np.log1p([1.5, 5.0, 8.0]))


def test_an_episodes_end_leaves_open_decisions_and_gives_the_released_estimate() -> None:
    for joined in (False, True):
        recorder, _, _ = play(joined_episodes=joined)
        assert recorder.measured[:, 0].tolist() == [6.0, 2.0]
        # device 1 ended a task of 1 s five times at no cost, the last one at 5.1 s
        expected = [7.875 / 4.0, (0.0 - 0.5) / 5.1]
        assert recorder.end_episode(LANE) == pytest.approx([np.mean(expected)])
        assert recorder.episode_age == pytest.approx(expected)
        obs = observation(0, 3.0, 3.0, (0.0, 0.0))
        for time in (3.0, 6.0):
            wait, _ = recorder.observe(LANE, obs, np.array([4.5]), np.array([3.0]), np.array([time]))
            values = {"action": 0.0, "log_prob": 0.0, "memory": np.zeros(3), "position": 0}
            recorder.decide_wait(LANE, obs, **{name: np.array([value]) for name, value in values.items()})
        assert wait.records["first"].tolist() == [not joined]
        assert wait.records["sum_duration"].tolist() == [6.0]


def test_the_placement_of_first_tasks_is_recorded_on_demand() -> None:
    placed = initial_servers(7, 2, 2)
    assert placed.tolist() == [1, 2, 1, 2, 0, 0, 0]
    env: Any = gymnasium.make("edgewise/AoIOffloadGame-v0", n_devices=7, initial_queue_limit=2)
    env.reset(seed=0)
    found = env.unwrapped.statistics()["servers"]  # nothing was chosen yet: whoever completes first was placed
    assert (found == 0).all()
    assert (env.unwrapped.get_state()["device"]["place"][0] == placed).all()
    for defects, cost in (({}, 8.0 + 2.5), ({"drops_unrecorded": True}, 8.0)):
        recorder = Recorder(1, 7, Features(2, published=False), 3, placed=placed, **defects)
        for _ in range(2):
            obs = observation(0, 4.0, 4.0, (1.0, 1.0), device=1)
            recorder.observe(LANE, obs, np.array([8.0]), np.array([4.0]), np.array([4.0]))
            obs = observation(1, 4.0, 5.0, (1.0, 1.0), device=1)
            _, closed = recorder.observe(LANE, obs, np.array([2.5]), np.array([1.0]), np.array([5.0]))
            (record,) = closed.records
            assert (record["server"], record["cost"], record["first"]) == (2, cost, True)
            assert record["x"] == pytest.approx(np.log1p([0.0, 2.0, 2.0]))
            recorder.decide_server(LANE, obs, np.array([1]))
            recorder.end_episode(LANE)


def test_published_columns() -> None:
    obs = observation(1, 0.5, 1.5, (5.0, 3.0))
    features = Features(2, published=True)
    assert features.server(obs).tolist() == [[5.0, 3.0]]
    assert features.wait(obs).tolist() == [[3.0, 0.5]]
    for published in (False, True):
        features = Features(2, published)
        assert features.server(obs).shape[1] == features.server_width
        assert features.wait(obs).shape[1] == features.wait_width


@pytest.mark.parametrize("objective", ["selfish", "team"])
def test_sums_agree_with_the_simulators_statistics(objective: str) -> None:
    env: Any = gymnasium.make_vec(
        "edgewise/AoIOffloadGame-v0",
        num_envs=3,
        preset="small",
        drop="authors:1.5",
        horizon=1e6,
        objective=objective,
        autoreset_mode="DISABLED",
    )
    recorder = Recorder(3, 3, Features(1, published=True), 2)
    random = np.random.default_rng(0)
    obs, info = env.reset(seed=5)
    lanes = np.arange(3)
    for _ in range(400):
        recorder.observe(lanes, obs, info["cost"], info["duration"], info["time"])
        updating = obs[:, 1] == 0
        where = np.flatnonzero(updating)
        values = {"action": where, "log_prob": where, "memory": np.zeros((len(where), 2)), "position": where}
        recorder.decide_wait(where, obs[where], **values)
        server = random.integers(2, size=3)
        recorder.decide_server(np.flatnonzero(~updating), obs[~updating], server[~updating])
        obs, _, _, _, info = env.step({"server": server, "wait": random.uniform(0, 2, (3, 1))})
    statistics = env.unwrapped.statistics()
    recorder.observe(lanes, obs, info["cost"], info["duration"], info["time"])
    estimates = (statistics["paper_area"] / statistics["last_done"]).mean(1)
    assert recorder.end_episode(lanes) == pytest.approx(estimates, rel=1e-5)
    assert (recorder.measured[1] > 0).all()
