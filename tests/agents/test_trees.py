"""Nested states survive the way into named arrays and JSON, and back."""

import json
from typing import Any

import numpy as np
import pytest

from edgewise.agents.trees import join, split
from edgewise.envs.core.errors import CheckpointError

torch = pytest.importorskip("torch", reason="needs torch")


def through_json(tree: Any) -> Any:
    tensors: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    rest = split(tree, "state", tensors, arrays)
    return join(json.loads(json.dumps(rest, allow_nan=False)), tensors, arrays)


@pytest.mark.parametrize(
    "tree",
    [
        None,
        True,
        3,
        2**127,
        "text",
        0.1,
        [1, [2.5, None]],
        (0.9, 0.999),
        {"a": {"b": (1, [2])}, "empty": {}, "list": []},
        {0: {"step": 1.0}, 1: {}},
        {"$array": "a name that only looks like a reference"},
    ],
)
def test_plain_values_come_back_with_their_types(tree: Any) -> None:
    again = through_json(tree)
    assert again == tree
    assert type(again) is type(tree)


def test_numbers_that_json_cannot_hold_come_back() -> None:
    again = through_json({"nan": float("nan"), "inf": [np.inf], "single": np.float32(0.1), "count": np.int64(3)})
    assert np.isnan(again["nan"])
    assert again["inf"] == [np.inf]
    assert again["single"].dtype == np.float32
    assert again["single"] == np.float32(0.1)
    assert again["count"] == 3


def test_arrays_and_tensors_come_back_as_copies() -> None:
    array, tensor = np.arange(3.0), torch.arange(4)
    again = through_json({"here": [array, {"there": tensor}]})
    array[0] = tensor[0] = 9
    assert again["here"][0].tolist() == [0.0, 1.0, 2.0]
    assert again["here"][1]["there"].tolist() == [0, 1, 2, 3]


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="state/callback: a state cannot hold a function"):
        split({"callback": lambda: None}, "state", {}, {})


@pytest.mark.parametrize(
    "rest", [{"$array": "gone"}, {"$tensor": "gone"}, {"$tuple": 3}, {"$items": [1]}, {"$array": []}]
)
def test_a_reference_that_leads_nowhere_is_a_checkpoint_error(rest: Any) -> None:
    with pytest.raises(CheckpointError, match="does not fit together"):
        join({"a": [rest]}, {}, {})
