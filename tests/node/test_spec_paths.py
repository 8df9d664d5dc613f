"""Paths that a submit looks at: bounded, and looked at for a moment only."""

from pathlib import Path

import msgspec
import pytest

from node.spec.paths import files
from tests.node.plugs import facts
from tests.node.test_spec import check, errors


def test_a_pattern_that_walks_a_tree_is_left_to_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = msgspec.structs.replace(facts(), folders={"default": str(tmp_path)})
    for pattern in ("**/x", "a/**/**/x.csv", "*/*/x"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "glob", lambda *_: pytest.fail("the loop walks a tree"))
            check({"source": {"plugin": "files", "path": pattern}}, known)
    assert "/source/path" in errors({"source": {"plugin": "files", "path": "in*.csv"}}, known)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("[" * 60_000, "longer than 4096 bytes"),
        ("[" * 300, "part longer than 255 bytes"),
        ("*/" * 300 + "x", "32 parts with a wildcard"),
        ("**/" * 300 + "x", "32 parts with a wildcard"),
        ("p/" * 20_000, "longer than 4096 bytes"),
        ("\N{SNOWMAN}" * 86, "part longer than 255 bytes"),
    ],
)
def test_a_path_beyond_what_file_systems_have_is_told_and_not_looked_for(
    tmp_path: Path, path: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern of 60,000 brackets took the loop of a node a minute; long paths were answered 500."""
    known = msgspec.structs.replace(facts(), folders={"default": str(tmp_path)})
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("it was looked for"))
    for table in ({"source": {"plugin": "files", "path": path}}, {"sink": {"plugin": "store", "path": path}}):
        (place,) = table
        assert told in errors(table, known)[f"/{place}/path"].message
        pinned = {**table, "placement": {"nodes": ["berlin"]}}
        assert told in errors(pinned, known)[f"/{place}/path"].message


def test_a_sink_below_a_folder_at_the_limit_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.csv").touch()
    known = msgspec.structs.replace(facts(), folders={"default": str(tmp_path)})
    path = "/".join(["p" * 254] * 16)
    assert (
        "cannot be written"
        in errors({"sink": {"plugin": "store", "path": path}}, known)["/sink/path"].message
    )


def test_what_a_pattern_that_walks_a_tree_finds_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    assert list(files(str(tmp_path), "**/x")) == list(files(str(tmp_path), "*/*")) == []
    assert list(files(str(tmp_path), "a/*")) == [tmp_path / "a" / "x"]
