"""The join token: one string that says where a mesh is and proves the right to join it.

`cm1-` and Base32 of checksum (4 bytes) and body; the body is MessagePack `[kind, secret, addresses]`. Kind 0
carries the cluster key itself; addresses are join sockets, `host:port`. The checksum is against typing
errors.
"""

import hashlib
from dataclasses import dataclass, field

import msgspec

from node.security.keys import SECRET_LENGTH, ClusterKey, from_base32, to_base32
from node.transport.addresses import BadAddress, split

PREFIX = "cm1-"
CLUSTER_KEY = 0
CHECKSUM_LENGTH = 4


class BadToken(Exception):
    """The token cannot be used; the message says why and what to do, and never repeats the token."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`addresses`: join sockets to try, in this order; `cluster`: the key to keep once one has answered."""

    addresses: tuple[str, ...]
    cluster: ClusterKey = field(repr=False)

    def text(self) -> str:
        body = msgspec.msgpack.encode((CLUSTER_KEY, self.cluster.secret, self.addresses))
        return PREFIX + to_base32(_checksum(body) + body)


def parse_token(text: str) -> JoinToken:
    """Raises BadToken."""
    body = _body(text.strip())
    try:
        kind, secret, addresses = msgspec.msgpack.decode(body, type=tuple[int, bytes, tuple[str, ...]])
        for address in addresses:
            split(address)
    except (msgspec.MsgspecError, BadAddress) as error:
        raise BadToken(
            "the join token cannot be read: it was made by another version of collect-node"
        ) from error
    if kind != CLUSTER_KEY or len(secret) != SECRET_LENGTH:
        raise BadToken(
            f"the join token is of kind {kind}, this version knows kind {CLUSTER_KEY} only: upgrade"
        )
    return JoinToken(addresses, ClusterKey(secret))


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
