"""Paths stay inside their roots, and nodes that share a folder know it."""

import os
from pathlib import Path

import pytest

from node.execution.roots import FolderRoots, fingerprint, split
from plugins.api import Permanent


@pytest.fixture
def roots(tmp_path: Path) -> FolderRoots:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_text("no")
    return FolderRoots({"default": tmp_path / "data", "archive": tmp_path / "archive"})


def test_paths_are_of_a_root(roots: FolderRoots, tmp_path: Path) -> None:
    assert roots.resolve("a/b.csv") == tmp_path / "data/a/b.csv"
    assert roots.resolve("archive:x") == tmp_path / "archive/x"
    assert roots.resolve("a/../b") == tmp_path / "data/b"
    assert roots.resolve("") == tmp_path / "data"
    assert split("default:2024-01-01T00:00.csv") == ("default", "2024-01-01T00:00.csv")


@pytest.mark.parametrize(
    "path",
    ["../secret", "a/../../secret",
     "/etc/passwd", "archive:../secret", "archive:/etc/passwd", "a\0b", "nowhere:x", "..",
     "/proc/self/environ", "link", "link/../secret", "dir/secret", "pipe"],
)  # fmt: skip
def test_what_leads_out_is_refused_with_the_remedy(roots: FolderRoots, tmp_path: Path, path: str) -> None:
    (tmp_path / "data/link").symlink_to(tmp_path / "secret")
    (tmp_path / "data/dir").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "data/pipe")
    with pytest.raises(Permanent) as caught:
        roots.resolve(path)
    assert caught.value.code == "path"
    message = str(caught.value)
    assert "root" in message or "NUL" in message
    assert "; " in message, "it says what to do"


def test_a_root_that_is_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    assert FolderRoots({"default": tmp_path / "data"}).resolve("x") == tmp_path / "real/x"


def test_fingerprints_are_equal_for_one_folder_only(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "one")
    one = fingerprint(tmp_path / "one")
    assert fingerprint(tmp_path / "link") == fingerprint(tmp_path / "one" / ".") == one
    assert fingerprint(tmp_path / "two") != one
    (tmp_path / "one").rename(tmp_path / "moved")
    assert fingerprint(tmp_path / "one") != one
