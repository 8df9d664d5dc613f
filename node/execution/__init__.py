"""Runs jobs: the part of a node that touches sources and sinks. Knows no ledger, no lease, no peer.

    jobs       what is asked (Job) and what is answered (Report)
    runner     takes jobs, runs each on the event loop or in a worker process
    workers    the processes; worker: what runs inside one; wire: how the two talk
    duty       one job of any kind, from start to its last report
    pipeline   one shard: source -> transforms -> sinks -> commit
    outlets    the sinks of one shard and their positions
    progress   what is read, written, committed and reported
    letters    records that were set aside
    assembly   from a spec to initialized plugins
    control    how a running job is interrupted; budget: how it is slowed down
    roots, secrets, failures    paths, secret values, and what a failure is called

The truth about how far a shard is lies in its sinks (`plugins.api`). Whatever dies at whatever moment, the
next attempt asks them and goes on from there; a report is news, never the base of a decision about exactness.

May import `plugins`, `node.schema` and the standard library; nothing else of `node`.
"""
