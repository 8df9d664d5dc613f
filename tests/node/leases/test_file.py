"""What was promised is read again as it was written; a damaged file is refused, an interrupted write is cut off."""

import threading
from pathlib import Path

import pytest

from node.data_directory import CannotStart
from node.leases.file import GROWN, LeaseFile

ITEMS = [b"one", b"two" * 50, b"three"]


def opened(path: Path) -> tuple[LeaseFile, list[bytes]]:
    found: list[bytes] = []
    return LeaseFile(path, found.append), found


def write(file: LeaseFile, items: list[bytes], *, whole: bool = False) -> None:
    done = threading.Event()
    file.submit(items, done.set, whole=whole)
    assert done.wait(10)


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "leases.log"
    file, found = opened(path)
    assert found == []
    write(file, ITEMS[:1])
    write(file, ITEMS[1:])
    file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again, found = opened(path)
    assert found == ITEMS
    write(again, [b"snapshot"], whole=True)
    write(again, [b"more"])
    again.close()
    last, found = opened(path)
    assert found == [b"snapshot", b"more"]
    last.close()


def test_it_says_when_it_has_grown(tmp_path: Path) -> None:
    file, _ = opened(tmp_path / "leases.log")
    write(file, [b"x" * GROWN])
    assert file.grown
    write(file, [b"x" * 10], whole=True)
    assert not file.grown
    file.close()


def test_an_interrupted_write_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "leases.log"
    file, _ = opened(path)
    write(file, ITEMS)
    file.close()
    whole = path.read_bytes()
    for cut in range(len(whole) - len(ITEMS[-1]) - 8 + 1, len(whole)):
        for tail in (b"", bytes(20)):
            path.write_bytes(whole[:cut] + tail)
            file, found = opened(path)
            assert found == ITEMS[:-1], (cut, tail)
            file.close()


def test_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "leases.log"
    file, _ = opened(path)
    write(file, ITEMS)
    file.close()
    whole = path.read_bytes()
    first = 10 + 8
    for at in (0, first, first + 1):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        with pytest.raises(CannotStart, match="damaged at byte"):
            opened(path)
    path.write_bytes(whole[:8] + b"\x63\x00" + whole[10:])
    with pytest.raises(CannotStart, match="version 99"):
        opened(path)
