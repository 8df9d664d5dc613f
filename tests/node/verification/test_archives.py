"""Damaged rows of the archive are asked for at other replicas; what is newer here is not lost to an older one."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gossip.identity import NodeId
from node import operations
from node.execution.roots import FolderRoots
from node.serving.calls import Calls, NoAnswer
from node.serving.passing import decoded, encoded
from node.verification.archives import ArchiveCheck
from node.verification.verifier import Verifier
from state.base import Kept
from state.storage.archive import Rotten, Row, packed, unpacked
from tests.node.stewardship.desk import member
from tests.node.verification.test_mending import Machine

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def row(*seqs: int) -> Row:
    """Of a batch with one fact for each of these, of another writer each."""
    facts = [Kept(f"r|x|0|1|w{n}.1", b"%d" % seq, n, 1, seq) for n, seq in enumerate(seqs)]
    return Row("x", 1000, False, "t", None, {"succeeded": 1}, packed(facts))


def seqs(found: Row | None) -> list[int]:
    assert found is not None
    return [fact.seq for fact in unpacked(found.data)]


class Mended:
    """Node a with a damaged row in slot 3; `answers`: what the others have of it, `before`: what happens meanwhile."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.keeping = machine, machine.driver.keeping
        machine.core.members({one: member(one) for one in (A, B, C)}, 1.0, 1)
        assert set(machine.core.ownership.placement.owners(3)) == {A, B, C}
        self.answers: dict[NodeId, Row] = {}
        self.before: Callable[[], None] = lambda: None
        self.check = ArchiveCheck(machine.core, machine.driver, self.ask)

    async def ask(self, node: NodeId, _operation: str, _arguments: dict[str, Any]) -> Any:
        self.before()
        await asyncio.sleep(0)
        if node not in self.answers:
            raise NoAnswer(node)
        return encoded(self.answers[node])

    def rot(self, change: str = "data = x'00'") -> None:
        self.keeping.archive.commit()
        with sqlite3.connect(self.keeping.archive.path, timeout=10) as db:
            db.execute(f"update archived set {change}")
        db.close()

    async def mend(self) -> bool:
        answer: dict[str, bool] = await self.check.mend({"slot": 3, "batch": "x"})
        return answer["mended"]


@pytest.fixture
async def mended(tmp_path: Path) -> AsyncIterator[Mended]:
    machine = Machine(tmp_path / "log")
    machine.start()
    yield Mended(machine)
    await machine.driver.close()


async def test_a_mended_row_is_counted_once_and_durable(mended: Mended) -> None:
    archive = mended.keeping.archive
    mended.keeping.put(3, row(1))
    mended.rot()
    mended.answers = {B: row(1)}
    assert await mended.mend()
    assert not archive.staged
    assert archive.get(3, "x") == row(1)
    assert archive.counts[3] == {("t", "succeeded"): 1}


async def test_no_replica_with_an_older_row_hides_one_with_a_newer(mended: Mended) -> None:
    mended.keeping.put(3, row(5, 5))
    mended.rot()
    mended.answers = {B: row(5, 3), C: row(4, 5)}
    assert await mended.mend()
    assert seqs(mended.keeping.archive.get(3, "x")) == [5, 5]


async def test_what_is_folded_while_another_is_asked_stays(mended: Mended) -> None:
    mended.keeping.put(3, row(1))
    mended.rot()
    mended.answers = {B: row(1)}
    mended.before = lambda: mended.keeping.put(3, row(7))
    assert await mended.mend()
    assert seqs(mended.keeping.archive.get(3, "x")) == [7]


async def test_a_row_that_nobody_has_is_tried_again(mended: Mended) -> None:
    mended.keeping.put(3, row(1))
    mended.rot()
    assert not await mended.mend()
    mended.answers = {C: row(1)}
    assert await mended.mend()


async def test_of_a_batch_that_is_alive_again_the_newest_is_told(mended: Mended) -> None:
    """Its row is from before; who lost it may have seen what came since, and would never get it again."""
    core, keeping = mended.machine.core, mended.keeping
    await mended.machine.submit("k")
    (slot,) = (slot for slot, ledger in core.replicator.ledgers.items() if ledger.batches)
    (batch,) = core.replicator.ledger(slot).batches
    facts = core.replicator.fold(slot, [batch], [])[batch]
    keeping.put(slot, Row(batch, 1, False, "t", None, {}, packed(facts)))
    keeping.thaw(slot, batch)
    wish = operations.wish(
        core.replicator.ledger(slot), batch, [0], "pause", writer=core.writer, key="w", now_ms=2, arguments={}
    )
    assert await mended.machine.driver.write(slot, [wish]) == 1
    told = decoded(await mended.check.row({"slot": slot, "batch": batch}))
    assert {fact.key for fact in unpacked(told.data)} > {fact.key for fact in facts}


async def test_a_row_whose_states_cannot_be_read_spoils_no_list(mended: Mended) -> None:
    rotten: list[tuple[int, str]] = []
    mended.machine.driver.on_rot = lambda slot, batch: rotten.append((slot, batch))
    mended.keeping.put(3, row(1))
    mended.keeping.put(3, msgspec.structs.replace(row(1), batch="y"))
    mended.rot("states = x'ff' where batch = 'x'")
    assert [one.batch for one in mended.keeping.outlines(3)] == ["y"]
    assert rotten == [(3, "x")]
    assert [one.batch for _, one in mended.keeping.archive.expired(2000)] == ["y"]
    mended.machine.core.replicator.ledger(3)
    (_, rows, known) = (await mended.check.batches({"first": 3, "last": 4}))[3]
    assert ([name for name, _ in rows], known) == (["y"], ["x"])


@pytest.mark.parametrize("error", [Rotten("rot"), OSError("disk")])
async def test_no_damage_ends_the_upkeep_or_the_handing_over(
    mended: Mended, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    driver, keeping = mended.machine.driver, mended.keeping
    calls: list[int] = []

    def fails(*_: Any) -> Any:
        calls.append(1)
        raise error

    mended.machine.core.replicator.ledger(3)
    monkeypatch.setattr(keeping.archive, "names", fails)
    monkeypatch.setattr(keeping, "look", fails)
    monkeypatch.setattr(driver.passing, "takes_bases", lambda _: True)
    monkeypatch.setattr("node.serving.keeping.INTERVAL", 0.0)
    before = len(driver._tasks)
    upkeep = asyncio.get_running_loop().create_task(keeping.run())
    driver.passing.offer(B, 3)
    await asyncio.sleep(0.05)
    upkeep.cancel()
    assert len(calls) > 3
    assert len(driver._tasks) == before


async def test_a_file_that_this_node_cannot_read_ends_no_verification(
    mended: Mended, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise OSError("disk")

    monkeypatch.setattr("node.verification.archives.audit", fails)
    core, driver = mended.machine.core, mended.machine.driver
    verifier = Verifier(core, driver, Calls(lambda *_: False, {}), FolderRoots({}))
    with pytest.raises(NoAnswer, match="disk"):
        await verifier.ask(A, "verify-archive", {"at": [-1, ""]})
