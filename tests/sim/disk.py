"""A simulated disk: what was not synced is lost at a crash, but for a prefix that chance lets through."""

import random


class SimDisk:
    """`records`: (slot, author, seq, bytes) that a restart reads. Writes are synced in order, after a delay."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.records: list[tuple[int, str, int, bytes]] = []
        self.pending: list[tuple[int, str, int, bytes]] = []
        self.synced: set[tuple[int, str, int]] = set()
        self.by_name: dict[tuple[int, str, int], bytes] = {}
        self.lost = 0

    def write(self, items: list[tuple[int, str, int, bytes]]) -> None:
        self.pending.extend(items)
        for slot, author, seq, data in items:
            self.by_name[slot, author, seq] = data

    def sync(self, count: int) -> None:
        done, self.pending = self.pending[:count], self.pending[count:]
        self.records.extend(done)
        self.synced.update(item[:3] for item in done)

    def crash(self) -> None:
        """Power is gone: a random prefix of the unsynced writes has reached the disk all the same."""
        kept = self.rng.randint(0, len(self.pending))
        self.lost += len(self.pending) - kept
        self.sync(kept)
        self.pending.clear()
        self.by_name = {item[:3]: item[3] for item in self.records}
