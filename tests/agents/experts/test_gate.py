"""The gate: train once, select later; where that is exact, where it nearly is, and where it fails."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edgewise.agents.experts import LOSSES, train_gate
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.objective import FacilityLocation
from edgewise.envs.edge_experts.synthetic import synthetic

TRUTH = np.array([0.59, 0.24, 0.17])
EXPERTS = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.1, 0.2]])


def mixture_entropy(weights, experts):
    return float(-(TRUTH * np.log(weights @ experts)).sum())


def test_a_mixture_gate_restricted_to_a_selection_is_not_optimal_nor_monotone():
    """Three experts and one prompt: the counterexample to "train once, select later" for soft mixtures."""
    phi, right = np.zeros((3, 1)), EXPERTS.T  # one row per possible answer, weighted by its probability
    full = train_gate(phi, right, loss="mixture_ce", weight=TRUTH, l2=0.0)
    weights = full.weights(phi)[0]
    assert weights == pytest.approx([0.1, 0.2, 0.7], abs=2e-3)
    assert mixture_entropy(weights, EXPERTS) == pytest.approx(0.9550, abs=1e-4)
    restricted = full.weights(phi, subset=(0, 1))[0]
    assert restricted == pytest.approx([1 / 3, 2 / 3, 0], abs=3e-3)
    assert mixture_entropy(restricted, EXPERTS) == pytest.approx(1.1759, abs=3e-3)
    own = train_gate(phi, right[:, :2], loss="mixture_ce", weight=TRUTH, l2=0.0).weights(phi)[0]
    assert own[0] == pytest.approx(0.7711, abs=2e-3)
    assert mixture_entropy(own, EXPERTS[:2]) == pytest.approx(0.9780, abs=1e-4)
    alone = mixture_entropy(np.array([1.0]), EXPERTS[:1])
    assert alone == pytest.approx(1.0757, abs=1e-4)
    assert alone < mixture_entropy(restricted, EXPERTS)  # adding an expert made it worse


@pytest.fixture(scope="module")
def data():
    instance = synthetic(0).subset([0, 3, 4, 9, 10])
    rng = np.random.default_rng(0)
    order = rng.permutation(2000)
    labels = (rng.random(instance.prompts.Q.shape) < instance.prompts.Q).astype(float)
    return instance.prompts.phi, instance.prompts.Q, labels, order[:1000], order[1000:1400], order[1400:]


def subsets(n):
    return [s for size in range(2, n + 1) for s in combinations(range(n), size)]


def test_decoupled_heads_are_exactly_those_of_every_selection(data):
    phi, _, labels, train, _, test = data
    full = train_gate(phi[train], labels[train])
    for subset in subsets(5)[::6]:
        own = train_gate(phi[train], labels[train][:, subset])
        assert own.scores(phi[test]) == pytest.approx(full.scores(phi[test])[:, subset], abs=1e-4)


@pytest.mark.parametrize("loss", ["bce", "luce"])
def test_train_once_select_later_loses_little_on_every_selection(data, loss):
    phi, quality, labels, train, _, test = data
    full = train_gate(phi[train], labels[train], loss=loss)
    gaps, rows = [], np.arange(len(test))
    for subset in subsets(5):
        own = train_gate(phi[train], labels[train][:, subset], loss=loss, steps=100)
        retrained = quality[test][rows, np.array(subset)[own.topk(phi[test])[:, 0]]].mean()
        restricted = quality[test][rows, full.topk(phi[test], subset)[:, 0]].mean()
        gaps.append(retrained - restricted)
    assert np.mean(gaps) < 0.005
    assert np.max(gaps) < 0.02


def test_a_learned_gate_beats_the_best_single_expert():
    instance, rng = synthetic(0), np.random.default_rng(1)
    phi, quality = instance.prompts.phi, instance.prompts.Q
    labels = (rng.random(quality.shape) < quality).astype(float)
    gate = train_gate(phi[:1000], labels[:1000])
    reached = quality[1000:][np.arange(1000), gate.topk(phi[1000:])[:, 0]].mean()
    assert reached == pytest.approx(0.851, abs=0.01)
    assert reached > quality[1000:].mean(axis=0).max() + 0.08


def test_calibrated_qualities_agree_with_the_shares_of_right_answers(data):
    phi, quality, labels, train, held, test = data
    gate = train_gate(phi[train], labels[train], loss="luce")
    before = np.abs(gate.quality(phi[test]).mean(axis=0) - quality[test].mean(axis=0)).max()
    gate.calibrate(phi[held], labels[held])
    after = np.abs(gate.quality(phi[test]).mean(axis=0) - quality[test].mean(axis=0)).max()
    assert after < 0.05 < before
    f = FacilityLocation(gate.quality(phi[test]))  # increasing by construction: fit for a selection
    assert f(0b11111) >= f(0b00111) >= f(0b00100)


def test_weights_are_masked_softmaxes():
    rng = np.random.default_rng(0)
    phi, quality = rng.normal(size=(50, 4)), rng.random((50, 6))
    gate = train_gate(phi, quality, hidden=8, steps=20)
    scores = gate.scores(phi)
    whole = gate.weights(phi)
    assert whole == pytest.approx(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    two = gate.weights(phi, subset=(1, 2, 4), k=2)
    assert ((two > 0).sum(axis=1) == 2).all()
    assert not two[:, [0, 3, 5]].any()
    top = gate.topk(phi, (1, 2, 4), 2)
    assert (np.take_along_axis(scores, top, 1)[:, 0] >= np.take_along_axis(scores, top, 1)[:, 1]).all()
    again = train_gate(phi, quality, hidden=8, steps=20)
    assert (again.scores(phi) == scores).all()


def test_bad_input_is_refused():
    phi, quality = np.zeros((4, 2)), np.full((4, 3), 0.5)
    with pytest.raises(InvalidInputError, match="loss"):
        train_gate(phi, quality, loss="hinge")
    for wrong in ((phi[:3], quality), (phi, quality * 3), (phi * np.nan, quality), (phi[0], quality)):
        with pytest.raises(InvalidInputError, match=r"phi|quality"):
            train_gate(*wrong)
    with pytest.raises(InvalidInputError, match="weight"):
        train_gate(phi, quality, weight=[0, 0, 0, 0])
    gate = train_gate(phi, quality, steps=2)
    for subset in ((), (3,), (0, 0)):
        with pytest.raises(InvalidInputError, match="subset"):
            gate.weights(phi, subset)
    with pytest.raises(InvalidInputError, match="k"):
        gate.topk(phi, (0, 1), 3)
    assert set(LOSSES) == {"bce", "luce", "mixture_ce"}
