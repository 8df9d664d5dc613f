"""The archive read again: each bit that turned is found, and nothing else is."""

import random
import sqlite3
from pathlib import Path

import msgspec
import pytest

from state.base import VERSION, Base, encode
from state.storage.archive import Archive, Rotten
from state.storage.audit import BASE, audit
from tests.state.storage.test_archive import row

START = (-1, "")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Slots 3 and 4 with a base each and five batches each; open, as in a node that runs."""
    made = Archive(tmp_path / "a.sqlite")
    for slot in (3, 4):
        made.stage_base(slot, encode(Base(VERSION, slot, {"a.1": 7}, {}, {}, [])))
        for number in range(5):
            made.stage(slot, row(f"b{number}", lasting=number == 1))
    made.commit()
    return made


def change(archive: Archive, statement: str) -> None:
    with sqlite3.connect(archive.path) as db:
        db.execute(statement)
    db.close()


def test_what_is_sound_is_read_to_its_end(archive: Archive) -> None:
    seen, at = 0, START
    while True:
        found = audit(archive.path, at, 4)
        assert found.damaged == []
        seen += found.rows
        if found.next is None:
            break
        at = found.next
    assert seen == 10


@pytest.mark.parametrize(
    "change_to",
    [
        "data = x'789c00'", "ended_ms = 1001", "tenant = 'u'", "name = 'other'", "lasting = 0", "states = x'80'",
        "states = x'ff'",
    ],
)  # fmt: skip
def test_a_row_that_is_not_what_was_written_is_found(archive: Archive, change_to: str) -> None:
    change(archive, f"update archived set {change_to} where slot = 4 and batch = 'b1'")
    assert [(d.slot, d.batch) for d in audit(archive.path, START, 100).damaged] == [(4, "b1")]
    with pytest.raises(Rotten):
        archive.get(4, "b1")
    assert archive.get(3, "b1") == row("b1", lasting=True)
    archive.stage(4, row("b1", lasting=True))  # a sound one takes its place
    archive.commit()
    assert audit(archive.path, START, 100).damaged == []


def test_a_checksum_that_is_none_any_more_is_damage_like_any_other(archive: Archive) -> None:
    change(archive, "update sums set sum = 'abcdefgh' where slot = 4")
    with pytest.raises(Rotten):
        archive.get(4, "b1")
    with pytest.raises(Rotten):
        list(archive.bases())
    assert len(audit(archive.path, START, 100).damaged) == 6


@pytest.mark.parametrize("data", [b"\x00", encode(Base(VERSION, 3, {"a.1": 6}, {}, {}, []))])
def test_a_base_that_is_not_what_was_written_is_found(archive: Archive, data: bytes) -> None:
    change(archive, f"update base set data = x'{data.hex()}' where slot = 3")
    assert [(d.slot, d.batch) for d in audit(archive.path, START, 100).damaged] == [(3, BASE)]
    with pytest.raises(Rotten):
        list(archive.bases())


def test_bytes_that_turn_anywhere_in_the_file_are_found_or_harmless(archive: Archive) -> None:
    """Nothing else than what was written is ever read as sound."""
    archive.close()
    sound = archive.path.read_bytes()
    rng = random.Random(1)
    found = 0
    written = [place for place in range(100, len(sound)) if sound[place]]
    for place in rng.sample(written, 300):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << rng.randrange(8)
        archive.path.write_bytes(damaged)
        try:
            told = audit(archive.path, START, 100)
        except OSError:
            found += 1
            continue
        found += bool(told.damaged)
        if not told.damaged:
            assert told.rows == 10, f"byte {place}: a row is gone and nobody says so"
    assert found > 100


def test_an_archive_of_before_is_read_and_gets_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    archive = Archive(path)
    archive.stage(3, row("old"))
    archive.commit()
    archive.close()
    with sqlite3.connect(path) as db:  # as an older version leaves it
        for name in ("base_put", "archived_put", "archived_gone"):
            db.execute(f"drop trigger {name}")
        db.execute("drop table sums")
    db.close()
    archive = Archive(path)
    assert archive.get(3, "old") == row("old")
    archive.stage(3, row("new"))
    archive.commit()
    assert audit(path, START, 100).damaged == []
    change(archive, "update archived set ended_ms = 5 where batch = 'new'")
    assert [d.batch for d in audit(path, START, 100).damaged] == ["new"]
    archive.close()


def test_what_an_older_version_writes_over_a_row_is_no_damage(archive: Archive) -> None:
    """It knows no checksums, and writes no other columns: back again is possible."""
    older = msgspec.msgpack.encode({"failed": 1})
    with sqlite3.connect(archive.path) as db:
        db.execute(
            "insert or replace into archived values (3, 'b1', 9, 0, 't', null, ?, ?)", (older, row("b1").data)
        )
        db.execute("insert or replace into base values (4, ?)", (encode(Base(VERSION, 4, {}, {}, {}, [])),))
    db.close()
    assert audit(archive.path, START, 100).damaged == []
    found = archive.get(3, "b1")
    assert found is not None
    assert found.states == {"failed": 1}


@pytest.mark.parametrize("name", ["a#b", "100%41", "what?", "with space", "ü"])
def test_any_folder_may_hold_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    archive = Archive(tmp_path / name / "a.sqlite")
    archive.stage(3, row("one"))
    archive.commit()
    assert audit(archive.path, START, 100).rows == 1
    archive.close()
