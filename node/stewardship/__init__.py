"""Who plans a run, who runs its shards, and what is recorded of it. Pure cores: `handle` in, effects out.

States of a run: plan -> shards -> publish -> succeeded | partial | failed | cancelled. Each step is a job
leased to an
executor; the steward records what executors report. An unsharded collector's plan is a constant, so its run
is one
`solo` job that ends with its publish; but for a run over a range, of which the plan says what it covers. A run is
partial where it set records aside; one that replays dead letters, while any of the task is left.

Rules.
- The steward of a slot is the holder of the largest claim in the slot's ledger while it is alive (a suspect
keeps its
  slots) and ready; otherwise the first ready live replica, once the holder has been dead for the takeover
  delay. A claim
  is written before the first lease; the lease's token is `(epoch, node, boot)` of the claim.
- A plan is durable, on two disks where there are two, before a shard of it is leased; of two plans the lower
token's
  counts, so all stewards lease the same shards.
- A lease ends with a final report, with the death of its executor, or when the executor does not hold it any
more.
  Nothing that a steward believes protects the data: the sink's compare-and-set does. A steward that is wrong
  costs time.
- A task with `on_partition = "pause"` is leased only while the steward holds the slot's majority lease (`node.leases`).
- A slot moves back to a preferred replica when that is stable (`damping`: the longer the more often it died) and
  has all that the steward has. A claim of a node that was cut off from most replicas is claimed over, once for each
  return.
- A region that is dead for its takeover time is dark (`regions`): the keepers of the copies steward its slots from
  then on, under newer tokens. Of its tasks they run those with `on_partition = "continue"` that are not pinned to it;
  those with "pause" when nobody of the home region votes any more, because all are forgotten.
  When it returns, envelopes merge, and the slots go home as to any preferred replica; a region that was only cut off
  claims its slots over at once.
- A task runs in the region of its steward, unless it names a region or nodes.
- A task's rate is shared evenly by the shards that may run at once. One that has ended leaves its share to the others,
  which are told; one that waits for its next attempt keeps it. So all that run never exceed the rate, where what
  tells them (`Rates`) arrives: it is sent once.
- A drained node ranks for no slot; it hands every slot over, and may stop when other disks hold its copies.
- The ledger's positions are hints; what is final in the ledger is final.

`ownership` decides who stewards a slot, `regions` which regions are dead, `handover` to whom it goes, `custody` knows
who has a copy, `arrears` how far this node is behind; `backlog` what comes next, `bulk`, `work`, `works` hold what is
to be done, `run` is one run's state, `eligibility` says which nodes can, `steward` ties them together.
"""
