"""Join tickets: what all members know of each one-time token, so that any of them can admit its bearer.

A ticket holds the hash of the token's secret, never the secret. Two copies are joined by the union of who used
it, the earlier expiry, the smaller number of uses, and a withdrawal that stays: a lattice join.

A member redeems a ticket on what it knows, and tells all others at once. Two members that cannot hear each other
may both redeem the last use. When they meet, both see it, and revoke those who came too late (`surplus`): the
first uses by time, then id, stand. So single use holds at one member always, in the mesh after the heal.
Expiry goes by the wall clock of the member that admits. A ticket is forgotten a week after its expiry.

Used on one loop; `encode` may be called on any thread.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from gossip.identity import NodeId
from node.security.durable import replace
from node.security.roster import BadRoster

TICKETS_FILE = "tickets"
VERSION = 1
MAX_TICKETS = 256
MAX_USES = 100
MAX_LIFE = 30 * 86_400
"""Seconds from now to the furthest expiry."""
KEPT = 7 * 86_400
"""Seconds after its expiry for which a ticket is remembered: a cut longer than that hides a double use."""
MAX_CLAIMS = 2 * MAX_USES
MAX_ID = 64
SECRET_LENGTH = 16
VERIFIER_LENGTH = 32


class TicketRefused(Exception):
    """The token is not good (any more); nothing was changed. The text is for people."""


class Ticket(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """`expires`: Unix seconds. `used`: (node, Unix milliseconds) of each admission, sorted by node."""

    verifier: bytes
    expires: int
    uses: int
    issuer: NodeId
    used: tuple[tuple[NodeId, int], ...] = ()
    withdrawn: bool = False

    @property
    def id(self) -> str:
        """What people call it; says nothing of the secret."""
        return self.verifier[:6].hex()

    @property
    def order(self) -> list[NodeId]:
        """Who used it, first come first."""
        return [node for _, node in sorted((at, node) for node, at in self.used)]

    @property
    def surplus(self) -> frozenset[NodeId]:
        """Who used it although its uses were spent, as is seen now that all are known."""
        return frozenset(self.order[self.uses :])

    def good(self, now: float) -> bool:
        """Whether it would let somebody new in."""
        return self.obstacle(NodeId(""), now) is None

    def joined(self, other: "Ticket") -> "Ticket":
        used = dict(self.used)
        for node, at in other.used:
            used[node] = min(at, used.get(node, at))
        return Ticket(
            verifier=self.verifier,
            expires=min(self.expires, other.expires),
            uses=min(self.uses, other.uses),
            issuer=min(self.issuer, other.issuer),
            used=tuple(sorted(used.items())),
            withdrawn=self.withdrawn or other.withdrawn,
        )

    def check(self, now: float) -> None:
        """Raises BadRoster."""
        sound = (
            len(self.verifier) == VERIFIER_LENGTH
            and 1 <= self.uses <= MAX_USES
            and _id(self.issuer)
            and len(self.used) <= MAX_CLAIMS
            and 0 <= self.expires <= now + 2 * MAX_LIFE
            and all(0 <= at < 1 << 53 and _id(node) for node, at in self.used)
        )
        if not sound:
            raise BadRoster("a join ticket out of bounds")

    def obstacle(self, node: NodeId, now: float) -> str | None:
        """Why it does not admit this node now. Who was admitted by it is admitted again: its answer was lost."""
        if self.withdrawn:
            return "was withdrawn"
        if now >= self.expires:
            return "has expired"
        if len(self.used) >= self.uses and node not in dict(self.used):
            return "has been used"
        return None


class _File(msgspec.Struct, array_like=True):
    version: int
    tickets: list[Ticket]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_File).decode


class Tickets:
    """All tickets that this member knows. `path`: where `save` puts them."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._held: Mapping[bytes, Ticket] = {}

    @classmethod
    def load(cls, path: Path, now: float) -> "Tickets":
        """Raises BadRoster for a damaged file."""
        tickets = cls(path)
        if path.exists():
            try:
                tickets.join(_decode(path.read_bytes()).tickets, now)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadRoster) as error:
                raise BadRoster(
                    f"{path} is damaged ({error}): remove it; outstanding join tokens then come back from "
                    "the other members"
                ) from error
        return tickets

    def save(self) -> None:
        """Durable on return."""
        if self._path is not None:
            replace(self._path, self.encode())

    def issue(self, *, uses: int, life: float, issuer: NodeId, now: float) -> tuple[Ticket, bytes]:
        """A new ticket and its secret, which is kept nowhere. Raises BadRoster where there are too many."""
        secret = secrets.token_bytes(SECRET_LENGTH)
        ticket = Ticket(verifier=verifier_of(secret), expires=int(now + life), uses=uses, issuer=issuer)
        self.join([ticket], now)
        return ticket, secret

    def redeem(self, secret: bytes, node: NodeId, now: float) -> Ticket:
        """Count a use by this node, here at once. Raises TicketRefused."""
        ticket = self._held.get(verifier_of(secret))
        if ticket is None:
            raise TicketRefused("the join token is not known here: it is of another mesh, or long expired")
        obstacle = ticket.obstacle(node, now)
        if obstacle is not None:
            raise TicketRefused(
                f"the join token {ticket.id} {obstacle}; make another with `collect token join`"
            )
        used = msgspec.structs.replace(ticket, used=((node, int(now * 1000)),))
        self.join([used], now)
        return self._held[ticket.verifier]

    def withdraw(self, id_: str, now: float) -> Ticket | None:
        """Let nobody in by it any more; None: there is no such ticket."""
        for ticket in self.all(now):
            if ticket.id == id_:
                self.join([msgspec.structs.replace(ticket, withdrawn=True)], now)
                return self._held[ticket.verifier]
        return None

    def join(self, tickets: Iterable[Ticket], now: float) -> list[Ticket]:
        """Join copies into these; those that changed. Raises BadRoster, then nothing has changed."""
        held = {key: ticket for key, ticket in self._held.items() if _remembered(ticket, now)}
        changed = []
        for ticket in tickets:
            ticket.check(now)
            after = held.get(ticket.verifier, ticket).joined(ticket)
            after.check(now)
            if _remembered(after, now) and after != held.get(ticket.verifier):
                held[ticket.verifier] = after
                changed.append(after)
        if len(held) > MAX_TICKETS:
            raise BadRoster(f"there are {MAX_TICKETS} join tokens already: withdraw some, or wait")
        self._held = held
        return changed

    def all(self, now: float) -> list[Ticket]:
        """Those not forgotten, by expiry."""
        found = [ticket for ticket in self._held.values() if _remembered(ticket, now)]
        return sorted(found, key=lambda ticket: (ticket.expires, ticket.verifier))

    def encode(self) -> bytes:
        return _encode(_File(VERSION, sorted(self._held.values(), key=lambda ticket: ticket.verifier)))

    def digest(self, now: float) -> bytes:
        """16 bytes; equal for equal tickets."""
        return hashlib.blake2b(_encode(self.all(now)), digest_size=16).digest()


def verifier_of(secret: bytes) -> bytes:
    return hashlib.blake2b(secret, digest_size=VERIFIER_LENGTH, person=b"join-ticket").digest()


def _id(node: NodeId) -> bool:
    return len(node) <= MAX_ID and node.isascii()


def _remembered(ticket: Ticket, now: float) -> bool:
    return now < ticket.expires + KEPT
