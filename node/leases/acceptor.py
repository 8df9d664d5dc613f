"""What this node, as a voter, has promised and granted."""

from collections.abc import Iterable

import msgspec

from gossip.identity import NodeId
from node.leases.wire import Ask, LeaseToken, Promise, Told, margin

NOBODY: LeaseToken = (0, "", 0)


class Acceptor:
    """`changed`: promises that are to be made durable before any answer leaves."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self._until: dict[str, float] = {}
        self._last: dict[str, tuple[NodeId, int]] = {}
        """The request that was granted last."""
        self.changed: dict[str, Promise] = {}

    def load(self, promise: Promise) -> None:
        self.promises[promise.name] = promise

    def start(self, now: float) -> None:
        """When a grant was given before the restart is not known: count it from now."""
        for name, promise in self.promises.items():
            self._until[name] = now + promise.ttl + margin(promise.ttl)

    def handle(self, sender: NodeId, ask: Ask, now: float) -> Told:
        match ask.kind:
            case "take":
                granted = self._take(ask, now)
                if granted:
                    self._last[ask.name] = (sender, ask.round)
                return self._told(ask, now, ok=granted)
            case "undo":
                # Only of that very request: the same token may have been granted again to a later one.
                if self._last.get(ask.name) == (sender, ask.round):
                    self._release(ask.name, ask.token)
            case "release":
                self._release(ask.name, ask.token)
        return self._told(ask, now, ok=True)

    def epoch(self, name: str) -> int:
        promise = self.promises.get(name)
        return promise.promised[0] if promise is not None else 0

    def _take(self, ask: Ask, now: float) -> bool:
        promise = self.promises.get(ask.name)
        if promise is not None and promise.grant != ask.token:
            if ask.token[0] <= promise.promised[0]:
                return False
            in_force = promise.grant is not None and now < self._until.get(ask.name, now)
            if in_force and promise.grant is not None and promise.grant[1:] != ask.token[1:]:
                return False
        renewed = promise is not None and promise.grant == ask.token
        ttl = max(ask.ttl, promise.ttl) if renewed and promise is not None else ask.ttl
        self._put(Promise(ask.name, ask.token, ask.token, ttl, ask.note))
        until = now + ask.ttl + margin(ask.ttl)
        self._until[ask.name] = max(until, self._until.get(ask.name, until)) if renewed else until
        return True

    def _put(self, promise: Promise) -> None:
        if self.promises.get(promise.name) != promise:
            self.promises[promise.name] = self.changed[promise.name] = promise

    def _release(self, name: str, token: LeaseToken) -> None:
        """Not made durable: a release that a crash undoes costs the next one a wait, no more."""
        promise = self.promises.get(name)
        if promise is not None and promise.grant == token:
            self.promises[name] = msgspec.structs.replace(promise, grant=None)

    def _told(self, ask: Ask, now: float, *, ok: bool) -> Told:
        promise = self.promises.get(ask.name)
        if promise is None:
            return Told(ask.round, ok)
        left = self._until.get(ask.name, now) - margin(promise.ttl) - now
        grant = promise.grant if left > 0 else None
        return Told(ask.round, ok, promise.promised[0], grant, max(0.0, left), promise.note)

    def merge(self, promises: Iterable[Promise], now: float) -> None:
        """What another voter has promised binds this one too; its grants count from now."""
        for theirs in promises:
            mine = self.promises.get(theirs.name)
            if mine is not None and mine.grant is not None and now >= self._until.get(theirs.name, now):
                mine = msgspec.structs.replace(mine, grant=None)
            merged = _merged(mine, theirs)
            self._put(merged)
            if theirs.grant is not None:
                until = now + theirs.ttl + margin(theirs.ttl)
                self._until[theirs.name] = max(until, self._until.get(theirs.name, until))


def _merged(mine: Promise | None, theirs: Promise) -> Promise:
    """Of two grants to different writers either may be the one that has a majority: until both have ended, nobody is
    granted anything (the grant to the writer "")."""
    if mine is None:
        return theirs
    promised = max(mine.promised, theirs.promised)
    if mine.grant is None or theirs.grant is None:
        return msgspec.structs.replace(theirs if mine.grant is None else mine, promised=promised)
    ttl = max(mine.ttl, theirs.ttl)
    if mine.grant[1:] == theirs.grant[1:]:
        return msgspec.structs.replace(max(mine, theirs, key=_grant), promised=promised, ttl=ttl)
    return Promise(mine.name, promised, (promised[0], "", 0), ttl)


def _grant(promise: Promise) -> LeaseToken:
    return promise.grant or NOBODY
