"""Whether what the mesh holds is what was written: `collect verify`, and what `--repair` mends.

Four comparisons, each of two things that were made independently:

logs      every record of each node's log is read again (`disk`): its checksum, and that the envelope that the
          node's index expects there is there. Repair (`mending`): what lies in a damaged file is sound in memory, so
          its slots are folded, and the file is put aside as `*.damaged` or let go. What a salvage left out is
          fetched by anti-entropy, and named here as long as it is missing.
archives  every row and base of each node's archive is read again (`state.storage.audit`): its checksum, and how the
          pages of the file fit together. Repair (`archives`): a base is written again from memory, a row is taken
          from another replica. So is a row that another replica has archived and of which this one knows nothing.
replicas  for each slot the heads and the content hash of every live replica (`comparing`). Heads that stay
          behind are repaired by anti-entropy once the logs are; equal heads with different content cannot come
          from messages that were lost, and are told with the remedy, never overwritten.
outputs   the manifest of each file sink of a finished task against its files, its commit records and the
          ledger (`outputs`), read on a node that has the root. Repair: a manifest is written again from the
          commit records; rows that are gone have to be collected again, which is the user's decision.

Everything is asked for in small pieces, so that a busy node goes on with its work; a slot that changes while it
is looked at is looked at again. What cannot be checked (a node that does not answer, a root on no live node) is
said, and is not the same as sound.

`verifier` asks all nodes and tells what it finds, line by line; `answers` is what one node answers.
"""
