"""A damaged log file is written anew and put aside; what nobody has keeps it in its place."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gossip.identity import Boot, NodeId
from node import operations
from node.core import Core, CoreConfig
from node.operations import Origin
from node.serving.driver import Driver
from node.serving.keeping import Pace
from node.serving.places import Places
from node.verification.disk import DiskCheck
from node.verification.mending import Mender
from state.envelope import Writer
from state.prepass import Item
from state.storage.log import Location, Unreadable
from tests.node.stewardship.desk import spec


class Machine:
    """A real driver and log below a core that is alone."""

    def __init__(self, folder: Path, boot: int = 1, *, salvage: bool = False) -> None:
        rng = random.Random(boot)
        self.folder = folder
        self.core = Core(
            NodeId("a"), Boot(boot), CoreConfig(slots=8), rng=rng, client_id=lambda: rng.getrandbits(52),
            sharded=lambda _: True,
        )  # fmt: skip
        self.driver = Driver(self.core, send=lambda *_: False, on_notice=lambda _: None)
        self.driver.open_log(folder, salvage=salvage, pace=Pace())
        self.driver.open_leases(folder.parent / f"{folder.name}.leases")
        self.check = DiskCheck(self.driver)
        self.mender = Mender(self.driver)

    def start(self) -> None:
        self.driver.start(
            run=lambda _: None, stop=lambda *_, **__: None, pace=lambda *_: None, calls=lambda *_: None
        )

    async def submit(self, key: str) -> None:
        (group,) = operations.group([spec("many")], tenant="t", key=key, region="local", name=None, slots=8)
        origin = Origin(node="a", writer=self.core.writer, roots={}, slots=8)
        facts = operations.submit_facts(group, origin, tenant="t", key=key, now_ms=1)
        assert await self.driver.write(group.slot, facts) == 1

    async def damaged(self) -> list[list[object]]:
        found: list[list[object]] = (await self.check.log({"at": [-1, "", 0]}))["damaged"]
        return found

    async def wounds(self) -> list[list[object]]:
        found: list[list[object]] = []
        number: int | None = 0
        while number is not None:
            answer = await self.check.files({"after": number})
            found += answer["wounds"]
            number = answer["next"]
        return found

    def contents(self) -> dict[int, bytes]:
        return {
            slot: ledger.content_hash()
            for slot, ledger in self.core.replicator.ledgers.items()
            if ledger.heads
        }


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path / "log")
    made.start()
    for number in range(20):
        await made.submit(f"k{number}")
    assert (await made.damaged(), await made.wounds()) == ([], [])
    yield made
    await made.driver.close()


def flip(path: Path, *places: int) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 0xFF
    path.write_bytes(data)


def reread(folder: Path) -> dict[int, bytes]:
    """What a next life has: it needs no salvage."""
    again = Machine(folder, boot=2)
    assert again.driver.behind() == []
    again.driver.log.close()
    again.driver.keeping.close()
    return again.contents()


async def test_a_damaged_file_is_folded_and_put_aside_while_writes_go_on(machine: Machine) -> None:
    path = machine.folder / "00000001.log"
    flip(path, 6, 40, 900, 1500)
    assert len(await machine.damaged()) >= 2
    assert 0 in {wound[2] for wound in await machine.wounds()}
    more = asyncio.gather(*(machine.submit(f"more {number}") for number in range(20)))
    mended = await machine.mender.mend({"file": 1})
    await more
    assert mended["gone"]
    assert not path.exists()
    assert (await machine.damaged(), await machine.wounds()) == ([], [])
    await machine.driver.close()
    assert reread(machine.folder) == machine.contents()


async def test_nothing_is_put_aside_that_is_needed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that waits for an archived batch cannot be folded; its file stays."""
    monkeypatch.setattr("node.verification.mending.PAUSE", 0.0)
    flip(machine.folder / "00000001.log", 40)
    slot = machine.driver.places.slots_in(1)[0]
    machine.core.replicator.ledger(slot).unresolved[1, 1] = Item(1, None, 1, b""), 1
    mended = await machine.mender.mend({"file": 1})
    assert not mended["gone"]
    assert (machine.folder / "00000001.log").exists()
    machine.core.replicator.ledger(slot).unresolved.clear()
    assert (await machine.mender.mend({"file": 1}))["gone"]


async def test_a_file_that_was_put_aside_is_not_sought_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.verification.mending.PAUSE", 0.0)
    flip(machine.folder / "00000001.log", 40)
    assert (await machine.mender.mend({"file": 1}))["gone"]
    assert await machine.mender.mend({"file": 1}) == {"folded": 0, "gone": True}


async def test_the_log_before_a_mended_place_is_not_let_go(machine: Machine) -> None:
    """Places that a mended log has out of order: the oldest is not the first."""
    places = Places()
    for seq, file in ((1, 5), (2, 3), (3, 4)):
        places.note(7, "w.1", seq, Location(file, 16))
    assert places.oldest() == {3: [7]}
    places.trim(7, {Writer("w.1"): 2})
    assert places.oldest() == {4: [7]}


async def test_a_folded_log_without_its_archive_is_refused(machine: Machine) -> None:
    """What is over lies in the archive alone; without it the log would be taken for all there is."""
    for slot in list(machine.core.replicator.ledgers):
        machine.driver.keeping.fold(slot)
    machine.driver.keeping.store()
    await machine.driver.close()
    for path in machine.folder.parent.glob("archive.sqlite*"):
        path.unlink()
    with pytest.raises(Unreadable, match=r"archive\.sqlite is gone.*--salvage"):
        Machine(machine.folder, boot=2)
    again = Machine(machine.folder, boot=2, salvage=True)
    again.driver.log.close()
    again.driver.keeping.close()
