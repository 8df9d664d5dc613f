"""The command line of collect-node."""

from pathlib import Path

import pytest

from node.cli.node_flags import parse, run_setup
from node.config import example_text


def test_flags_become_settings() -> None:
    flags = parse(
        ["--name", "a", "--seed", "h1:1", "--seed", "h2", "--no-mdns", "--join", "T", "--http", ":0"]
    )
    assert flags.settings == {
        "node.name": "a",
        "mesh.seeds": ["h1:1", "h2"],
        "mesh.mdns": False,
        "http.bind": ":0",
    }
    assert (flags.join, flags.config, flags.init, flags.check) == ("T", None, False, False)


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["--version"], 0), (["--nam", "x"], 2)])
def test_exits(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == code
    assert "collect-node" in "".join(capsys.readouterr())


def test_init_writes_once_and_check_accepts_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "node.toml"
    assert run_setup(parse(["--init", "--config", str(file)]), {}) == 0
    assert file.read_text() == example_text()
    assert run_setup(parse(["--check", "--config", str(file)]), {}) == 0
    assert run_setup(parse(["--init", "--config", str(file)]), {}) == 1
    assert "was left alone" in capsys.readouterr().out


def test_check_reports_each_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[node]\nregion = 1\nx = 2\n")
    assert run_setup(parse(["--check", "--config", str(file)]), {}) == 1
    out = capsys.readouterr().out
    assert f"{file}:2:" in out
    assert f"{file}:3:" in out
    assert "2 mistakes" in out
