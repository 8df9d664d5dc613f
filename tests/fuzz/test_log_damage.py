"""A damaged log: every bit that flips and every byte that goes missing is noticed, or is an interrupted write
at the very end; what is not noticed at once is noticed when it is read."""

from pathlib import Path

import pytest

from state.storage.log import Damaged, Unreadable
from tests.state.storage.files import read_all, starts, written

PAYLOADS = [b"first", b"second record", b"", b"x" * 40, b"the last one"]
BEFORE_LAST = PAYLOADS[:-1]


def opened(folder: Path, name: str, data: bytes, *, salvage: bool = False) -> list[bytes]:
    folder.mkdir()
    (folder / name).write_bytes(data)
    log, found = read_all(folder, salvage=salvage)
    log.close()
    return found


@pytest.mark.parametrize("closed", [True, False])
def test_each_flipped_bit_is_detected(tmp_path: Path, closed: bool) -> None:
    path = written(tmp_path / "whole", PAYLOADS, closed=closed)
    data = path.read_bytes()
    last = starts(PAYLOADS)[-2]
    undetected = 0
    for bit in range(len(data) * 8):
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 1 << bit % 8
        try:
            found = opened(tmp_path / str(bit), path.name, bytes(spoilt))
        except (Damaged, Unreadable) as error:
            assert str(path.name) in str(error), "the file is named"
            continue
        # Only the last record may go in silence: a write that a crash interrupts looks the same.
        undetected += found == PAYLOADS
        assert found == BEFORE_LAST or (closed and found == PAYLOADS), f"bit {bit}: {found}"
        assert bit // 8 >= last, f"bit {bit}"
    assert undetected == 0 or closed, "a flipped bit went unnoticed"


def test_each_truncation_keeps_what_was_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "whole", PAYLOADS)
    data = path.read_bytes()
    for end in range(len(data)):
        try:
            found = opened(tmp_path / str(end), path.name, data[:end])
        except Damaged as error:
            assert error.offset <= end
            continue
        whole = sum(start <= end for start in starts(PAYLOADS)[1:])
        assert found == PAYLOADS[:whole], f"cut at {end}"


def test_salvage_keeps_all_that_is_sound(tmp_path: Path) -> None:
    path = written(tmp_path / "whole", PAYLOADS)
    data = path.read_bytes()
    bounds = starts(PAYLOADS)
    for at in range(bounds[0], len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 0xFF
        found = opened(tmp_path / str(at), path.name, bytes(spoilt), salvage=True)
        hit = max(number for number, start in enumerate(bounds[:-1]) if start <= at)
        assert found == PAYLOADS[:hit] + PAYLOADS[hit + 1 :], f"byte {at}"


def test_a_damaged_record_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    log, _ = read_all(tmp_path)
    locations = log.append(PAYLOADS)
    log.sync()
    path = tmp_path / "00000001.log"
    data = path.read_bytes()
    for at in range(starts(PAYLOADS)[0], len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        path.write_bytes(bytes(spoilt))
        bad = 0
        for location, payload in zip(locations, PAYLOADS, strict=True):
            try:
                assert log.read(location) == payload
            except Damaged:
                bad += 1
        assert bad == 1, f"byte {at}"
    log.close()
