"""What the archive keeps, what it forgets, and what it counts."""

import sqlite3
from pathlib import Path

import pytest

from state.base import Kept
from state.storage.archive import Archive, Row, merged, packed, unpacked
from state.storage.log import Unreadable


def row(
    batch: str, *, ended_ms: int = 1000, lasting: bool = False, states: dict[str, int] | None = None
) -> Row:
    facts = [Kept(f"b|{batch}|0|a.1", b"spec" * 100), Kept(f"r|{batch}|0|x|a.1", b"run", 7, 3, 1)]
    return Row(
        batch, ended_ms, lasting, "t", "name" if lasting else None, states or {"succeeded": 2}, packed(facts)
    )


def reopened(archive: Archive) -> Archive:
    archive.close()
    return Archive(archive.path)


def test_what_is_staged_is_read_at_once_and_kept_once_committed(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.sqlite")
    archive.stage(3, row("one"))
    archive.stage_base(3, b"base")
    assert archive.staged
    assert archive.get(3, "one") == row("one")
    assert archive.names(3) == ["one"]
    archive = reopened(archive)  # a crash before the commit
    assert archive.get(3, "one") is None
    archive.stage(3, row("one"))
    archive.stage_base(3, b"base")
    archive.commit()
    assert not archive.staged
    archive = reopened(archive)
    assert archive.get(3, "one") == row("one")
    assert list(archive.bases()) == [b"base"]
    assert [(o.batch, o.data) for o in archive.outlines(3)] == [("one", b"")]
    assert archive.names(4) == []


def test_tasks_are_counted_once_whatever_replaces_them(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.sqlite")
    archive.stage(3, row("one"))
    archive.commit()
    archive.stage(3, row("one", states={"succeeded": 1, "failed": 1}))
    archive.stage(3, row("two", states={"failed": 5}))
    expected = {("t", "succeeded"): 1, ("t", "failed"): 6}
    assert dict(archive.counts[3]) == expected
    archive.commit()
    assert dict(reopened(archive).counts[3]) == expected


def test_what_has_expired_is_dropped_and_named_tasks_stay(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.sqlite")
    for one in (row("old", ended_ms=5), row("kept", ended_ms=5, lasting=True), row("new", ended_ms=50)):
        archive.stage(3, one)
    archive.commit()
    assert [(slot, gone.batch) for slot, gone in archive.expired(50)] == [(3, "old")]
    archive.delete(50)
    assert archive.names(3) == ["kept", "new"]


def test_a_full_disk_loses_nothing_that_is_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(tmp_path / "a.sqlite")
    archive.stage(3, row("one"))
    archive._writer.execute("pragma max_page_count=1")
    archive._writer.execute("pragma cache_size=1")
    archive.stage(3, Row("large", 1, False, "t", None, {}, bytes(1 << 20)))
    with pytest.raises(OSError, match="full"):
        archive.commit()
    assert archive.staged
    assert archive.get(3, "one") == row("one")
    archive._writer.execute("pragma max_page_count=100000")
    archive.commit()
    assert reopened(archive).names(3) == ["large", "one"]


def test_two_copies_of_a_row_are_merged_fact_by_fact() -> None:
    mine, theirs = row("one"), row("one", ended_ms=2000)
    more = [
        *unpacked(theirs.data)[:1],
        Kept("r|one|0|x|a.1", b"later", 8, 0, 2),
        Kept("w|one|n|b.1", b"wish"),
    ]
    both = merged(mine, Row("one", 2000, False, "t", None, {"cancelled": 2}, packed(more)))
    assert (both.ended_ms, both.states) == (2000, {"cancelled": 2})
    assert [(fact.key[0], fact.value) for fact in unpacked(both.data)] == [
        ("b", b"spec" * 100),
        ("r", b"later"),
        ("w", b"wish"),
    ]


@pytest.mark.parametrize("harm", ["version", "garbage"])
def test_an_archive_that_cannot_be_read_is_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "a.sqlite"
    if harm == "garbage":
        path.write_bytes(b"no database at all" * 100)
    else:
        with sqlite3.connect(path) as made:
            made.execute("pragma user_version=99")
    with pytest.raises(Unreadable, match=r"a\.sqlite"):
        Archive(path)


def test_a_write_into_damaged_pages_names_the_remedy(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.sqlite")
    archive.stage(3, row("one"))
    archive.commit()
    archive._writer.close()
    archive._writer = sqlite3.connect(":memory:", isolation_level=None)
    archive._writer.deserialize(b"SQLite format 3\x00" + bytes(4080))
    archive.stage(3, row("two"))
    with pytest.raises(OSError, match=r"damaged.*--salvage"):
        archive.commit()
    assert archive.staged
