"""Replacing parts of the code that ships for a while: to count what it does, and to plant bugs into it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

Change = tuple[Any, str, Any]
"""(owner: a class or module, name of the attribute, what stands there meanwhile)"""


@contextlib.contextmanager
def changed(*changes: Change) -> Iterator[None]:
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def around(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Change:
    """The attribute replaced by `wrap(what stands there now)`."""
    return owner, name, wrap(owner.__dict__[name])
