"""What recovery keeps, cuts and refuses, on real files."""

import os
import struct
from pathlib import Path

import pytest
import xxhash

from state.storage import log as logs
from state.storage.log import Damaged, Location, Log, Unreadable
from tests.state.storage.files import HEADER, RECORD, read_all, starts, written

PAYLOADS = [b"first", b"second record", b"", b"x" * 300, b"the last one"]


def test_reopening_gives_every_record_in_order(tmp_path: Path) -> None:
    log, found = read_all(tmp_path)
    assert found == []
    locations = log.append(PAYLOADS[:2])
    log.sync()
    log.close()
    log, found = read_all(tmp_path)
    assert found == PAYLOADS[:2]
    assert log.torn is None
    locations += log.append(PAYLOADS[2:])
    log.sync()
    assert [log.read(location) for location in locations] == PAYLOADS
    log.close()
    log, found = read_all(tmp_path)
    assert found == PAYLOADS
    assert len(set(locations)) == len(PAYLOADS)
    log.close()


def test_a_new_file_is_begun_beyond_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 100)
    log, _ = read_all(tmp_path)
    locations = [log.append([bytes([i]) * 60])[0] for i in range(6)]
    assert {location.file for location in locations} == {1, 2, 3}
    assert log.read(locations[0]) == bytes(60)
    log.close()
    log, found = read_all(tmp_path)
    assert found == [bytes([i]) * 60 for i in range(6)]
    log.close()


def test_a_record_cut_short_anywhere_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "whole", PAYLOADS)
    data = path.read_bytes()
    last = starts(PAYLOADS)[-2]
    for end in range(last, len(data)):
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / path.name).write_bytes(data[:end])
        log, found = read_all(folder)
        assert found == PAYLOADS[:-1], f"cut at {end}"
        assert (log.torn is not None) == (end > last)
        log.append([b"more"])
        log.close()
        log, found = read_all(folder)
        assert found == [*PAYLOADS[:-1], b"more"], f"cut at {end}"
        assert log.torn is None
        log.close()


def test_zeros_after_the_last_record_are_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path, PAYLOADS)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + bytes(4096))
    log, found = read_all(tmp_path)
    assert found == PAYLOADS
    assert log.torn is not None
    assert (log.torn.offset, log.torn.bytes) == (size, 4096)
    assert path.stat().st_size == size
    log.close()


@pytest.mark.parametrize("data", [b"", b"CML", bytes(HEADER), bytes(5000)])
def test_a_file_whose_header_was_never_written_goes(tmp_path: Path, data: bytes) -> None:
    written(tmp_path, PAYLOADS)
    for path in tmp_path.glob("0000000[2-9].log"):
        path.unlink()
    (tmp_path / "00000002.log").write_bytes(data)
    for _ in range(3):
        log, found = read_all(tmp_path)
        assert found == PAYLOADS
        log.close()


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_anywhere_is_damage_and_changes_nothing(tmp_path: Path, bit: int) -> None:
    path = written(tmp_path, PAYLOADS)
    others = {p: p.read_bytes() for p in tmp_path.iterdir() if p != path}
    for other in others:
        other.unlink()
    data = path.read_bytes()
    at = starts(PAYLOADS)
    for place in range(HEADER, len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << bit
        path.write_bytes(broken)
        record = max(i for i, start in enumerate(at) if start <= place)
        with pytest.raises(Damaged) as caught:
            read_all(tmp_path)
        assert caught.value.path == path
        assert caught.value.offset == at[record], f"byte {place}"
        assert caught.value.sound == record
        assert str(path) in str(caught.value)
        assert str(at[record]) in str(caught.value)
        assert path.read_bytes() == bytes(broken)
        assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_the_last_may_not_end_early(tmp_path: Path) -> None:
    path = written(tmp_path, PAYLOADS)
    log, _ = read_all(tmp_path)
    log.close()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Damaged) as caught:
        read_all(tmp_path)
    assert caught.value.offset == starts(PAYLOADS)[-2]


@pytest.mark.parametrize("record", range(len(PAYLOADS)))
def test_salvage_keeps_the_records_before_and_after(tmp_path: Path, record: int) -> None:
    path = written(tmp_path, PAYLOADS)
    broken = bytearray(path.read_bytes())
    broken[starts(PAYLOADS)[record] + 6] ^= 0xFF
    path.write_bytes(broken)
    expected = PAYLOADS[:record] + PAYLOADS[record + 1 :]
    seen: list[tuple[bytes, Location]] = []
    log = Log.open(tmp_path, lambda payload, where: seen.append((payload, where)), salvage=True)
    assert [payload for payload, _ in seen] == expected
    assert [log.read(where) for _, where in seen] == expected
    assert [(d.path, d.offset) for d in log.salvaged] == [(path, starts(PAYLOADS)[record])]
    assert (tmp_path / "00000001.damaged").read_bytes() == bytes(broken)
    log.append([b"after"])
    log.close()
    log, found = read_all(tmp_path)  # a node that has been salvaged starts as any other
    assert found == [*expected, b"after"]
    log.close()


def test_salvage_of_several_damages_and_a_torn_tail(tmp_path: Path) -> None:
    path = written(tmp_path, PAYLOADS)
    broken = bytearray(path.read_bytes()[:-4])
    at = starts(PAYLOADS)
    for record in (0, 2):
        broken[at[record] + 7] ^= 0x10
    path.write_bytes(broken)
    log, found = read_all(tmp_path, salvage=True)
    assert found == [PAYLOADS[1], PAYLOADS[3]]
    assert [damage.offset for damage in log.salvaged] == [at[0], at[2]]
    log.close()


def test_salvage_of_a_sound_log_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, PAYLOADS)
    before = path.read_bytes()
    log, found = read_all(tmp_path, salvage=True)
    assert (found, log.salvaged) == (PAYLOADS, [])
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged"))
    log.close()


def test_a_later_version_is_refused_even_to_salvage(tmp_path: Path) -> None:
    """As a later version writes it: the header and its checksum, then whatever."""
    header = struct.pack("<6sHQ", logs.MAGIC, logs.VERSION + 1, 1)
    data = header + struct.pack("<Q", xxhash.xxh3_64_intdigest(header)) + b"records of another kind"
    path = tmp_path / "00000001.log"
    path.write_bytes(data)
    for salvage in (False, True):
        with pytest.raises(Unreadable, match=f"version {logs.VERSION + 1}"):
            read_all(tmp_path, salvage=salvage)
    assert path.read_bytes() == data


@pytest.mark.parametrize("payloads", [PAYLOADS, []])
@pytest.mark.parametrize("bit", range(8 * HEADER))
def test_a_damaged_header_is_damage_and_costs_no_record(
    tmp_path: Path, payloads: list[bytes], bit: int
) -> None:
    """Least of all is it a later version, which nothing could mend."""
    path = written(tmp_path, payloads)
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(Damaged) as caught:
        read_all(tmp_path)
    assert caught.value.offset == 0
    assert path.read_bytes() == data
    log, found = read_all(tmp_path, salvage=True)
    assert found == payloads
    log.close()


def test_a_record_damaged_after_it_was_read_once_is_noticed(tmp_path: Path) -> None:
    log, _ = read_all(tmp_path)
    (location,) = log.append([b"payload"])
    path = tmp_path / "00000001.log"
    data = bytearray(path.read_bytes())
    data[location.offset + RECORD] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    with pytest.raises(Damaged):
        log.read(location)
    log.close()


class _Full:
    """`os.write` on a disk with `room` bytes left: the last write is a short one, then it refuses."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.real = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        done = self.real(fd, data[: self.room])
        self.room -= done
        return done


@pytest.mark.parametrize("room", [0, 1, 12, 13, 40, 200])
def test_a_full_disk_leaves_the_file_at_the_last_good_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    log, _ = read_all(tmp_path)
    log.append(PAYLOADS[:2])
    log.sync()
    path = tmp_path / "00000001.log"
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _Full(room))
        with pytest.raises(OSError, match="No space left"):
            log.append(PAYLOADS[2:])
        assert path.read_bytes() == before
    log.append(PAYLOADS[2:])
    log.close()
    log, found = read_all(tmp_path)
    assert found == PAYLOADS
    log.close()


def test_nothing_is_written_behind_what_could_not_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = read_all(tmp_path)
    log.append(PAYLOADS[:2])

    def refuse(fd: int, size: int) -> None:
        raise OSError(5, f"Input/output error {fd} {size}")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _Full(5))
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="error"):
            log.append(PAYLOADS[2:])
    log.append(PAYLOADS[2:])
    log.close()
    log, found = read_all(tmp_path)
    assert found == PAYLOADS
    log.close()


def test_after_a_failed_sync_the_records_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = read_all(tmp_path)
    log.append(PAYLOADS[:2])
    log.sync()

    def refuse(fd: int) -> None:
        raise OSError(5, f"Input/output error {fd}")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        for _ in range(3):
            log.append(PAYLOADS[2:])
            with pytest.raises(OSError, match="Input/output"):
                log.sync()
    log.append(PAYLOADS[2:])
    log.sync()
    log.close()
    log, found = read_all(tmp_path)
    assert found == PAYLOADS
    log.close()


@pytest.mark.parametrize("room", [0, 7])
def test_a_disk_that_is_full_when_a_new_file_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 20)
    log, _ = read_all(tmp_path)
    log.append([PAYLOADS[0]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _Full(room))
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                log.append([PAYLOADS[1]])
    (location,) = log.append([PAYLOADS[1]])
    assert log.read(location) == PAYLOADS[1]
    log.close()
    log, found = read_all(tmp_path)
    assert found == PAYLOADS[:2]
    log.close()
