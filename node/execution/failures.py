"""What a failure is called: from any exception to (code, message, retryable, after), with no secret in it."""

import errno
import traceback
from collections.abc import Iterable

import msgspec

from node.execution.secrets import clean, scrub
from plugins.api import CollectError, Permanent, PositionMoved, RecordError, Retryable

LONGEST_MESSAGE = 1000
"""characters; more of an error text helps nobody and travels to every replica"""

_CODES = {errno.ENOSPC: "disk-full", errno.EDQUOT: "disk-full", errno.EMFILE: "files", errno.ENFILE: "files"}


class Failure(msgspec.Struct, frozen=True):
    """`after`: seconds until a new try makes sense, where the plugin knows. `expected`: raised on purpose."""

    code: str
    message: str
    retryable: bool
    after: float | None = None
    expected: bool = True


def failure(error: BaseException, step: str, secrets: Iterable[str]) -> Failure:
    """`step`: what was being done ("source http"). An exception that is no CollectError may pass: it is
    retried.
    """
    text = f"{step}: {_text(error)}" if step else _text(error)
    message = clean(scrub(text, secrets))[:LONGEST_MESSAGE]
    match error:
        case Retryable(after=after):
            return Failure(error.code, message, retryable=True, after=after)
        case PositionMoved():
            return Failure(error.code, message, retryable=True)
        case Permanent() | RecordError():
            return Failure(error.code, message, retryable=False)
        case CollectError():
            return Failure(error.code, message, retryable=True)
        case OSError():
            return Failure(_CODES.get(error.errno or 0, "io"), message, retryable=True, expected=False)
        case _:
            return Failure("error", message, retryable=True, expected=False)


def where(error: BaseException) -> str:
    """The innermost place of the exception, `file:line in function`; texts are left out, they may hold
    secrets.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""


def _text(error: BaseException) -> str:
    if isinstance(error, CollectError):
        return str(error)
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
