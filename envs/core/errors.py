"""Errors a user can cause; the command line prints their one sentence and exits with code 2."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class EdgewiseError(Exception):
    """Base of every error whose message is meant for the user.

    Attributes:
        exit_code: what the command line returns after printing the message.
    """

    exit_code: ClassVar[int] = 2


class InvalidInputError(EdgewiseError, ValueError):
    """A value outside its allowed range; the message names the field and the range."""

    @classmethod
    def of(cls, field: str, allowed: str, got: object) -> InvalidInputError:
        """Build the usual sentence.

        Args:
            field: the field as the user wrote it, for example ``"wait"``.
            allowed: what is allowed, unit included, for example ``"a finite number in [0, 3] s"``.
            got: the offending value; shown shortened.

        Returns:
            The error, to be raised by the caller.
        """
        shown = " ".join(repr(got).split())  # arrays print on several lines
        return cls(f"{field} must be {allowed}, got {shown if len(shown) <= 80 else shown[:77] + '...'}")

    @classmethod
    def from_validation(cls, error: ValidationError, model: type[BaseModel]) -> InvalidInputError:
        """Turn a pydantic error into one sentence; an unknown field gets the nearest known one as a suggestion.

        Args:
            error: what pydantic raised.
            model: the model that refused the input.

        Returns:
            The error, to be raised by the caller.
        """
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] != "extra_forbidden":
            message = first["msg"].removeprefix("Value error, ")
            return cls(
                message if not field or message.startswith(field) else f"{field}: {message}, got {first['input']!r}"
            )
        near = difflib.get_close_matches(str(first["loc"][-1]), model.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(model.model_fields)}"
        return UnknownArgumentError(f"unexpected keyword argument {field!r} (no field of {model.__name__}): {hint}")


class UnknownArgumentError(InvalidInputError, TypeError):
    """A keyword that a constructor does not take.

    It is a `TypeError` that says "unexpected keyword argument", as Python's own is: libraries that probe which keywords
    an environment takes (TorchRL with ``frameskip``) look for just that.
    """


class MissingExtraError(EdgewiseError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


class CheckpointError(EdgewiseError, ValueError):
    """A checkpoint or run folder is corrupt, foreign, or does not fit what is asked of it."""


class StorageError(EdgewiseError, OSError):
    """Writing failed (for example a full disk); nothing half-written was left behind."""
