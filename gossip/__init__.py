"""Who is in the mesh: SWIM with Lifeguard as a pure machine, `Swim.handle(event, now) -> effects`.

Theory of operation. Each probe interval a node pings one other, round robin over a shuffled list. No answer
within the probe timeout: it asks a few others to ping for it, and pings again a few times itself. Still none at
the end of the interval: it *suspects* the target and says so; the suspected node refutes by raising its own
incarnation, else the suspicion expires and the node is *dead*. More accusers make the suspicion expire sooner;
a node whose own probes go wrong (local health) or whose timers are late gives others more time. News travel
piggybacked on pings and acks and in gossip rounds until each was sent 4 log10(n+1) times; a rare push-pull with
one other repairs what gossip missed. `left` is what a node says of itself; it is never suspected, probed or
sought.

Members are authenticated, and one of them may be evil. It cannot remove another that answers: what it says of a
death or an accusation starts a suspicion, which the subject refutes; no leave is believed from one other node; no
incarnation rises by more than 2^20 in one message; nobody starts suspicions without end; a packet of an earlier
life of its sender claims nothing. It can still delay and disturb; who does is revoked.

Invariant (I14): only the subject raises its incarnation, and what a node believes of another, ordered by
(incarnation, state), never moves backwards. An incarnation starts at `boot << 32`, so a larger boot wins at
once.

Invariant (I13): when all live nodes can reach each other again, they come to believe the same. Halves that
buried each other meet through the contact list: dead members and seeds are tried now and then, for 24
hours.

Regions. All nodes of all regions are one pool. Two pools joined by gateways would save probes across the wide area,
but a gateway is one more thing that can be wrong about a whole region, and at the sizes measured (docs/membership.md)
the probes of one pool cost little. The `lan` timing holds for round trips up to about 0.3 s: a direct answer has half a
second, Lifeguard gives more to a node whose own probes go wrong. `tests/sim/test_regions.py` runs it with 240 ms and
lost messages, without a false death. For slower lines the `wan` profile is there, on all nodes.

No clock, socket, thread or randomness of its own: time is a parameter, chance a `random.Random`. This
folder may import msgspec and the standard library, nothing that waits or does input and output.

Sources: Das et al. "SWIM" (DSN 2002), Dadgar et al. "Lifeguard" (DSN-W 2018), memberlist, Serf, foca.
"""
