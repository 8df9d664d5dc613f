"""The node's own key and boot number, and the cluster key with all that is derived from it."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from gossip.identity import MAX_BOOT, Boot, NodeId, following_boot, node_id
from node.security.durable import replace

NODE_KEY_FILE = "node.key"
BOOT_FILE = "boot"
CLUSTER_KEY_FILE = "cluster.key"
CLUSTER_KEY_PREFIX = "cmk1-"
KEY_LENGTH = 40  # a CURVE key in Z85
SECRET_LENGTH = 32


class BadKey(Exception):
    """A key file cannot be used; the message names the file, what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A CURVE pair, both halves in Z85 (40 bytes). The secret half shows in no repr."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Who this node is: its CURVE pair and the id that is its public key's hash."""

    pair: Pair
    id: NodeId


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """What every member holds (32 bytes). Only `mesh_id` may be shown or advertised."""

    secret: bytes = field(repr=False)

    @property
    def mesh_id(self) -> str:
        """16 hex digits; public: mDNS advertises it."""
        return hashlib.blake2b(self.secret, digest_size=8, person=b"mesh-id").hexdigest()

    @property
    def join_server(self) -> Pair:
        """The pair of every join socket of this mesh."""
        return self._derive(b"join-server")

    @property
    def join_client(self) -> Pair:
        """The pair of those who join: who can use it holds the cluster key."""
        return self._derive(b"join-client")

    def text(self) -> str:
        """The content of a key file: one line."""
        return CLUSTER_KEY_PREFIX + to_base32(self.secret)

    def _derive(self, purpose: bytes) -> Pair:
        secret = z85.encode(hashlib.blake2b(self.secret, digest_size=32, person=purpose).digest())
        return Pair(zmq.curve_public(secret), secret)


def to_base32(data: bytes) -> str:
    """Lower case, no padding: one word that people can copy and read aloud."""
    return base64.b32encode(data).decode().rstrip("=").lower()


def from_base32(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))


def new_cluster_key() -> ClusterKey:
    return ClusterKey(secrets.token_bytes(SECRET_LENGTH))


def parse_cluster_key(text: str, where: str) -> ClusterKey:
    """The key in a key file's text. Raises BadKey that names `where`, never the value."""
    line = text.strip()
    try:
        secret = from_base32(line.removeprefix(CLUSTER_KEY_PREFIX))
    except ValueError:
        secret = b""
    if not line.startswith(CLUSTER_KEY_PREFIX) or len(secret) != SECRET_LENGTH:
        raise BadKey(
            f"{where} holds no cluster key (one line, {CLUSTER_KEY_PREFIX}…): "
            f"copy {CLUSTER_KEY_FILE} from the data directory of a member"
        )
    return ClusterKey(secret)


def read_cluster_key(path: Path) -> ClusterKey:
    """Raises BadKey when the file is absent, unreadable or no key."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise BadKey(f"cannot read the key file {path}: {error.strerror}") from error
    return parse_cluster_key(text, str(path))


def load_cluster_key(data_dir: Path) -> ClusterKey | None:
    """The key of the mesh that this directory has joined; None when it has joined none."""
    path = data_dir / CLUSTER_KEY_FILE
    if not path.exists():
        return None
    _require_private(path)
    return read_cluster_key(path)


def store_cluster_key(data_dir: Path, key: ClusterKey) -> None:
    replace(data_dir / CLUSTER_KEY_FILE, key.text().encode() + b"\n")


def load_keys(data_dir: Path) -> NodeKeys:
    """The pair in this data directory, made on first use. Raises BadKey."""
    path = data_dir / NODE_KEY_FILE
    if not path.exists():
        public, secret = zmq.curve_keypair()
        replace(path, secret + b"\n")
        return NodeKeys(Pair(public, secret), node_id(public))
    _require_private(path)
    secret = path.read_bytes().strip()
    try:
        public = zmq.curve_public(secret)
    except (ValueError, KeyError, zmq.ZMQError) as error:
        raise BadKey(
            f"{path} holds no node key: restore it from a backup, or remove it to start as a new node"
        ) from error
    return NodeKeys(Pair(public, secret), node_id(public))


def raise_boot(data_dir: Path, above: int = 0, clock: Callable[[], float] = time.time) -> Boot:
    """The boot of the life that begins now, durable before it is used. Raises BadKey.

    `above`: a boot that others have seen of us (after the data directory was restored from a backup).
    """
    return store_boot(data_dir, next_boot(data_dir, above, clock))


def store_boot(data_dir: Path, boot: Boot) -> Boot:
    """From now on this boot, and all below it, are used."""
    replace(data_dir / BOOT_FILE, b"%d\n" % boot)
    return boot


def next_boot(data_dir: Path, above: int = 0, clock: Callable[[], float] = time.time) -> Boot:
    """What `raise_boot` would answer; changes nothing, for a start that may yet be refused. Raises BadKey."""
    path = data_dir / BOOT_FILE
    last = path.read_bytes().strip() if path.exists() else b"0"
    if not last.isdigit() or int(last) >= MAX_BOOT:
        raise BadKey(
            f"{path} holds no boot number: write the last one of `collect cluster`, or 1 for a new node"
        )
    return following_boot(max(int(last), above), clock())


def _require_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise BadKey(f"{path} can be read by others: chmod 600 {path}")
