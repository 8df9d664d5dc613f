"""A file of the log that is gone, or was emptied, is told; what a crash or an older program leaves is not."""

from pathlib import Path

import pytest

from state.storage import log as logs
from state.storage import roll
from state.storage.log import Damaged, Log
from tests.state.storage.files import read_all


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files with two records each, and the one that the log has begun last."""
    monkeypatch.setattr(logs, "FILE_BYTES", 100)
    log, _ = read_all(tmp_path)
    for number in range(6):
        log.append([bytes([number]) * 60])
    log.close()
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [path for _, path in roll.numbered(folder)]


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("harm", ["deleted", "emptied", "header cut"])
def test_a_file_that_is_gone_is_damage(folder: Path, which: int, harm: str) -> None:
    path = files(folder)[which]
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 0 if harm == "emptied" else 7])
    before = {found.name: found.read_bytes() for found in folder.iterdir()}
    with pytest.raises(Damaged, match=rf"{path.name} is damaged at byte 0 \(the file is gone\)"):
        read_all(folder)
    assert {found.name: found.read_bytes() for found in folder.iterdir()} == before
    left: list[bytes] = []
    log = Log.open(folder, lambda payload, _: left.append(payload), salvage=True)
    assert [damaged.path for damaged in log.salvaged][:1] == [path]
    assert len(left) >= 4
    log.close()
    read_all(folder)[0].close()  # and from then on it is as it should be


def test_what_the_log_lets_go_of_itself_is_no_damage(folder: Path) -> None:
    log, _ = read_all(folder)
    log.drop(2)
    log.retire(2)
    log.close()
    read_all(folder)[0].close()


def test_a_full_disk_does_not_keep_files_from_being_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = read_all(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(roll, "write_roll", full)
    log.drop(3)
    log.close()
    monkeypatch.undo()
    read_all(folder)[0].close()


@pytest.mark.parametrize("left", ["a file begun", "no roll", "a damaged roll", "half a roll"])
def test_what_a_crash_or_an_older_program_leaves_is_no_damage(folder: Path, left: str) -> None:
    path = folder / roll.NAME
    if left == "a file begun":
        last = files(folder)[-1]
        last.with_stem(f"{int(last.stem) + 1:08d}").write_bytes(b"")
    elif left == "no roll":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"1", b"9") if left == "a damaged roll" else b"[1,")
    log, found = read_all(folder)
    assert len(found) == 6
    log.close()
