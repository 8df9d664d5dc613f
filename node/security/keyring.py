"""The cluster key that counts now, and how it is replaced while nodes run.

Each rotation makes the next generation; a later generation replaces an earlier one wherever it is heard, of two
made at once the larger secret. Members pass it on to each other over the mesh, whose connections rest on the
roster and not on this key: so a rotation disturbs no member, and one that was away gets the new key as soon as it
meets another. Who is not on the roster needs the new key, or a token.

Used on one loop; `current` may be read on any thread.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from node.security.keys import ClusterKey, store_cluster_key, unpack_cluster_key
from node.security.roster import BadRoster

MAX_AHEAD = 64
LEAP_PAUSE = 1.0
"""Generations that a member may have missed, and seconds between two such leaps: a member that makes keys up needs
two years to come to the last generation (2^32), after which none could replace its key."""


class KeyRing:
    """`data_dir`: where `save` puts the key. `on_change`: told of each replacement."""

    def __init__(self, key: ClusterKey, data_dir: Path | None = None) -> None:
        self.current = key
        self._data_dir = data_dir
        self._leapt = float("-inf")
        self.on_change: Callable[[ClusterKey], None] = lambda _: None

    def rotate(self) -> ClusterKey:
        """Make the next generation, and go by it."""
        self._replace(self.current.rotated())
        return self.current

    def join(self, packed: bytes, now: float) -> bool:
        """Go by this key if it is the later one; whether it was. Raises BadRoster, also for more than one generation
        ahead where that was so less than `LEAP_PAUSE` seconds ago: it will be offered again.
        """
        try:
            key = unpack_cluster_key(packed)
        except ValueError as error:
            raise BadRoster(f"no cluster key: {error}") from error
        if key.mesh_id != self.current.mesh_id:
            raise BadRoster("a cluster key of another mesh")
        later = key.replaces(self.current)
        ahead = key.generation - self.current.generation
        if ahead > 1:
            if ahead > MAX_AHEAD or abs(now - self._leapt) < LEAP_PAUSE:
                raise BadRoster(f"a cluster key {ahead} generations ahead")
            self._leapt = now
        if later:
            self._replace(key)
        return later

    def save(self) -> None:
        """Durable on return."""
        if self._data_dir is not None:
            store_cluster_key(self._data_dir, self.current)

    def digest(self) -> bytes:
        """8 bytes that tell two keys apart, and neither of them."""
        return hashlib.blake2b(self.current.packed(), digest_size=8, person=b"key-digest").digest()

    def _replace(self, key: ClusterKey) -> None:
        self.current = key
        self.on_change(key)
