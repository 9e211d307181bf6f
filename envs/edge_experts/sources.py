"""Where an instance comes from, as one word: a file, or the synthetic generator."""

from __future__ import annotations

from functools import lru_cache

from ..core.errors import InvalidInputError
from .files import load
from .instance import Instance
from .synthetic import synthetic


@lru_cache(maxsize=8)
def _generated(seed: int) -> Instance:
    return synthetic(seed)


def open_instance(name: Instance | str) -> Instance:
    """The instance of a name.

    Args:
        name: a path that ends in ``.json``, ``synthetic:SEED`` (``synthetic`` is seed 0), or an instance as it is.

    Raises:
        InvalidInputError: the name is neither, or the file is not an instance.
    """
    if isinstance(name, Instance):
        return name
    if not isinstance(name, str):
        raise InvalidInputError.of("instance", "an Instance, synthetic:SEED or a path that ends in .json", name)
    kind, _, seed = name.partition(":")
    if kind == "synthetic":
        if seed and not (seed.isascii() and seed.isdigit()):
            raise InvalidInputError.of("instance", "synthetic:SEED with an integer SEED >= 0", name)
        return _generated(int(seed or 0))
    if not name.endswith(".json"):
        raise InvalidInputError.of("instance", "synthetic:SEED or a path that ends in .json", name)
    return load(name)
