"""Who has a copy, and when a node may go: drains, newcomers and the dead."""

from itertools import pairwise

import msgspec
import pytest

from gossip.identity import NodeId
from gossip.member import Member, State
from node import messages
from node.stewardship.custody import ASK_INTERVAL, MAX_PAUSE
from node.stewardship.ownership import OwnershipConfig
from sharding.key import parse
from tests.node.stewardship.desk import Desk, member, run_all, settle, spec

CONFIG = OwnershipConfig.local()
D = NodeId("d")


def drained(name: str) -> Member:
    seen = member(name)
    return msgspec.structs.replace(seen, incarnation=1, meta=msgspec.structs.replace(seen.meta, weight=0.0))


def mesh(names: str, tasks: int = 30) -> tuple[list[Desk], list[str]]:
    """Desks that all know each other, with tasks whose plans are under way."""
    desks = [Desk(name, ownership=CONFIG) for name in names]
    tell(desks, *(member(name) for name in names))
    run_all(desks, 3.0)
    ids = [desks[n % len(desks)].submit(spec("many"))[0] for n in range(tasks)]
    run_all(desks, 1.0)
    return desks, ids


def tell(desks: list[Desk], *members: Member) -> None:
    for desk in desks:
        desk.join(*members)
    settle(*desks)


def begin(desk: Desk) -> None:
    """As `node.drain` does."""
    desk.core.custody.draining = True
    desk.core.executor.pause(paused=True)


def copies(desks: list[Desk], task: str) -> set[str]:
    """Names of those whose disk has the task."""
    at = parse(task)
    assert at is not None
    needle = f"b|{at.batch}|".encode()
    return {d.name for d in desks if any(key[0] == at.slot and needle in data for key, data in d.log.items())}


def drain(desk: Desk, desks: list[Desk]) -> None:
    begin(desk)
    tell(desks, *(drained(one.name) if one is desk else member(one.name) for one in desks))


def test_a_drained_node_keeps_its_copies_until_the_new_replicas_have_them() -> None:
    desks, ids = mesh("abcd")
    leaving = desks[0]
    for desk in desks[1:]:
        desk.durable = False
    drain(leaving, desks)
    run_all(desks, 5.0)
    strays = leaving.core.custody.unsafe()
    assert strays, "nothing is safe while the others' disks have not answered"
    for desk in desks[1:]:
        desk.synced()
        desk.durable = True
        desk.flush()
    run_all(desks, 3.0)
    assert leaving.core.custody.unsafe() == []
    for task in ids:
        assert len(copies(desks[1:], task)) == 3


def test_a_drained_node_hands_over_every_slot_and_its_jobs() -> None:
    desks, ids = mesh("abcd", tasks=12)
    leaving = desks[0]
    assert leaving.core.table.mine
    drain(leaving, desks)
    run_all(desks, 3.0)
    assert not leaving.core.table.mine
    assert {key for key, _ in leaving.stops} >= set(leaving.jobs)
    for job in list(leaving.jobs.values()):
        leaving.end(job, "stopped")
    run_all(desks, 3.0)
    assert leaving.core.executor.busy == 0
    stewards = {desks[1].core.steward_of_task(task) for task in ids}
    assert leaving.name not in stewards
    assert None not in stewards
    assert {job.key.task for desk in desks[1:] for job in desk.jobs.values()} == set(ids), (
        "each goes on elsewhere"
    )


def test_a_slot_is_not_handed_over_before_its_new_replica_has_it() -> None:
    desks, _ = mesh("abcd")
    leaving = desks[0]
    before = set(leaving.core.table.mine)
    begin(leaving)
    members = [drained("a"), *(member(name) for name in "bcd")]
    for desk in desks:
        desk.join(*members)
    run_all(desks, 4.0, lose=messages.Held)
    assert set(leaving.core.table.mine) == before
    run_all(desks, 4.0)
    assert not leaving.core.table.mine


def test_what_is_written_during_a_drain_is_waited_for() -> None:
    desks, _ = mesh("abcd")
    leaving = desks[0]
    drain(leaving, desks)
    run_all(desks, 4.0)
    assert not leaving.core.custody.unsafe()
    leaving.submit(*[spec("many")] * 3)
    assert leaving.core.custody.unsafe()
    run_all(desks, 3.0)
    assert not leaving.core.custody.unsafe()


def test_a_dead_replica_is_waited_for_until_it_is_forgotten() -> None:
    desks, _ = mesh("abcd")
    leaving, *rest = desks
    begin(leaving)
    alive = [desks[0], *rest[:2]]
    gone = member("d", state=State.DEAD, since=desks[0].now)
    tell(alive, drained("a"), member("b"), member("c"), gone)
    run_all(alive, 4.0)
    assert not leaving.core.custody.unsafe(), "two nodes can keep two copies, and have them"
    assert leaving.core.custody.wanted() == 2


def test_the_last_one_is_a_replica_although_it_is_drained() -> None:
    desks, _ = mesh("ab")
    leaving = desks[0]
    begin(leaving)
    gone = member("b", state=State.DEAD, since=desks[0].now)
    tell([leaving], drained("a"), gone)
    assert leaving.core.replicates(0)


def test_a_node_that_does_not_answer_is_asked_less_and_less() -> None:
    desks, _ = mesh("abcd")
    drain(desks[0], desks)
    asked = []
    for _ in range(1200):
        desks[0].step(0.1)
        asked += [desks[0].now for to, sent in desks[0].outbox if to == D and isinstance(sent, messages.Hold)]
        desks[0].outbox = []
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[0] == pytest.approx(ASK_INTERVAL, abs=0.11)
    assert pauses[-1] == pytest.approx(MAX_PAUSE, abs=0.6)


def short(desks: list[Desk]) -> tuple[int, dict[str, int], dict[str, int]]:
    parts = [desk.core.custody.short() for desk in desks]
    sums: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for part in parts:
        for into, found in zip(sums, (part.dead, part.copying), strict=True):
            for node, count in found.items():
                into[str(node)] = into.get(str(node), 0) + count
    return sum(part.slots for part in parts), *sums


def test_a_dead_replica_is_missed_until_another_has_its_copies() -> None:
    desks, ids = mesh("abcd")
    assert short(desks) == (0, {}, {})
    held = {at.slot for task in ids if (at := parse(task)) is not None}
    owners = desks[0].core.ownership.placement.owners
    of_d = sum(D in owners(slot) for slot in held)
    rest = desks[:3]
    tell(rest, *(member(name) for name in "abc"), member("d", state=State.DEAD, since=desks[0].now))
    assert short(rest) == (of_d, {"d": of_d}, {})
    run_all(rest, 5.0)
    assert short(rest) == (of_d, {"d": of_d}, {}), "it stays a warning"
    tell(rest, *(member(name) for name in "abc"), member("d", state=State.LEFT, since=desks[0].now))
    assert short(rest)[:2] == (of_d, {}), "forgotten: now its copies are made elsewhere"
    run_all(rest, 3.0)
    assert short(rest) == (0, {}, {})


def test_one_that_comes_back_is_missed_until_it_has_caught_up() -> None:
    desks, _ = mesh("abc")
    rest = desks[:2]
    tell(rest, member("a"), member("b"), member("c", state=State.DEAD, since=desks[0].now))
    assert short(rest) == (0, {}, {}), "of two that are left, each has everything"
    desks[0].submit(*[spec("many")] * 5)
    for desk in desks:
        desk.join(*(member(name) for name in "abc"))
    slots, dead, copying = short(desks)
    assert slots
    assert dead == {}
    assert copying == {"c": slots}
    run_all(desks, 3.0)
    assert short(desks) == (0, {}, {})
