"""Errors a user can cause; the command line prints their one sentence and exits with code 2."""

from __future__ import annotations

from typing import ClassVar


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
        shown = repr(got)
        return cls(f"{field} must be {allowed}, got {shown if len(shown) <= 80 else shown[:77] + '...'}")


class MissingExtraError(EdgewiseError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


class CheckpointError(EdgewiseError, ValueError):
    """A checkpoint or run folder is corrupt, foreign, or does not fit what is asked of it."""


class StorageError(EdgewiseError, OSError):
    """Writing failed (for example a full disk); nothing half-written was left behind."""
