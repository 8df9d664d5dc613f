"""How the records of the log become ledgers at start: in whatever order they lie there. Pure.

A log that was mended has gaps, and what was fetched again lies at its end. An envelope that comes before its
author's earlier ones is held, with its place in the log, until those are there: later in the log, or from a
replica. What stays held is durable here and not applied; `behind` names it.

Invariant: whatever the order of the records, the ledgers are those of the records in their authors' order.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from state import envelope

Place = TypeVar("Place")
Name = tuple[int, str, int]
"""`(slot, author, seq)`"""


class Behind(NamedTuple):
    """`waiting` envelopes of an author that wait for the one before `first`."""

    slot: int
    author: str
    first: int
    waiting: int


class Loader(Generic[Place]):
    """`load`: apply, None where an earlier one is missing (as `Core.load`). `keep`: where an applied one lies."""

    def __init__(self, load: Callable[[bytes], Name | None], keep: Callable[[Name, Place], None]) -> None:
        self._load, self._keep = load, keep
        self._held: dict[tuple[int, str], dict[int, tuple[bytes, Place]]] = {}

    def record(self, data: bytes, place: Place) -> None:
        """Raises BadEnvelope."""
        name = self._load(data)
        if name is None:
            item = envelope.decode(data)
            self._held.setdefault((item.slot, item.author), {})[item.seq] = (data, place)
            return
        self._keep(name, place)
        self._go_on(name)

    def _go_on(self, name: Name) -> None:
        slot, author, seq = name
        held = self._held.get((slot, author), {})
        while (found := held.pop(seq + 1, None)) is not None:
            data, place = found
            if self._load(data) is None:
                break
            seq += 1
            self._keep((slot, author, seq), place)

    def released(self, names: list[Name]) -> list[bytes]:
        """After the start: what was held for one of these, which have now come, in order."""
        found = []
        for slot, author, seq in names if self._held else ():
            held = self._held.get((slot, author), {})
            following = seq + 1
            while following in held:
                found.append(held.pop(following)[0])
                following += 1
        return found

    def held(self) -> list[Place]:
        """Where what is held lies."""
        return [place for held in self._held.values() for _, place in held.values()]

    def behind(self, head: Callable[[int, str], int]) -> list[Behind]:
        """What is held beyond `head(slot, author)`."""
        waiting = []
        for (slot, author), held in sorted(self._held.items()):
            later = [seq for seq in held if seq > head(slot, author)]
            if later:
                waiting.append(Behind(slot, author, min(later), len(later)))
        return waiting
