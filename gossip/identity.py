"""Who a node is: its id, its boot, and the order of boots.

A node id is the hash of the node's CURVE public key, so it cannot be claimed by another key. A boot is a
counter that the node persists and raises at each start; `(node, boot)` names one life of one node, and the
larger boot of a node wins at once.

Invariant: two lives of a node never have the same boot, even when its data directory was put back to an older
copy: a life that wrote under a used boot would use its sequence numbers again, for other facts, and replicas
would differ for ever under equal heads. A counter alone is restored with the directory, so a boot also lies
above a floor that the clock gives (`node.security.keys.boot_floor`); where both are behind, the others know the
later life, and the node stops (`node.standing`).
"""

import hashlib
from typing import NewType

NodeId = NewType("NodeId", str)
Boot = NewType("Boot", int)

NODE_ID_LENGTH = 16


def node_id(public_key: bytes) -> NodeId:
    """The id of the node with this CURVE public key (40
    bytes, Z85): 16 lower-case hex digits of its BLAKE2b.
    """
    return NodeId(hashlib.blake2b(public_key, digest_size=NODE_ID_LENGTH // 2).hexdigest())
