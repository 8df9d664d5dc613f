"""Whatever bytes come as an update: they are applied whole, or refused with nothing changed."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map

from state.document import Document
from state.prepass import ROOT, Malformed, Shape, inspect

AUTHOR = "a.1"


def genuine() -> list[bytes]:
    """Updates of one author: new keys, overwrites of one and of several."""
    document = Document(7)
    return [
        document.set({"k|1": b"one", "k|2": b"two"}, author=AUTHOR),
        document.set({"k|1": b"changed"}, author=AUTHOR),
        document.set({"k|1": b"again", "k|2": b"too", "k|3": b"new" * 40}, author=AUTHOR),
    ]


GENUINE = genuine()


def replica(count: int) -> Document:
    document = Document(8)
    for update in GENUINE[:count]:
        document.apply(update, author=AUTHOR)
    return document


def refused(document: Document, update: bytes) -> None:
    before = dict(document.items())
    with pytest.raises(Malformed):
        document.apply(update, author=AUTHOR)
    assert dict(document.items()) == before


def told(shape: Shape, tips: dict[int, str]) -> dict[str, bytes]:
    """What an update says, as a ledger reads it; `tips`: the newest entry of each key, for what overwrites it."""
    found: dict[str, bytes] = {}
    for item in shape.items:
        key = item.key or tips.pop(item.origin, None)
        if key is not None:
            found[key] = item.value
            for clock in [clock for clock, name in tips.items() if name == key]:
                del tips[clock]
            tips[item.clock] = key
    return found


def test_what_an_author_writes_is_applied() -> None:
    document = Document(8)
    tips: dict[int, str] = {}
    changed = []
    for update in GENUINE:
        document.apply(update, author=AUTHOR)
        changed.append(told(document.shape, tips))
    assert changed == [
        {"k|1": b"one", "k|2": b"two"},
        {"k|1": b"changed"},
        {"k|1": b"again", "k|2": b"too", "k|3": b"new" * 40},
    ]
    assert dict(document.items()) == changed[2]
    assert document.get("k|1") == b"again"
    assert document.get("k|9") is None


@pytest.mark.parametrize("order", [[1], [0, 2], [0, 0], [0, 1, 1], [0, 1, 0]])
def test_an_authors_update_out_of_order_is_refused(order: list[int]) -> None:
    document = Document(8)
    for at in order[:-1]:
        document.apply(GENUINE[at], author=AUTHOR)
    refused(document, GENUINE[order[-1]])


def test_another_authors_client_is_refused() -> None:
    document = replica(1)
    with pytest.raises(Malformed, match="another author"):
        document.apply(Document(7).set({"z": b"z"}, author="b.1"), author="b.1")
    refused(document, Document(9).set({"z": b"z"}, author=AUTHOR))


def foreign(client: int = 11) -> tuple[Doc[Any], list[bytes]]:
    doc: Doc[Any] = Doc(client_id=client)
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    return doc, updates


def test_nested_and_other_values_are_refused() -> None:
    values = [Array([Array([1])]), Map({"x": b"y"}), "text", 5, None, [b"x"], {"x": b"y"}]
    for value in values:
        doc, updates = foreign()
        root = doc.get(ROOT, type=Map)
        root["k"] = value
        refused(Document(8), updates[0])


def test_another_root_an_array_and_a_text_are_refused() -> None:
    doc, updates = foreign()
    doc.get("other", type=Map)["k"] = b"v"
    doc.get("list", type=Array).append(b"v")
    assert len(updates) == 2
    for update in updates:
        refused(Document(8), update)


def test_deletes_are_refused_whoever_made_the_entries() -> None:
    doc, updates = foreign()
    doc.apply_update(GENUINE[0])
    root = doc.get(ROOT, type=Map)
    root["mine"] = b"x"
    updates.clear()
    del root["k|1"]
    del root["mine"]
    assert len(updates) == 2
    for update in updates:
        refused(replica(1), update)


def test_an_overwrite_of_another_clients_entry_is_refused() -> None:
    doc, updates = foreign()
    doc.apply_update(GENUINE[0])
    updates.clear()
    doc.get(ROOT, type=Map)["k|1"] = b"stolen"
    refused(replica(1), updates[0])


def test_garbage_collected_entries_are_refused() -> None:
    doc, _ = foreign()
    root = doc.get(ROOT, type=Map)
    for value in (b"1", b"2", b"3"):
        root["k"] = value
    refused(Document(8), doc.get_update())


def test_a_delete_of_an_own_entry_that_is_not_replaced_is_refused() -> None:
    """The second genuine update replaces clock 0; say that it deletes clock 1 as well, or instead."""
    update = GENUINE[1]
    assert update[-5:] == bytes((1, 7, 1, 0, 1))
    refused(replica(1), update[:-2] + bytes((1, 1)))
    refused(replica(1), update[:-2] + bytes((0, 2)))
    refused(replica(1), update[:-3] + bytes((2, 0, 1, 1, 1)))


def test_an_update_of_two_clients_is_refused() -> None:
    doc, _ = foreign()
    doc.apply_update(GENUINE[0])
    doc.get(ROOT, type=Map)["z"] = b"z"
    refused(Document(8), doc.get_update())


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_sound(data: bytes) -> None:
    document = replica(1)
    before = dict(document.items())
    try:
        document.apply(data, author=AUTHOR)
    except Malformed:
        assert dict(document.items()) == before


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2), st.integers(0, 2**32))
def test_mutated_updates_are_refused_or_sound(which: int, seed: int) -> None:
    """What is accepted must have changed exactly the keys that it names, to values it carries."""
    rng = random.Random(seed)
    data = bytearray(GENUINE[which])
    for _ in range(rng.randint(1, min(3, len(data)))):
        match rng.randrange(4) if data else 2:
            case 0:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                del data[rng.randrange(len(data))]
            case 2:
                data.insert(rng.randrange(len(data) + 1), rng.randrange(256))
            case _:
                del data[rng.randrange(len(data)) :]
    document = replica(which)
    before = dict(document.items())
    tips: dict[int, str] = {}
    for update in GENUINE[:which]:
        told(inspect(update), tips)
    try:
        document.apply(bytes(data), author=AUTHOR)
    except Malformed:
        assert dict(document.items()) == before
        return
    assert dict(document.items()) == {**before, **told(document.shape, tips)}


@given(st.binary(max_size=400))
def test_inspection_raises_nothing_but_malformed(data: bytes) -> None:
    try:
        shape = inspect(data)
    except Malformed:
        return
    assert shape.entries <= len(data)


def test_a_huge_count_or_length_costs_nothing() -> None:
    huge = b"\xff" * 7 + b"\x7f"
    for update in (
        huge,
        b"\x01" + huge,
        b"\x01\x01" + huge,
        b"\x00\x01\x07" + huge,
        b"\x01\xff\xff\x03\x07\x00",
    ):
        with pytest.raises(Malformed):
            inspect(update)


def test_a_key_that_an_author_puts_in_again_is_refused() -> None:
    """The map would keep one of the two values, by the clients' numbers: what the update says would not hold."""
    other = Document(7)
    other.set({"k|9": b"first"}, author=AUTHOR)
    update = bytearray(other.set({"k|1": b"other"}, author=AUTHOR))
    assert inspect(bytes(update)).first == update[3] == 1
    update[3] = 2  # its clock: where the author's first update ended
    assert inspect(bytes(update)).items[0].key == "k|1"
    refused(replica(1), bytes(update))
