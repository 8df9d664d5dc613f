"""One segment as a CRDT document: a flat map from key to bytes. The only module that knows pycrdt.

The client id is fresh for each process and document: an id that is used again after losing unsynced writes
makes replicas diverge for ever with equal state vectors (measured; y-crdt issue 361).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pycrdt import Doc, Map

from state.prepass import ROOT, Malformed, Shape, inspect


class Document:
    """A flat map, merged by Yrs. `client_id`: this process's, random, 53 bits."""

    __slots__ = ("_clients", "_doc", "_heard", "_keys", "_map", "_update", "shape")

    def __init__(self, client_id: int) -> None:
        self._doc: Doc[Any] = Doc(client_id=client_id)
        self._map: Map[Any] = self._doc.get(ROOT, type=Map)
        self._update: bytes = b""
        self._clients: dict[str, tuple[int, int]] = {}
        self._keys: dict[str, set[str]] = {}
        """Of each author: it changes a key by overwriting its own entry, and puts it in only once"""
        self.shape: Shape = inspect(b"\x00\x00")
        """Of the last update that was written or merged."""
        self._heard: Any = None

    def _on_update(self, event: Any) -> None:
        self._update = event.update

    def set(self, facts: Mapping[str, bytes], *, author: str) -> bytes:
        """Write all facts in one transaction; the update that carries them."""
        if self._heard is None:
            self._heard = self._doc.observe(self._on_update)
        with self._doc.transaction():
            for key, value in facts.items():
                self._map[key] = value
        self._keys.setdefault(author, set()).update(facts)
        shape = self.shape = inspect(self._update)
        if shape.client is not None:
            self._clients[author] = (shape.client, shape.first + shape.entries)
        return self._update

    def apply(self, update: bytes, *, author: str) -> None:
        """Merge another author's update, its next one; `shape` says what it holds.

        Raises Malformed, with nothing applied, for an update that this program does not write, or that does
        not
        go on where the author's last one ended.
        """
        shape = inspect(update)
        if shape.client is None:
            self.shape = shape
            return
        client, clock = self._clients.get(author, (shape.client, 0))
        if client != shape.client or clock != shape.first:
            raise Malformed(f"client {shape.client} clock {shape.first}; expected {client} clock {clock}")
        if any(other[0] == client for name, other in self._clients.items() if name != author):
            raise Malformed(f"client {client} is another author's")
        fresh = [item.key for item in shape.items if item.key is not None]
        keys = self._keys.setdefault(author, set())
        if len(fresh) != len(set(fresh)) or not keys.isdisjoint(fresh):
            raise Malformed("puts a key in twice")
        try:
            self._doc.apply_update(update)
        except BaseException as error:  # a panic of the library derives from BaseException
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise Malformed(f"the library refused the update: {error}") from None
        self.shape = shape
        keys.update(fresh)
        self._clients[author] = (client, shape.first + shape.entries)

    def close(self) -> None:
        """Let go of the library's memory: it holds us as we hold it, which no collector sees."""
        if self._heard is not None:
            self._doc.unobserve(self._heard)

    def get(self, key: str) -> bytes | None:
        value = self._map.get(key)
        return None if value is None else bytes(value)

    def __len__(self) -> int:
        return len(self._map)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All facts, in key order."""
        for key in sorted(self._map.keys()):
            yield key, bytes(self._map[key])
