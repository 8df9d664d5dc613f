"""Ledgers from a log whose records lie in any order, or are not all there."""

import itertools
import random

import pytest

from gossip.identity import Boot, NodeId
from node.loading import Behind, Loader, Name
from state import envelope
from state.envelope import Writer, writer_of
from state.ledger import Gap, Ledger
from state.model import Claim, key_of

SLOT = 3
AUTHORS = [writer_of(NodeId(name), Boot(1)) for name in ("a", "b")]


class Shelf:
    """A ledger that is loaded, and where each applied envelope was kept."""

    def __init__(self) -> None:
        ids = itertools.count(1000)
        self.ledger = Ledger(SLOT, lambda: next(ids))
        self.kept: dict[Name, int] = {}
        self.loader: Loader[int] = Loader(self._load, self._keep)

    def _load(self, data: bytes) -> Name | None:
        item = envelope.decode(data)
        try:
            self.ledger.apply(item)
        except Gap:
            return None
        return (item.slot, item.author, item.seq)

    def _keep(self, name: Name, place: int) -> None:
        self.kept.setdefault(name, place)

    def behind(self) -> list[Behind]:
        return self.loader.behind(lambda _, author: self.ledger.heads.get(Writer(author), 0))


def envelopes() -> list[bytes]:
    """Ten of each author."""
    ids = itertools.count(1)
    ledger = Ledger(SLOT, lambda: next(ids))
    found = []
    for epoch in range(1, 11):
        for author in AUTHORS:
            produced, _ = ledger.write(author, [(None, key_of("e", author), Claim(epoch=epoch))])
            found += [envelope.encode(item) for item in produced]
    return found


def ordered() -> Shelf:
    shelf = Shelf()
    for place, data in enumerate(envelopes()):
        shelf.loader.record(data, place)
    return shelf


@pytest.mark.parametrize("seed", range(20))
def test_any_order_gives_the_same_ledger(seed: int) -> None:
    expected, items = ordered(), envelopes()
    order = list(range(len(items))) + random.Random(seed).choices(range(len(items)), k=5)
    random.Random(seed).shuffle(order)
    shelf = Shelf()
    for place in order:
        shelf.loader.record(items[place], place)
    assert shelf.behind() == []
    assert shelf.ledger.heads == expected.ledger.heads
    assert shelf.ledger.content_hash() == expected.ledger.content_hash()
    assert shelf.kept == expected.kept


def test_what_waits_is_named_and_released_when_the_missing_one_comes() -> None:
    items = envelopes()
    shelf = Shelf()
    for place, data in enumerate(items):
        if place != 6:  # a's fourth
            shelf.loader.record(data, place)
    assert shelf.behind() == [Behind(SLOT, AUTHORS[0], 5, 6)]
    assert shelf.loader.released([(SLOT, AUTHORS[1], 4)]) == []
    shelf.ledger.apply(envelope.decode(items[6]))
    assert shelf.loader.released([(SLOT, AUTHORS[0], 4)]) == items[8::2]
    assert shelf.loader.released([(SLOT, AUTHORS[0], 4)]) == []
