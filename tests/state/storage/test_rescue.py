"""What a damaged archive loses, and what it keeps."""

import sqlite3
from pathlib import Path

import pytest

from state.base import VERSION, Base, encode
from state.storage.archive import Archive
from state.storage.log import Unreadable
from state.storage.rescue import rescue
from tests.state.storage.test_archive import row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Slots 3 and 4 with a base each, slot 3 with two batches, slot 4 with one."""
    archive = Archive(tmp_path / "a.sqlite")
    for slot, batch in ((3, "one"), (3, "two"), (4, "one")):
        archive.stage(slot, row(batch))
        archive.stage_base(slot, encode(Base(VERSION, slot, {}, {}, {}, [])))
    archive.commit()
    archive.close()
    return archive.path


def rot(path: Path, table: str, slot: int) -> None:
    db = sqlite3.connect(path)
    db.execute(f"update {table} set data = x'00' where slot = ?", (slot,))
    db.commit()
    db.close()


def held(path: Path) -> tuple[int, list[str], list[str]]:
    archive = Archive(path)
    found = archive.names(3), archive.names(4)
    archive.close()
    db = sqlite3.connect(path)
    (bases,) = db.execute("select count(*) from base").fetchone()
    db.close()
    return bases, *found


def test_what_is_sound_stays_as_it_is(path: Path) -> None:
    assert rescue(path) == []
    assert held(path) == (2, ["one", "two"], ["one"])
    assert rescue(path.with_name("absent")) == []
    assert [found.name for found in path.parent.iterdir() if "damaged" in found.name] == []


@pytest.mark.parametrize("table", ["base", "archived"])
def test_a_slot_with_damage_is_dropped_as_a_whole(path: Path, table: str) -> None:
    rot(path, table, 3)
    assert rescue(path) == [3]
    assert held(path) == (1, [], ["one"])
    assert held(path.with_name("a.sqlite.damaged")) == (2, ["one", "two"], ["one"])


@pytest.mark.parametrize("content", [b"no archive at all" * 500, None])
def test_what_is_no_archive_any_more_is_put_aside(path: Path, content: bytes | None) -> None:
    damaged = content or path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(damaged)
    with pytest.raises(Unreadable, match="--salvage"):
        Archive(path)
    assert rescue(path) is None
    assert path.with_name("a.sqlite.damaged").read_bytes() == damaged
    assert held(path) == (0, [], [])
