"""What this node, as a voter, has promised and granted."""

from collections.abc import Iterable

import msgspec

from gossip.identity import NodeId
from node.leases.wire import Ask, LeaseToken, Promise, Told, margin

NOBODY: LeaseToken = (0, "", 0)
LOCKS = "lock/"
"""How the names of locks begin. There may be any number of them, so they are forgotten in time."""
FLOOR = ""
"""The name of the promise that stands for all that were forgotten: no lock is taken with an epoch that is not above it.
It is kept, sent and merged as any other."""


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
        """The largest that was promised, or may have been."""
        bound = [self.promises.get(name), self.promises.get(FLOOR) if name.startswith(LOCKS) else None]
        return max((promise.promised[0] for promise in bound if promise is not None), default=0)

    def forget(self, now: float, after: float) -> None:
        """Forget the locks that nobody can have held for `after` seconds. Any majority that is asked about one of them
        has a voter that granted its last token, and that knows it, or a floor that is not below it."""
        over = [
            promise
            for name, promise in self.promises.items()
            if name.startswith(LOCKS) and now >= self._until.setdefault(name, now) + after
        ]
        if not over:
            return
        for promise in over:
            del self.promises[promise.name], self._until[promise.name]
            self._last.pop(promise.name, None)
        floor = max(self.epoch(LOCKS), *(promise.promised[0] for promise in over))
        self._put(Promise(FLOOR, (floor, "", 0)))

    def _take(self, ask: Ask, now: float) -> bool:
        promise = self.promises.get(ask.name)
        grant = promise.grant if promise is not None else None
        renewed = grant == ask.token
        if not renewed:
            if ask.token[0] <= self.epoch(ask.name):
                return False
            if grant is not None and grant[1:] != ask.token[1:] and now < self._until.get(ask.name, now):
                return False
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
            return Told(ask.round, ok, self.epoch(ask.name))
        left = self._until.get(ask.name, now) - margin(promise.ttl) - now
        grant = promise.grant if left > 0 else None
        return Told(ask.round, ok, self.epoch(ask.name), grant, max(0.0, left), promise.note)

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
