"""Which units a path stands for, and how a shard finds its own again."""

import gzip
from pathlib import Path

import pytest

from plugins.api import Permanent
from plugins.collectors import sources
from plugins.collectors.sources import unit_of, units
from plugins.testing import FolderRoots


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are listed from now on."""
    listed: list[str] = []
    real = sources._files

    def files(roots: FolderRoots, path: str) -> list[tuple[str, Path]]:
        listed.append(path)
        return real(roots, path)

    monkeypatch.setattr(sources, "_files", files)
    return listed


def test_a_shard_of_many_files_looks_at_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (tmp_path / f"{number:02d}.csv").write_text("a\n1\n")
    roots = FolderRoots(tmp_path)
    listed = counted(monkeypatch)
    found = units(roots, "*.csv", "auto")
    assert [unit_of(roots, "*.csv", "auto", unit.mark) for unit in found] == found
    assert listed == ["*.csv"]


def test_a_process_that_has_listed_nothing_lists_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.csv").write_text("a\n1\n")
    roots = FolderRoots(tmp_path)
    marks = [unit.mark for unit in units(roots, "*.csv", "auto")]
    monkeypatch.setattr(sources, "_listed", {})
    listed = counted(monkeypatch)
    assert all(unit_of(roots, "*.csv", "auto", mark) for mark in marks)
    assert listed == ["*.csv"]


def test_what_was_listed_is_looked_at_anew(tmp_path: Path) -> None:
    plain, packed = tmp_path / "1.csv", tmp_path / "2.csv.gz"
    plain.write_text("a\n1\n")
    packed.write_bytes(gzip.compress(b"a\n1\n"))
    roots = FolderRoots(tmp_path)
    grows, changes = units(roots, "*.csv*", "auto")
    plain.write_text("a\n1\n2\n")
    packed.write_bytes(gzip.compress(b"a\n1\n2\n3\n4\n"))
    grown = unit_of(roots, "*.csv*", "auto", grows.mark)
    assert grown is not None
    assert grown.size == 6
    assert unit_of(roots, "*.csv*", "auto", changes.mark) is None
    plain.unlink()
    assert unit_of(roots, "*.csv*", "auto", grows.mark) is None
    packed.unlink()
    with pytest.raises(Permanent, match="no such file"):
        unit_of(roots, "*.csv*", "auto", grows.mark)


def test_a_path_of_another_folder_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """Roots differ between tests and tasks: the same path may lead elsewhere."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "x.csv").write_text(f"{folder.name}\n")
    (mark,) = [unit.mark for unit in units(FolderRoots(one), "*.csv", "auto")]
    found = unit_of(FolderRoots(other), "*.csv", "auto", mark)
    assert found is not None
    assert found.path.parent.samefile(other)


def test_few_listings_are_remembered(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.csv").write_text("a\n")
        units(FolderRoots(tmp_path), f"{number}*.csv", "auto")
    assert len(sources._listed) <= sources.LISTINGS
