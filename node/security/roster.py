"""The roster: which public keys are members, and where they last were.

An entry is joined with another of the same key by taking the facts of the larger boot (of equal boots the
larger tuple, so that the result does not depend on order) and the larger number of verdicts: the first revokes,
the second admits again, and so on, so no older entry undoes a verdict. That is a lattice join: merging in any
order, any number of times, gives every holder the same roster. The entries that are revoked are the revocation
list: they stay, and reach members that were away with everything else.

Readers on other threads (the ZAP gate, the bulk plane) read one immutable view that is swapped whole; writers
take a lock. Listeners are called on the writing thread, after the swap.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from gossip.identity import NodeId, node_id
from node.security.durable import replace
from node.security.keys import KEY_LENGTH
from node.transport.addresses import BadAddress, split

ROSTER_FILE = "roster"
VERSION = 1
MAX_ENTRIES = 4096
BUCKETS = 16
MAX_NAME = 63
MAX_BOOT = 1 << 31
_Z85 = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%%$#]{%d}" % KEY_LENGTH)


class BadRoster(Exception):
    """Bytes or an entry that no roster holds; nothing was changed."""


class Entry(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One member. `boot`: of the life that stated the rest; addresses are `host:port`, "" when unknown.

    `verdicts`: how often it was revoked and admitted again; odd is `revoked`. 0 with `revoked` is what a
    version without verdicts says.
    """

    public_key: bytes
    boot: int = 0
    name: str = ""
    gossip: str = ""
    bulk: str = ""
    join: str = ""
    revoked: bool = False
    verdicts: int = 0

    @property
    def id(self) -> NodeId:
        return node_id(self.public_key)

    def joined(self, other: "Entry") -> "Entry":
        """The join with another entry of the same key."""
        later = max(self, other, key=lambda e: (e.boot, e.name, e.gossip, e.bulk, e.join))
        return later.judged(max(self.judgement, other.judgement))

    @property
    def judgement(self) -> int:
        return max(self.verdicts, int(self.revoked))

    def judged(self, verdicts: int) -> "Entry":
        """The same facts under so many verdicts."""
        return msgspec.structs.replace(self, revoked=verdicts % 2 == 1, verdicts=verdicts)

    def check(self) -> None:
        """Raises BadRoster."""
        sound = (
            _Z85.fullmatch(self.public_key) is not None
            and 0 <= self.boot < MAX_BOOT
            and len(self.name) <= MAX_NAME
            and (self.name.isprintable() or not self.name)
            and 0 <= self.verdicts < MAX_BOOT
        )
        if not sound:
            raise BadRoster("entry with a key, boot, name or number of verdicts out of bounds")
        try:
            for address in filter(None, (self.gossip, self.bulk, self.join)):
                split(address)
        except BadAddress as error:
            raise BadRoster(f"entry {self.id}: {error}") from error


class _File(msgspec.Struct, array_like=True):
    version: int
    entries: list[Entry]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_File).decode


@dataclass(frozen=True)
class View:
    """One state of the roster, never changed."""

    entries: Mapping[NodeId, Entry]

    @cached_property
    def keys(self) -> Mapping[NodeId, bytes]:
        """Public keys of those who are admitted."""
        return {id_: entry.public_key for id_, entry in self.entries.items() if not entry.revoked}

    @cached_property
    def admitted(self) -> Mapping[bytes, NodeId]:
        return {key: id_ for id_, key in self.keys.items()}

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """One digest (8 bytes) per bucket; a bucket holds the ids that begin with the same hex digit."""
        hashes = [hashlib.blake2b(digest_size=8) for _ in range(BUCKETS)]
        for id_ in sorted(self.entries):
            hashes[bucket(id_)].update(_encode(self.entries[id_]))
        return tuple(digest.digest() for digest in hashes)


def bucket(node: NodeId) -> int:
    return int(node[0], 16)


Listener = Callable[[frozenset[NodeId]], None]


class Roster:
    """Grow-only; thread-safe. `path`: where `save` puts it."""

    def __init__(self, entries: Iterable[Entry] = (), *, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self.view = View({})
        self.join(entries)

    @classmethod
    def load(cls, path: Path) -> "Roster":
        """The roster kept at `path`, empty when there is none. Raises BadRoster naming the file."""
        if not path.exists():
            return cls(path=path)
        try:
            return cls(decode(path.read_bytes()), path=path)
        except BadRoster as error:
            raise BadRoster(
                f"{path} is damaged ({error}): remove it, the node fetches it from the others"
            ) from error

    def save(self) -> None:
        """Make the present state durable at the path given."""
        if self._path is None:
            raise ValueError("this roster has no path")
        with self._saving:
            replace(self._path, self.encode())

    @property
    def keys(self) -> Mapping[NodeId, bytes]:
        """Public keys of the admitted nodes; an immutable view that any thread may read."""
        return self.view.keys

    def admitted(self, public_key: bytes) -> NodeId | None:
        """The node with this key, when it may speak."""
        return self.view.admitted.get(public_key)

    def entry(self, node: NodeId) -> Entry | None:
        return self.view.entries.get(node)

    def entries(self) -> list[Entry]:
        """By id."""
        held = self.view.entries
        return [held[id_] for id_ in sorted(held)]

    def join(self, entries: Iterable[Entry]) -> frozenset[NodeId]:
        """Join entries into this roster; the ids that changed. Raises BadRoster, then nothing has changed."""
        with self._lock:
            held, changed = dict(self.view.entries), set()
            for entry in entries:
                entry.check()
                known = held.get(entry.id)
                after = (known or entry).joined(entry)
                if after != known:
                    held[entry.id] = after
                    changed.add(entry.id)
            if len(held) > MAX_ENTRIES:
                raise BadRoster(f"a roster holds at most {MAX_ENTRIES} nodes")
            if changed:
                self.view = View(held)
        return self._told(changed)

    def _told(self, changed: set[NodeId]) -> frozenset[NodeId]:
        if changed:
            for listener in self._listeners:
                listener(frozenset(changed))
        return frozenset(changed)

    def correct(self, entries: Iterable[Entry]) -> frozenset[NodeId]:
        """Take these facts, which the nodes state themselves, also where others have told later ones; the ids that
        changed. No verdict is undone.
        """
        with self._lock:
            held, changed = dict(self.view.entries), set()
            for entry in entries:
                known = held.get(entry.id)
                if known is not None and entry.boot < known.boot:
                    entry.check()
                    held[entry.id] = entry.judged(max(known.judgement, entry.judgement))
                    changed.add(entry.id)
            if changed:
                self.view = View(held)
        return self._told(changed)

    def revoke(self, node: NodeId) -> bool:
        """Refuse this node from now on. False: it is not listed, or is revoked."""
        return self._judge(node, revoked=True)

    def readmit(self, node: NodeId) -> bool:
        """Undo a revocation. False: there is none."""
        return self._judge(node, revoked=False)

    def _judge(self, node: NodeId, *, revoked: bool) -> bool:
        known = self.entry(node)
        if known is None or known.revoked == revoked:
            return False
        return bool(self.join([known.judged(known.judgement + 1)]))

    def revoked(self) -> list[Entry]:
        """The revocation list, by id."""
        return [entry for entry in self.entries() if entry.revoked]

    def merge(self, data: bytes) -> bool:
        """Join an encoded roster; whether anything changed. Raises BadRoster."""
        return bool(self.join(decode(data)))

    def encode(self) -> bytes:
        return _encode(_File(VERSION, self.entries()))

    def digest(self) -> bytes:
        """16 bytes; equal for equal rosters."""
        return hashlib.blake2b(b"".join(self.view.digests), digest_size=16).digest()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with the ids that change; returns how to end that."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe


def decode(data: bytes) -> list[Entry]:
    """The entries in an encoded roster, unchecked. Raises BadRoster."""
    try:
        file = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRoster(f"no roster: {error}") from error
    if file.version != VERSION:
        raise BadRoster(f"a roster of version {file.version}; this node knows version {VERSION}")
    return file.entries
