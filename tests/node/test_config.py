"""Configuration from real files, environments and flags: precedence, types, and all mistakes at once."""

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
    ],
)
def test_one_mistake(tmp_path: Path, text: str, where: str, part: str) -> None:
    file = write(tmp_path, text)
    (line,) = mistakes(file, {}, {}, tmp_path)
    assert line.startswith(f"{file}{where}:")
    assert part in line


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
    ("http", "mesh", "wrong"),
    [
        ("127.0.0.1:8702", None, True),
        ("127.0.0.1:8700", "127.0.0.1:8698", True),
        ("127.0.0.1:8700", "10.0.0.1:8700", False),
        ("127.0.0.1:8704", "127.0.0.1:8701", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_http_does_not_take_one_of_the_mesh_ports(
    tmp_path: Path, http: str, mesh: str | None, *, wrong: bool
) -> None:
    """The node said that another process listens there; it was the node itself."""
    flags = {"http.bind": http} | ({"mesh.bind": mesh} if mesh else {})
    if not wrong:
        load(None, {}, flags, cwd=tmp_path)
        return
    with pytest.raises(
        ConfigError, match=r"http\.bind = .* is one of the mesh ports, which are 8\d+ to 8\d+"
    ):
        load(None, {}, flags, cwd=tmp_path)


def test_example_changes_no_default_and_names_every_key(tmp_path: Path) -> None:
    file = write(tmp_path, example_text())
    example, plain = load(file, {}, {}, cwd=tmp_path), load(None, {}, {}, cwd=tmp_path / "..")
    for section in ("node", "http", "mesh", "gossip", "state", "resources", "network", "log"):
        assert getattr(example, section) == getattr(plain, section)
        for key in getattr(plain, section).__struct_fields__:
            assert f"\n{key} = " in example_text() or f"\n# {key} = " in example_text(), (section, key)


def test_example_at_the_top_is_the_one_in_the_package() -> None:
    assert (REPOSITORY / "node.example.toml").read_text() == example_text()
