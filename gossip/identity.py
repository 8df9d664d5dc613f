"""Who a node is: its id, its boot, and the order of boots.

A node id is the hash of the node's CURVE public key, so it cannot be claimed by another key. A boot is a
number that the node persists and raises at each start; `(node, boot)` names one life of one node, and the
larger boot of a node wins at once.

Invariant: two lives of a node never have the same boot, even when its data directory was put back to an older
copy: a life that wrote under a used boot would use its sequence numbers again, for other facts, and replicas
would differ for ever under equal heads. A counter alone is restored with the directory, so a boot is also at
least the seconds since `BOOT_EPOCH`.
"""

import hashlib
from typing import NewType

NodeId = NewType("NodeId", str)
Boot = NewType("Boot", int)

NODE_ID_LENGTH = 16

BOOT_EPOCH = 1_735_689_600
"""2025-01-01T00:00:00Z, in seconds since 1970."""
MAX_BOOT = 2**31 - 1
LATEST_TIMED = Boot(MAX_BOOT - 2**24)
"""The largest boot that a clock gives (in 2092): one that is far ahead leaves 16 million starts."""


def node_id(public_key: bytes) -> NodeId:
    """The id of the node with this CURVE public key (40
    bytes, Z85): 16 lower-case hex digits of its BLAKE2b.
    """
    return NodeId(hashlib.blake2b(public_key, digest_size=NODE_ID_LENGTH // 2).hexdigest())


def following_boot(last: int, wall: float) -> Boot:
    """The boot after `last` of a node whose clock shows `wall` (seconds since 1970).

    The clock saves a restored node, the counter one whose clock was set back: only both at once give a used
    boot, which the node finds out from the others (`Conflict`, `Replicator.overtaken`) and then stops.
    """
    return Boot(max(last + 1, min(int(wall) - BOOT_EPOCH, LATEST_TIMED)))
