"""Keys, roster, tokens and the gate: who may speak on the mesh, and as whom.

Three keys. The *node key* is a CURVE pair, made once and kept in the data directory; the node id is its hash.
The *cluster key* is 32 random bytes that every member holds; from it the pair of the join socket is derived, and
a newcomer proves that it holds it; it is replaced while nodes run (`keyring`), and the id of the mesh stays. The
*roster* lists the public keys of the members; it only grows, and each entry counts the verdicts on it: an odd
number is revoked. A *ticket* is what members know of a one-time join token: the hash of its secret, its expiry,
and who used it. All of this spreads by news to all live members and by comparison (`exchange`, `spread`).

Every socket is a CURVE server with an enforced ZAP domain. `mesh` admits keys of the roster; `join` lets any key
speak, which must then prove that it may join; when the gate's thread is dead nobody is admitted. A receiver
takes the sender's identity from the authenticated key only, never from a routing id or a body. At its start a
node tries all of this on its own ports, as a stranger would (`selftest`), and stops if one of them is open.

Trusted are the members: one that is evil can do what a member may, revoke others too (no operator signs a
verdict), until it is revoked. It cannot speak as another, since CURVE names the sender; nor admit itself again,
since what a node says of itself carries no verdict.
A revocation holds wherever it is known; who was away learns it by comparison, which comes with the first contact.
The cluster key never travels without the revocation list. The limits of tickets: `tickets`.

May import: gossip.identity, msgspec, zmq, the addresses and types of node.transport, and, in `bootstrap`,
node.discovery.mdns.
"""
