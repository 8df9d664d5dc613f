"""How bytes travel between nodes: planes, addresses, and the join socket.

A *plane* carries whole messages between members. It is two ROUTER sockets: one binds and only receives, one
connects and only sends, so every message arrives on a connection whose sender this side has authenticated by
ZAP. Each direction of a pair of nodes is its own connection. Nothing is delivered until an application answer
says so: a full queue, an unknown peer and a cut are all silence.

The *join socket* is where a node that is not on the roster yet proves the cluster key, or redeems a one-time token,
and is put on it.

May import: gossip.identity, node.security, msgspec, zmq. Knows nothing of what the messages mean.
"""
