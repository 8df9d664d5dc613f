"""What is known: task state as CRDT ledgers, one a slot.

A ledger is a sequence of segments, each one CRDT document (`document`), written by replicas in envelopes
(`envelope`): `(segment, author, sequence, update)`, applied in the author's order and passed on verbatim.

Theory. Every key of a document has one writer, the life of a node that stands in the key itself, so a merge
never has to choose between two values of a key: the content of a ledger is the union of what its authors
wrote, and two replicas that hold the same envelopes hold the same content. What is contested between authors
(who ran what, what the user wished) is decided when it is *read*, by pure functions over all facts (`join`).
Facts are immutable where they can be; the rest are overwritten by their own writer only, later over earlier.

Invariants: a replica applies an author's envelopes of a slot without a gap, in order (`Ledger.apply`); an author is one
boot of one node and never reuses a sequence number; no update is larger than 1 MiB or nested (`prepass`).

Folding (`base`, `Ledger.fold`). As a replica holds of each author the envelopes `1..head`, the heads determine its
content, and any replica may replace its documents by a fold of them, alone and at any time: the facts of batches that
are over go to the archive (`storage.archive`), the others stay with their newest values, the documents and the log
before the fold are let go. A replica that lacks envelopes from before another's fold gets that fold instead, and takes
of it what is of authors that the other is ahead of. What was dropped there is dropped here; what only this one had
accepted stays, since its author's head says so. Late updates of folded segments are read by the pre-pass alone, which
is exact because every key has one author whose updates come in order. Whether such an update goes on at its author's
clock nobody knows any more: of a member gone wrong, a replica that has folded may take an update that one that has not
refuses. The latter gets the author's facts with the next fold of the former; nobody else's are touched.

This replaces segments that are copied forward one by one, as first drawn: that needed agreement of all replicas on
when a copy is complete, and a second numbering; a fold needs nobody, and the same digests go on to compare replicas.
`python -m tests.soak` measures memory, log and archive over the number of tasks (`docs/soak.md`).

`model` names the facts and their keys, `ledger` holds a slot's facts, `index` finds them, `join` reads them,
`coverage` does the arithmetic of ranges, `sync` says what another replica lacks. `storage/` alone touches the disk;
the rest is pure.
May import gossip.identity, pycrdt (`document` only), pyroaring, msgspec, xxhash.
"""
