"""The compiled simulation against closed forms, and against an independent simulator's tables.

Tables: means of a separately written simulator over 2e5 to 1e6 s; the default system has 20 devices and two edges.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from edgewise.envs.aoi_offload.optimum import UpdateOrWait, shared_server_zero_wait, solve
from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.aoi_offload.state import OFFLOAD, UPDATE

UNIT = {"task_mbit": 1.0, "density": 1.0}


def check_exact(params, policy, wait, exact, cycles=1_000_000, seeds=20):
    """Mean age within 1 % and within four standard errors (over seeds) of the exact value."""
    probe = simulate(params, policy, wait, horizon=200.0 * params.scale(0, 0), seeds=1)
    per_second = probe.statistics["completions"].sum() / probe.statistics["time"].mean()
    horizon = cycles / seeds / per_second
    # the first cycle starts at age 0 and not at the age of an earlier task
    run = simulate(params, policy, wait, horizon=horizon, seeds=range(100, 100 + seeds), warmup=0.05 * horizon)
    mean, error = run.mean_age.mean(), run.mean_age.std(ddof=1) / seeds**0.5
    assert mean == pytest.approx(exact, rel=0.01)
    assert abs(mean - exact) <= 4.0 * error + 1e-9


# --- one device ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "exact"),
    [("exponential", 2.0), ("deterministic", 1.5), ("lognormal:0.5", 1.860644), ("hyperexp:4", 3.5)],
)
def test_zero_wait(service, exact):
    check_exact(AoIParams.make("single", service=service), "local", "fixed:0", exact)


def test_zero_wait_lognormal():
    check_exact(AoIParams.make("single", service="lognormal:1"), "local", "fixed:0", 3.889566, cycles=4_000_000)


@pytest.mark.parametrize(
    ("service", "c", "exact"),
    [
        ("exponential", 0.901201031730, 1.901201),
        ("exponential", 0.4, 1.951536),
        ("lognormal:0.5", 0.722480, 1.855628),
        ("lognormal:1", 1.913399, 3.562120),
    ],
)
def test_threshold_wait(service, c, exact):
    cycles = 4_000_000 if service == "lognormal:1" else 1_000_000
    check_exact(AoIParams.make("single", service=service), "local", f"threshold:{c}", exact, cycles)


@pytest.mark.parametrize("service", ["exponential", "deterministic", "lognormal:0.5", "hyperexp:4"])
@pytest.mark.parametrize("drop", ["authors:1.5", "cutoff:1.5", "deadline:1.5"])
def test_drops(service, drop):
    problem = UpdateOrWait.parse(service, drop=drop, z_max=20.0)
    params = AoIParams.make("single", service=service, drop=drop)
    check_exact(params, "local", "fixed:0", problem.zero_wait(), cycles=600_000)
    value, c, _ = problem.optimal()
    check_exact(params, "local", f"threshold:{max(c, 0.0)}", value, cycles=600_000)
    check_exact(params, "local", "fixed:0.7", problem.fixed(0.7), cycles=600_000)


@pytest.mark.parametrize("z_max", [0.3, 0.8])
def test_bounded_wait(z_max):
    problem = UpdateOrWait.parse("lognormal:0.5", z_max=z_max)
    params = AoIParams.make("single", service="lognormal:0.5", z_max=z_max)
    check_exact(params, "local", "threshold:1.5", problem.threshold(1.5))


@pytest.mark.parametrize("drop", ["none", "deadline:2"])
def test_transmission_delays_a_lone_device(drop):
    params = AoIParams(n_devices=1, edge_ghz=(1.0,), local_ghz=1.0, drop=drop, transmission="fixed:0.5", **UNIT)
    exact = UpdateOrWait.parse("exponential", drop=drop, delay=0.5).zero_wait()
    check_exact(params, "server:1", "fixed:0", exact)


def test_running_mean_tends_to_the_law():
    params = AoIParams.make("single", drop="authors:1.5", drop_mean="running")
    check_exact(params, "local", "fixed:0", 2.287217)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("wait", "z_max", "exact"),
    [("fixed:0", 20.0, 17.692359), ("threshold:7.980468", 20.0, 11.060685), ("threshold:9.143017", 3.0, 12.223234)],
)
def test_heavy_tail(wait, z_max, exact):
    params = AoIParams.make("single", service="lognormal:1.5", z_max=z_max)
    kind, _, c = wait.partition(":")
    cycle = UpdateOrWait.parse("lognormal:1.5", z_max=z_max).cycle_length(float(c) if kind == "threshold" else 0.0)
    run = simulate(params, "local", wait, horizon=1.01e8 / 20 * cycle, seeds=20)
    assert run.statistics["completions"].sum() >= 1e8
    assert run.mean_age.mean() == pytest.approx(exact, rel=0.03)


# --- several devices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "ghz"), [(1, 2.0), (2, 2.0), (3, 1.0), (20, 41.8 / 8.91)])
def test_shared_server(devices, ghz):
    params = AoIParams(n_devices=devices, edge_ghz=(ghz,), local_ghz=1.0, **UNIT)
    check_exact(params, "server:1", "fixed:0", shared_server_zero_wait(devices, ghz))


@pytest.mark.parametrize("devices", [20, 30])
def test_shortest_queue_locks_into_an_even_split(devices):
    params = AoIParams.make("paper", n_devices=devices, drop="none")
    check_exact(params, "jsq", "fixed:0", shared_server_zero_wait(devices // 2, 41.8 / 8.91), cycles=3_000_000)


@pytest.mark.parametrize(
    ("own", "other", "age"),
    [
        ("local", "local", 2.0),
        ("local", "server:1", 2.0),
        ("jsq-unless:1", "local", 1.0),
        ("jsq-unless:1", "server:1", 2.0),
        ("server:1", "local", 1.0),
        ("server:1", "jsq-unless:1", 1.0),
        ("server:1", "server:1", 1.75),
    ],
)
def test_two_device_game(own, other, age):
    """Exact by linear equations of the hybrid system: one edge of rate 2, own processors of rate 1."""
    params = AoIParams(n_devices=2, edge_ghz=(2.0,), local_ghz=1.0, **UNIT)
    run = simulate(params, other, "fixed:0", horizon=20_000.0, seeds=16, deviator=(0, own, "fixed:0"))
    mine = run.ages[:, 0]
    assert mine.mean() == pytest.approx(age, rel=0.01)
    assert abs(mine.mean() - age) <= 4.0 * mine.std(ddof=1) / 4.0


def test_two_devices_that_want_an_empty_edge():
    """Without waits whoever holds the edge takes it again at once: ages 1 and 2, and 1.5 over both classes."""
    params = AoIParams(n_devices=2, edge_ghz=(2.0,), local_ghz=1.0, **UNIT)
    ages = simulate(params, "jsq-unless:1", "fixed:0", horizon=100_000.0, seeds=4).ages
    assert np.sort(ages.mean(axis=0)) == pytest.approx([1.0, 2.0], rel=0.01)
    assert ages.mean() == pytest.approx(1.5, rel=0.01)


DROPS = ("none", "authors:1.5", "cutoff:1.5", "deadline:1.5")
TABLE = {
    ("local", "fixed:0"): (7.128, 8.1516, 5.5925, 5.59),
    ("uniform", "fixed:0"): (4.42, 4.89, 3.15, 3.49),
    ("uniform", "uniform:3"): (4.15, 4.25, 3.14, 3.34),
    ("uniform", "uniform:1.5:3"): (4.15, 4.19, None, 3.38),
    ("edge-uniform", "fixed:0"): (3.80, 1.97, 2.01, 2.20),
    ("jsq", "fixed:0"): (3.3039, 1.752, 1.778, 2.09),
    ("jsq", "fixed:1.0"): (2.289, 1.005, 0.975, 1.585),
    ("jsq", "fixed:1.5"): (1.916, 1.129, 1.081, 1.45),
    ("jsq", "fixed:2.0"): (1.794, 1.335, 1.289, 1.487),
    ("jsq-unless:4", "fixed:0"): (4.83, 3.76, 2.86, 3.71),
}
CELLS = [
    (policy, wait, drop, age)
    for (policy, wait), ages in TABLE.items()
    for drop, age in zip(DROPS, ages, strict=True)
    if age is not None
]
THRESHOLDS = [
    ("none", 2.6, 1.772),
    ("authors:1.5", 1.3, 1.015),
    ("cutoff:1.5", 1.3, 0.987),
    ("deadline:1.5", 1.7, 1.40),
]
FIXED_GRID = [
    ("authors:1.5", {0.8: 1.0385, 0.9: 1.0118, 1.0: 1.0054, 1.1: 1.0142, 1.2: 1.0336}),
    ("cutoff:1.5", {1.0: 0.9751, 1.1: 0.9767}),
    ("none", {1.8: 1.8113, 2.0: 1.7942, 2.1: 1.7972, 2.2: 1.8064}),
]
SCALING = [
    # devices, drop, best fixed wait, its age, age without waiting
    (5, "authors:1.5", 0.2, 0.528, 0.567),
    (10, "authors:1.5", 0.4, 0.668, 0.897),
    (15, "authors:1.5", 0.7, 0.834, 1.316),
    (20, "authors:1.5", 1.0, 1.005, 1.752),
    (25, "authors:1.5", 1.3, 1.178, 2.197),
    (30, "authors:1.5", 1.6, 1.349, 2.645),
    (40, "authors:1.5", 2.2, 1.692, 3.544),
    (10, "none", 1.0, 1.099, 1.703),
    (20, "none", 2.0, 1.79, 3.304),
    (30, "none", 3.0, 2.45, 4.90),
]
LOGNORMAL = [
    ("local", 0, "none", 13.86),
    ("jsq", 0, "none", 5.57),
    ("jsq", 2, "none", 3.56),
    ("jsq", 0, "authors:1.5", 2.90),
    ("jsq", 1, "authors:1.5", 1.91),
    ("jsq", 2, "authors:1.5", 1.69),
    ("jsq", 3, "authors:1.5", 2.06),
]


def mean_age(policy, wait, horizon=10_000.0, seeds=2, **fields):
    params = AoIParams.make("paper", **fields)
    return simulate(params, policy, wait, horizon=horizon, seeds=seeds, warmup=300.0).mean_age.mean()


@pytest.mark.parametrize(("policy", "wait", "drop", "age"), CELLS)
def test_default_system(policy, wait, drop, age):
    assert mean_age(policy, wait, drop=drop) == pytest.approx(age, rel=0.02)


@pytest.mark.parametrize(("drop", "c", "age"), THRESHOLDS)
def test_default_system_threshold_wait(drop, c, age):
    assert mean_age("jsq", f"threshold:{c}", drop=drop) == pytest.approx(age, rel=0.05)


@pytest.mark.parametrize(("devices", "drop", "wait", "best", "zero"), SCALING)
def test_scaling_with_devices(devices, drop, wait, best, zero):
    assert mean_age("jsq", f"fixed:{wait}", n_devices=devices, drop=drop) == pytest.approx(best, rel=0.02)
    assert mean_age("jsq", "fixed:0", n_devices=devices, drop=drop) == pytest.approx(zero, rel=0.02)


@pytest.mark.parametrize(("policy", "wait", "drop", "age"), LOGNORMAL)
def test_lognormal_service(policy, wait, drop, age):
    # the square of a log-normal variate is heavy-tailed: more and longer runs
    found = mean_age(
        policy, f"fixed:{wait}", 30_000.0, 16 if policy == "local" else 3, service="lognormal:1", drop=drop
    )
    assert found == pytest.approx(age, rel=0.02)


@pytest.mark.parametrize(("drop", "crowd", "own", "age"), [("authors:1.5", 1.0, 0.1, 0.743), ("none", 2.0, 0.3, 1.216)])
def test_two_of_twenty_gain_by_waiting_less(drop, crowd, own, age):
    params = AoIParams.make("paper", drop=drop)
    pair = [(device, "jsq", f"fixed:{own}") for device in (3, 11)]
    found = simulate(params, "jsq", f"fixed:{crowd}", horizon=20_000.0, seeds=4, deviator=pair, warmup=300.0)
    assert found.ages[:, [3, 11]].mean() == pytest.approx(age, rel=0.02)
    alone = simulate(params, "jsq", f"fixed:{crowd}", horizon=20_000.0, deviator=pair[0], warmup=300.0)
    # a single deviator meets one patient device more
    assert alone.ages[:, 3].mean() < 0.95 * age


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("policy", "wait", "drop", "age"), CELLS)
def test_default_system_long(policy, wait, drop, age):
    """The tables are printed with 3 or 4 digits and an error of about 0.3 %."""
    found = mean_age(policy, wait, 200_000.0, 2, drop=drop)
    assert found == pytest.approx(age, rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("drop", "grid"), FIXED_GRID)
def test_fixed_wait_grid_long(drop, grid):
    found = {wait: mean_age("jsq", f"fixed:{wait}", 200_000.0, 2, drop=drop) for wait in grid}
    assert found == pytest.approx(grid, rel=0.005)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_threshold_wait_long():
    for drop, c, age in THRESHOLDS:
        assert mean_age("jsq", f"threshold:{c}", 200_000.0, 2, drop=drop) == pytest.approx(age, rel=0.02)


# --- telescoping ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", ["none", "authors:1.5", "deadline:1.5"])
def test_both_areas_telescope(drop):
    """Trapezoids between generations and areas between completions differ by a potential of the delay."""
    env = gymnasium.make("edgewise/AoIOffloadGame-v0", preset="small", drop=drop, horizon=400.0).unwrapped
    rng = np.random.default_rng(1)
    _, info = env.reset(seed=5)
    generated = np.zeros(3)  # of the current task
    cycles = [[] for _ in range(3)]  # (generation, completion, area since the last completion)
    area = np.zeros(3)
    truncated = False
    while not truncated:
        m = info["device"]
        area[m] += info["cost"]
        if info["kind"] == UPDATE:
            cycles[m].append((generated[m], info["time"], area[m]))
            area[m] = 0.0
        elif info["kind"] == OFFLOAD:
            generated[m] = info["time"]
        action = {"server": int(rng.integers(2)), "wait": rng.uniform(0.0, 2.0, 1)}
        _, _, _, truncated, info = env.step(action)
    for trace in cycles:
        assert len(trace) > 50
        gen, done, b = np.array(trace).T
        delay = done - gen
        trapezoid = 0.5 * (done[1:] - gen[:-1]) ** 2 - 0.5 * delay[1:] ** 2
        assert (trapezoid - b[1:]).sum() == pytest.approx(0.5 * (delay[0] ** 2 - delay[-1] ** 2), abs=1e-9)
        assert (np.diff(gen) - np.diff(done)).sum() == pytest.approx(delay[0] - delay[-1], abs=1e-9)


# --- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"n_devices": 4}, {"edge_ghz": (3.0, 8.0)}, {"transmission": "fixed:0.3"}])
@pytest.mark.parametrize("drop", DROPS)
def test_no_scripted_rule_beats_the_bounds(fields, drop):
    params = AoIParams.make("paper", **({"drop": drop} | fields))
    team, one = solve(params, team=True), solve(params)
    for wait in ("fixed:0", "fixed:1", "threshold:1.3"):
        run = simulate(params, "jsq", wait, horizon=5_000.0, seeds=2, warmup=300.0)
        selfish = simulate(params, "jsq", "fixed:2", horizon=5_000.0, seeds=2, warmup=300.0, deviator=(0, "jsq", wait))
        assert run.mean_age.mean() > team.bound * 0.99
        assert selfish.ages[:, 0].mean() > one.bound * 0.97
