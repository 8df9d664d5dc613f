"""Hostile members: what their envelopes may do to a ledger is to be refused, or to be taken and do no harm."""

import os
import random
from collections import Counter
from typing import Any

import pytest

from state import join, model
from state.document import Document
from state.envelope import BadEnvelope, Envelope, SegmentId, Writer
from state.ledger import Ledger
from state.model import Wish
from state.prepass import Malformed
from tests.fuzz import acceptance, campaign, facts
from tests.fuzz.acceptance import Life
from tests.fuzz.updates import Block, Deletes, entry, update, varint

AUTHOR = Writer("b.1")
SEGMENT = SegmentId(3, Writer("a.1"), 1)


def ledger() -> Ledger:
    rng = random.Random(1)
    return Ledger(3, lambda: rng.getrandbits(53))


def applied(to: Ledger, *content: tuple[str, bytes]) -> list[tuple[str, object]] | None:
    structs = tuple(entry(key.encode(), value) for key, value in content)
    return to.apply(Envelope(1, SEGMENT, AUTHOR, 1, update((Block(7, 0, structs),))))


def test_lives_of_ledgers_among_hostile_authors() -> None:
    counts = Counter[str]()
    for seed in range(25):
        try:
            Life(random.Random(seed), counts).run(20)
        except BaseException as error:
            error.add_note(f"life {seed}")
            raise
    assert counts.total() == 500
    assert counts["accepted"] > 100
    assert len(counts) > 12, "refusals of many kinds"


def test_the_campaign_counts_what_dies_and_what_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would notice: a child that dies is a death, a property that fails is a failure."""
    monkeypatch.setattr(campaign, "LIVES", 2)
    found, deaths = campaign.campaign(4 * campaign.UPDATES, 1, 2)
    assert (found.counts.total(), found.failures, deaths) == (4 * campaign.UPDATES, [], [])
    monkeypatch.setattr(acceptance.Life, "finish", lambda _: (_ for _ in ()).throw(AssertionError("odd")))
    found, _ = campaign.campaign(campaign.UPDATES, 7, 1)
    assert found.failures == [(7, "AssertionError: odd")]
    monkeypatch.setattr(campaign, "live", lambda first, lives: os._exit(11))
    assert campaign.campaign(campaign.UPDATES, 7, 1)[1] == [7]


@pytest.mark.parametrize(
    "data",
    [
        update((Block(7, 0, (b"\x28\x01\x01f\x01k\x01" + b"\x75\x01" * 40_000 + b"\x7e",)),)),
        update((Block(9, 0, (b"\x00" + varint(1000),)),)),  # mutes client 9 for ever
        update((Block(9, 0, (b"\x00" + varint(2**32 - 1),)),)),
        update((), (Deletes(9, ((0, 2**32 - 1),)),)),  # deletes all that client 9 wrote
        update((Block(7, 0, (entry(b"\xed\xa0\x80", b"v"),)),)),
        update((Block(7, 0, (entry(b"k", b"v"),), count=2**32),)),
    ],
)
def test_the_known_killers_are_refused(data: bytes) -> None:
    document = Document(8)
    with pytest.raises(Malformed):
        document.apply(data, author="b.1")
    assert len(document) == 0


def test_a_refused_envelope_leaves_no_segment_behind() -> None:
    """Else a hostile member fills the memory with segments that hold nothing."""
    replica = ledger()
    for number in range(5):
        with pytest.raises(BadEnvelope):
            replica.apply(Envelope(1, SegmentId(3, AUTHOR, number), AUTHOR, 1, b"\x02"))
    assert not replica._segments


@pytest.mark.parametrize(
    "value",
    [
        b"\x96\x01\xa5pause\x01\x91\x00\xa1u\x81\xa1a"
        + b"\x91" * 3000
        + b"\xc0",  # a wish, nested too deeply
        model.encode(Wish(1, "pause", 1, [0], "u", {"a": b"x"}))[:-4],
    ],
)
def test_a_fact_that_cannot_be_read_is_passed_over(value: bytes) -> None:
    replica = ledger()
    assert applied(replica, ("w|p|0|b.1", value)) == []
    assert replica.heads == {AUTHOR: 1}


@pytest.mark.parametrize("start", [-1, 2**32, 2**62])
def test_a_part_beyond_all_numbers_is_passed_over(start: int) -> None:
    replica = ledger()
    part = model.Part("t", "k", 1, start, 4, [b"{}"], "a")
    assert applied(replica, ("b|p|0|b.1", model.encode(part))) == []


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("priority", {}),
        ("priority", {"priority": "high"}),
        ("limits", {"limits": 5}),
        ("retry-policy", {}),
        ("replace", {"generation": 1}),
        ("replace", {"spec": b"{}", "generation": float("nan")}),
    ],
)
def test_a_wish_without_its_arguments_changes_nothing_else(kind: str, arguments: dict[str, object]) -> None:
    pause = Wish(1, "pause", 1, [0], "u")
    odd_keys: Any = {3: [4]}
    wishes = [pause, Wish(2, kind, 2, [0], "u", arguments), Wish(2, kind, 2, [0], "u", odd_keys)]
    wanted = join.desired(wishes)
    assert wanted.paused
    assert (wanted.revision, wanted.priority, wanted.limits, wanted.retry, wanted.spec) == (
        2,
        None,
        None,
        None,
        None,
    )


def test_joins_of_random_facts_depend_on_no_order() -> None:
    """Wishes and ends as any author may have written them, joined in two orders."""
    for seed in range(150):
        rng = random.Random(seed)
        wishes: list[Any] = []
        ends: list[Any] = []
        for _ in range(8):
            for kind, found in (("w", wishes), ("d", ends)):
                try:
                    found.append(model.decode(kind, facts.fact_of(rng, kind)))
                except (ValueError, RecursionError):
                    continue
        shuffled = rng.sample(wishes, len(wishes))
        assert repr(join.desired(wishes)) == repr(join.desired(shuffled)), f"seed {seed}"
        ended = [one for each in ends for one in each.shards]
        for first, second in zip(ended, reversed(ended), strict=True):
            assert repr(join.better_end(first, second)) == repr(join.better_end(second, first)), (
                f"seed {seed}"
            )
