"""When a write is safe, and how replicas become equal again."""

import itertools

import pytest

from gossip.identity import NodeId
from gossip.member import State
from node import messages
from node.effects import Send
from node.replication import ACK_TIMEOUT
from node.ticket import DISK_TIMEOUT
from sharding.key import parse
from state import model
from state.envelope import Writer
from state.ledger import Change, Ledger
from state.model import FIRST_RUN, Part, RunFact
from tests.node.stewardship.desk import Desk, member, run_all, settle, spec


def mesh(*names: str) -> list[Desk]:
    desks = [Desk(name) for name in names]
    for desk in desks:
        desk.join(*(member(name) for name in names))
    settle(*desks)
    for desk in desks:
        desk.levels.clear()
    return desks


def write(desk: Desk, key: str = "k") -> int:
    """Submit one task; the ticket."""
    before = desk.core.replicator._next_ticket
    desk.submit(spec(), key=key)
    return before + 1


def equal(*desks: Desk) -> bool:
    found = [
        {s: ledger.content_hash() for s, ledger in d.core.replicator.ledgers.items() if ledger.heads}
        for d in desks
    ]
    return all(one == found[0] for one in found)


def sent(desk: Desk, kind: type[messages.Message]) -> list[messages.Message]:
    return [message for _, message in desk.outbox if isinstance(message, kind)]


def test_alone_a_write_is_settled_by_the_own_disk_at_once() -> None:
    (desk,) = mesh("a")
    assert desk.levels == {}
    assert desk.levels.get(write(desk)) == 1


def test_nothing_is_settled_before_the_own_disk_has_it() -> None:
    (desk,) = mesh("a")
    desk.durable = False
    ticket = write(desk)
    assert ticket not in desk.levels
    desk.synced()
    desk.flush()
    assert desk.levels[ticket] == 1


def test_with_a_peer_it_takes_two_disks() -> None:
    a, b = mesh("a", "b")
    b.durable = False
    ticket = write(a)
    settle(a, b)
    assert ticket not in a.levels
    assert not sent(b, messages.Stored)
    b.synced()
    b.flush()
    settle(a, b)
    assert a.levels[ticket] == 2


def test_the_other_disk_alone_is_not_enough() -> None:
    a, b = mesh("a", "b")
    a.durable = False
    ticket = write(a)
    settle(a, b)
    assert ticket not in a.levels
    a.synced()
    a.flush()
    assert a.levels[ticket] == 2


def test_of_three_the_faster_peer_is_enough() -> None:
    a, b, c = mesh("a", "b", "c")
    c.durable = False
    ticket = write(a)
    settle(a, b, c)
    assert a.levels[ticket] == 2


@pytest.mark.parametrize(("stalled", "level"), [(False, 1), (True, 0)])
def test_a_slow_peer_is_not_waited_for_for_ever(stalled: bool, level: int) -> None:
    a, _ = mesh("a", "b")
    a.durable = not stalled
    a.core.replicator.stalled = stalled
    ticket = write(a)
    a.step(ACK_TIMEOUT - 0.1)
    assert ticket not in a.levels
    a.step(0.2)
    assert a.levels[ticket] == level


def test_a_slow_disk_of_its_own_is_given_more_time() -> None:
    a, _ = mesh("a", "b")
    a.durable = False
    ticket = write(a)
    a.step(ACK_TIMEOUT + DISK_TIMEOUT - 0.1)
    assert ticket not in a.levels
    a.synced()
    a.step(0.1)
    assert a.levels[ticket] == 1


def test_a_disk_of_its_own_is_not_waited_for_for_ever() -> None:
    (a,) = mesh("a")
    a.durable = False
    ticket = write(a)
    a.step(ACK_TIMEOUT + DISK_TIMEOUT + 0.1)
    assert a.levels[ticket] == 0


def test_a_peer_that_dies_meanwhile_is_not_waited_for() -> None:
    a, _ = mesh("a", "b")
    ticket = write(a)
    a.join(member("a"), member("b", state=State.DEAD, since=a.now))
    assert a.levels[ticket] == 1


@pytest.mark.parametrize(
    "lost", [messages.Envelopes, messages.Stored, messages.Digest, messages.Heads, messages.SlotDigests]
)
def test_what_was_lost_on_the_way_is_healed(lost: type[messages.Message]) -> None:
    desks = mesh("a", "b", "c")
    for n in range(6):
        for desk in desks:
            write(desk, f"{desk.name}{n}")
        run_all(desks, 0.2, lose=lost)
    run_all(desks, 2.5)
    assert equal(*desks)
    assert all(len(ledger.heads) for ledger in desks[0].core.replicator.ledgers.values())


def test_heads_that_waited_for_the_end_of_a_cut_are_asked_about_once() -> None:
    """They arrive all at once, before the news that their sender lives; each question has all sent that is lacking."""
    a, b = mesh("a", "b")
    write(a)
    a.outbox.clear()
    ((slot, ledger),) = a.core.replicator.ledgers.items()
    b.join(member("b"), member("a", state=State.DEAD, since=b.now))
    b.outbox.clear()
    heads = messages.Heads({slot: {str(author): head for author, head in ledger.heads.items()}})
    for _ in range(20):
        b.core.receive(a.name, heads, b.now, b.wall)
    b.flush()
    assert len(sent(b, messages.Heads)) == 1
    settle(a, b)
    assert b.core.replicator.ledgers[slot].heads == ledger.heads


def test_a_gap_is_asked_for_at_once() -> None:
    a, b = mesh("a", "b")
    write(a, "one")
    settle(a, b, lose=messages.Envelopes)
    first_slot = next(iter(a.core.replicator.ledgers))
    for n in range(20):  # another write to the same slot
        write(a, f"more{n}")
        settle(a, b)
    assert b.core.replicator.ledgers[first_slot].heads == a.core.replicator.ledgers[first_slot].heads


def test_what_came_twice_is_acknowledged_and_kept_once() -> None:
    a, b = mesh("a", "b")
    write(a)
    (envelopes,) = sent(a, messages.Envelopes)
    assert isinstance(envelopes, messages.Envelopes)
    for _ in range(2):
        b.core.receive(a.name, envelopes, b.now, b.wall)
        b.flush()
    assert sorted(b.log.values()) == sorted(envelopes.items)
    assert len(sent(b, messages.Stored)) == 2


def test_what_is_malformed_is_dropped_and_not_acknowledged() -> None:
    a, b = mesh("a", "b")
    write(a)
    (good,) = sent(a, messages.Envelopes)
    assert isinstance(good, messages.Envelopes)
    for bad in (b"", b"nonsense", good.items[0][:-1], good.items[0][:-2] + b"\xff\xff"):
        b.core.receive(a.name, messages.Envelopes([bad]), b.now, b.wall)
        b.flush()
    assert b.core.replicator.rejected == 4
    assert not sent(b, messages.Stored)
    settle(a, b)
    assert equal(a, b)


def test_a_restart_reads_what_it_had_and_fetches_the_rest() -> None:
    a, b = mesh("a", "b")
    for n in range(4):
        write(a, f"k{n}")
        settle(a, b)
    again = Desk("b", boot=2, now=b.now)
    for data in b.log.values():
        assert again.core.load(data) is not None
    again.log.update(b.log)
    for n in range(4, 8):
        write(a, f"k{n}")
    settle(a)
    for desk in (a, again):
        desk.join(member("a"), member("b", boot=2))
    run_all([a, again], 3.0)
    assert equal(a, again)
    assert not again.core.replicator.outlived


def test_a_life_that_was_lived_before_is_noticed() -> None:
    """An old disk under the boot that it had before: what it writes would be taken for what the others have."""
    a, b = mesh("a", "b")
    write(b, "k")
    settle(a, b)
    again = Desk("b", boot=1, now=b.now)
    for desk in (a, again):
        desk.join(member("a"), member("b"))
    run_all([a, again], 3.0)
    assert again.core.replicator.outlived
    assert not a.core.replicator.outlived


@pytest.mark.parametrize("lost", [1, 4])
def test_a_life_under_a_used_boot_learns_of_it(lost: int) -> None:
    """Restored from a backup and with its clock behind: what it writes would never reach those who hold the old."""
    a, b = mesh("a", "b")
    write(a, "before")
    settle(a, b)
    backup = dict(a.log)
    for n in range(lost):
        write(a, f"after {n}")
        settle(a, b)
    assert not a.core.replicator.outlived
    again = Desk("a", boot=1, now=a.now)
    for data in backup.values():
        again.core.load(data)
    for desk in (again, b):
        desk.join(member("a"), member("b"))
    run_all([again, b], 1.0)
    assert again.core.replicator.outlived
    assert not b.core.replicator.outlived


def test_who_is_no_replica_any_more_hands_on_what_only_it_has() -> None:
    """A slot that was written where only one node was; then three others join, and it is not among its replicas."""
    (alone,) = mesh("a")
    ids = alone.submit(*[spec()] * 3) + [alone.submit(spec())[0] for _ in range(20)]
    names = ["a", "b", "c", "d", "e"]
    others = [Desk(name) for name in names[1:]]
    desks = [alone, *others]
    for desk in desks:
        desk.join(*(member(name) for name in names))
    run_all(desks, 3.0)
    stray = 0
    for task in ids:
        at = parse(task)
        assert at is not None
        owners = alone.core.ownership.placement.owners(at.slot)
        stray += alone.name not in owners
        for desk in desks:
            if desk.name in owners:
                assert at.batch in desk.core.replicator.ledgers[at.slot].batches
    assert stray > 0


def test_a_full_message_is_cut() -> None:
    a, b = mesh("a", "b")
    a.core.replicator._outbox[b.name] = [bytes(1 << 20)] * 10
    chunks = [e.message for e in a.core.replicator.flush() if isinstance(e, Send)]
    assert [len(chunk.items) for chunk in chunks if isinstance(chunk, messages.Envelopes)] == [4, 4, 2]


def test_slots_out_of_range_are_not_taken_up() -> None:
    (a,) = mesh("a")
    for message in (
        messages.SlotDigests({9: b"x", -1: b"y", 5000: b"z"}),
        messages.Heads({9: {"b.1": 4}, -1: {"b.1": 4}}),
    ):
        a.core.receive(NodeId("b"), message, a.now, a.wall)
        a.flush()
    assert set(a.core.replicator.ledgers) <= set(range(8))


def test_what_an_older_base_says_is_not_told_after_what_the_archive_says() -> None:
    """The batch is over and archived here; then the base of a replica comes that knows one author's end and not the
    other's."""
    (desk,) = mesh("a")
    client, writer, steward = itertools.count(1), Writer("b.1"), Writer("c.1")
    older, newer = (Ledger(0, lambda: next(client)) for _ in range(2))
    part = Part("t", "key", 1, 0, 1, [spec()], "b")
    for item in older.write(writer, [("p", model.key_of("b", "p", 0, writer), part)])[0]:
        newer.apply(item)
    key = model.key_of("r", "p", 0, FIRST_RUN, steward)
    for item in newer.write(steward, [("p", key, RunFact((1, "c", 1), "running", 1, 1))])[0]:
        older.apply(item)
    newer.write(steward, [("p", key, RunFact((1, "c", 1), "succeeded", 1, 1, 2))])
    archived = newer.fold(["p"])["p"]
    older.fold()
    told: list[Change] = []
    desk.core.recall = lambda _slot, _batch: archived
    desk.core.listeners.append(lambda _slot, changes, _author: told.extend(changes))
    desk.core.replicator.adopt(older.base(), {})
    assert [fact.state for at, fact in told if at == key and isinstance(fact, RunFact)] == ["succeeded"]
