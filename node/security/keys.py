"""The node's own key and boot counter, and the cluster key with all that is derived from it."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from gossip.identity import Boot, NodeId, node_id
from gossip.member import MAX_BOOT
from node.security.durable import replace

NODE_KEY_FILE = "node.key"
BOOT_FILE = "boot"
_BOOT_EPOCH = 1_735_689_600
"""2025-01-01 in UTC, seconds since the epoch."""
_BOOT_ROOM = 2**30
"""Half of the range of boots: however wrong a clock is, lives can still be counted."""
CLUSTER_KEY_FILE = "cluster.key"
CLUSTER_KEY_PREFIX = "cmk1-"
ROTATED_KEY_PREFIX = "cmk2-"
KEY_LENGTH = 40  # a CURVE key in Z85
SECRET_LENGTH = 32
MESH_LENGTH = 8
GENERATION_LENGTH = 4
ROTATED_LENGTH = SECRET_LENGTH + GENERATION_LENGTH + MESH_LENGTH


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
    """What every member holds, and a newcomer proves. Only `mesh_id` may be shown or advertised.

    `generation`: how often it was rotated; `mesh`: the id of the mesh (8 bytes), which outlives the first key;
    empty in that one, since the id is its hash.
    """

    secret: bytes = field(repr=False)
    generation: int = 0
    mesh: bytes = b""

    @property
    def mesh_id(self) -> str:
        """16 hex digits; public: mDNS advertises it."""
        return self.mesh.hex() or hashlib.blake2b(self.secret, digest_size=8, person=b"mesh-id").hexdigest()

    @property
    def join_server(self) -> Pair:
        """The pair of every join socket of this mesh."""
        secret = z85.encode(hashlib.blake2b(self.secret, digest_size=32, person=b"join-server").digest())
        return Pair(zmq.curve_public(secret), secret)

    def proof(self, public_key: bytes) -> bytes:
        """What only a holder of this key can say of its own public key; of no use to any other key."""
        said = public_key + self.join_server.public
        return hashlib.blake2b(said, digest_size=32, key=self.secret, person=b"join-proof").digest()

    def rotated(self) -> "ClusterKey":
        """The next generation of this mesh's key, from fresh chance."""
        return ClusterKey(
            secrets.token_bytes(SECRET_LENGTH), self.generation + 1, bytes.fromhex(self.mesh_id)
        )

    def replaces(self, other: "ClusterKey") -> bool:
        """Whether this one is the later of two keys of one mesh; two rotations at once: the larger secret."""
        return self.mesh_id == other.mesh_id and (
            (self.generation, self.secret) > (other.generation, other.secret)
        )

    def packed(self) -> bytes:
        """32 bytes for a first key, 44 for a rotated one."""
        if not self.generation:
            return self.secret
        return self.secret + self.generation.to_bytes(GENERATION_LENGTH, "big") + self.mesh

    def text(self) -> str:
        """The content of a key file: one line."""
        prefix = ROTATED_KEY_PREFIX if self.generation else CLUSTER_KEY_PREFIX
        return prefix + to_base32(self.packed())


def unpack_cluster_key(data: bytes) -> ClusterKey:
    """Raises ValueError."""
    if len(data) == SECRET_LENGTH:
        return ClusterKey(data)
    if len(data) != ROTATED_LENGTH:
        raise ValueError("no cluster key")
    generation = int.from_bytes(data[SECRET_LENGTH:-MESH_LENGTH], "big")
    if not generation:
        raise ValueError("a first key has no mesh id beside it")
    return ClusterKey(data[:SECRET_LENGTH], generation, data[-MESH_LENGTH:])


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
        key = unpack_cluster_key(from_base32(line.partition("-")[2]))
        if line.lower() != key.text():
            raise ValueError("another form")
    except ValueError:
        raise BadKey(
            f"{where} holds no cluster key (one line, {CLUSTER_KEY_PREFIX}…): "
            f"copy {CLUSTER_KEY_FILE} from the data directory of a member"
        ) from None
    return key


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


def boot_floor(wall_s: float) -> int:
    """A boot that all lives of the past lie below: whole seconds since 2025, as the clock says.

    A counter alone would be repeated by a node whose data directory was restored from a backup, or which kept only
    its key; then its envelopes would bear the sequence numbers of others that the replicas hold already.
    """
    return max(0, min(int(wall_s) - _BOOT_EPOCH, _BOOT_ROOM))


def raise_boot(data_dir: Path, above: int = 0) -> Boot:
    """The boot of the life that begins now: the last plus one, durable before it is used. Raises BadKey.

    `above`: a boot that others have seen of us (after the data directory was restored from a backup).
    """
    boot = next_boot(data_dir, above)
    replace(data_dir / BOOT_FILE, b"%d\n" % boot)
    return boot


def next_boot(data_dir: Path, above: int = 0) -> Boot:
    """What `raise_boot` will answer; changes nothing, for a start that may yet be refused. Raises BadKey."""
    path = data_dir / BOOT_FILE
    last = path.read_bytes().strip() if path.exists() else b"0"
    if not last.isdigit() or len(last) > 10 or int(last) >= MAX_BOOT:
        raise BadKey(
            f"{path} holds no boot counter: write the last one of `collect cluster`, or 1 for a new node"
        )
    return Boot(max(int(last), above) + 1)


def _require_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise BadKey(f"{path} can be read by others: chmod 600 {path}")
