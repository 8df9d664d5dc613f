"""Roster exchange: what two members tell each other so that both know the same of who may speak; pure but for
the clock that is handed in.

An offer is compared bucket by bucket; for each that differs the receiver answers with all it has there and
asks for what it lacks. News are entries that just changed, sent at once to all; offers repair what news
missed. Buckets keep a message small: 4096 entries of 150 bytes in 16 buckets are 38 kB each, under the
control plane's 64 KiB; one that is larger goes in pieces, as news, and the other side's offers bring what it has. Join
tickets and the cluster key go the same way: an offer names digests of both.

A key never travels without the revocation list, so that who gets it refuses the revoked from then on and does
not pass it on to them. No node undoes its own revocation: what it says of itself bears the verdicts known here.

What others say of a member that lives here, gossip judges: facts of a later life than the one that it speaks in are not
taken, and where they came first its own word takes them back (`lives`). Otherwise one member could name addresses of
another that nobody could ever correct.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from gossip.identity import Boot, NodeId
from node.portions import in_portions
from node.security.keyring import KeyRing
from node.security.roster import BUCKETS, BadRoster, Entry, Roster, bucket
from node.security.tickets import Ticket, Tickets

SINCE = 2
"""The protocol that has tickets, and keys that are replaced; before it their messages are not understood."""
PIECE = 48 * 1024
"""Bytes of entries or tickets in one message; the largest ticket has 15 kB."""

T = TypeVar("T", Entry, Ticket)


class Offer(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From any member to any other, every few seconds; answered by `Entries` for buckets that differ, by
    `TicketNews` and `KeyNews` where those do. `generation`: -1 from a version that has neither.
    """

    digests: tuple[bytes, ...]
    generation: int = -1
    key: bytes = b""
    tickets: bytes = b""


class Entries(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """News (bucket -1), or all the sender has in a bucket; answered by what the sender lacks."""

    entries: list[Entry]
    bucket: int = -1


class TicketNews(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Tickets that changed, to all; or all tickets, to a member that offered another digest."""

    tickets: list[Ticket]


class KeyNews(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """To a member whose key is older: the key, and who must not have it. Nothing answers it."""

    key: bytes
    revoked: list[Entry]


_encode = msgspec.msgpack.Encoder().encode
_messages: msgspec.msgpack.Decoder[Offer | Entries | TicketNews | KeyNews] = msgspec.msgpack.Decoder(
    Offer | Entries | TicketNews | KeyNews
)


class Exchange:
    """One side of the exchange. Without `tickets` and `ring` it is about the roster only. `lives`: the boot in which a
    node speaks, this one included; None where it is no live member.
    """

    def __init__(
        self,
        roster: Roster,
        tickets: Tickets | None = None,
        ring: KeyRing | None = None,
        lives: Callable[[NodeId], Boot | None] = lambda _: None,
    ) -> None:
        self._roster = roster
        self._lives = lives
        self._tickets = tickets
        self._ring = ring

    def offer(self, now: float = 0.0) -> bytes:
        digests = self._roster.view.digests
        if self._tickets is None or self._ring is None:
            return _encode(Offer(digests))
        generation = self._ring.current.generation
        return _encode(Offer(digests, generation, self._ring.digest(), self._tickets.digest(now)))

    def news(self, ids: Iterable[NodeId]) -> list[bytes]:
        """Messages that carry the entries of `ids`."""
        held = self._roster.view.entries
        entries = [held[id_] for id_ in sorted(ids) if id_ in held]
        return [_encode(Entries(piece)) for piece in _pieces(entries)]

    def key_news(self) -> list[bytes]:
        """Messages that carry the key, in the last of them, and the revocation list."""
        assert self._ring is not None
        *more, last = list(_pieces(self._roster.revoked())) or [[]]
        return [
            *(_encode(Entries(piece)) for piece in more),
            _encode(KeyNews(self._ring.current.packed(), last)),
        ]

    def receive(
        self, payload: bytes, sender: NodeId | None = None, now: float = 0.0
    ) -> tuple[Sequence[bytes], frozenset[NodeId]]:
        """Join what a message brings; what to answer its sender, and the ids whose entries changed.

        Raises BadRoster.
        """
        try:
            message = _messages.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRoster(f"no roster message: {error}") from error
        match message:
            case Offer():
                return self._compared(message, now), frozenset()
            case Entries():
                changed = self.take(message.entries, sender)
                return self._lacking(message), changed
            case TicketNews():
                return self._ticketed(message, now)
            case KeyNews():
                changed = self.take(message.revoked, sender)
                if self._ring is not None:
                    self._ring.join(message.key, now)
                return [], changed

    def take(self, entries: Iterable[Entry], sender: NodeId | None = None) -> frozenset[NodeId]:
        """Join what is to be believed of entries that another brings; the ids that changed. Raises BadRoster."""
        said = [self._said(entry, sender) for entry in entries]
        return self._roster.join(said) | self._roster.correct(
            entry for entry in said if entry.id == sender and entry.boot == self._lives(entry.id)
        )

    def _said(self, entry: Entry, sender: NodeId | None) -> Entry:
        """The entry as we take it from this sender."""
        known = self._roster.entry(entry.id)
        if entry.id == sender:
            return entry.judged(0 if known is None else known.judgement)
        boot = self._lives(entry.id)
        if known is not None and boot is not None and entry.boot > boot:
            return known.judged(max(known.judgement, entry.judgement))
        return entry

    def _compared(self, offer: Offer, now: float) -> list[bytes]:
        answers = self._differences(offer)
        if offer.generation < 0 or self._tickets is None or self._ring is None:
            return answers
        if offer.key != self._ring.digest():
            mine = self._ring.current.generation
            answers += self.key_news() if mine >= offer.generation else [self.offer(now)]
        if offer.tickets != self._tickets.digest(now):
            answers += ticket_news(self._tickets.all(now))
        return answers

    def _ticketed(self, message: TicketNews, now: float) -> tuple[Sequence[bytes], frozenset[NodeId]]:
        if self._tickets is None:
            return [], frozenset()
        changed = self._tickets.join(message.tickets, now)
        late = [node for ticket in changed for node in sorted(ticket.surplus)]
        revoked = frozenset(node for node in late if self._turn_out(node))
        return self.news(revoked), revoked

    def _turn_out(self, node: NodeId) -> bool:
        """Revoke who came in by a use that was spent; not again, where somebody has judged it since."""
        known = self._roster.entry(node)
        return known is not None and known.judgement == 0 and self._roster.revoke(node)

    def _differences(self, offer: Offer) -> list[bytes]:
        mine = self._roster.view.digests
        if len(offer.digests) != BUCKETS:
            raise BadRoster(f"an offer of {len(offer.digests)} buckets; expected {BUCKETS}")
        return [
            message
            for number in range(BUCKETS)
            if mine[number] != offer.digests[number]
            for message in self._whole(number)
        ]

    def _whole(self, number: int) -> list[bytes]:
        """All of a bucket."""
        pieces = list(_pieces(self._bucket(number)))
        if len(pieces) <= 1:
            return [_encode(Entries(pieces[0] if pieces else [], number))]
        return [_encode(Entries(piece)) for piece in pieces]

    def _lacking(self, message: Entries) -> list[bytes]:
        if message.bucket < 0:
            return []
        theirs = {entry.id: entry for entry in message.entries}
        lacking = [entry for entry in self._bucket(message.bucket) if theirs.get(entry.id) != entry]
        return [_encode(Entries(piece)) for piece in _pieces(lacking)]

    def _bucket(self, number: int) -> list[Entry]:
        return [entry for entry in self._roster.entries() if bucket(entry.id) == number]


def ticket_news(tickets: Sequence[Ticket]) -> list[bytes]:
    """Messages that carry these tickets."""
    return [_encode(TicketNews(piece)) for piece in _pieces(tickets)]


def _pieces(items: Sequence[T]) -> Iterator[list[T]]:
    """Of a message each."""
    return in_portions(items, lambda item: len(_encode(item)), PIECE)
