"""Instances: the synthetic generator against the golden numbers, files, and what is refused."""

from __future__ import annotations

import json
import math

import gymnasium
import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.costs import category_means, costs
from edgewise.envs.edge_experts.files import load, save
from edgewise.envs.edge_experts.hardware import ORIN_DECODE, ORIN_PREFILL, PowerRamp
from edgewise.envs.edge_experts.instance import (
    Budgets,
    DecodeFit,
    DecodeRate,
    Expert,
    Instance,
    Link,
    PrefillFit,
    PrefillRate,
    Prompts,
)
from edgewise.envs.edge_experts.synthetic import section9, synthetic


@pytest.fixture(scope="module")
def instance() -> Instance:
    return synthetic(0)


def test_the_generator_draws_the_published_stream(instance):
    prompts = instance.prompts
    assert np.bincount(prompts.category).tolist() == [815, 474, 412, 299]
    assert prompts.I.mean() == pytest.approx(290.878, abs=1e-9)
    assert prompts.O.mean() == pytest.approx(131.9295, abs=1e-9)
    expected = [0.1866, 0.3137, 0.2555, 0.4491, 0.7378, 0.4358, 0.1924, 0.3804, 0.3072, 0.3912, 0.7239, 0.5341]
    assert prompts.Q.mean(axis=0) == pytest.approx(expected, abs=5e-5)
    assert prompts.Q.max(axis=1).mean() == pytest.approx(0.857936, abs=5e-7)


def test_energies_are_the_published_ones(instance):
    energy = costs(instance).energy.mean(axis=0)
    expected = [83.1, 71.7, 89.5, 136.2, 374.5, 703.4, 491.5, 635.1, 775.1, 329.7, 824.5, 1318.9]
    assert energy == pytest.approx(expected, abs=0.05)
    assert energy.sum() == pytest.approx(5833.168, abs=5e-4)


def test_fast_devices_need_more_joules_per_token_than_frugal_ones(instance):
    """At 7-8 billion weights of 16 bit the 4090D is about four times as fast and 1.8 times as costly as the Orin."""
    orin, gpu = instance.experts[4], instance.experts[8]
    assert gpu.decode.tok_s / orin.decode.tok_s == pytest.approx(3.8, abs=0.2)
    assert (gpu.P_dec / gpu.decode.tok_s) / (orin.P_dec / orin.decode.tok_s) == pytest.approx(2.0, abs=0.3)


def test_latency_fits_give_seconds_by_hand():
    fit = PrefillFit(**ORIN_PREFILL[8.0]._asdict())
    a, b, c = ORIN_PREFILL[8.0]
    assert fit.seconds(np.array([1.0, 128.0, 129.0])) == pytest.approx(
        [a * 128**2 + b * 128 + c] * 2 + [a * 256**2 + b * 256 + c]
    )
    decode = DecodeFit(**ORIN_DECODE[8.0]._asdict())
    step = [ORIN_DECODE[8.0].n + ORIN_DECODE[8.0].m * (100 + t) for t in range(50)]
    assert float(decode.seconds(np.array(100.0), np.array(50.0))) == pytest.approx(sum(step))
    assert 1 / step[0] == pytest.approx(9.96, rel=0.01)


def test_the_power_ramp_integrates_its_own_power():
    ramp = PowerRamp(27.8, 10.0, 1.5)
    times = np.linspace(0.0, 4.0, 400_001)
    power = 27.8 - 10.0 * np.exp(-times / 1.5)
    assert ramp.energy(4.0) == pytest.approx(float(np.trapezoid(power, times)), rel=1e-8)


def test_answer_distributions_put_the_quality_on_the_right_option():
    instance = synthetic(3, prompts=200, answers=True)
    prompts = instance.prompts
    right = prompts.P[np.arange(200), :, prompts.y]
    assert right == pytest.approx(prompts.Q)
    assert prompts.P.sum(axis=2) == pytest.approx(1.0)
    wrong = np.sort(prompts.P / (1.0 - prompts.Q[:, :, None]), axis=2)
    alike = [
        np.allclose(table, table[0], atol=1e-9)
        for table in [
            np.array([np.delete(prompts.P[x, i], prompts.y[x]) / (1 - prompts.Q[x, i]) for i in range(12)])
            for x in range(200)
        ]
    ]
    assert wrong.shape == (200, 12, 4)
    assert 0.4 < np.mean(alike) < 0.6  # a shared split in about half of the prompts


def test_perturbed_instances_depend_on_the_seed_only():
    one, two, other = section9(20, 100, 1), section9(20, 100, 1), section9(20, 100, 2)
    assert one.n == 20
    assert (one.prompts.Q == two.prompts.Q).all()
    assert one.experts == two.experts
    assert (one.prompts.Q != other.prompts.Q).any()


def test_category_means_are_plain_means(instance):
    table = costs(instance).delay
    means = category_means(instance, table)
    for c in range(4):
        assert means[c] == pytest.approx(table[instance.prompts.category == c].mean(axis=0))


def test_a_file_gives_back_the_instance(tmp_path):
    budgets = {"E_max": 100.0, "tau": (1, 2, 3, 4), "MEM": {"rtx-4090-9": 24}}
    instance = synthetic(5, prompts=50, answers=True).with_budgets(**budgets)
    instance = instance.with_scores(np.arange(600.0).reshape(50, 12))
    save(instance, tmp_path / "a.json")
    again = load(tmp_path / "a.json")
    assert again.experts == instance.experts
    assert again.budgets == instance.budgets
    assert again.categories == instance.categories
    for name, value in instance.prompts.arrays().items():
        assert (again.prompts.arrays()[name] == value).all(), name


def broken(tmp_path, change, arrays=None):
    save(synthetic(0, prompts=20), tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    change(document)
    (tmp_path / "a.json").write_text(json.dumps(document))
    if arrays:
        with np.load(tmp_path / "a.npz") as archive:
            content = dict(archive)
        np.savez(tmp_path / "a.npz", **content | arrays)
    return tmp_path / "a.json"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d.update(format="other/1"), "format"),
        (lambda d: d.update(prompts="../a.npz"), "prompts"),
        (lambda d: d.update(prompts="/etc/a.npz"), "prompts"),
        (lambda d: d["experts"][0].update(P_dec=-1), "P_dec"),
        (lambda d: d["experts"][0]["decode"].update(type="eval"), "decode"),
        (lambda d: d["experts"][1].update(id=d["experts"][0]["id"]), "unique"),
        (lambda d: d["budgets"].update(tau=[1, 2]), "4 numbers"),
        (lambda d: d["budgets"].update(MEM={"moon": 1}), "moon"),
        (lambda d: d.update(experts=d["experts"][:3]), "3 columns"),
    ],
)
def test_damaged_documents_are_refused_with_the_field_named(tmp_path, change, words):
    with pytest.raises(InvalidInputError, match=words):
        load(broken(tmp_path, change))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"Q": np.full((20, 12), 1.5)}, "Q"),
        ({"Q": np.full((20, 12), np.nan)}, "Q"),
        ({"category": np.full(20, 7)}, "category"),
        ({"category": np.zeros(20)}, "category"),
        ({"I": np.zeros(3)}, "I must have shape"),
        ({"extra": np.zeros(3)}, "extra"),
        ({"weight": np.ones(20)}, "weight"),
        ({"Q": np.array([["a"] * 12] * 20)}, "Q"),
        ({"Q": np.array([[{}] * 12] * 20, object)}, "archive"),
    ],
)
def test_damaged_archives_are_refused_with_the_array_named(tmp_path, arrays, words):
    with pytest.raises(InvalidInputError, match=words):
        load(broken(tmp_path, lambda document: None, arrays))


def test_other_files_are_refused(tmp_path):
    for content in (b"", b"\x80\x04not json", b"[1, 2]"):
        (tmp_path / "b.json").write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"b\.json"):
            load(tmp_path / "b.json")
    path = broken(tmp_path, lambda document: None)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InvalidInputError, match="archive"):
        load(path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load(tmp_path / "missing.json")


def test_prompt_tables_are_frozen(instance):
    for array in instance.prompts.arrays().values():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_subsets_keep_order_and_refuse_repeats(instance):
    part = instance.subset([4, 0])
    assert [expert.id for expert in part.experts] == [instance.experts[4].id, instance.experts[0].id]
    assert (instance.prompts.Q[:, [4, 0]] == part.prompts.Q).all()
    for wrong in ([], [0, 0], [12], [-1]):
        with pytest.raises(InvalidInputError, match="experts"):
            instance.subset(wrong)


def test_answers_without_labels_are_refused():
    with pytest.raises(InvalidInputError, match="belong together"):
        Prompts.make(category=[0], Q=[[0.5]], I=[1], O=[1], n_categories=1, P=[[[1.0]]])


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(InvalidInputError, match="seed"):
        synthetic(seed)


def test_infinite_budgets_are_refused(instance):
    with pytest.raises(InvalidInputError, match="E_max"):
        instance.with_budgets(E_max=math.inf)
    with pytest.raises(InvalidInputError, match="did you mean 'E_max'"):
        instance.with_budgets(E_maxx=1.0)


@pytest.fixture(scope="module")
def by_hand() -> Instance:
    """Two prompts of two categories on two experts: 400 tokens in and 100 out, 1 000 in and 50 out."""
    slow = Expert(
        id="slow", device="a", params_B=1.0, mem_GB=2.0, P_pre=20.0, P_dec=30.0,
        prefill=PrefillRate(tok_s=1000.0), decode=DecodeRate(tok_s=10.0), link=Link(rtt=0.2, up=3200.0, down=1600.0),
    )  # fmt: skip
    other = {"id": "fast", "device": "b", "decode": DecodeRate(tok_s=100.0), "link": Link(rtt=0.0)}
    fast = slow.model_copy(update=other)
    prompts = Prompts.make(
        category=[0, 1], I=[400, 1000], O=[100, 50], Q=[[0.3, 0.9], [0.4, 0.2]], n_categories=2, phi=[[0.5], [-0.5]],
        scores=[[1.0, 2.0], [3.0, 4.0]],
    )  # fmt: skip
    return Instance((slow, fast), ("short", "long"), prompts, Budgets(t_gate=0.25, t_agg=0.5))


def test_delays_and_energies_by_hand(by_hand):
    found = costs(by_hand)
    assert found.upload[:, 0] == pytest.approx([0.1 + 32 * 400 / 3200, 0.1 + 32 * 1000 / 3200])
    assert found.download[:, 0] == pytest.approx([0.1 + 32 * 100 / 1600, 0.1 + 32 * 50 / 1600])
    assert found.upload[:, 1] == pytest.approx([32 * 400 / 20e6, 32 * 1000 / 20e6])
    prefill = np.array([0.41, 1.01])  # 10 ms beside the rate
    assert found.prefill == pytest.approx(np.stack([prefill, prefill], 1))
    assert found.decode == pytest.approx(np.array([[10.0, 1.0], [5.0, 0.5]]))
    assert found.energy == pytest.approx(20.0 * found.prefill + 30.0 * found.decode)
    assert found.delay[0, 0] == pytest.approx(4.1 + 0.41 + 10.0 + 2.1)


def test_a_routers_observation_and_step_by_hand(by_hand):
    env = gymnasium.make("edgewise/ExpertRoute-v0", instance=by_hand, queues=False, tau=(10.0, 1.0)).unwrapped
    obs, _ = env.reset(seed=0)
    for _ in range(12):
        part = {name: obs[where].tolist() for name, where in env.layout.items()}
        x = part["category"].index(1.0)  # prompt 0 is short, prompt 1 long
        prompts = by_hand.prompts
        assert part["phi"] == [[0.5], [-0.5]][x]
        assert part["tokens"] == pytest.approx([math.log1p([400, 1000][x]), math.log1p([100, 50][x])], rel=1e-6)
        assert part["score"] == [[1.0, 2.0], [3.0, 4.0]][x]
        obs, reward, _, _, info = env.step(0)
        delay = 0.25 + costs(by_hand).delay[x, 0] + 0.5
        late = max(delay - [10.0, 1.0][x], 0.0) / [10.0, 1.0][x]
        joules = costs(by_hand).energy[x, 0] + 0.1  # and the gate
        unit = float(np.median(costs(by_hand).energy.mean(axis=0)))
        assert info["delay_s"] == pytest.approx(delay)
        assert reward == pytest.approx(prompts.Q[x, 0] - 0.1 * joules / unit - 1.0 * late, rel=1e-6)
