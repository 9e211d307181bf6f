"""Workloads: the laws' moments, the traces' formats and statistics, and errors that say where."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching.demand import poisson
from edgewise.envs.model_caching.instance import draw_instance
from edgewise.envs.model_caching.params import TRACE_FORMATS, CachingParams
from edgewise.envs.model_caching.state import TABULATED, distribution
from edgewise.envs.model_caching.traces import read_trace
from edgewise.envs.model_caching.workload import Workload, slotted
from edgewise.envs.testing import check_smdp, check_vector_equals_scalar

spec = importlib.util.spec_from_file_location("caching_traces", Path(__file__).with_name("traces.py"))
synthetic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(synthetic)
WRITERS, records = synthetic.WRITERS, synthetic.records

EACH_FORMAT = pytest.mark.parametrize("name", TRACE_FORMATS)


@pytest.fixture
def trace_file(tmp_path):
    def write(name, **settings):
        path = tmp_path / f"{name}.trace"
        WRITERS[name](path, **settings)
        return path

    return write


# --- synthetic laws ---------------------------------------------------------------------------------------------------


@given(st.floats(1e-6, 100.0))
def test_poisson_inversion_is_the_quantile_function(mean):
    from scipy.stats import poisson as law

    for u in (1e-12, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9):
        k = poisson(u, mean, math.exp(-mean))
        assert law.cdf(k, mean) >= u * (1 - 1e-12)
        assert k == 0 or law.cdf(k - 1, mean) < u * (1 + 1e-12)
    assert poisson(1.0, mean, math.exp(-mean)) < mean + 40 * max(1.0, mean**0.5)


@given(st.floats(1e-9, 60.0))
def test_the_table_of_a_poisson_law_gives_what_its_inversion_gives(mean):
    still = math.exp(-mean)
    (sums,) = distribution(np.array([mean]), np.array([still]))
    edges = sums[np.isfinite(sums)]
    for u in (*edges, *np.nextafter(edges, 2.0), *np.linspace(1e-12, 1.0, 40)):
        if u <= 1.0:
            assert np.count_nonzero(u > sums) == min(poisson(u, mean, still), TABULATED)


def many(params, episodes=200, horizon=100):
    workload = Workload(params, horizon)
    return np.array([workload.episode(seed).requests for seed in range(episodes)])


def test_stationary_agents_are_poisson_with_mean_one():
    found = many(CachingParams.make("stationary"))
    assert found.mean() == pytest.approx(1.0, abs=0.01)
    assert found.var() == pytest.approx(1.0, abs=0.02)
    flat = found.reshape(-1, 10)
    assert np.abs(np.corrcoef(flat.T) - np.eye(10)).max() < 0.05


def test_popularity_is_a_zipf_law_whose_ranks_are_redrawn_every_20_slots():
    params = CachingParams.make("drift")
    found = many(params, 300)
    assert found.sum(2).mean() == pytest.approx(10.0, abs=0.05)
    assert found.mean((0, 1)) == pytest.approx(np.full(20, 0.5), abs=0.045)  # in the long run nobody is special
    epochs = found.reshape(300, 5, 20, 20).mean(2)
    most = np.sort(epochs, axis=2)[:, :, ::-1].mean((0, 1))
    assert most[0] == pytest.approx(params.rates()[0], rel=0.15)
    assert params.rates() == pytest.approx(10 * np.arange(1, 21) ** -0.8 / (np.arange(1, 21) ** -0.8).sum())
    within = np.corrcoef(found[:, :10].mean(1).ravel(), found[:, 10:20].mean(1).ravel())[0, 1]
    across = np.corrcoef(found[:, :20].mean(1).ravel(), found[:, 20:40].mean(1).ravel())[0, 1]
    assert within > 0.5
    assert abs(across) < 0.05
    still = many(CachingParams.make("drift", shift_every=0))
    assert np.corrcoef(still[:, :50].mean(1).ravel(), still[:, 50:].mean(1).ravel())[0, 1] > 0.9


def test_modulated_demand_keeps_its_mean_and_comes_in_bursts():
    params = CachingParams.make("stationary", workload="markov")
    found = many(params, 400)
    assert found.mean() == pytest.approx(1.0, abs=0.02)
    rates = np.array([0.3, 3.0]) * 2 / 3.3
    assert found.var() == pytest.approx(1.0 + rates.var(), rel=0.05)  # Poisson plus the rate's own variance
    rows = found - found.mean()
    lags = [(rows[:, :-k] * rows[:, k:]).mean() / rates.var() for k in (1, 5, 10)]
    assert lags == pytest.approx([0.8, 0.8**5, 0.8**10], abs=0.06)  # leaving with probability 1/10 on either side


def test_the_simulator_meets_the_demand_that_the_workload_writes_out():
    for settings in ({}, {"workload": "markov"}, {"preset": "drift_proactive"}):
        params = CachingParams.make(**settings)
        env = gymnasium.make("edgewise/ModelCaching-v0", params=params, horizon=50).unwrapped
        env.reset(seed=21)
        for episode in range(2):
            demand = Workload(params, 50).episode(21, episode)
            for t in range(50):
                assert env._system.world.agent[0]["demand"].tolist() == demand.requests[t].tolist()
                env.step({"cache": [0] * params.n_agents, "local_share": [0.0] * params.n_agents})
            env.reset()


def test_a_proactive_server_sees_the_last_slots_demand():
    env = gymnasium.make("edgewise/ModelCaching-v0", preset="drift_proactive").unwrapped
    obs, _ = env.reset(seed=2)
    demand = Workload(env.params).episode(2).requests
    assert not obs[10:20].any()
    for t in range(30):
        obs, *_ = env.step({"cache": [1] * 10, "local_share": [1.0] * 10})
        assert obs[10:20].tolist() == demand[t].tolist()


# --- traces -----------------------------------------------------------------------------------------------------------


@EACH_FORMAT
def test_200_rows_of_every_format(name, trace_file):
    trace, expected = read_trace(trace_file(name), name), records()
    if name == "burstgpt":
        assert trace.left_out == 4
        expected = [row for row in expected if row[3] % 50 != 49]
    assert len(trace) == len(expected)
    begin = expected[0][0]
    assert trace.time == pytest.approx([row[0] - begin for row in expected], abs=1e-3)
    assert trace.input_tokens.tolist() == [row[1] for row in expected]
    assert trace.output_tokens.tolist() == [row[2] for row in expected]
    assert ((trace.new_tokens >= 0) & (trace.new_tokens <= trace.input_tokens)).all()
    if name == "qwen":
        assert trace.turn.tolist() == [row[6] for row in expected]
        assert trace.first_row.tolist() == [row[5] for row in expected]
    if name == "burstgpt":
        assert set(trace.tier.tolist()) == {0, 1}


def test_new_tokens_leave_out_the_prefix_that_was_there(tmp_path):
    path = tmp_path / "m.jsonl"
    rows = [([0, 1, 2], 1500), ([0, 3], 1024), ([0, 1, 2, 4], 2000), ([0, 1, 2, 4, 5], 2200), ([9], 500)]
    lines = [{"timestamp": 10 * k, "input_length": n, "output_length": 7, "hash_ids": ids} for k, (ids, n) in
             enumerate(rows)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    trace = read_trace(path, "mooncake")
    assert trace.new_tokens.tolist() == [1500, 512, 464, 152, 500]
    assert trace.first_row.tolist() == [0, 1, 0, 0, 4]  # a shared root alone makes no session
    assert trace.turn.tolist() == [0, 0, 1, 2, 0]


@EACH_FORMAT
def test_a_replayed_trace_is_an_environment_like_any_other(name, trace_file):
    settings = {"workload": "trace", "trace": str(trace_file(name)), "trace_format": name, "slot_s": 2.0}

    def make():
        return gymnasium.make("edgewise/ModelCaching-v0", horizon=12, **settings)

    def make_vec(n, mode):
        return gymnasium.make_vec("edgewise/ModelCaching-v0", n, horizon=12, autoreset_mode=mode, **settings)

    assert check_smdp(make(), steps=50) >= 2
    assert check_vector_equals_scalar(make_vec, make, n=3, steps=60) >= 3


def test_slots_hold_every_request_with_its_mean_sizes(trace_file):
    params = CachingParams.make(workload="trace", trace=str(trace_file("azure")), trace_format="azure", slot_s=2.0)
    trace = read_trace(params.trace, "azure")
    counts, tokens = slotted(trace, params)
    slot = (trace.time // 2.0).astype(int)
    assert counts.sum() == 200
    assert counts.sum(1).tolist() == np.bincount(slot).tolist()
    assert (counts * tokens[:, :, 0]).sum() == pytest.approx(trace.input_tokens.sum())
    assert (counts * tokens[:, :, 1]).sum() == pytest.approx(trace.output_tokens.sum())
    assert (counts * tokens[:, :, 2]).sum() == pytest.approx((trace.new_tokens + trace.output_tokens).sum())
    faster, _ = slotted(trace, params.model_copy(update={"trace_speedup": 4.0}))
    assert faster.sum() == 200
    assert len(faster) == -(-len(counts) // 4)
    half, _ = slotted(trace, params.model_copy(update={"trace_keep": 0.5}))
    assert 70 < half.sum() < 130
    part, _ = slotted(trace, params.model_copy(update={"trace_slots": (3, 9)}))
    np.testing.assert_array_equal(part, counts[3:9])


def test_agents_are_drawn_from_a_zipf_law_by_instance_seed_and_row(trace_file):
    path = trace_file("azure", rows=20_000)
    trace = read_trace(path, "azure")

    def shares(**settings):
        params = CachingParams.make(workload="trace", trace=str(path), trace_format="azure", **settings)
        counts, _ = slotted(trace, params)
        return counts.sum(0) / counts.sum(), counts

    found, counts = shares()
    law = np.arange(1, 21) ** -0.8
    assert found == pytest.approx(law / law.sum(), abs=0.01)
    np.testing.assert_array_equal(shares()[1], counts)
    assert (shares(instance_seed=1)[1] != counts).any()


def test_sessions_stay_with_one_agent_and_large_models_get_large_requests(trace_file):
    params = CachingParams.make(
        workload="trace", trace=str(trace_file("burstgpt")), trace_format="burstgpt", slot_s=1e6, n_agents=10
    )
    trace = read_trace(params.trace, "burstgpt")
    counts, _ = slotted(trace, params)
    large = draw_instance(params)["model"] == 1
    assert counts[0, large].sum() == (trace.tier == 1).sum()
    qwen = params.model_copy(update={"trace": str(trace_file("qwen")), "trace_format": "qwen"})
    trace = read_trace(qwen.trace, "qwen")
    sizes = np.bincount(trace.first_row)
    counts, _ = slotted(trace, qwen)
    assert counts.max() >= sizes.max()
    one = type(trace)(*(column[trace.first_row == sizes.argmax()] for column in
                        (trace.time, trace.input_tokens, trace.output_tokens, trace.new_tokens, trace.first_row,
                         trace.turn, trace.tier)))  # fmt: skip
    assert (slotted(one, qwen)[0] > 0).sum() == 1


def test_one_pass_and_random_starts(trace_file):
    settings = {"workload": "trace", "trace": str(trace_file("azure")), "trace_format": "azure", "slot_s": 2.0}
    params = CachingParams.make(trace_start="first", **settings)
    counts, _ = slotted(read_trace(params.trace, "azure"), params)
    whole = Workload(params, len(counts)).episode(5)
    np.testing.assert_array_equal(whole.requests, counts)
    workload = Workload(CachingParams.make(**settings), 10)
    starts = {workload.episode(seed).requests.tobytes() for seed in range(40)}
    assert len(starts) > 20
    windows = {counts[t : t + 10].tobytes() for t in range(len(counts) - 9)}
    assert starts <= windows
    with pytest.raises(InvalidInputError, match="horizon"):
        Workload(params, len(counts) + 1)


# --- malformed files --------------------------------------------------------------------------------------------------

CSV = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,10,20,30,API log\n"
MOON = '{"timestamp": 0, "input_length": 9, "output_length": 5, "hash_ids": [0]}\n'
QWEN = (
    '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 9, "output_length": 5, "hash_ids": [0]}\n'
)
GOOD = {"azure": CSV, "burstgpt": BURST, "mooncake": MOON, "qwen": QWEN}
MALFORMED = [
    ("azure", CSV + "yesterday,1,2\n", "line 3", "TIMESTAMP"),
    ("azure", CSV + "2023-11-16 18:15:46.5x,1,2\n", "line 3", "TIMESTAMP"),
    ("azure", CSV + "2023-11-16 18:15:50,-1,2\n", "line 3", "ContextTokens"),
    ("azure", CSV + "2023-11-16 18:15:50,1,two\n", "line 3", "GeneratedTokens"),
    ("azure", CSV + "2023-11-16 18:15:50,1,2.5\n", "line 3", "GeneratedTokens"),
    ("azure", CSV + "2023-11-16 18:15:50,1\n", "line 3", "GeneratedTokens"),
    ("azure", CSV + "2023-11-16 18:15:50,1,2,3\n", "line 3", "column 4"),
    ("azure", CSV + "\n" + CSV.splitlines()[1], "line 3", "TIMESTAMP"),
    ("azure", "TIMESTAMP,ContextTokens\n", "line 1", "GeneratedTokens"),
    ("burstgpt", BURST + "5,Claude,10,20,30,API log\n", "line 3", "Model"),
    ("burstgpt", BURST + "nan,ChatGPT,10,20,30,API log\n", "line 3", "Timestamp"),
    ("burstgpt", BURST + "5,GPT-4,,20,30,API log\n", "line 3", "Request tokens"),
    ("mooncake", MOON + '{"timestamp": 0, "input_length": 9\n', "line 2", "column"),
    ("mooncake", MOON + "[1, 2]\n", "line 2", "column 1"),
    ("mooncake", MOON + '{"timestamp": 0, "input_length": 9, "output_length": 5}\n', "line 2", "hash_ids"),
    ("mooncake", MOON + '{"timestamp": 0, "input_length": 9.5, "output_length": 5, "hash_ids": []}', "line 2",
     "input_length"),
    ("mooncake", MOON + '{"timestamp": Infinity, "input_length": 9, "output_length": 5, "hash_ids": []}', "line 2",
     "timestamp"),
    ("mooncake", MOON + '{"timestamp": 0, "input_length": 9, "output_length": true, "hash_ids": []}', "line 2",
     "output_length"),
    ("mooncake", MOON + "[" * 100_000, "line 2", "column"),
    ("qwen", QWEN + QWEN.replace('"chat_id": 1', '"chat_id": "x"'), "line 2", "chat_id"),
    ("qwen", QWEN + QWEN.replace("[0]", '["a"]'), "line 2", "hash_ids"),
    ("qwen", QWEN + QWEN.replace("-1", "-2"), "line 2", "parent_chat_id"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "line", "column"), MALFORMED)
def test_a_malformed_row_names_file_line_and_column(name, text, line, column, tmp_path):
    path = tmp_path / "requests.trace"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as error:
        read_trace(path, name)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in ("requests.trace", line, column)), message


@pytest.mark.parametrize("name", GOOD)
def test_the_rows_that_the_malformed_ones_follow_are_fine(name, tmp_path):
    path = tmp_path / "requests.trace"
    path.write_text(GOOD[name])
    assert len(read_trace(path, name)) == 1


@EACH_FORMAT
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_one_sentence(name, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "requests.trace"
    path.write_bytes(data)
    try:
        read_trace(path, name)
    except InvalidInputError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("settings", [
    {"trace": "/no/such/file", "trace_format": "azure"},
    {"trace": "/", "trace_format": "azure"},
    {"trace": "x", "trace_format": None},
    {"trace": None, "trace_format": "qwen"},
    {"trace": "x", "trace_format": "parquet"},
])  # fmt: skip
def test_a_missing_trace_or_format_is_one_clear_error(settings):
    with pytest.raises(InvalidInputError, match="trace"):
        gymnasium.make("edgewise/ModelCaching-v0", workload="trace", **settings)


# --- the real files ---------------------------------------------------------------------------------------------------


def real(repository, *parts):
    root = Path(os.environ.get("EDGEWISE_DATA", repository / ".." / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path.name} is not here: set EDGEWISE_DATA to the folder of the public traces")
    return path


QUANTILES = (1, 10, 50, 90, 99, 100)
STATISTICS = [
    (("azure", "AzureLLMInferenceTrace_code.csv"), "azure", 8819, 3436, (17, 147, 1469, 5194, 7436, 7437, 2048),
     (6, 7, 13, 55, 252, 1899, 28), 0.390, 13.2),
    (("azure", "AzureLLMInferenceTrace_conv.csv"), "azure", 19366, 3502, (29, 207, 1020, 2735, 4142, 14050, 1155),
     (16, 54, 129, 424, 601, 1000, 211), 0.181, 1.09),
    (("mooncake", "conversation_trace.jsonl"), "mooncake", 12031, 3537, (894, 964, 6909, 27367, 85401, 126195, 12035),
     (3, 24, 350, 597, 1120, 2000, 343), None, None),
    (("mooncake", "synthetic_trace.jsonl"), "mooncake", 3993, 1022, (16, 30, 11587, 38615, 66458, 191378, 15325),
     (2, 4, 69, 389, 769, 893, 149), None, None),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "name", "rows", "span", "inputs", "outputs", "gap", "variation"), STATISTICS)
def test_statistics_of_the_real_files(repository, parts, name, rows, span, inputs, outputs, gap, variation):
    trace = read_trace(real(repository, *parts), name)
    assert len(trace) == rows
    assert trace.time.max() == pytest.approx(span, abs=1)
    for column, expected in ((trace.input_tokens, inputs), (trace.output_tokens, outputs)):
        found = [*np.percentile(column, QUANTILES), column.mean()]
        assert found == pytest.approx(expected, rel=5e-3, abs=0.5)
    if gap is not None:
        gaps = np.diff(trace.time)
        assert gaps.mean() == pytest.approx(gap, abs=1e-3)
        assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.01)


@pytest.mark.parametrize(("file", "share"), [("conversation_trace.jsonl", 0.366), ("synthetic_trace.jsonl", 0.640)])
def test_prefix_blocks_seen_before_in_the_real_files(repository, file, share):
    path = real(repository, "mooncake", file)
    trace = read_trace(path, "mooncake")
    blocks = [len(json.loads(line)["hash_ids"]) for line in path.read_text().splitlines()]
    reused = sum(
        n if new == 0 else (into - new) // 512
        for n, into, new in zip(blocks, trace.input_tokens.tolist(), trace.new_tokens.tolist(), strict=True)
    )
    assert reused / sum(blocks) == pytest.approx(share, abs=0.005)


def test_the_conversation_trace_has_875_slots_of_two_seconds_in_each_half(repository):
    path = real(repository, "azure", "AzureLLMInferenceTrace_conv.csv")
    for first in (0, 875):
        params = CachingParams.make(workload="trace", trace=str(path), trace_format="azure", slot_s=2.0,
                                    trace_slots=(first, first + 875), trace_start="first")  # fmt: skip
        found = Workload(params, 875).episode(0)
        assert 9000 < found.requests.sum() < 10500
