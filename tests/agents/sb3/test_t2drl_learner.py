"""The learner around T2DRL: exact continuation, metrics, snapshots, hyper-parameters."""

import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from edgewise.agents.sb3.state import restore, snapshot
from edgewise.agents.sb3.t2drl_learner import T2DRLLearner, build_t2drl
from edgewise.agents.snapshot import Snapshot
from edgewise.envs.core.errors import CheckpointError, InvalidInputError

from ..drifting_caches import ID
from .t2drl_models import CASES, HORIZON, LANES, ROLLOUT, SMALL, make, observations


def through_json(state: Snapshot) -> Snapshot:
    meta = json.loads(json.dumps(state.meta, allow_nan=False))
    return Snapshot(tensors=state.tensors, arrays=state.arrays, meta=meta)


def assert_equal(left: Snapshot, right: Snapshot) -> None:
    assert left.tensors.keys() == right.tensors.keys()
    assert left.arrays.keys() == right.arrays.keys()
    for name, tensor in left.tensors.items():
        assert torch.equal(tensor, right.tensors[name]), name
    for name, array in left.arrays.items():
        assert array.dtype != object
        assert array.tobytes() == right.arrays[name].tobytes(), name
    assert through_json(left).meta == through_json(right).meta


@pytest.mark.parametrize("case", CASES)
def test_continues_bit_for_bit(case: str) -> None:
    total, part = 3 * ROLLOUT, 2 * ROLLOUT  # calibrated, trained once, in the middle of episodes and chunks

    def learner(seed: int = 3) -> T2DRLLearner:
        return T2DRLLearner(ID, {"horizon": HORIZON}, num_envs=LANES, seed=seed, anneal=True, **CASES[case])

    whole = learner()
    saved: list[Snapshot] = []

    def boundary() -> None:
        if whole.steps == part:
            saved.append(through_json(whole.snapshot()))

    whole.learn(total, boundary)
    assert len(saved) == 1
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    resumed = learner(seed=4)
    resumed.restore(saved[0])
    resumed.learn(total, lambda: None)
    assert resumed.steps == total
    assert_equal(whole.snapshot(), resumed.snapshot())
    for made in (whole, resumed):
        made.close()


def test_a_learner_reports_metrics_and_a_policy_with_a_state() -> None:
    learner = T2DRLLearner(ID, {}, num_envs=LANES, seed=0, **SMALL)
    learner.learn(2 * ROLLOUT, lambda: None)
    metrics = learner.metrics()
    assert {"train/policy_loss", "train/self_supervised_loss", "rollout/cost_per_slot"} <= metrics.keys()
    assert learner.metrics() == {}
    policy = learner.policy()
    with pytest.raises(InvalidInputError, match="nothing was seen"):
        policy.hold()
    batch = policy.act(observations()[0])
    assert batch["cache"].shape == batch["local_share"].shape == (4, 3)
    with pytest.raises(InvalidInputError, match="state must be of shape"):
        policy.act(observations()[0, 0])
    policy.reset()
    space = learner.model.get_env().unwrapped.venv.env.single_action_space  # type: ignore[union-attr]
    assert space.contains(policy.act(observations()[0, 0]))
    assert policy.hold()[0].shape[0] == 1


def test_snapshots_that_do_not_fit_are_refused() -> None:
    model = make()
    model.learn(ROLLOUT)
    state = snapshot(model)
    with pytest.raises(CheckpointError, match="does not fit this T2DRL"):
        restore(make(width=16), state)
    with pytest.raises(CheckpointError, match="does not fit this T2DRL"):
        restore(make("gru"), state)
    short = {name: value for name, value in state.arrays.items() if name != "extra:state"}
    with pytest.raises(CheckpointError, match="does not fit this T2DRL"):
        restore(make(), Snapshot(state.tensors, short, state.meta))
    bent = state.arrays | {"extra:state": np.zeros((2, 2), np.float32)}
    with pytest.raises(CheckpointError, match="states of shape"):
        restore(make(), Snapshot(state.tensors, bent, state.meta))


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"chunk": 18}, "chunk: must be a multiple of minibatch = 4, got 18"),
        ({"n_steps": 50}, "n_steps: must be a multiple of minibatch = 4, got 50"),
        ({"predict_next": True, "aux_coef": 0.0}, "predict_next: must be false where aux_coef is 0"),
        ({"predict_next": True, "backbone": "pad"}, "predict_next: is for the backbones ttt, mlp, lstm, gru"),
        ({"forgetting": 0.5, "backbone": "gru"}, "forgetting: is for the backbones ttt"),
        ({"heads": 3}, "heads: must divide width = 32, got 3"),
        ({"gamma": 1.0}, "gamma"),
        ({"last_noise": 0.0}, "last_noise"),
        ({"test_time": "online"}, "test_time"),
        ({"own_credit": True}, "item_head: must be at least 1 with own_credit, got 0"),
        ({"bid_value": 1.0}, "bid_value: must be 0 without own_credit and fill"),
        ({"per_item": True}, "item_head: must be at least 1 with per_item, got 0"),
        ({"backbone": "lstm", "layers": 2, "hidden": 4}, "layers: is for the backbones ttt"),
    ],
)
def test_bad_hyper_parameters_are_named(hyper: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_t2drl(ID, **hyper)
