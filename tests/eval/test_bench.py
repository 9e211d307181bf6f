"""The speed table: its yardsticks do what they claim, every row is measured, a missed target is told."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from edgewise.cli.main import main
from edgewise.envs.aoi_offload.game import AoIOffloadAEC
from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.state import World
from edgewise.envs.core.errors import InvalidInputError, MissingExtraError
from edgewise.envs.edge_experts.env import ExpertRouteVectorEnv
from edgewise.envs.model_caching.params import CachingParams
from edgewise.eval import bench
from edgewise.eval.bench import loads, plain, rows, systems, timing
from edgewise.eval.bench.heap import HeapGame
from edgewise.eval.bench.idle import IdleAEC

TINY = timing.Budget(windows=2, seconds=0.001, lanes=4, devices=40, warmup=2, memory=2_000, unit_agents=2_000)


# --- plain Python -----------------------------------------------------------------------------------------------------


def assert_same(ours, theirs):
    for name, values in theirs.items():
        if isinstance(values, dict):
            assert_same(ours[name], values)
        else:
            assert ours[name].dtype == values.dtype, name
            np.testing.assert_array_equal(ours[name], values, name)


@pytest.mark.parametrize(
    ("params", "horizon"),
    [
        (AoIParams.make("paper", drop="none"), 30.0),
        (AoIParams.make("heterogeneous", initial_queue_limit=2), 100.0),
        (AoIParams.make("small", local_ghz=(1.0, 2.0, 3.0), z_max=0.1), 50.0),
        (AoIParams.make("single"), 300.0),
    ],
    ids=["paper", "heterogeneous", "small", "single"],
)
def test_plain_python_equals_the_event_stream_bit_for_bit(params, horizon):
    """Same observations, rewards, truncations and infos, through several resets and blocks of random numbers."""
    lanes = 5
    env = gymnasium.make_vec(loads.GAME, num_envs=lanes, params=params, horizon=horizon)
    game = HeapGame(lanes, params, horizon)
    observation, info = env.reset(seed=0)
    plain_observation, plain_info = game.reset()
    np.testing.assert_array_equal(observation, plain_observation)
    assert_same(info, plain_info)
    rng = np.random.default_rng(7)
    ends = 0
    for _ in range(1500):
        action = {
            "server": rng.integers(params.n_edges + 1, size=lanes),
            "wait": rng.uniform(0, params.z_max, (lanes, 1)).astype(np.float32),
        }
        *fast, info = env.step(action)
        *slow, plain_info = game.step(action)
        for ours, theirs in zip(fast, slow, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        assert_same(info, plain_info)
        assert set(plain_info) <= set(info)
        ends += fast[3].sum()
    assert ends >= 2 * lanes


def test_plain_python_refuses_what_it_does_not_simulate():
    with pytest.raises(InvalidInputError, match="params"):
        HeapGame(1, AoIParams.make("paper"))


@pytest.mark.parametrize(("server", "wait"), [(3, 0.0), (-1, 0.0), (0, 3.1), (0, -1.0), (0, float("nan"))])
def test_plain_python_checks_actions_as_the_environment_does(server, wait):
    game = HeapGame(8, loads.no_drop(), 300.0)
    game.reset()
    valid = {"server": np.zeros(8, np.int64), "wait": np.full((8, 1), 0.5, np.float32)}
    while len(set(_kinds(game))) == 1:
        game.step(valid)
    with pytest.raises(InvalidInputError):
        game.step({"server": np.full(8, server), "wait": np.full((8, 1), wait, np.float32)})


def _kinds(game):
    return [system.kind for system in game.systems]


# --- the AEC environment that does nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("books", [True, False])
def test_idle_environment_has_the_games_agents_spaces_and_keys(books):
    game = AoIOffloadAEC(params=loads.no_drop())
    game.reset(seed=0)
    idle = IdleAEC(game, books)
    idle.reset()
    assert idle.possible_agents == game.possible_agents
    turns = []
    seen = []
    for _ in range(45):
        observation, reward, terminated, truncated, info = idle.last()
        agent = idle.agent_selection
        assert idle.observation_space(agent) is game.observation_space(agent)
        assert idle.action_space(agent) is game.action_space(agent)
        assert observation in idle.observation_space(agent)
        assert not any(observation is other for other in seen), "a fresh array every step"
        seen.append(observation)
        expected = game.last()[4]
        assert info.keys() == expected.keys()
        assert info["cost_terms"].keys() == expected["cost_terms"].keys()
        assert {name: type(value) for name, value in info.items()} == {n: type(v) for n, v in expected.items()}
        assert (reward, terminated, truncated) == (0.0, False, False)
        turns.append(agent)
        idle.step(idle.action_space(agent).sample())
    assert turns[:20] == idle.possible_agents
    assert turns[20:40] == turns[:20]


# --- what is measured -------------------------------------------------------------------------------------------------

LOADS = {
    "event stream": (lambda: loads.event_stream(loads.no_drop(), 3, 1), 3),
    "scalar streams": (lambda: loads.scalar_streams(loads.no_drop(), 3, 1), 3),
    "plain Python": (lambda: loads.plain_python(loads.no_drop(), 3, 1), 3),
    "raw kernel": (lambda: loads.raw_kernel(loads.no_drop(), 3, 1), 3),
    "single": (lambda: loads.scalar("single", 1), 1),
    "paper": (lambda: loads.scalar("paper", 1), 1),
    "CartPole": (lambda: loads.cart_pole(1), 1),
    "AEC": (lambda: loads.aec(1), 1),
    "idle AEC": (lambda: loads.idle_aec(1), 1),
    "Parallel": (lambda: loads.parallel(1), 1),
    "resets": (lambda: loads.resets("paper"), 1),
    "lane resets": (lambda: loads.lane_resets(3), 3),
    "caching": (lambda: systems.caching_lanes(3, 1), 3),
    "caching scalar": (lambda: systems.caching_scalar(1), 1),
    "caching Parallel": (lambda: systems.caching_parallel(False, 1), 5),
    "caching market": (lambda: systems.caching_parallel(True, 1), 5),
    "caching plain": (lambda: plain.caching_slots(CachingParams.make("stationary"), 1), 16),
    "auction": (lambda: systems.auctions(40, 0.01), 1),
    "routing": (lambda: systems.routing(3, 1), 3),
    "routing plain": (lambda: plain.routed_prompts(ExpertRouteVectorEnv(1)._system, 1), 16),
}


@pytest.mark.parametrize("name", LOADS)
def test_loads_count_their_decisions(name):
    build, lanes = LOADS[name]
    load = build()
    assert load(7) == 7 * lanes
    assert load(400 if name in ("single", "CartPole") else 2) > 0, "runs on through the ends of episodes"


def test_raw_kernel_and_environment_take_the_same_decisions(monkeypatch):
    """The ratio between them compares like with like: same systems, same actions, same resets."""
    seen = []
    step = loads.kernel.step_lanes

    def spy(*arrays):
        result = step(*arrays)
        seen.append(World(*arrays[-len(World._fields) :]).lane["time"].copy())
        return result

    monkeypatch.setattr(loads.kernel, "step_lanes", spy)
    for build in (loads.raw_kernel, loads.event_stream):
        build(loads.no_drop(), 3, 50)
    np.testing.assert_array_equal(seen[:50], seen[50:])


def test_background_events_include_the_scripted_ones_and_survive_resets():
    load = loads.background_events(3, 1)
    per_step = [load(50) / (3 * 50) for _ in range(8)]  # an episode has about 130 steps, and 40 events in each
    assert min(per_step) > 30
    assert max(per_step) < 50


def test_windows_alternate_and_ratios_compare_neighbours(monkeypatch):
    """With a clock that the loads move themselves: the machine slows down by and by, and one window is disturbed."""
    clock, order = [0.0], []
    monkeypatch.setattr(timing, "time", SimpleNamespace(process_time=lambda: clock[0]))

    def make(name, seconds):
        def load(steps):
            order.append((name, steps))
            slower = 1.0 + 0.1 * (len(order) // 2) + 50.0 * (len(order) == 20)
            clock[0] += steps * seconds * slower
            return 3 * steps

        return load

    rates = timing.measure(
        {"fast": make("fast", 1e-4), "slow": make("slow", 8e-4)}, replace(TINY, windows=7, seconds=0.1)
    )
    windows = order[-14:]
    assert [name for name, _ in windows] == ["fast", "slow"] * 7
    assert len({steps for name, steps in windows if name == "fast"}) == 1
    assert {name: values.shape for name, values in rates.items()} == {"fast": (7,), "slow": (7,)}
    assert timing.ratio(rates, "fast", "slow") == pytest.approx(8.0, rel=0.1)
    assert timing.speed(rates, "fast") == rates["fast"].max()
    assert rates["fast"].min() < rates["fast"].max() / 10  # the disturbance fell into a window
    skewed = {"a": np.array([2.0, 4.0, 60.0]), "b": np.array([1.0, 1.0, 10.0])}
    assert timing.ratio(skewed, "a", "b") == 4.0


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [name for name in bench.GROUPS if name != "learners"])
def test_every_group_gives_finite_rows(group):
    found = bench.run_bench(TINY, [group])
    assert found
    for row in found:
        assert row.value is not None, row
        assert np.isfinite(row.value), row
        assert row.value > 0 or row.unit == "MB", row
        assert row.plain is None or row.plain > 0, row


@pytest.mark.parametrize("game", [False, pytest.param(True, marks=(pytest.mark.slow, pytest.mark.ray))])
def test_learners_train(monkeypatch, game):
    pytest.importorskip("ray.rllib" if game else "stable_baselines3")
    chosen = {name: what for name, what in rows.TRAINED.items() if ("game" in name) == game}
    monkeypatch.setattr(rows, "TRAINED", chosen)
    found = bench.run_bench(replace(TINY, windows=1), ["learners"])
    assert [row.what for row in found] == [f"training, {name}" for name in chosen]
    assert all(row.value > 0 for row in found)


def test_what_a_learner_lacks_is_said(monkeypatch):
    def missing(*_):
        raise MissingExtraError('run: pip install "edgewise[sb3]"')

    monkeypatch.setattr(rows, "training_rates", missing)
    found = bench.run_bench(TINY, ["learners"])
    assert [row.value for row in found] == [None] * len(rows.TRAINED)
    assert all("edgewise[sb3]" in row.note for row in found)


def test_every_target_of_the_speed_table_has_its_row(monkeypatch):
    """The targets are those the project promises; measuring is replaced, only the table is looked at."""
    monkeypatch.setattr(rows, "measure", lambda running, budget: {name: np.ones(2) for name in running})
    monkeypatch.setattr(rows, "rss_drift", lambda *_: 0.0)
    for name in ("raw_kernel", "scalar_streams", "plain_python", "event_stream", "background_events", "scalar"):
        monkeypatch.setattr(rows.loads, name, lambda *_, **__: None)
    for name in ("cart_pole", "aec", "idle_aec", "parallel"):
        monkeypatch.setattr(rows.loads, name, lambda *_, **__: None)
    groups = ["event_stream", "background", "scalar", "pettingzoo", "devices", "memory"]
    found = [row for row in bench.run_bench(timing.Budget(), groups) if row.target is not None]
    assert [(row.target, row.at_most, row.machine) for row in found] == [
        (3e6, False, True),
        (4.0, False, False),
        (15.0, False, False),
        (0.8, False, False),
        (5e6, False, True),
        (1.0, False, False),
        (0.25, False, False),
        (0.4, False, False),
        (2.5, True, False),
        (1.0, True, False),
    ]
    assert all("1024" in row.what for row in found if row.machine)
    assert "10000 devices over 20 (64 lanes, 2 edges)" in found[8].what
    assert "100,000,000" in found[9].what


def test_caching_market_and_routing_have_their_targets(monkeypatch):
    monkeypatch.setattr(systems, "measure", lambda running, budget: {name: np.ones(2) for name in running})
    for name in ("caching_lanes", "caching_scalar", "caching_parallel", "auctions", "routing"):
        monkeypatch.setattr(systems, name, lambda *_: None)
    for name in ("caching_slots", "routed_prompts"):
        monkeypatch.setattr(systems, name, lambda *_: "a load")
    found = [
        row for row in bench.run_bench(timing.Budget(), ["caching", "market", "experts"]) if row.target is not None
    ]
    assert [(row.target, row.unit, row.at_most, row.machine) for row in found] == [
        (3e5, "slots/s", False, True),
        (50.0, "", False, False),
        (2e4, "slots/s", False, True),
        (0.5, "s", True, True),
        (5e5, "prompts/s", False, True),
        (30.0, "", False, False),
    ]
    assert "1024 lanes" in found[0].what
    assert "1,000,000 unit agents" in found[3].what


def test_the_guide_tells_every_group():
    guide = (Path(bench.__file__).parents[2] / "docs" / "guides" / "benchmarks.md").read_text()
    rows_of_the_guide = [line.split("`")[1] for line in guide.splitlines() if line.startswith("| `")]
    assert sorted(rows_of_the_guide) == sorted(bench.GROUPS)


def test_without_a_checkout_the_ratios_say_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(plain, "_ORACLES", tmp_path)
    found = [row for row in bench.run_bench(TINY, ["caching", "experts"]) if row.value is None]
    assert [(row.target, row.note) for row in found] == [(50.0, plain.MISSING), (30.0, plain.MISSING)]
    assert not bench.failed(found)


def test_met_and_failed():
    good, bad = bench.Row("a", 2.0, target=1.0), bench.Row("b", 2.0, target=1.0, at_most=True)
    slow, skipped = bench.Row("c", 1.0, target=3e6, machine=True), bench.Row("d", None, target=1.0)
    assert [row.met for row in (good, bad, slow, skipped)] == [True, False, False, None]
    assert bench.failed([good, bad, slow, skipped]) == [bad]
    assert bench.Row("e", float("nan"), target=1.0, at_most=True).met is False


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    found = [
        bench.Row("fine", 1.5, target=1.0, plain=20.0),
        bench.Row("missed", 3.0, target=2.5, at_most=True),
        bench.Row("not measured", None, "decisions/s", note="needs an extra"),
    ]
    budgets = []
    monkeypatch.setattr(bench, "run_bench", lambda budget, only, progress: budgets.append((budget, only)) or found)
    return budgets


def test_command_prints_every_row_with_target_and_verdict(measured, capsys):
    assert main(["bench", "--quick", "--only", "memory", "scalar"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "≥ 1" in lines["fine"]
    assert lines["fine"].split()[-1] == "yes"
    assert lines["missed"].split()[-1] == "NO"
    assert "needs an extra" in out
    assert measured == [(timing.Budget.quick(), ("memory", "scalar"))]


def test_check_fails_where_a_target_is_missed(measured, capsys):
    assert main(["bench", "--check"]) == 1
    assert measured == [(timing.Budget(), ())]


def test_command_prints_json(measured, capsys):
    assert main(["bench", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["met"] for row in found["rows"]] == [True, False, None]
    assert found["rows"][2]["value"] is None
    assert found["budget"]["lanes"] == 1024
    assert found["machine"]["numba"]


def test_unknown_group_is_named(capsys):
    assert main(["bench", "--only", "speed"]) == 2
    assert "event_stream" in capsys.readouterr().err
