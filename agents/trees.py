"""Nested states of learners as plain data: tensors and arrays by name, and a JSON value that says where they belong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.core.errors import CheckpointError

_TENSOR, _ARRAY, _TUPLE, _ITEMS = "$tensor", "$array", "$tuple", "$items"


def split(tree: Any, name: str, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """Take the tensors and arrays out of a tree.

    Args:
        tree: dicts, lists and tuples of tensors, arrays, numbers, texts, truth values and None.
        name: beginning of the names of what is taken out.
        tensors: where tensors go (detached copies).
        arrays: where arrays go (copies).

    Returns:
        The rest as a JSON value, of which `join` makes the tree again.

    Raises:
        TypeError: the tree holds something else.
    """
    if tree is None or isinstance(tree, bool | int | str):
        return tree
    if isinstance(tree, float) and np.isfinite(tree):
        return float(tree)
    if isinstance(tree, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in tree):
            return {key: split(value, f"{name}/{key}", tensors, arrays) for key, value in tree.items()}
        return {_ITEMS: [[key, split(value, f"{name}/{key}", tensors, arrays)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        values = [split(value, f"{name}/{index}", tensors, arrays) for index, value in enumerate(tree)]
        return {_TUPLE: values} if isinstance(tree, tuple) else values
    if isinstance(tree, np.ndarray | np.generic | float):
        arrays[name] = np.array(tree)
        return {_ARRAY: name}
    if hasattr(tree, "detach"):
        tensors[name] = tree.detach().cpu().clone()
        return {_TENSOR: name}
    raise TypeError(f"{name}: a state cannot hold a {type(tree).__name__}")


def join(rest: Any, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """Make a tree of what `split` has made of it; tensors and arrays are copies.

    Raises:
        CheckpointError: a tensor or array is missing, or `rest` is not from `split`.
    """
    if isinstance(rest, list):
        return [join(value, tensors, arrays) for value in rest]
    if not isinstance(rest, dict):
        return rest
    try:
        if _TENSOR in rest:
            return tensors[rest[_TENSOR]].clone()
        if _ARRAY in rest:
            array = np.array(arrays[rest[_ARRAY]])
            return array if array.ndim else array[()]
        if _TUPLE in rest:
            return tuple(join(value, tensors, arrays) for value in rest[_TUPLE])
        if _ITEMS in rest:
            return {key: join(value, tensors, arrays) for key, value in rest[_ITEMS]}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the snapshot's state does not fit together: {' '.join(str(error).split())}") from None
    return {key: join(value, tensors, arrays) for key, value in rest.items()}
