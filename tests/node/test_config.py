"""Configuration from real files, environments and flags: precedence, types, and all mistakes at once."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from node.config import Address, ConfigError, RootConfig, example_text, load
from node.discovery.seeds import Seeds

REPOSITORY = Path(__file__).parents[2]


def write(folder: Path, text: str) -> Path:
    file = folder / "node.toml"
    file.write_text(text)
    return file


def mistakes(path: Path | None, environ: dict[str, str], flags: dict[str, Any], cwd: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, flags, cwd=cwd)
    return [str(item) for item in caught.value.items]


def test_defaults(tmp_path: Path) -> None:
    config = load(None, {}, {}, cwd=tmp_path)
    assert config.http.bind == Address("127.0.0.1", 8700)
    assert config.mesh.bind == Address("0.0.0.0", 8701)
    assert config.node.data_dir == Path.home() / ".local/share/collect-node"
    assert (config.node.region, config.gossip.profile, config.state.replicas) == ("local", "lan", 3)
    assert config.resources.workers >= 1
    assert config.roots == {"default": RootConfig(path=tmp_path)}


def test_no_default_root_when_started_in_the_top_folder() -> None:
    assert load(None, {}, {}, cwd=Path("/")).roots == {}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path, '[node]\nname = "file"\nregion = "file"\nzone = "file"\n')
    environ = {"COLLECT_NODE__NAME": "environ", "COLLECT_NODE__REGION": "environ"}
    node = load(file, environ, {"node.name": "flag"}, cwd=tmp_path).node
    assert (node.name, node.region, node.zone, node.weight) == ("flag", "environ", "file", 1.0)


def test_file_in_the_current_folder_is_found(tmp_path: Path) -> None:
    file = write(tmp_path, '[node]\nname = "here"\n')
    config = load(None, {}, {}, cwd=tmp_path)
    assert (config.source, config.node.name) == (file, "here")


def test_text_forms_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    environ = {
        "COLLECT_MESH__SEEDS": "10.0.0.1:8701, nodes.example.org, _mesh._tcp.example.org",
        "COLLECT_MESH__MDNS": "false",
        "COLLECT_NODE__WEIGHT": "2.5",
        "COLLECT_NODE__LABELS": "disk=ssd,rack=7",
        "COLLECT_RESOURCES__WORKERS": "3",
        "COLLECT_ROOTS__NFS__PATH": "shared",
        "COLLECT_ROOTS__NFS__SHARED": "true",
        "COLLECT_HTTP__BIND": ":0",
        "COLLECT_SECRET_A__B": "no key",
        "COLLECT_URL": "http://elsewhere",
    }
    config = load(None, environ, {}, cwd=tmp_path)
    assert config.mesh.seeds == ("10.0.0.1:8701", "nodes.example.org:8701", "_mesh._tcp.example.org")
    Seeds(config.mesh.seeds, rng=random.Random(1))  # takes what the configuration takes
    assert not config.mesh.mdns
    assert (config.node.weight, config.resources.workers) == (2.5, 3)
    assert config.node.labels == {"disk": "ssd", "rack": "7"}
    assert config.roots["nfs"] == RootConfig(path=tmp_path / "shared", shared=True)
    assert config.http.bind == Address("127.0.0.1", 0)


def test_paths_of_a_file_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "etc" / "data").mkdir(parents=True)
    file = write(tmp_path / "etc", '[node]\ndata_dir = "state"\n[roots.default]\npath = "data"\n')
    config = load(file, {}, {}, cwd=tmp_path)
    assert config.node.data_dir == tmp_path / "etc" / "state"
    assert config.roots["default"].path == tmp_path / "etc" / "data"


def test_every_mistake_at_once_with_its_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        '[node]\nregion = "EU-1"\nwieght = 2\n\n[http]\nbind = "127.0.0.1"\n[gossp]\nprofile = "lan"\n'
        '[roots.data]\npath = "absent"\n[network]\ndeny = ["10.0.0.0/33"]\n',
    )
    found = mistakes(file, {"COLLECT_STATE__REPLICAS": "many"}, {"gossip.profile": "moon"}, tmp_path)
    expected = [
        (f"{file}:3: node.wieght", "nearest key is node.weight"),
        (f"{file}:8: gossp.profile", "nearest key is gossip.profile"),
        (f"{file}:2: node.region = 'EU-1'", "must be 1 to 9 lower-case letters or digits"),
        (f"{file}:6: http.bind = '127.0.0.1'", 'must be "host:port"'),
        (f"{file}:10: roots.data.path = 'absent'", "folder that exists"),
        (f"{file}:12: network.deny", "10.0.0.0/33"),
        ("environment COLLECT_STATE__REPLICAS: state.replicas = 'many'", "whole number from 1 to 7"),
        ("flag --profile: gossip.profile = 'moon'", 'one of "local", "lan", "wan"'),
    ]
    assert len(found) == len(expected)
    for start, part in expected:
        assert any(line.startswith(start) and part in line for line in found), (start, found)


@pytest.mark.parametrize(
    ("text", "where", "part"),
    [
        ("[node]\nname = \n", ":2", "not valid TOML"),
        ("[node]\nname = 7\n", ":2", "must be 1 to 63 letters"),
        ("[mesh]\nbind = '0.0.0.0:65534'\n", ":2", "from 0 to 65533"),
        ("[state]\nreplicas = 1\n", ":2", "at least state.durability"),
        ("[roots.a]\nshared = true\n", ":2", "needs roots.a.path"),
        ("[roots.'A b']\npath = '/'\n", "", "is no root name"),
        ("shared = true\n", ":1", "is unknown"),
        ("[resources]\nworkers = true\n", ":2", "whole number"),
        ("[http]\nadvertise = 'host:0'\n", ":2", "others can reach"),
        ("[mesh]\nseeds = ['host:70000']\n", ":2", "host:70000"),
        ("[mesh]\nseeds = ['_mesh._tcp.org:80']\n", ":2", "_mesh._tcp.org:80"),
        ("[mesh]\nseeds = ['a..b']\n", ":2", "not 'a..b'"),
        ("[mesh]\nseeds = ['" + "a" * 64 + "']\n", ":2", "not 'aaa"),
        ("[mesh]\nseeds = ['10.0.0.300']\n", ":2", "not '10.0.0.300'"),
        ("[mesh]\nadvertise = '0.0.0.0:8701'\n", ":2", "others can reach"),
        ("[mesh]\nadvertise = '10.0.0.5:65534'\n", ":2", "from 1 to 65533"),
        ("[mesh]\nbind = '300.0.0.1:8701'\n", ":2", "host:port"),
        ("[mesh]\nbind = '[1:2]:8701'\n", ":2", "host:port"),
        ("[mesh]\nkey_file = 'absent'\n", ":2", "file that exists (No such file"),
        ("[mesh]\nkey_file = '.'\n", ":2", "file that exists"),
        ("[http]\ntoken_file = '/dev/zero'\n", ":2", "file that exists"),
        ("[http]\nallowed_hosts = ['http://x/']\n", ":2", "not 'http://x/'"),
        ('[node]\ndata_dir = "a\\u0000b"\n', ":2", "as text"),
        ("[node]\ndata_dir = '~nobody-of-this-name/x'\n", ":2", "home folder"),
        ("[state]\nreplicas = '\u0663'\n", ":2", "whole number"),
        ("[nodes]\n", ":1", "is unknown"),
        ("[roots.a]\n", ":1", "roots.NAME.path"),
        ("[roots]\npath = '/'\n", ":2", "roots.NAME.path"),
        ("node = 'a'\n", ":1", "is a section"),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, where: str, part: str) -> None:
    file = write(tmp_path, text)
    (line,) = mistakes(file, {}, {}, tmp_path)
    assert line.startswith(f"{file}{where}:")
    assert part in line


@pytest.mark.parametrize(
    ("head", "body", "tail", "part"),
    [
        ("[http]\ntoken_file = '/", "x" * 5000, "'", "(5003 characters) must be the path of a file"),
        ("[roots.a]\npath = '/", "x" * 5000, "'", "too long"),
        ("[node]\nweight = 1", "0" * 400, "", "(401 characters) must be a number"),
        ("[node]\nweight = 1", "0" * 5000, "", "not valid TOML"),
        ("[state]\nretention = 1", "0" * 400, "", "must be a duration"),
        ("x = ", "[" * 3000, "]" * 3000, "not valid TOML"),
        ("#", "x" * (1 << 20), "", "above 1 MiB"),
    ],
    ids=["file", "folder", "number", "digits", "duration", "brackets", "size"],
)
def test_what_is_huge_is_one_short_mistake(
    tmp_path: Path, head: str, body: str, tail: str, part: str
) -> None:
    (line,) = mistakes(write(tmp_path, f"{head}{body}{tail}\n"), {}, {}, tmp_path)
    assert part in line
    assert len(line) < 800


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_bytes(b'\xef\xbb\xbf[node]\nname = "here"\n')
    assert load(None, {}, {}, cwd=tmp_path).node.name == "here"


def test_the_key_of_the_mesh_may_come_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    config = load(None, {}, {"mesh.key_file": "pipe"}, cwd=tmp_path)
    assert config.mesh.key_file == tmp_path / "pipe"
    assert "file that exists" in mistakes(None, {}, {"http.token_file": "pipe"}, tmp_path)[0]


def test_hosts_are_compared_in_lower_case(tmp_path: Path) -> None:
    file = write(tmp_path, "[http]\nallowed_hosts = ['Mesh.Example.org', 'fd00::A']\n")
    assert load(file, {}, {}, cwd=tmp_path).http.allowed_hosts == ("mesh.example.org", "fd00::a")


def test_a_file_that_is_there_is_never_passed_over(tmp_path: Path) -> None:
    """A broken link, or a folder, under the default name is a mistake: without it the defaults would count."""
    (tmp_path / "node.toml").symlink_to(tmp_path / "gone")
    assert "No such file" in mistakes(None, {}, {}, tmp_path)[0]
    (tmp_path / "node.toml").unlink()
    (tmp_path / "node.toml").mkdir()
    assert "Is a directory" in mistakes(None, {}, {}, tmp_path)[0]


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the current folder is gone"):
        load(None, {}, {})


def test_files_that_this_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0)
    if os.geteuid() == 0:  # who may read everything
        monkeypatch.setattr(os, "access", lambda path, mode: bool(path.stat().st_mode & (mode << 6)))
    assert "that this user can read" in mistakes(None, {}, {"http.token_file": "token"}, tmp_path)[0]


def test_unreadable_file(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in mistakes(tmp_path / "none.toml", {}, {}, tmp_path)[0]
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    assert "not UTF-8" in mistakes(tmp_path / "bytes.toml", {}, {}, tmp_path)[0]


def test_http_off_loopback_needs_a_token_and_tls_or_consent(tmp_path: Path) -> None:
    for name in ("token", "cert", "key"):
        (tmp_path / name).write_text("x")
    found = mistakes(None, {}, {"http.bind": "0.0.0.0:8700"}, tmp_path)
    assert ["http.token_file" in line for line in found] == [True, False]
    assert "http.insecure = true" in found[1]
    token = {"http.token_file": "token"}
    assert len(mistakes(None, {}, {"http.bind": "[::]:8700", **token}, tmp_path)) == 1
    environ = {"COLLECT_HTTP__INSECURE": "true"}
    assert load(None, environ, {"http.bind": "0.0.0.0:1", **token}, cwd=tmp_path).http.insecure
    tls = {"COLLECT_HTTP__TLS_CERT": "cert", "COLLECT_HTTP__TLS_KEY": "key"}
    assert load(None, tls, {"http.bind": "0.0.0.0:1", **token}, cwd=tmp_path).http.tls_key == tmp_path / "key"
    del tls["COLLECT_HTTP__TLS_KEY"]
    assert "needs http.tls_key" in mistakes(None, tls, token, tmp_path)[0]


@pytest.mark.parametrize(
    ("http", "mesh", "where"),
    [
        ("127.0.0.1:8702", None, "http.bind"),
        (None, "0.0.0.0:8698", "mesh.bind"),
        ("127.0.0.1:9002", "127.0.0.1:9000", "http.bind"),
        ("localhost:9000", "127.0.0.1:9000", "http.bind"),
        ("127.0.0.1:9001", "[::]:9000", "http.bind"),
    ],
)
def test_ports_that_overlap_are_refused(
    tmp_path: Path, http: str | None, mesh: str | None, where: str
) -> None:
    flags = {key: value for key, value in (("http.bind", http), ("mesh.bind", mesh)) if value}
    (line,) = mistakes(None, {}, flags, tmp_path)
    assert line.startswith(f"flag --{where.partition('.')[0]}: {where} = ")
    assert "http.bind" in line
    assert "mesh.bind takes ports" in line


@pytest.mark.parametrize(
    ("http", "mesh"),
    [
        ("127.0.0.1:9003", "0.0.0.0:9000"),
        ("127.0.0.1:8999", "0.0.0.0:9000"),
        ("127.0.0.1:9001", "10.0.0.5:9000"),
        ("127.0.0.1:0", "0.0.0.0:0"),
        ("127.0.0.1:1", "0.0.0.0:0"),
    ],
)
def test_ports_that_do_not_overlap_are_taken(tmp_path: Path, http: str, mesh: str) -> None:
    config = load(None, {}, {"http.bind": http, "mesh.bind": mesh}, cwd=tmp_path)
    assert (str(config.http.bind), str(config.mesh.bind)) == (http, mesh)


def test_example_changes_no_default_and_names_every_key(tmp_path: Path) -> None:
    file = write(tmp_path, example_text())
    example, plain = load(file, {}, {}, cwd=tmp_path), load(None, {}, {}, cwd=tmp_path / "..")
    for section in ("node", "http", "mesh", "gossip", "state", "resources", "network", "log"):
        assert getattr(example, section) == getattr(plain, section)
        for key in getattr(plain, section).__struct_fields__:
            assert f"\n{key} = " in example_text() or f"\n# {key} = " in example_text(), (section, key)


def test_example_at_the_top_is_the_one_in_the_package() -> None:
    assert (REPOSITORY / "node.example.toml").read_text() == example_text()
