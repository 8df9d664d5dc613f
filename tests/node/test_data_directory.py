"""Which folders a node refuses: those in use, and those that a later version wrote."""

from pathlib import Path

import pytest

from node.data_directory import FORMAT, CannotStart, DataDirectory


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def test_a_folder_has_one_process(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path)
    with pytest.raises(CannotStart, match="is in use by another collect-node"):
        DataDirectory(tmp_path)
    first.close()
    DataDirectory(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CannotStart, match=rf"node\.data_dir {path} cannot be used: .*; choose another"):
            DataDirectory(path)


def test_the_format_is_written_and_read_again(tmp_path: Path) -> None:
    for version in ("0.1.0", "0.1.1"):
        data = DataDirectory(tmp_path)
        data.used_by(version)
        assert (tmp_path / "format").read_text() == f"format = {FORMAT}\nversion = {version}\n"
        data.close()


def test_a_later_format_is_refused_with_the_version_to_start(tmp_path: Path) -> None:
    (tmp_path / "format").write_text(f"format = {FORMAT + 1}\nversion = 9.8.7\n")
    before = contents(tmp_path)
    for _ in range(2):  # the refusal leaves no lock either
        with pytest.raises(CannotStart, match=r"start 9\.8\.7 or later, or restore the backup"):
            DataDirectory(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "text", ["", "format = x\nversion = 1\n", "format = 1", "format = 0\nversion = 1\n", "\0"]
)
def test_a_damaged_format_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "format").write_text(text)
    with pytest.raises(CannotStart, match=r"/format does not say which format"):
        DataDirectory(tmp_path)
