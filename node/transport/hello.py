"""What is said at a join socket, by whom, and the ways in which it can fail.

    client   Hello    (version, its entry, its proof)
    server   Welcome  (version, its entry, the whole roster), or Refusal (code, message)

The client connects with its node key, so that CURVE proves that it holds the secret half of the key that it
wants on the roster; the server takes the key from the connection, never from the body. The proof is a keyed
hash of that key under the cluster key: it shows that the client holds the cluster key, and is of no use to
anybody else. That the server holds it is shown by its CURVE pair, which is derived from it. A client with a
one-time token shows its secret instead, and is told the cluster key with the welcome; that connection is
encrypted to its own key and to the key of the join sockets, which the token names.
"""

import enum

import msgspec

from node.security.roster import Entry

VERSION = 2
"""1: the connection was made with a key that all newcomers shared, so an entry could name any node."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From a node that wants to be on the roster, to any member's join socket."""

    version: int
    entry: Entry
    proof: bytes = b""
    ticket: bytes = b""


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer to a hello that was accepted: who answers, and all members; `key` only for a ticket."""

    version: int
    entry: Entry
    roster: list[Entry]
    key: bytes = b""


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The answer to a hello that was not accepted; nothing was changed."""

    code: str
    message: str


encode = msgspec.msgpack.Encoder().encode
decode_hello = msgspec.msgpack.Decoder(Hello).decode
decode_answer: "msgspec.msgpack.Decoder[Welcome | Refusal]" = msgspec.msgpack.Decoder(Welcome | Refusal)


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises; only the first is the library's own."""


class JoinReason(enum.StrEnum):
    UNREACHABLE = "unreachable"
    WRONG_KEY = "wrong key"
    NO_ANSWER = "no answer"
    VERSION = "version"
    REVOKED = "revoked"
    REFUSED = "refused"
    TICKET = "token"


class JoinFailed(Exception):
    """Not on that mesh's roster. `reason` decides whether to try again; the text is for people."""

    def __init__(self, reason: JoinReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
