"""Task files and standard input."""

import io
from pathlib import Path

import pytest

from node.cli.failures import USAGE, Failure
from node.cli.spec_files import read_specs


@pytest.mark.parametrize(
    "text",
    ['{"source": {"plugin": "csv"}}', '[source]\nplugin = "csv"\n', "source:\n  plugin: csv\n"],
)
def test_standard_input_in_any_form(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert read_specs("-") == [("-", {"source": {"plugin": "csv"}})]


def test_several_documents_are_labelled(tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text("name: a\n---\nname: b\n")
    assert read_specs(str(file)) == [(f"{file}[0]", {"name": "a"}), (f"{file}[1]", {"name": "b"})]


@pytest.mark.parametrize(
    ("text", "part"),
    [("- 1\n", "is a table"), ("[]", "is a table"), ("a: [", "not valid YAML"), ("{", "not valid JSON")],
)
def test_refused_input(text: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(Failure, match=part) as caught:
        read_specs("-")
    assert caught.value.code == USAGE


def test_instants_become_text(tmp_path: Path) -> None:
    file = tmp_path / "task.toml"
    file.write_text("a = 2026-01-01T02:00:00+02:00\nb = [2026-01-01]\n")
    assert read_specs(str(file)) == [(str(file), {"a": "2026-01-01T00:00:00Z", "b": ["2026-01-01"]})]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"absent\.toml"):
        read_specs(str(tmp_path / "absent.toml"))
