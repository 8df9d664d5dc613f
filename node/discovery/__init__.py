"""Where other nodes may be found: mDNS on a LAN, seeds given by hand, names in DNS.

Discovery only proposes addresses of join sockets; whether a node is there and of this mesh, keys decide. A
discovery is `async run(propose)`: it proposes, again and again, until it is cancelled.

May import: gossip.identity, node.transport.addresses, node.transport.backoff, zeroconf, dnspython.
"""
