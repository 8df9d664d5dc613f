"""Whose work is this: pure functions from members to owners.

A task hashes to one of `SLOTS` fixed slots of its region. For each slot the members are ranked by weighted
rendezvous hashing (Thaler and Ravishankar 1998; weights as -w / ln(u), Schindelhauer and Schomaker 2005), our
form of consistent hashing: when a member leaves, each of its slots goes to a member that already holds the
data, and nothing else moves. The first R of the ranking, spread over zones, are the slot's replicas.

Regions. A slot has a home region, which is part of its number (`region`); the replicas are ranked among the members of
that region alone, so what happens in one region moves nothing in another. The best ranked member of all other regions
keeps one asynchronous copy besides: no acknowledgement waits for it. In a mesh of one region there is none.

Everything here is immutable and depends on its arguments only; the hash is stable over processes and
versions.
May import `gossip.identity`, xxhash.
"""
