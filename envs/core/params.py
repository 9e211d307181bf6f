"""What all families do with ``preset``, ``params`` and single fields."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from .errors import InvalidInputError

P = TypeVar("P", bound=BaseModel)


def make_params(model: type[P], preset: str, params: P | None, overrides: dict[str, Any]) -> P:
    """The parameters from a ready-made model, or from a preset and single fields.

    Args:
        model: class of the parameters, with ``make(preset, **overrides)``.
        preset: name of a preset.
        params: the parameters; excludes single fields.
        overrides: single fields.

    Raises:
        InvalidInputError: both are given, or a field is unknown or out of range.
    """
    if params is None or overrides.keys() - model.model_fields:
        # It also says what is wrong with an unknown field.
        return model.make(preset, **overrides)  # type: ignore[attr-defined,no-any-return]
    if overrides:
        raise InvalidInputError(f"params excludes single fields; got params and {', '.join(overrides)}")
    if not isinstance(params, model):
        article = "an" if model.__name__[0] in "AEIOU" else "a"
        raise InvalidInputError.of("params", f"{article} {model.__name__}", params)
    return params
