"""Compiled simulations: what their figures count."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgewise.envs.aoi_offload import kernel
from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.policies import rule
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.aoi_offload.simulator import Simulator
from edgewise.envs.aoi_offload.state import STAGED_AGENT
from edgewise.envs.core.errors import InvalidInputError

SMALL = AoIParams.make("small")


def test_the_papers_estimator_speaks_of_whole_episodes_only():
    """With a warm-up the area at the start of the first counted cycle is unknown: no figure rather than a wrong one."""
    whole, late = (simulate(SMALL, horizon=200.0, seeds=3, warmup=warmup) for warmup in (0.0, 50.0))
    y = whole.statistics["area"] - whole.statistics["paper_area"]
    assert (y > 0).all()
    assert (whole.mean_age_authors < whole.mean_age).all()
    assert np.isnan(late.mean_age_authors).all()
    assert late.mean_age == pytest.approx(whole.mean_age, rel=0.3)


@pytest.mark.parametrize("horizon", [100, 100.0])
def test_the_first_simulation_of_a_process_does_not_count_the_compiler(monkeypatch, horizon):
    real, compiled = kernel.reset_lanes, set()

    def lazily_compiled(*arguments):
        kinds = tuple(type(argument) for argument in arguments)
        if kinds not in compiled:
            compiled.add(kinds)
            time.sleep(0.5)
        return real(*arguments)

    simulate(SMALL, horizon=horizon)  # the real compiler has done its work
    monkeypatch.setattr(kernel, "reset_lanes", lazily_compiled)
    found = simulate(SMALL, horizon=horizon)
    assert compiled
    assert 0 < found.seconds < 0.4
    monkeypatch.undo()
    np.testing.assert_array_equal(found.ages, simulate(SMALL, horizon=horizon).ages)


def test_several_devices_deviate_together():
    pair = [(0, "local", "fixed:0"), (2, "local", "fixed:0.5")]
    found = simulate(SMALL, "server:1", "fixed:0", horizon=200.0, seeds=2, deviator=pair)
    servers = found.statistics["servers"]
    assert (servers[:, [0, 2], 1] == 0).all()
    assert (servers[:, 1, 0] == 0).all()
    assert (found.statistics["wait_sum"][:, 2] > 0).all()
    alone = simulate(SMALL, "server:1", "fixed:0", horizon=200.0, seeds=2, deviator=pair[0])
    listed = simulate(SMALL, "server:1", "fixed:0", horizon=200.0, seeds=2, deviator=[pair[0]])
    np.testing.assert_array_equal(alone.ages, listed.ages)


@pytest.mark.parametrize("bad", [(9, "jsq", "fixed:0"), [(0, "jsq")], ["abc"], (0, 1)])
def test_a_malformed_deviator_is_one_clear_error(bad):
    with pytest.raises(InvalidInputError, match="deviator"):
        simulate(SMALL, deviator=bad)


def test_lanes_stop_in_time_with_the_counters_of_a_scripted_run():
    """The same rule, decided outside the kernel and inside: every counter agrees, whatever each lane's horizon."""
    horizons = np.array([40.0, 90.0, 55.5])
    rules = np.repeat(rule(SMALL, "server:1", "fixed:0.25")[None], SMALL.n_devices)
    rules["agent"] = STAGED_AGENT
    simulator = Simulator(SMALL, rules, 3)
    simulator.until[:] = horizons
    simulator.seed(np.arange(5, 8, dtype=np.uint64))
    buffers = simulator.reset()
    running = np.ones(3, bool)
    while running.any():
        _, stopped = simulator.step(np.ones(3, np.int64), np.full(3, 0.25), ~running, buffers)
        running &= ~stopped
    found = simulator.statistics()
    assert (simulator.world.lane["time"] < horizons).all()
    for lane, horizon in enumerate(horizons):
        alone = simulate(SMALL, "server:1", "fixed:0.25", horizon=float(horizon), seeds=[5 + lane])
        for name, values in alone.statistics.items():
            np.testing.assert_array_equal(found[name][lane], values[0], err_msg=name)
