"""Which slot a thing belongs to.

Hashes of names that users choose use BLAKE2b, so that nobody can aim many names at one slot.
"""

import hashlib

SLOTS = 4096
"""Fixed for the life of a region. Measured max/mean load over nodes: 1.00 on 3 nodes, 1.21 on 50; with 1024:
1.41 on 50.
"""

GROUP_LINES = 500
"""Lines of a bulk submit that go into one slot as one value."""


def _digest(*parts: str) -> bytes:
    joined = "\x00".join(parts)
    return hashlib.blake2b(joined.encode(), digest_size=16).digest()


def slot_of(digest: bytes, slots: int = SLOTS) -> int:
    """The slot of a digest: its first four bytes, modulo the number of slots."""
    return int.from_bytes(digest[:4], "big") % slots


def named_digest(tenant: str, name: str) -> bytes:
    """16 bytes that stand for the named task, the same on every node for ever."""
    return _digest("name", tenant, name)


def group_digest(tenant: str, key: str, group: int) -> bytes:
    """16 bytes that stand for one group of a submit under an Idempotency-Key, the same through any node."""
    return _digest("group", tenant, key, str(group))
