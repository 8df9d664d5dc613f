"""What is known: task state as CRDT ledgers, one a slot.

A ledger is a sequence of segments, each one CRDT document (`document`), written by replicas in envelopes
(`envelope`): `(segment, author, sequence, update)`, applied in the author's order and passed on verbatim.

Theory. Every key of a document has one writer, the life of a node that stands in the key itself, so a merge
never has to choose between two values of a key: the content of a ledger is the union of what its authors
wrote, and two replicas that hold the same envelopes hold the same content. What is contested between authors
(who ran what, what the user wished) is decided when it is *read*, by pure functions over all facts (`join`).
Facts are immutable where they can be; the rest are overwritten by their own writer only, later over earlier.

Invariants: a replica applies an author's envelopes of a slot without a gap, in order (`Ledger.apply`); an
author
is one boot of one node and never reuses a sequence number; no update is larger than 1 MiB or nested
(`prepass`).

`model` names the facts and their keys, `ledger` indexes a slot's facts, `join` reads them, `coverage` does
the
arithmetic of ranges, `sync` says what another replica lacks. `storage/` alone touches the disk; the rest is
pure.
May import gossip.identity, pycrdt (`document` only), pyroaring, msgspec, xxhash.
"""
