"""Serving rules against hand computations: whose answer counts, what ran, what it cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.costs import costs
from edgewise.envs.edge_experts.instance import Prompts
from edgewise.envs.edge_experts.serving import cascade, mixture, route, vote
from edgewise.envs.edge_experts.synthetic import synthetic

ANSWERS = np.array(
    [
        [[0.6, 0.4], [0.3, 0.7], [0.45, 0.55]],  # two of three prefer option 1
        [[0.9, 0.1], [0.2, 0.8], [0.35, 0.65]],
    ]
)


@pytest.fixture(scope="module")
def instance():
    """Three experts, two prompts with two options; the right ones are 1 and 0."""
    base = synthetic(0, prompts=2).subset((0, 3, 9))
    prompts = Prompts.make(
        category=[0, 1],
        Q=ANSWERS[[0, 1], :, [1, 0]],
        I=[100, 200],
        O=[10, 20],
        n_categories=4,
        P=ANSWERS,
        y=[1, 0],
        weight=[0.25, 0.75],
    )
    return replace(base, prompts=prompts)


def test_one_expert_per_prompt(instance):
    served = route(instance, [2, 0])
    table = costs(instance)
    assert served.quality.tolist() == [0.55, 0.9]
    assert served.energy.tolist() == [table.energy[0, 2], table.energy[1, 0]]
    assert served.delay == pytest.approx([table.delay[0, 2] + 0.02, table.delay[1, 0] + 0.02])
    found = served.metrics(instance.budgets.changed(tau=(1e-9, 1e9, 1, 1)))
    assert found["quality"] == pytest.approx(0.25 * 0.55 + 0.75 * 0.9)
    assert found["macro"] == pytest.approx((0.55 + 0.9) / 2)
    assert found["late"] == 0.25
    assert found["delay_p95"] == pytest.approx(max(served.delay))
    assert set(found["delay_by_category"]) == {"choice", "short QA"}
    assert "cross_entropy" not in found
    assert served.metrics(rows=[1])["quality"] == pytest.approx(0.9)
    judged = route(instance, [2, 0], answers=True)
    assert judged.quality.tolist() == [1, 1]
    assert judged.surprise == pytest.approx(-np.log([0.55, 0.9]))


def test_majority(instance):
    served = vote(instance, (0, 1, 2))
    assert served.quality.tolist() == [1, 0]  # the confident minority loses the second prompt
    assert served.energy == pytest.approx(costs(instance).energy.sum(axis=1))
    assert served.delay == pytest.approx(costs(instance).delay.max(axis=1) + 3 * 0.02)
    assert vote(instance, (0, 1)).quality.tolist() == [1, 1]  # one vote each: the more probable option


def test_mixtures(instance):
    uniform = mixture(instance, [1 / 3] * 3)
    assert uniform.quality.tolist() == [1, 0]  # means .45/.55 and .483/.517; the right options are 1 and 0
    assert uniform.surprise == pytest.approx(-np.log([0.55, 1.45 / 3]))
    gated = mixture(instance, [[0, 1, 0], [0.75, 0.25, 0]])
    assert gated.quality.tolist() == [1, 1]
    assert gated.surprise[1] == pytest.approx(-np.log(0.75 * 0.9 + 0.25 * 0.2))
    assert gated.energy[0] == costs(instance).energy[0, 1]
    assert gated.delay[1] == pytest.approx(costs(instance).delay[1, :2].max() + 2 * 0.02)
    assert mixture(instance, np.eye(3)[0]).surprise == pytest.approx(route(instance, [0, 0], answers=True).surprise)


def test_cascades_stop_at_the_first_confident_expert(instance):
    table = costs(instance)
    order = np.argsort(instance.prompts.weight @ table.energy)
    assert order.tolist() == [0, 1, 2]
    served = cascade(instance, (0, 1, 2), 0.65)
    assert served.quality.tolist() == [1, 1]  # expert 1 after 0 was unsure; expert 0 at once
    assert served.energy == pytest.approx([table.energy[0, :2].sum(), table.energy[1, 0]])
    assert served.delay == pytest.approx([table.delay[0, :2].sum() + 0.04, table.delay[1, 0] + 0.02])
    never = cascade(instance, (0, 1, 2), 1.1)
    assert never.surprise == pytest.approx(route(instance, [2, 2], answers=True).surprise)
    assert never.energy == pytest.approx(table.energy.sum(axis=1))


def test_bad_input_is_refused(instance):
    for choice in ([0], [0, 3], [0.5, 1.0]):
        with pytest.raises(InvalidInputError, match="choice"):
            route(instance, choice)
    for subset in ((), (3,), (-1,)):
        with pytest.raises(InvalidInputError, match="subset"):
            vote(instance, subset)
    with pytest.raises(InvalidInputError, match="weights"):
        mixture(instance, [0.5, 0.6, 0.0])
    with pytest.raises(InvalidInputError, match="rows"):
        route(instance, [0, 0]).metrics(rows=[])
    bare = synthetic(0, prompts=3)
    for rule in (
        lambda: vote(bare, (0,)),
        lambda: route(bare, [0, 0, 0], answers=True),
        lambda: cascade(bare, (0,), 1),
    ):
        with pytest.raises(InvalidInputError, match="answer distributions"):
            rule()
