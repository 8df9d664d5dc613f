"""The join token: one string that says where a mesh is and proves the right to join it.

`cm1-` and Base32 of checksum (4 bytes) and body; the body is MessagePack, `[kind, secret, addresses, …]`;
addresses are join sockets, `host:port`. The checksum is against typing errors.

    kind 0   the secret is the cluster key itself, the first of its mesh (32 bytes)
    kind 1   one-time: the secret of a ticket (16 bytes), then the public key of the join sockets (32 bytes), so
             that the secret is told to a member only, and the id of the mesh (8 bytes)
    kind 2   the secret is a cluster key that was rotated (44 bytes)
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
from zmq.utils import z85

from node.security.keys import ClusterKey, from_base32, to_base32, unpack_cluster_key
from node.security.tickets import SECRET_LENGTH as TICKET_LENGTH
from node.transport.addresses import BadAddress, split

PREFIX = "cm1-"
CLUSTER_KEY = 0
ONE_TIME = 1
ROTATED_KEY = 2
CHECKSUM_LENGTH = 4
RAW_KEY_LENGTH = 32
MESH_LENGTH = 8


class BadToken(Exception):
    """The token cannot be used; the message says why and what to do, and never repeats the token."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`addresses`: join sockets to try, in this order; `cluster`: the key to keep once one has answered."""

    addresses: tuple[str, ...]
    cluster: ClusterKey = field(repr=False)

    @property
    def mesh_id(self) -> str:
        return self.cluster.mesh_id

    def text(self) -> str:
        kind = ROTATED_KEY if self.cluster.generation else CLUSTER_KEY
        return _text((kind, self.cluster.packed(), self.addresses))


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """`addresses`: join sockets, of the node that issued it first; `server_key`: theirs (Z85)."""

    addresses: tuple[str, ...]
    secret: bytes = field(repr=False)
    server_key: bytes
    mesh_id: str

    def text(self) -> str:
        key, mesh = z85.decode(self.server_key), bytes.fromhex(self.mesh_id)
        return _text((ONE_TIME, self.secret, self.addresses, key, mesh))


def parse_token(text: str) -> JoinToken | OneTimeToken:
    """Raises BadToken."""
    body = _body(text.strip())
    try:
        kind, secret, addresses, *more = msgspec.msgpack.decode(body, type=tuple[Any, ...])
        if kind not in (CLUSTER_KEY, ONE_TIME, ROTATED_KEY):
            raise BadToken(
                f"the join token is of kind {kind}, this version knows kinds 0 to {ROTATED_KEY} only: upgrade"
            )
        for address in addresses:
            split(address)
        if kind == ONE_TIME:
            return _one_time(tuple(addresses), secret, *more)
        return JoinToken(tuple(addresses), unpack_cluster_key(secret))
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError, BadAddress) as error:
        raise BadToken(
            "the join token cannot be read: it was made by another version of collect-node"
        ) from error


def _one_time(addresses: tuple[str, ...], secret: bytes, key: bytes, mesh: bytes, *_: Any) -> OneTimeToken:
    """Raises ValueError, TypeError. Further elements are a later version's."""
    if (len(secret), len(key), len(mesh)) != (TICKET_LENGTH, RAW_KEY_LENGTH, MESH_LENGTH) or not addresses:
        raise ValueError("a one-time token with a part of another length")
    return OneTimeToken(addresses, secret, z85.encode(key), mesh.hex())


def _text(body: tuple[Any, ...]) -> str:
    encoded = msgspec.msgpack.encode(body)
    return PREFIX + to_base32(_checksum(encoded) + encoded)


def _body(text: str) -> bytes:
    if not text.startswith(PREFIX):
        raise BadToken(f"a join token begins with {PREFIX}: copy the whole of what a member printed")
    try:
        data = from_base32(text.removeprefix(PREFIX))
    except ValueError as error:
        raise BadToken("the join token has a character that no token has: copy it again") from error
    checksum, body = data[:CHECKSUM_LENGTH], data[CHECKSUM_LENGTH:]
    if checksum != _checksum(body):
        raise BadToken("the join token is damaged (its checksum is wrong): copy it again, the whole of it")
    return body


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_LENGTH, person=b"join-token").digest()
