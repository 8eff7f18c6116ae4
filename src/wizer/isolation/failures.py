"""Exceptions on their way from one process to another, each with its cause."""

from __future__ import annotations

import pickle
import traceback

from wizer.errors import WizerError
from wizer.records import record


@record
class Failure:
    """An exception.

    Attributes:
        error: the exception, pickled; None where it cannot be.
        text: what it is, with its traceback.
        cause: what it was raised from.
    """

    error: bytes | None
    text: str
    cause: Failure | None


def failure_of(error: BaseException) -> Failure:
    """Return an exception as it can be sent."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__, chain=False))
    cause = error.__cause__
    return Failure(_pickled(error), text, None if cause is None else failure_of(cause))


def _pickled(error: BaseException) -> bytes | None:
    """Return an exception pickled; None where nothing like it can be made of that."""
    try:
        data = pickle.dumps(error)
        again = pickle.loads(data)
    except Exception:
        return None
    return data if type(again) is type(error) and str(again) == str(error) else None


def error_of(failure: Failure) -> BaseException:
    """Return the exception that was sent, or a `WizerError` that shows it."""
    error: BaseException | None = None
    if failure.error is not None:
        try:
            error = pickle.loads(failure.error)
        except Exception:  # its class is there in the worker only
            error = None
    if error is None:
        error = WizerError("the worker process failed", [failure.text.rstrip()])
    elif not isinstance(error, WizerError):
        error.add_note(f"In the worker process:\n{failure.text.rstrip()}")
    if failure.cause is not None:
        error.__cause__ = error_of(failure.cause)
    return error
