"""What a node is told: node.toml as typed values, with every mistake reported at once.

Precedence, key by key: flag, environment (`COLLECT_<SECTION>__<KEY>`), file, default.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from node import config_values as v
from node.config_sources import ConfigError, ConfigItem, Entry, current_folder, gather, is_there
from node.config_values import Address

__all__ = ["Address", "Config", "ConfigError", "ConfigItem", "example_text", "load"]

NAME = v.text(r"[A-Za-z0-9._-]{1,63}", "1 to 63 letters, digits or . _ -")

KEYS: dict[str, v.Parser] = {
    "node.name": NAME,
    "node.data_dir": v.path,
    "node.region": v.text(r"[a-z0-9]{1,9}", "1 to 9 lower-case letters or digits"),
    "node.zone": v.text(r"[A-Za-z0-9._-]{0,32}", "at most 32 letters, digits or . _ -"),
    "node.weight": v.number(0.01, 100),
    "node.labels": v.labels,
    "http.bind": v.address("127.0.0.1"),
    "http.advertise": v.reachable(65535),
    "http.token_file": v.existing_file,
    "http.tls_cert": v.existing_file,
    "http.tls_key": v.existing_file,
    "http.allowed_hosts": v.hosts,
    "http.insecure": v.flag,
    "mesh.bind": v.address("0.0.0.0", 65533),  # noqa: S104  (the mesh plane is encrypted and admits members only)
    "mesh.advertise": v.reachable(65533),
    "mesh.seeds": v.seeds,
    "mesh.mdns": v.flag,
    "mesh.key_file": v.file_or_pipe,
    "gossip.profile": v.choice("local", "lan", "wan"),
    "state.replicas": v.integer(1, 7),
    "state.durability": v.integer(1, 2),
    "state.retention": v.period(60.0),
    "state.region_takeover": v.period(1.0),
    "resources.workers": v.integer(0, 256),
    "resources.concurrency": v.integer(1, 10_000),
    "roots.*.path": v.folder,
    "roots.*.shared": v.flag,
    "network.allow": v.networks,
    "network.deny": v.networks,
    "log.level": v.choice("debug", "info", "warning", "error"),
    "log.format": v.choice("text", "json"),
}


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is. `weight`: its share of slots and shards, relative to the others'."""

    name: str
    data_dir: Path
    region: str = "local"
    zone: str = ""
    weight: float = 1.0
    labels: dict[str, str] = {}


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The API. `token_file` holds one bearer token; `allowed_hosts`: `Host` names beside loopback's;
    `insecure`: no TLS off loopback.
    """

    bind: Address = Address("127.0.0.1", 8700)
    advertise: Address | None = None
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    insecure: bool = False


class MeshConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh plane. `bind` takes the port and the next two; with port 0 free ones are chosen."""

    bind: Address = Address("0.0.0.0", 8701)  # noqa: S104
    advertise: Address | None = None
    seeds: tuple[str, ...] = ()
    mdns: bool = True
    key_file: Path | None = None


class GossipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`profile`: the timing of failure detection: local (one host), lan, wan."""

    profile: str = "lan"


class StateConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`replicas`: copies of each slot; `durability`: disks that hold a task before it is accepted; `retention`:
    seconds for which ended unnamed tasks are remembered; `region_takeover`: seconds until another region goes on with
    the tasks of one that is dead.
    """

    replicas: int = 3
    durability: int = 2
    retention: float = 30 * 86_400.0
    region_takeover: float = 60.0


class ResourcesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`workers`: processes for shards, 0 in the file is one a CPU; `concurrency`: shards at once."""

    workers: int
    concurrency: int = 64


class RootConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that plugins may touch. `shared`: the same folder on every node that declares it."""

    path: Path
    shared: bool = False


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """CIDR networks that plugins may (`allow`) or may not (`deny`) connect to, beside the built-in rules."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    level: str = "info"
    format: str = "text"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of node.toml. `source`: the file it came from, None where there was none."""

    source: Path | None
    node: NodeConfig
    http: HttpConfig
    mesh: MeshConfig
    gossip: GossipConfig
    state: StateConfig
    resources: ResourcesConfig
    roots: dict[str, RootConfig]
    network: NetworkConfig
    log: LogConfig


def load(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any], *, cwd: Path | None = None
) -> Config:
    """The configuration of this node. `flags`: "section.key" -> text or list of texts.

    `path` None: `node.toml` in the current folder (`cwd`), if there is one. Relative paths in the file start
    at the file's folder, all others at `cwd`. Raises ConfigError with every mistake.
    """
    cwd = cwd or current_folder()
    if path is None and is_there(cwd / "node.toml"):
        path = cwd / "node.toml"
    entries, items = gather(path, environ, flags, known=list(KEYS), cwd=cwd)
    values = _parse(entries, items)
    items += _contradictions(values, entries)
    if items:
        raise ConfigError(items)
    return _build(path, values, cwd)


def example_text() -> str:
    """A commented node.toml with every key; as it stands it changes no default."""
    return (Path(__file__).parent / "config_example.toml").read_text(encoding="utf-8")


def _parse(entries: Mapping[str, Entry], items: list[ConfigItem]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, entry in entries.items():
        section, *_, name = key.split(".")
        parser = KEYS[key if key in KEYS else f"{section}.*.{name}"]
        try:
            values[key] = parser(entry.raw, entry.base)
        except ValueError as error:
            items.append(ConfigItem(where=entry.where, key=key, value=entry.raw, message=f"must be {error}"))
    return values


def _contradictions(values: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[ConfigItem]:
    """What each key allows alone and the node refuses together."""

    def item(key: str, message: str) -> ConfigItem:
        entry = entries.get(key)
        where = entry.where if entry else "default"
        value = values.get(key)
        shown = str(value) if isinstance(value, Address) else value
        return ConfigItem(where=where, key=key, value=shown, message=message)

    found = []
    replicas, durability = values.get("state.replicas", 3), values.get("state.durability", 2)
    if replicas < durability:
        found.append(item("state.replicas", f"must be at least state.durability, which is {durability}"))
    for one, other in (("http.tls_cert", "http.tls_key"), ("http.tls_key", "http.tls_cert")):
        if values.get(one) and not _said(entries, other):
            found.append(item(one, f"needs {other} as well"))
    bind = values.get("http.bind", Address("127.0.0.1", 8700))
    if not bind.loopback:
        if not _said(entries, "http.token_file"):
            found.append(
                item("http.bind", "is not a loopback address: set http.token_file, or bind 127.0.0.1")
            )
        if not _said(entries, "http.tls_cert") and not values.get("http.insecure"):
            found.append(
                item(
                    "http.bind",
                    "is not a loopback address: set http.tls_cert and http.tls_key, or http.insecure = true",
                )
            )
    mesh = values.get("mesh.bind", Address("0.0.0.0", v.MESH_PORT))  # noqa: S104
    if mesh.port and 0 <= bind.port - mesh.port < v.MESH_PORTS and _one_host(bind, mesh):
        ports = f"mesh.bind takes ports {mesh.port} to {mesh.port + v.MESH_PORTS - 1}"
        said = "http.bind" in values or "mesh.bind" not in values
        found.append(
            item("http.bind", f"is in the way: {ports}; choose a port outside of these")
            if said
            else item("mesh.bind", f"is in the way: {ports}, and http.bind is {bind}; choose other ports")
        )
    found += [
        item(key, f"needs roots.{key.split('.')[1]}.path as well")
        for key in values
        if key.endswith(".shared") and key.removesuffix("shared") + "path" not in entries
    ]
    return found


def _one_host(one: Address, other: Address) -> bool:
    """Whether a port of one is a port of the other; two names of one host are not known as such."""
    hosts = {"127.0.0.1" if address.host == "localhost" else address.host for address in (one, other)}
    return len(hosts) == 1 or any(address.wild for address in (one, other))


def _said(entries: Mapping[str, Entry], key: str) -> bool:
    """Whether the user gave `key` a value at all (a wrong one is reported on its own)."""
    return key in entries and entries[key].raw != ""


def _build(source: Path | None, values: Mapping[str, Any], cwd: Path) -> Config:
    def section(name: str) -> dict[str, Any]:
        prefix = name + "."
        return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}

    node = {"name": _host_name(), **section("node")}
    node["data_dir"] = node.get("data_dir") or Path("~/.local/share/collect-node").expanduser()
    resources = section("resources")
    resources["workers"] = resources.get("workers") or os.cpu_count() or 1
    return Config(
        source=source,
        node=NodeConfig(**node),
        http=HttpConfig(**section("http")),
        mesh=MeshConfig(**section("mesh")),
        gossip=GossipConfig(**section("gossip")),
        state=StateConfig(**section("state")),
        resources=ResourcesConfig(**resources),
        roots=_roots(section("roots"), cwd),
        network=NetworkConfig(**section("network")),
        log=LogConfig(**section("log")),
    )


def _roots(values: Mapping[str, Any], cwd: Path) -> dict[str, RootConfig]:
    """The declared roots; without one named `default`, the current folder is it, unless that is `/`."""
    roots = {
        key.removesuffix(".path"): RootConfig(
            path=value, shared=values.get(key.removesuffix("path") + "shared", False)
        )
        for key, value in values.items()
        if key.endswith(".path")
    }
    if "default" not in roots and cwd != Path("/"):
        roots["default"] = RootConfig(path=cwd)
    return dict(sorted(roots.items()))


def _host_name() -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname())
    return name[:63] or "node"
