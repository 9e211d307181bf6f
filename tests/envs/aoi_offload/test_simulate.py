"""Compiled simulations: what their figures count."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgewise.envs.aoi_offload import kernel
from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.simulate import simulate

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
