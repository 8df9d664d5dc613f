"""Majority leases: of a slot for tasks with `on_partition = "pause"`, and of the locks that users name. Pure but for
`file` and `service`.

Theory. A lease has a name and a slot; the slot's replicas are its *voters*. Each voter keeps, durably, the largest
token that it has promised to a name and whom it granted it to. A token is `(epoch, writer, boot)`. To take a lease is
to be granted it by a strict majority of the voters with an epoch above all that were seen; to renew it is to be
granted the same token again.

- A voter answers only when what it promises is durable. It refuses an epoch that is not above its promise, also an
  equal one of another writer, and any other writer while its grant may be in force.
- A lock that nobody can have held for an hour is forgotten, so that locks with ever new names fill neither memory nor
  the exchange of maps: the voter keeps the largest epoch of all that it forgot, and grants no lock one that is not
  above that. Epochs of a name skip, and only grow.
- The holder counts from the time at which it *sent* the request: it stops at `sent + ttl - margin`. A voter waits
  `ttl + margin` after it last granted; after a restart, from the restart. The margin is 2/15 of the ttl, which covers
  clocks that drift by 1 % against each other, and the time that a stop takes.
- The voters are the slot's replicas in its home region; the copy in another region has no vote. (Where a region has no
  members at all, its slots have replicas, and voters, among all.)
- The voters follow from a *map*: the members with weight and zone. Members leave a map when they are drained (weight
  0), or when an operator forgets or revokes them, never by being dead or away: a side of a cut, however long it lasts,
  still counts the other one. A node takes a new map beside the old ones;
  each answer names the maps that the voter knows, and a request needs a majority in *each* map that anyone who
  answered knows. A node drops the older maps when every member of all of them has said that it knows the new one, and
  sent what it has promised.
  Who was forgotten, or was drained and has left, is not waited for: what it has promised is known to the others, for
  any other majority has one of them. Where a majority of a slot's voters is forgotten unheard that is not so; then
  nobody votes for as long as a slot's lease lasts, and what else they had granted or promised is lost.
- A node that knows nothing (new, or its file is lost) neither votes nor asks before it has heard everybody, of whom one
  has voted before. Where nobody has (a mesh that is new to leases), all begin when they have heard all others, and no
  further member has turned up for a while. The node that founds a mesh begins at once.

- A steward leases shards of a task with `on_partition = "pause"` only while it holds the lease of the slot. An executor
  asks for the rest of it, naming its jobs, counts from its own question, and stops in time by itself; a job that was
  leased to another meanwhile, while the executor was out of sight, does not begin. What a steward granted to an
  executor that it cannot hear any more, it waits for before it leases again, also where it hears it again meanwhile:
  the executor may not know yet. So it does for all of them, where it gave the slot up and has it back.

Invariant (I3): no two writers hold a lease of one name at the same time, and no two ever hold it with one epoch; the
epochs of a name only grow. The explorer in `tests/node/leases` holds it over loss, duplication, reorder, crashes,
clocks that differ, and map changes.

A lease is no fence: a process that is frozen while it writes goes on writing when it wakes. Only the resource itself,
by refusing a token below the largest it has seen, is one. For the sinks that is their compare-and-set.

`maps`: who votes. `acceptor`: what a voter promised. `proposer`: one request to the voters. `keeper`: the slots whose
leases a steward keeps. `gate`: what an executor may run under them. `core`: ties them together. `file`: the durable
part. `service`: locks for the API and for plugins. `reason`: why a task that pauses does not go on.
"""
