"""What two replicas must tell each other to become equal: digests, then heads, then the missing envelopes.

Only per-author sequences are compared. CRDT state vectors and diffs are never used: they mix authors and
hide or
drop what is pending.
"""

import hashlib
from collections.abc import Iterable, Mapping

from state.envelope import Writer
from state.ledger import Ledger


def digests(ledgers: Mapping[int, Ledger], slots: Iterable[int]) -> dict[int, bytes]:
    """Slot -> 8-byte hash, for the slots that hold anything."""
    found = ((slot, ledgers.get(slot)) for slot in slots)
    return {slot: ledger.hash for slot, ledger in found if ledger is not None and ledger.heads}


def root(slot_digests: Mapping[int, bytes]) -> bytes:
    """16 bytes over the digests of all given slots."""
    digest = hashlib.blake2b(digest_size=16)
    for slot in sorted(slot_digests):
        digest.update(slot.to_bytes(2 if slot < 1 << 16 else 8, "big"))
        digest.update(slot_digests[slot])
    return digest.digest()


def missing(mine: Mapping[Writer, int], theirs: Mapping[Writer, int]) -> list[tuple[Writer, int, int]]:
    """`(author, first, last)`: the envelopes that I hold and they lack, by author."""
    return [
        (author, theirs.get(author, 0) + 1, head)
        for author, head in sorted(mine.items())
        if head > theirs.get(author, 0)
    ]


def lacks(mine: Mapping[Writer, int], theirs: Mapping[Writer, int]) -> bool:
    """Whether they hold an envelope that I lack."""
    return any(head > mine.get(author, 0) for author, head in theirs.items())
