"""Roster exchange: what two members tell each other so that both hold the join of their rosters; pure.

An offer is compared bucket by bucket; for each that differs the receiver answers with all it has there and
asks for what it lacks. News are entries that just changed, sent at once to all; offers repair what news
missed. Buckets keep a message small: 4096 entries of 150 bytes in 16 buckets are 38 kB each, under the
control plane's 64 KiB.
"""

from collections.abc import Iterable, Sequence

import msgspec

from gossip.identity import NodeId
from node.security.roster import BUCKETS, BadRoster, Entry, Roster, bucket

NEWS_CHUNK = 100


class Offer(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From any member to any other, every few seconds; answered by `Entries` for buckets that differ."""

    digests: tuple[bytes, ...]


class Entries(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """News (bucket -1), or all the sender has in a bucket; answered by what the sender lacks."""

    entries: list[Entry]
    bucket: int = -1


_encode = msgspec.msgpack.Encoder().encode
_messages: msgspec.msgpack.Decoder[Offer | Entries] = msgspec.msgpack.Decoder(Offer | Entries)


class Exchange:
    """One side of the exchange over one roster."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def offer(self) -> bytes:
        return _encode(Offer(self._roster.view.digests))

    def news(self, ids: Iterable[NodeId]) -> list[bytes]:
        """Messages that carry the entries of `ids`."""
        held = self._roster.view.entries
        entries = [held[id_] for id_ in sorted(ids) if id_ in held]
        return [_encode(Entries(entries[at : at + NEWS_CHUNK])) for at in range(0, len(entries), NEWS_CHUNK)]

    def receive(self, payload: bytes) -> tuple[Sequence[bytes], frozenset[NodeId]]:
        """Join what a message brings into the roster; what to answer its sender, and the ids that changed.

        Raises BadRoster.
        """
        try:
            message = _messages.decode(payload)
        except msgspec.MsgspecError as error:
            raise BadRoster(f"no roster message: {error}") from error
        if isinstance(message, Offer):
            return self._differences(message), frozenset()
        changed = self._roster.join(message.entries)
        return self._lacking(message), changed

    def _differences(self, offer: Offer) -> list[bytes]:
        mine = self._roster.view.digests
        if len(offer.digests) != BUCKETS:
            raise BadRoster(f"an offer of {len(offer.digests)} buckets; expected {BUCKETS}")
        return [
            _encode(Entries(self._bucket(number), number))
            for number in range(BUCKETS)
            if mine[number] != offer.digests[number]
        ]

    def _lacking(self, message: Entries) -> list[bytes]:
        if message.bucket < 0:
            return []
        theirs = {entry.id: entry for entry in message.entries}
        lacking = [entry for entry in self._bucket(message.bucket) if theirs.get(entry.id) != entry]
        return [_encode(Entries(lacking))] if lacking else []

    def _bucket(self, number: int) -> list[Entry]:
        return [entry for entry in self._roster.entries() if bucket(entry.id) == number]
