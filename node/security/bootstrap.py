"""What a node does at its start: found a mesh, join one, go on in one, or refuse; decided from what it was
given.

    data directory has a key   go on; `--join` and `--key-file` must then name the same mesh; of two keys of one
                               mesh the later counts, so what was right at the first start stays right
    --join and --key-file      must name the same mesh; the token counts
    --join TOKEN               keep the key of the token, or the one that a member gives for a one-time token;
                               try the token's addresses
    --key-file FILE            keep that key
    none of these              a folder with a roster was of a mesh, and has lost its key: refuse. Else look for a mesh
                               by mDNS; found: refuse and say how to join; none: make a cluster key, a mesh of one
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from node.discovery.mdns import Found, find
from node.security.keys import (
    CLUSTER_KEY_FILE,
    ClusterKey,
    load_cluster_key,
    new_cluster_key,
    read_cluster_key,
    store_cluster_key,
)
from node.security.roster import ROSTER_FILE
from node.security.token import OneTimeToken, parse_token

SEARCH = 3.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user said. `seeds` counts as "there is a mesh": without a key it is refused."""

    join: str | None = None
    key_file: Path | None = None
    seeds: tuple[str, ...] = ()
    mdns: bool = True


@dataclass(frozen=True, slots=True)
class Start:
    """The key is in the data directory. `founded`: a new mesh; `addresses`: join sockets to try first."""

    cluster: ClusterKey = field(repr=False)
    founded: bool = False
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing was changed; `message` says what to do. The caller prints it and exits 2."""

    message: str


Finder = Callable[[float], Awaitable[list[Found]]]
Enter = Callable[[OneTimeToken], Awaitable[ClusterKey]]
"""Joins by a one-time token; the key is in the data directory then."""


async def decide(
    data_dir: Path, given: Given, finder: Finder = find, enter: Enter | None = None
) -> Start | Refuse:
    """Raises BadKey, BadToken for what cannot be read, and what `enter` raises."""
    held = load_cluster_key(data_dir)
    token = parse_token(given.join) if given.join is not None else None
    addresses = token.addresses if token else ()
    filed = read_cluster_key(given.key_file) if given.key_file else None
    if token and filed and token.mesh_id != filed.mesh_id:
        return Refuse(two_meshes(token.mesh_id, filed.mesh_id))
    if isinstance(token, OneTimeToken):
        if held is not None and held.mesh_id != token.mesh_id:
            return Refuse(_elsewhere(data_dir, held, token.mesh_id))
        if held is None:
            assert enter is not None
            return Start(await enter(token), addresses=addresses)
        return Start(held, addresses=addresses)
    named = token.cluster if token else filed
    if held and named and held.mesh_id != named.mesh_id:
        return Refuse(_elsewhere(data_dir, held, named.mesh_id))
    if held is None and named is None:
        return await _without_key(data_dir, given, finder)
    return Start(_later(data_dir, held, named), addresses=addresses)


def _later(data_dir: Path, held: ClusterKey | None, named: ClusterKey | None) -> ClusterKey:
    """The later of the two, which is in the directory then."""
    if named is not None and (held is None or named.replaces(held)):
        store_cluster_key(data_dir, named)
        return named
    assert held is not None
    return held


async def _without_key(data_dir: Path, given: Given, finder: Finder) -> Start | Refuse:
    if given.seeds:
        return Refuse(f"--seed {given.seeds[0]} names a mesh, but this node has no key to it. {REMEDY}")
    if (data_dir / ROSTER_FILE).exists():
        return Refuse(
            f"{data_dir} is of a mesh, but has no {CLUSTER_KEY_FILE}; no second mesh was started. {REMEDY} "
            "To start a new mesh, use another --data-dir."
        )
    if given.mdns:
        found = await finder(SEARCH)
        if found:
            return Refuse(_found(found))
    cluster = new_cluster_key()
    store_cluster_key(data_dir, cluster)
    return Start(cluster, founded=True)


REMEDY = (
    "Start it with `--join TOKEN` (`collect token join` on a member makes one), or with `--key-file FILE`, "
    "a copy of cluster.key from a member's data directory."
)


def two_meshes(token: str, key_file: str) -> str:
    """Of a token and a key file of different meshes."""
    return f"--join is of mesh {token}, and mesh.key_file of mesh {key_file}: leave out the one that is not meant"


def _found(found: list[Found]) -> str:
    where = ", ".join(sorted({f"{each.join} (mesh {each.mesh})" for each in found})[:5])
    return (
        f"there is a mesh on this network: {where}. No second one was started. {REMEDY} "
        "To start a separate mesh all the same, use --no-mdns."
    )


def _elsewhere(data_dir: Path, held: ClusterKey, named: str) -> str:
    return (
        f"{data_dir} belongs to mesh {held.mesh_id}, the key given is of mesh {named}. "
        "Use another --data-dir, or start without --join and --key-file to go on in the first."
    )
