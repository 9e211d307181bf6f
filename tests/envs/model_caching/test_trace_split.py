"""A trace split by time: halves, prices, and what a configuration says of them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.env import ModelCachingEnv
from edgewise.envs.model_caching.params import CachingParams
from edgewise.envs.model_caching.trace_split import split_trace
from edgewise.envs.model_caching.traces import read_trace
from edgewise.envs.model_caching.workload import Workload

spec = importlib.util.spec_from_file_location("caching_traces", Path(__file__).with_name("traces.py"))
synthetic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(synthetic)

DATA = Path(os.environ.get("EDGEWISE_DATA", Path(__file__).parents[4] / "shared" / "data"))
CONVERSATION = DATA / "azure" / "AzureLLMInferenceTrace_conv.csv"


@pytest.fixture
def path(tmp_path):
    synthetic.write_azure(tmp_path / "a.csv", rows=200)
    return str(tmp_path / "a.csv")


def test_halves_follow_each_other_and_share_one_system(path):
    found = split_trace(path, slots=20)
    assert (found.train.trace_slots, found.test.trace_slots) == ((0, 20), (20, 40))
    assert (found.train.trace_start, found.test.trace_start) == ("random", "first")
    assert found.train.model_copy(update={"trace_slots": (20, 40), "trace_start": "first"}) == found.test
    trace = read_trace(path, "azure")
    first, second = (trace.input_tokens[(trace.time >= a) & (trace.time < a + 40.0)] for a in (0.0, 40.0))
    assert found.requests == (len(first), len(second))
    assert found.mean_tokens == pytest.approx((first.mean(), second.mean()))
    assert found.price_factor == pytest.approx(first.mean() / 150.0)
    assert found.train.lambda_MB == pytest.approx(3e-5 * first.mean() / 150.0)
    assert split_trace(path, slots=20, lambda_MB=1e-5).test.lambda_MB == pytest.approx(1e-5 * first.mean() / 150.0)
    assert f"= {first.mean() / 150.0:.3f}" in str(found)
    assert f"{second.mean() / 150.0:.3f} (test)" in str(found)


def test_a_pass_through_the_test_half_meets_each_of_its_requests_once(path):
    found = split_trace(path, slots=20, n_agents=5)
    demand = Workload(found.test, 20).episode(3)
    assert demand.requests.sum() == found.requests[1]
    assert (demand.requests * demand.input).sum() == pytest.approx(found.requests[1] * found.mean_tokens[1])
    starts = {tuple(Workload(found.train, 10).episode(seed).requests.sum(1).tolist()) for seed in range(12)}
    assert len(starts) > 3


def test_a_configuration_names_a_half(path):
    found = split_trace(path, slots=20)
    for half in ("train", "test"):
        fields = found.fields(half)
        assert CachingParams.make("drift", **fields) == getattr(found, half)
        env = gymnasium.make("edgewise/ModelCaching-v0", preset="drift", horizon=20, **fields)
        _, info = env.reset(seed=0)
        assert env.unwrapped.params == getattr(found, half)
    assert isinstance(env.unwrapped, ModelCachingEnv)
    assert info["time"] == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 0}, "slots"),
        ({"slots": 500}, "slots"),
        ({"slots": 2.0}, "slots"),
        ({"slots": 10, "slot_s": -1.0}, "slot_s"),
        ({"slots": 10, "trace_keep": 0.5}, "trace_keep"),
        ({"slots": 10, "preset": "x"}, "preset"),
    ],
)
def test_bad_splits_name_the_field(path, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        split_trace(path, **settings)


def test_a_slower_trace_has_the_same_requests_and_the_energy_of_its_longer_slots(path: str) -> None:
    found, longer = (split_trace(path, slots=20, stretched_s=lasts) for lasts in (None, 60.0))
    assert longer.train.energy_budget == 30.0 * found.train.energy_budget
    assert longer.fields("test") == found.fields("test") | {"slot_s": 60.0, "trace_speedup": 2.0 / 60.0}
    for half in ("train", "test"):
        ours, theirs = (Workload(getattr(split, half), 20).episode(0) for split in (longer, found))
        np.testing.assert_array_equal(ours.requests, theirs.requests)
        np.testing.assert_array_equal(ours.input, theirs.input)
    with pytest.raises(InvalidInputError, match="slot_s and stretched_s must be positive"):
        split_trace(path, slots=20, stretched_s=0.0)


@pytest.mark.skipif(not CONVERSATION.exists(), reason="the Azure 2023 conversation trace is not in EDGEWISE_DATA")
def test_the_azure_conversation_trace():
    found = split_trace(str(CONVERSATION))
    assert (found.slots, found.train.slot_s) == (875, 2.0)
    assert sum(found.requests) == 19_366 - 2  # two requests come behind 3 500 s
    assert found.mean_tokens == pytest.approx((1237.3, 1071.4), abs=0.1)
    assert found.price_factor == pytest.approx(8.249, abs=1e-3)
    demand = Workload(found.test, 875).episode(0)
    assert demand.requests.shape == (875, 20)
    assert demand.requests.sum() == found.requests[1]
    served = demand.input[demand.requests > 0]
    assert np.average(served, weights=demand.requests[demand.requests > 0]) == pytest.approx(1071.4, abs=0.1)
    longer = split_trace(str(CONVERSATION), stretched_s=60.0)
    assert longer.requests == found.requests
    assert (longer.test.energy_budget, found.test.energy_budget) == (720_000.0, 24_000.0)
    np.testing.assert_array_equal(Workload(longer.test, 875).episode(0).requests, demand.requests)
