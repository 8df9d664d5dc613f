"""The slots whose leases this node keeps, as the steward of tasks with `on_partition = "pause"`."""

import random
from collections.abc import Callable, Collection
from typing import Protocol

from gossip.identity import Boot, NodeId
from node.leases.proposer import Result
from node.leases.wire import LeaseToken

RETRY = 0.5
"""Seconds between two tries to get a lease, about; shorter asks more while another holds it."""


class Propose(Protocol):
    def __call__(
        self, kind: str, slot: int, token: LeaseToken, done: Callable[[Result], None], /
    ) -> None: ...


class _Slot:
    __slots__ = ("busy", "last", "next_at", "token", "until")

    def __init__(self) -> None:
        self.token: LeaseToken | None = None
        self.until = self.next_at = 0.0
        self.busy = False
        self.last: Result | None = None


class Keeper:
    """`propose(kind, slot, token, done)`: one request to the voters."""

    def __init__(self, me: NodeId, boot: Boot, ttl: float, rng: random.Random, propose: Propose) -> None:
        self.me, self.boot, self.ttl = me, boot, ttl
        self.wanted: Collection[int] = ()
        self._rng = rng
        self._propose = propose
        self._slots: dict[int, _Slot] = {}
        self._granted: dict[int, dict[NodeId, float]] = {}
        self._unsure: dict[int, float] = {}
        self._now = 0.0

    def left(self, slot: int, now: float) -> float:
        """Seconds that the slot's lease is ours for sure; 0: it is not."""
        found = self._slots.get(slot)
        return max(0.0, found.until - now) if found is not None and found.token is not None else 0.0

    def last(self, slot: int) -> Result | None:
        """What the last request for the slot's lease came to."""
        found = self._slots.get(slot)
        return found.last if found is not None else None

    def grant(self, executor: NodeId, slots: list[int], now: float) -> dict[int, float]:
        """How long shards of these slots may run there."""
        found = {slot: left for slot in slots if slot in self.wanted and (left := self.left(slot, now)) > 0}
        for slot, left in found.items():
            ends = self._granted.setdefault(slot, {})
            ends[executor] = max(now + left, ends.get(executor, 0.0))
        return found

    def clear(self, slot: int, live: frozenset[NodeId], now: float) -> bool:
        """Whether no executor that we cannot hear any more, or had lost or leased to before we gave the slot up, may
        still run shards of it."""
        if now < self._unsure.get(slot, now):
            return False
        return all(node in live or end <= now for node, end in self._granted.get(slot, {}).items())

    def given_up(self, slot: int, now: float) -> None:
        """What was leased of the slot is not known any more: should it come back, that has to end first."""
        ends = max(self._granted.get(slot, {}).values(), default=now)
        self._unsure = {one: end for one, end in self._unsure.items() if end > now}
        if ends > now:
            self._unsure[slot] = max(ends, self._unsure.get(slot, ends))

    def lost(self, executor: NodeId, now: float) -> None:
        """Its jobs are leased to others from now on: should it be back sooner, what it was granted has to end first."""
        for slot, granted in self._granted.items():
            end = granted.get(executor, now)
            if end > now:
                self._unsure[slot] = max(end, self._unsure.get(slot, end))

    def tick(self, now: float) -> None:
        self._now = now
        for slot in sorted({*self.wanted, *self._slots}):
            state = self._slots.setdefault(slot, _Slot())
            if slot not in self.wanted:
                self._drop(slot, state, now)
            elif not state.busy and now >= state.next_at:
                self._ask(slot, state, now)

    def _drop(self, slot: int, state: _Slot, now: float) -> None:
        """Not ours to keep any more: free it as soon as no executor counts on it."""
        if state.busy or any(end > now for end in self._granted.get(slot, {}).values()):
            return
        if state.token is not None and state.until > now:
            self._propose("release", slot, state.token, lambda _: None)
        self._granted.pop(slot, None)
        del self._slots[slot]

    def _ask(self, slot: int, state: _Slot, now: float) -> None:
        state.busy = True
        if state.token is not None and state.until > now:
            self._propose("renew", slot, state.token, lambda result: self._done(state, result))
        else:
            state.token = None
            token = (0, str(self.me), int(self.boot))
            self._propose("take", slot, token, lambda result: self._done(state, result))

    def _done(self, state: _Slot, result: Result) -> None:
        state.busy = False
        state.last = result
        if result.won:
            state.token = result.token
            state.until = max(state.until, result.until)
            state.next_at = self._now + self.ttl / 3
        else:
            state.next_at = self._now + RETRY * self._rng.uniform(0.5, 1.0)
