"""Keys, roster, tokens and the gate: who may speak on the mesh, and as whom.

Three keys. The *node key* is a CURVE pair, made once and kept in the data directory; the node id is its hash.
The *cluster key* is 32 random bytes that every member holds; from it the pair of the join socket is derived, a
newcomer proves that it holds it, and its public hash names the mesh. The *roster* lists the public keys of the
members; it only grows, and a revoked entry stays revoked.

Every socket is a CURVE server with an enforced ZAP domain. `mesh` admits keys of the roster; `join` lets any key
speak, which must then prove that it may join; when the gate's thread is dead nobody is admitted. A receiver
takes the sender's identity from the authenticated key only, never from a routing id or a body. At its start a
node tries all of this on its own ports, as a stranger would (`selftest`), and stops if one of them is open.

May import: gossip.identity, msgspec, zmq, the addresses and types of node.transport, and, in `bootstrap`,
node.discovery.mdns.
"""
