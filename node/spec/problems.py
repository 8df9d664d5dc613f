"""What is wrong with a spec, collected: every error with its pointer, never the value of a secret."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from node.schema import ProblemItem

MASK = "***"
SHOWN = 200
"""Characters of a value that an error repeats; more helps nobody."""
MOST = 100
"""Errors that are told of one spec. To find the nearest word for each of 60,000 keys took the loop five seconds."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class InvalidSpec(Exception):
    """The spec cannot be accepted; nothing was changed. `items`: every error found, at least one."""

    def __init__(self, items: list[ProblemItem]) -> None:
        super().__init__("; ".join(f"{item.pointer or '/'}: {item.message}" for item in items))
        self.items = items


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that `word` was probably meant to be."""
    found = difflib.get_close_matches(word[:64], sorted(words), n=1, cutoff=0.6)
    return found[0] if found else None


def shown(value: Any) -> Any:
    """`value` as an error may repeat it: short, without the user and password of an address."""
    if isinstance(value, str):
        masked = _USERINFO.sub(MASK, value)
        return masked if len(masked) <= SHOWN else masked[:SHOWN] + "…"
    if isinstance(value, bool | int | float):
        return value
    return None


def escape(token: str) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


class Problems:
    """The first MOST errors of one spec, in the order in which they were found."""

    def __init__(self) -> None:
        self.items: list[ProblemItem] = []

    @property
    def full(self) -> bool:
        return len(self.items) >= MOST

    def add(
        self, pointer: str, message: str, *, value: Any = None, allowed: Any = None, remedy: str | None = None
    ) -> None:
        if not self.full:
            self.items.append(
                ProblemItem(
                    pointer=pointer, message=message, value=shown(value), allowed=allowed, remedy=remedy
                )
            )

    def unknown(self, pointer: str, what: str, word: str, words: Iterable[str]) -> None:
        """`word` is none of `words`: say which it may have been meant to be."""
        if self.full:
            return
        known = sorted(words)
        guess = nearest(word, known)
        self.add(
            pointer,
            f"unknown {what} {shown(word)!r}",
            value=word,
            allowed=known,
            remedy=f"did you mean {guess!r}?" if guess else None,
        )

    def unknown_key(self, pointer: str, key: str, keys: Iterable[str]) -> None:
        """`key` is not known here. Its value is not repeated: it may be a secret under a misspelt name."""
        if self.full:
            return
        known = sorted(keys)
        guess = nearest(key, known)
        remedy = f"did you mean {guess!r}?" if guess else "remove it"
        self.add(f"{pointer}/{escape(key)}", f"unknown key {shown(key)!r}", allowed=known, remedy=remedy)

    def spoiled(self, pointer: str) -> bool:
        """Whether something at or under `pointer` is wrong already; what follows is not said again."""
        return any(item.pointer == pointer or item.pointer.startswith(pointer + "/") for item in self.items)

    def raise_any(self) -> None:
        if self.items:
            raise InvalidSpec(self.items)
