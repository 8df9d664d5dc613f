"""A simulated disk: the records of the production log, in memory, with all that can happen to them.

What was not synced is lost at a crash, but for a prefix of its bytes that chance lets through, so the last record may
be torn. A full disk refuses each write and a slow one takes long. `snapshot` and `restore` are a backup and its
return; `wipe` is a new disk. Start-up reads the bytes with the scanner that ships.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from state.envelope import Writer
from state.storage import log
from state.storage.archive import Row

Name = tuple[int, str, int]
Item = tuple[int, str, int, bytes]

_NUMBER = 1


@dataclass
class Content:
    """What the disk holds: framed records with their names, the bytes behind them, and the node's small files."""

    records: list[tuple[Name, bytes]] = field(default_factory=list)
    tail: bytes = b""
    bases: dict[int, bytes] = field(default_factory=dict)
    rows: dict[tuple[int, str], Row] = field(default_factory=dict)
    folded: set[Name] = field(default_factory=set)
    """Names of the records that the bases and rows stand for."""
    floors: dict[tuple[int, str], int] = field(default_factory=dict)
    """The last of them by slot and author"""
    boot: int = 0
    contacts: list[tuple[str, str]] = field(default_factory=list)
    promises: list[bytes] = field(default_factory=list)
    """Of the node as a voter; each is written ahead of its answer, so a crash takes none that was told."""

    def copy(self) -> "Content":
        return Content(
            list(self.records), self.tail, dict(self.bases), dict(self.rows), set(self.folded), dict(self.floors),
            self.boot, list(self.contacts), list(self.promises),
        )  # fmt: skip

    def names(self) -> set[Name]:
        return {name for name, _ in self.records} | self.folded


class _InMemory:
    """The one thing that the scanner asks of a path."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_bytes(self) -> bytes:
        return self._data


class SimDisk:
    """`synced`: names of the records that a restart will read. `delay`: bounds of a sync, seconds."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.content = Content()
        self.pending: list[Item] = []
        self.by_name: dict[Name, bytes] = {}
        self.delay = (0.001, 0.02)
        self.full = False
        self.lost = self.torn = 0
        self.replaced = 0
        """How often something else took its place"""

    @property
    def synced(self) -> dict[Name, bytes]:
        return self.by_name

    def write(self, items: list[Item]) -> None:
        self.pending.extend(items)

    def sync(self, count: int) -> None:
        """The first `count` pending writes are durable now."""
        done, self.pending = self.pending[:count], self.pending[count:]
        for slot, author, seq, data in done:
            name = (slot, author, seq)
            self.content.records.append((name, log.frame(data)))
            self.by_name[name] = data

    def crash(self) -> None:
        """Power is gone: a prefix of the bytes that were not synced has reached the disk all the same."""
        frames = [log.frame(item[3]) for item in self.pending]
        left = self.rng.randint(0, sum(map(len, frames)))
        whole = 0
        while whole < len(frames) and len(frames[whole]) <= left:
            left -= len(frames[whole])
            whole += 1
        self.lost += len(frames) - whole
        tail = frames[whole][:left] if whole < len(frames) else b""
        if tail:
            self.torn += 1
        elif whole < len(frames) and self.rng.random() < 0.3:
            tail = bytes(len(frames[whole]))  # the file had grown, the bytes had not come
        self.sync(whole)
        self.pending.clear()
        self.content.tail = tail

    def read(self) -> list[bytes]:
        """What a start finds, by the rules of `state.storage.log`: an interrupted write is cut off."""
        header = log._FILE_HEADER.pack(log.MAGIC, log.VERSION, _NUMBER)
        data = header + b"".join(frame for _, frame in self.content.records) + self.content.tail
        scan = log._Scan(_NUMBER, cast("Path", _InMemory(data)))
        payloads = [payload for _, _, payload in scan.records()]
        assert scan.complete() or (scan.torn() and log.Log._whole_until(scan)), (
            "I11: a torn write looks like damage"
        )
        assert len(payloads) == len(self.content.records), (
            "I11: a start reads what was synced, no more and no less"
        )
        self.content.tail = b""
        names = (name for name, _ in self.content.records)
        self.by_name = dict.fromkeys(self.content.folded, b"") | dict(zip(names, payloads, strict=True))
        return payloads

    def let_go(self, slot: int, floors: Mapping[Writer, int]) -> None:
        """The records up to the floors are in the base, which is durable."""
        self.content.records = [
            (name, frame)
            for name, frame in self.content.records
            if name[0] != slot or name[2] > floors.get(Writer(name[1]), 0)
        ]
        for author, floor in floors.items():  # also what came here as a base
            before = self.content.floors.get((slot, str(author)), 0)
            names = [(slot, str(author), seq) for seq in range(before + 1, floor + 1)]
            self.content.floors[slot, str(author)] = max(before, floor)
            self.content.folded.update(names)
            for name in names:
                self.by_name.setdefault(name, b"")

    def snapshot(self) -> Content:
        return self.content.copy()

    def restore(self, content: Content) -> list[Name]:
        """An older copy takes the disk's place; the names of what is gone with the newer one."""
        before = self.by_name
        self.replaced += 1
        self.content = content.copy()
        self.pending.clear()
        kept = self.content.names()
        self.by_name = {name: data for name, data in before.items() if name in kept}
        return [name for name in before if name not in kept]

    def wipe(self) -> list[Name]:
        return self.restore(Content())
