"""The command line of collect-node."""

from collections.abc import Callable
from pathlib import Path

import pytest

from node.cli.node_flags import parse, run_setup
from node.config import example_text
from node.security.keys import new_cluster_key
from node.security.token import JoinToken


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


@pytest.fixture
def checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What `--check` with these flags says; it must find as many mistakes as `wrong`."""
    monkeypatch.chdir(tmp_path)

    def check(*flags: str, wrong: int) -> str:
        assert run_setup(parse(["--check", "--data-dir", "data", *flags]), {}) == (1 if wrong else 0)
        out = capsys.readouterr().out
        assert out.rstrip().endswith(f": {wrong} mistake{'s' * (wrong > 1)}" if wrong else ": ok")
        return out

    return check


def test_check_reads_the_files_that_are_named(tmp_path: Path, checked: Callable[..., str]) -> None:
    (tmp_path / "empty").touch()
    assert "holds no cluster key" in checked("--key-file", "empty", wrong=1)
    assert "holds no token" in checked("--http-token-file", "empty", wrong=1)
    assert "copy it again" in checked("--join", "cm1-x", wrong=1)
    one, other = new_cluster_key(), new_cluster_key()
    (tmp_path / "key").write_text(one.text())
    token = JoinToken(("127.0.0.1:1",), other).text()
    out = checked("--key-file", "key", "--join", token, "--http-token-file", "empty", wrong=2)
    assert f"--join is of mesh {other.mesh_id}, and mesh.key_file of mesh {one.mesh_id}" in out
    checked("--key-file", "key", wrong=0)
    assert not (tmp_path / "data").exists()


def test_check_looks_at_the_data_directory(tmp_path: Path, checked: Callable[..., str]) -> None:
    (tmp_path / "data").touch()
    assert "node.data_dir" in (out := checked(wrong=1))
    assert "it is no folder; choose another with --data-dir" in out
    assert f"{tmp_path / 'data'} is no folder" in checked("--data-dir", "data/deeper", wrong=1)
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to("nowhere")
    assert "it is no folder" in checked(wrong=1)
    (tmp_path / "data").unlink()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "format").write_text("format = 9\nversion = 9.0\n")
    assert "last used by collect-node 9.0" in checked(wrong=1)
